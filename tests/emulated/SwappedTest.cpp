// Query rows on the columns of the scores, in every number of rows a CTA: right, and no finding.
#include "Correctness.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <random>

using namespace lathe;
using namespace lathe::emulatedtest;
using codegen::Config;
using codegen::DependentLaunch;
using codegen::SplitPolicy;
using reference::AttentionShape;

static Config swapped(int rowsPerCta, int stages, DependentLaunch launch = DependentLaunch::Off,
                      bool prefetch = false, bool cacheAhead = false) {
  return {.kvTile = 64,
          .rowsPerCta = rowsPerCta,
          .stages = stages,
          .consumers = 1,
          .swapOperands = true,
          .prefetch = prefetch && launch != DependentLaunch::Off,
          .cacheAhead = cacheAhead && launch != DependentLaunch::Off,
          .dependentLaunch = launch};
}

static const char *nameOf(DependentLaunch launch) {
  return launch == DependentLaunch::Off ? "off" : launch == DependentLaunch::Early ? "early" : "late";
}

static Case caseOf(const AttentionShape &shape, const std::vector<int> &lengths, const Config &config,
                   reference::AttentionProblemOptions options = {}) {
  options.seed = std::random_device()();
  const std::string name = fmt::format(
      "heads{}_queries{}_key{}_value{}_page{}{}__rows{}_stages{}_{}{}{}", shape.heads, shape.queryTokens,
      shape.keyDim, shape.valueDim, shape.page, shape.causal ? "" : "_full", config.rowsPerCta, config.stages,
      nameOf(config.dependentLaunch), config.prefetch ? "_prefetch" : "", config.cacheAhead ? "_ahead" : "");
  return {name, {name, shape, lengths, options}, config};
}

/// Every number of heads with every number of rows a CTA, so that rows fill one block, end in one, or take
/// up to six; query tokens, pages, launches and lengths take turns.
static std::vector<Case> rowCases() {
  const std::vector<std::vector<int>> lengths = {{63, 0, 257}, {64, 1},      {65, 2, 0, 190}, {320, 63},
                                                 {1, 129},     {0, 127, 65}, {200, 64, 1}};
  std::vector<Case> cases;
  size_t turn = 0;
  for (int heads : {1, 5, 8, 16, 20, 24, 32, 33, 48})
    for (int rows : {8, 16, 24, 32}) {
      const AttentionShape shape{.heads = heads,
                                 .queryTokens = 1 + int(turn % 2),
                                 .keyDim = turn % 3 ? 192 : 576,
                                 .valueDim = turn % 3 ? 128 : 512,
                                 .page = std::array{16, 64, 128}[turn / 2 % 3],
                                 .causal = turn % 5 != 0};
      const auto launch = std::array{DependentLaunch::Off, DependentLaunch::Early,
                                     DependentLaunch::Late}[(turn / 3 + turn) % 3];
      cases.push_back(caseOf(shape, lengths[turn % lengths.size()],
                             swapped(rows, 2, launch, turn / 4 % 2 == 0, turn / 2 % 2 == 0)));
      ++turn;
    }
  return cases;
}

/// The shape of DeepSeek's models with all lengths at once, and every other axis at its ends.
static std::vector<Case> axisCases() {
  const std::vector<int> lengths = {65, 0, 1, 63, 64, 300};
  std::vector<Case> cases;
  for (int page : {16, 64, 128})
    for (int queries : {1, 2})
      cases.push_back(caseOf({.queryTokens = queries, .page = page}, lengths, swapped(16 * queries, 2)));
  for (DependentLaunch launch : {DependentLaunch::Early, DependentLaunch::Late})
    cases.push_back(
        caseOf({.heads = 20}, lengths, swapped(24, 2, launch, true, true), {.stridedOutputs = true}));
  cases.push_back(caseOf({.heads = 5, .page = 32}, lengths, swapped(8, 1), {.stridedCache = true}));
  for (int stages : {1, 3, 6})
    cases.push_back(caseOf({.heads = 8, .keyDim = 128, .valueDim = 64}, lengths, swapped(8, stages)));
  return cases;
}

/// Boxes that are not full, values of one box and of all, numbers of boxes that no three groups share.
static std::vector<Case> dimensionCases() {
  const std::vector<int> lengths = {130, 0, 63};
  std::vector<Case> cases;
  const std::pair<int, int> dimensions[] = {{16, 16},   {64, 48},   {80, 80},   {128, 16},  {192, 192},
                                            {272, 208}, {320, 320}, {368, 256}, {512, 512}, {560, 496}};
  int rows = 8;
  for (auto [key, value] : dimensions) {
    cases.push_back(caseOf({.heads = 11, .keyDim = key, .valueDim = value}, lengths, swapped(rows, 2),
                           {.stridedCache = true, .stridedQuery = true, .stridedOutputs = true}));
    rows = rows % 32 + 8;
  }
  return cases;
}

static std::vector<Case> splitCases() {
  std::vector<Case> cases;
  for (int parts : {0, 2, 4, 32}) {
    Config config = swapped(16, 2);
    config.split = parts == 0 ? SplitPolicy::Whole : SplitPolicy::Fixed;
    config.fixedSplits = std::max(parts, 1);
    cases.push_back(caseOf({.heads = 24, .keyDim = 128, .valueDim = 128}, {65, 0, 1, 300}, config));
    cases.back().name += fmt::format("_parts{}", parts);
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(SwappedRows, Emulated, testing::ValuesIn(rowCases()), caseName);
INSTANTIATE_TEST_SUITE_P(SwappedAxes, Emulated, testing::ValuesIn(axisCases()), caseName);
INSTANTIATE_TEST_SUITE_P(SwappedDimensions, Emulated, testing::ValuesIn(dimensionCases()), caseName);
INSTANTIATE_TEST_SUITE_P(SwappedSplits, Emulated, testing::ValuesIn(splitCases()), caseName);

/// Any legal problem and configuration of this form.
TEST(SwappedRandom, ShapesAndConfigurationsMatch) {
  const unsigned seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  auto below = [&](int bound) { return int(random() % unsigned(bound)); };
  for (int round = 0; round < 40; ++round) {
    AttentionShape shape{.heads = 1 + below(64),
                         .queryTokens = 1 + below(3),
                         .keyDim = 16 * (1 + below(36)),
                         .page = 16 << below(5),
                         .causal = below(2) == 0};
    shape.valueDim = 16 * (1 + below(std::min(shape.keyDim / 16, 32)));
    Config config =
        swapped(8 * (1 + below(4)), 1 + below(4), DependentLaunch(below(3)), below(2) == 0, below(2) == 0);
    while (!codegen::check(problemOf(shape), config, {}) && config.stages > 1)
      --config.stages;
    std::vector<int> lengths;
    for (int i = below(5); i >= 0; --i)
      lengths.push_back(below(3) == 0 ? 60 + below(8) : below(300));
    Case entry = caseOf(shape, lengths, config, {.stridedCache = below(2) == 0});
    entry.shape.options.seed = random();
    entry.name += fmt::format(", seed {} round {}", seed, round);
    expectRight(entry, {.smCount = 1 + below(6), .seed = random()});
    if (HasFailure())
      return;
  }
}
