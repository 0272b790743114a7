// Two consumers in turns over two KV tiles, in every shape they serve: right, and no finding.
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

static Config seesaw(bool prefetch) {
  return {.kvTile = 64, .stages = 2, .seesaw = true, .prefetch = prefetch};
}

static Config withSplit(Config config, int parts) { // 0: whole.
  config.split = parts == 0 ? SplitPolicy::Whole : SplitPolicy::Fixed;
  config.fixedSplits = std::max(parts, 1);
  return config;
}

/// Without the prefetch where pages are too small for it, or one CTA reads a tile: there, under a dependent
/// launch, with tokens ahead.
static Case caseOf(const AttentionShape &shape, const std::vector<int> &lengths, Config config,
                   reference::AttentionProblemOptions options = {}) {
  options.seed = std::random_device()();
  config.prefetch = config.prefetch && shape.page >= 64 && shape.heads * shape.queryTokens > 64;
  config.cacheAhead = shape.heads * shape.queryTokens <= 64 && config.dependentLaunch != DependentLaunch::Off;
  std::string name =
      fmt::format("heads{}_queries{}_key{}_value{}_page{}{}__cluster{}_split{}{}_launch{}{}{}{}", shape.heads,
                  shape.queryTokens, shape.keyDim, shape.valueDim, shape.page, shape.causal ? "" : "_full",
                  config.cluster, int(config.split), config.fixedSplits, int(config.dependentLaunch),
                  config.prefetch ? "_prefetch" : "", config.cacheAhead ? "_ahead" : "",
                  options.stridedCache ? "_strided" : "");
  return {name, {name, shape, lengths, options}, config};
}

static constexpr std::array<std::pair<int, int>, 6> dimensions{
    {{576, 512}, {512, 512}, {288, 256}, {128, 128}, {560, 512}, {256, 128}}};

/// Every number of heads with every number of query tokens; dimensions, pages, splits and launches take
/// turns. Lengths give items of a unit without tokens, of one, two, three and more.
static std::vector<Case> shapeCases() {
  const std::vector<std::vector<int>> lengths = {{129, 0, 300}, {1, 64, 257}, {63, 400},    {127, 128, 129},
                                                 {65, 0, 256},  {385, 1},     {64, 65, 193}};
  std::vector<Case> cases;
  size_t turn = 0;
  for (int queries : {1, 2, 4})
    for (int heads : {33, 40, 64, 100, 128}) {
      const auto [key, value] = dimensions[turn % dimensions.size()];
      const AttentionShape shape{.heads = heads,
                                 .queryTokens = queries,
                                 .keyDim = key,
                                 .valueDim = value,
                                 .page = std::array{16, 64, 128, 256}[turn % 4]};
      for (bool prefetch : {false, true}) {
        if (prefetch && (shape.page < 64 || heads * queries <= 64))
          continue;
        Config config = seesaw(prefetch);
        if (turn % 3 != 1)
          config = withSplit(config, turn % 3 == 0 ? 0 : std::array{2, 4}[turn / 3 % 2]);
        if (turn % 3 != 0)
          config.dependentLaunch = DependentLaunch((turn / 2 + 1) % 3);
        cases.push_back(
            caseOf(shape, lengths[turn % lengths.size()], config, {.stridedCache = turn % 4 == 2}));
      }
      ++turn;
    }
  return cases;
}

/// Every pair of dimensions with every page, on one block of rows or two; every other pair of the large ones.
static std::vector<Case> dimensionCases() {
  std::vector<Case> cases;
  for (size_t pair = 0; pair < dimensions.size(); ++pair)
    for (size_t at = 0; at < 4; ++at) {
      const auto [key, value] = dimensions[pair];
      if (key > 300 && (pair + at) % 2 == 0)
        continue;
      const bool prefetch = at / 2 % 2 == 0;
      const AttentionShape shape{.heads = prefetch ? 72 : 40,
                                 .keyDim = key,
                                 .valueDim = value,
                                 .page = std::array{16, 64, 128, 256}[at],
                                 .causal = (pair + at) % 3 != 0};
      cases.push_back(caseOf(shape, {130, 0, 321}, seesaw(prefetch)));
    }
  return cases;
}

/// One sequence an item: 0, 1, 2, 3 and 6 units, in each of which the last tile is empty, full or ragged; and
/// cut into parts, some of which are empty.
static std::vector<Case> splitCases() {
  std::vector<Case> cases;
  for (int parts : {0, 2, 4, 8, 32})
    for (auto [heads, prefetch] : {std::pair{64, false}, {128, false}, {128, true}})
      cases.push_back(caseOf({.heads = heads, .keyDim = 128, .valueDim = 128},
                             {0, 1, 63, 64, 0, 65, 127, 128, 129, 0, 192, 193, 256, 257, 0, 384, 385, 700},
                             withSplit(seesaw(prefetch), parts)));
  const AttentionShape shape{.heads = 128, .keyDim = 128, .valueDim = 128};
  cases.push_back(caseOf(shape, {1000, 0, 1, 129, 0, 64, 513}, seesaw(true), {.stridedOutputs = true}));
  return cases;
}

/// Two CTAs that share tiles by multicast, each bringing half of every piece of a page; items of no unit,
/// too.
static std::vector<Case> clusterCases() {
  std::vector<Case> cases;
  for (int page : {16, 64, 128, 256})
    for (int queries : {1, 2}) {
      const AttentionShape shape{.heads = page == 64 ? 100 : 128,
                                 .queryTokens = queries,
                                 .keyDim = page == 128 ? 576 : 192,
                                 .valueDim = page == 128 ? 512 : 128,
                                 .page = page};
      Config config = withSplit(seesaw(false), queries == 1 ? 0 : 4);
      config.cluster = 2;
      cases.push_back(caseOf(shape, {129, 0, 65, 1, 300}, config, {.stridedCache = page == 256}));
    }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(SeesawClusters, Emulated, testing::ValuesIn(clusterCases()), caseName);
INSTANTIATE_TEST_SUITE_P(SeesawShapes, Emulated, testing::ValuesIn(shapeCases()), caseName);
INSTANTIATE_TEST_SUITE_P(SeesawDimensions, Emulated, testing::ValuesIn(dimensionCases()), caseName);
INSTANTIATE_TEST_SUITE_P(SeesawSplits, Emulated, testing::ValuesIn(splitCases()), caseName);

/// Any legal problem and configuration of this form.
TEST(SeesawRandom, ShapesAndConfigurationsMatch) {
  const unsigned seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  auto below = [&](int bound) { return int(random() % unsigned(bound)); };
  for (int round = 0; round < 12; ++round) {
    AttentionShape shape{.heads = 1 + below(128),
                         .queryTokens = 1 + below(3),
                         .valueDim = 128 * (1 + below(4)),
                         .page = 16 << below(5),
                         .causal = below(2) == 0};
    shape.keyDim = std::min(shape.valueDim + 16 * below(14), 576);
    std::vector<Config> configs = codegen::enumerateConfigs(problemOf(shape));
    std::erase_if(configs, [&](const Config &config) {
      return !config.seesaw || !codegen::check(problemOf(shape), config, {});
    });
    ASSERT_FALSE(configs.empty()) << shape.keyDim << "/" << shape.valueDim;
    const Config config = configs[random() % configs.size()];
    std::vector<int> lengths;
    for (int i = below(3); i >= 0; --i)
      lengths.push_back(below(3) == 0 ? 126 + below(5) : below(500));
    Case entry = caseOf(shape, lengths, config, {.stridedCache = below(2) == 0});
    entry.shape.options.seed = random();
    entry.name += fmt::format(", {}, seed {} round {}", config.str(), seed, round);
    expectRight(entry, {.smCount = 1 + below(6), .seed = random()});
    if (HasFailure())
      return;
  }
}
