// Every shape of the table with the default configuration, telling shapes with all others, and random shapes.
#include "Cases.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

using namespace lathe;
using namespace lathe::gputest;

namespace {
class KernelTest : public testing::TestWithParam<KernelCase> {};
} // namespace

TEST_P(KernelTest, MatchesReference) {
  expectMatchesReference(kernelOf(GetParam().request()), *GetParam().shape);
}

static std::string caseName(const testing::TestParamInfo<KernelCase> &info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Table, KernelTest, testing::ValuesIn(tableCases()), caseName);
INSTANTIATE_TEST_SUITE_P(Configs, KernelTest, testing::ValuesIn(configCases()), caseName);

TEST(Runtime, RandomShapesAndConfigurationsMatch) {
  const unsigned seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  auto below = [&](int bound) { return int(random() % unsigned(bound)); };
  for (int round = 0; round < 12; ++round) {
    reference::ShapeCase shape;
    shape.name = "random_" + std::to_string(round);
    shape.shape = {.heads = 1 + below(128),
                   .queryTokens = 1 + below(4),
                   .keyDim = 16 * (1 + below(36)),
                   .page = 16 << below(5),
                   .causal = below(2) == 0};
    shape.shape.valueDim = 16 * (1 + below(std::min(shape.shape.keyDim / 16, 32)));
    for (int i = below(12); i >= 0; --i)
      shape.lengths.push_back(below(3) == 0 ? below(4) : below(1500));
    shape.options = {.seed = random(), .stridedCache = below(2) == 0, .stridedOutputs = below(2) == 0};

    const codegen::AttentionProblem problem = problemOf(shape.shape);
    std::vector<codegen::Config> legal;
    for (const codegen::Config &config : codegen::enumerateConfigs(problem))
      if (codegen::check(problem, config, target()))
        legal.push_back(config);
    ASSERT_FALSE(legal.empty());
    const codegen::Config config = legal[size_t(below(int(legal.size())))];
    SCOPED_TRACE(testing::Message() << "seed " << seed << " round " << round << " heads " << shape.shape.heads
                                    << " queries " << shape.shape.queryTokens << " key " << shape.shape.keyDim
                                    << " value " << shape.shape.valueDim << " page " << shape.shape.page
                                    << " causal " << shape.shape.causal << " " << config.str());
    expectMatchesReference(kernelOf({shape.shape, config}), shape);
    if (HasFatalFailure())
      return;
  }
}
