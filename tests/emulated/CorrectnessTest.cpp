// The small shape table with the default configuration, telling shapes with all others: right, and no
// finding.
#include "Correctness.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

using namespace lathe;
using namespace lathe::emulatedtest;
using codegen::Config;
using codegen::SplitPolicy;
using reference::ShapeCase;

static std::vector<Case> tableCases() {
  std::vector<Case> cases;
  for (const ShapeCase &shape : reference::smallShapeTable())
    cases.push_back({shape.name + "__default", shape, codegen::defaultConfig(problemOf(shape.shape), {})});
  return cases;
}

static std::string nameOf(const Config &config) {
  const std::string split = config.split == SplitPolicy::Balanced ? "balanced"
                            : config.split == SplitPolicy::Whole ? "whole"
                                                                 : fmt::format("fixed{}", config.fixedSplits);
  return fmt::format("kvTile{}_stages{}_consumers{}_cluster{}_{}", config.kvTile, config.stages,
                     config.consumers, config.cluster, split);
}

/// Of the form with 64 rows: every value of every axis, in pairs that bring out corners: tile and stages,
/// consumers, clusters, splits.
static std::vector<Config> variations(const codegen::AttentionProblem &problem) {
  const Config base{.dependentLaunch = codegen::defaultConfig(problem, {}).dependentLaunch};
  std::vector<Config> accepted;
  auto add = [&](auto change) {
    Config config = base;
    change(config);
    for (; config.stages >= 1; --config.stages)
      if (codegen::check(problem, config, {})) {
        if (std::find(accepted.begin(), accepted.end(), config) == accepted.end())
          accepted.push_back(config);
        return;
      }
  };
  for (int kvTile : {16, 32, 64})
    for (int stages : {1, 2, 3, 12})
      add([&](Config &c) { c.kvTile = kvTile, c.stages = stages; });
  for (int consumers : {1, 2})
    for (int kvTile : {16, 64})
      add([&](Config &c) { c.consumers = consumers, c.kvTile = kvTile; });
  for (int cluster : {2, 4})
    for (int kvTile : {32, 64})
      add([&](Config &c) { c.cluster = cluster, c.kvTile = kvTile; });
  for (int parts : {1, 4, 32})
    add([&](Config &c) { c.split = SplitPolicy::Fixed, c.fixedSplits = parts; });
  add([](Config &c) { c.split = SplitPolicy::Whole; });
  return accepted;
}

static std::vector<Case> configCases() {
  std::vector<Case> cases;
  const std::vector<int> lengths = {65, 0, 1, 130, 300};
  auto add = [&](const char *name, const reference::AttentionShape &shape,
                 reference::AttentionProblemOptions options) {
    options.seed = std::random_device()();
    for (const Config &config : variations(problemOf(shape)))
      cases.push_back({fmt::format("{}__{}", name, nameOf(config)), {name, shape, lengths, options}, config});
  };
  add("heads_16", {}, {});
  add("heads_128", {.heads = 128}, {});
  add("heads_128_queries_2", {.heads = 128, .queryTokens = 2}, {});
  add("heads_5_page_16_strided", {.heads = 5, .page = 16}, {.stridedCache = true});
  add("dims_288_256_page_256", {.heads = 40, .keyDim = 288, .valueDim = 256, .page = 256}, {});
  // Values that do not divide among two consumers.
  add("dims_64_64", {.heads = 8, .keyDim = 64, .valueDim = 64}, {});
  add("dims_320_320", {.heads = 8, .keyDim = 320, .valueDim = 320}, {.stridedOutputs = true});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Table, Emulated, testing::ValuesIn(tableCases()), caseName);
INSTANTIATE_TEST_SUITE_P(Configs, Emulated, testing::ValuesIn(configCases()), caseName);

TEST(EmulatedRandom, ShapesAndConfigurationsMatch) {
  const unsigned seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  auto below = [&](int bound) { return int(random() % unsigned(bound)); };
  for (int round = 0; round < 24; ++round) {
    Case entry;
    entry.shape.shape = {.heads = 1 + below(128),
                         .queryTokens = 1 + below(3),
                         .keyDim = 16 * (1 + below(36)),
                         .page = 16 << below(5),
                         .causal = below(2) == 0};
    entry.shape.shape.valueDim = 16 * (1 + below(std::min(entry.shape.shape.keyDim / 16, 32)));
    for (int i = below(6); i >= 0; --i)
      entry.shape.lengths.push_back(below(3) == 0 ? below(4) : below(300));
    entry.shape.options = {.seed = random(), .stridedCache = below(2) == 0, .stridedOutputs = below(2) == 0};
    std::vector<Config> legal;
    const codegen::AttentionProblem problem = problemOf(entry.shape.shape);
    for (const Config &config : codegen::enumerateConfigs(problem))
      if (codegen::check(problem, config, {}))
        legal.push_back(config);
    ASSERT_FALSE(legal.empty());
    entry.config = legal[size_t(below(int(legal.size())))];
    const reference::AttentionShape &s = entry.shape.shape;
    entry.name =
        fmt::format("seed {} round {}: heads {} queries {} key {} value {} page {} causal {} {}", seed, round,
                    s.heads, s.queryTokens, s.keyDim, s.valueDim, s.page, s.causal, entry.config.str());
    expectRight(entry, {.smCount = 1 + below(6), .seed = random()});
    if (HasFailure())
      return;
  }
}
