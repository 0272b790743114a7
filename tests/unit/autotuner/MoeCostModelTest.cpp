//===- MoeCostModelTest.cpp - Workloads of experts and what they are predicted to take ----------------===//
//
// Draws: counts, skew, seeds, what a user types. The model: what must hold of any (bounds, monotonicity, what
// each axis is for), and the order of the forms whose times docs/schedules/moe.md tells.
//
//===--------------------------------------------------------------------------------------------------===//
#include "TestFiles.h"

#include "lathe/autotuner/MoeCostModel.h"
#include "lathe/autotuner/SearchSpace.h"
#include "lathe/autotuner/TuningDb.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

using namespace lathe;
using namespace lathe::autotuner;
using namespace lathe::test;
using codegen::MoeConfig;

static codegen::MoeProblem layer(int shared = 0) {
  codegen::MoeProblem problem;
  problem.name = "moe_ffn";
  problem.topK = 6;
  problem.routedExperts = problem.experts = 64;
  problem.ffn = true;
  problem.hidden = 2048;
  problem.intermediate = 1408;
  problem.halves = 2;
  problem.shared = shared;
  problem.sharedColumns = shared ? 1408 : 0;
  problem.activation = codegen::MoeActivation::SwiGlu;
  return problem;
}

static const Machine &h100() { return machineByName("h100-sxm"); }

static MoeEstimate predict(const MoeConfig &config, int rows, double zipf = 0, int shared = 0) {
  return estimate(layer(shared), config, MoeWorkload(rows, zipf).draw(layer(shared)), h100());
}

static MoeConfig defaultFor(int rows) { return codegen::defaultMoeConfig(layer(), h100().target(), rows); }

TEST(MoeWorkload, CountsAddUpForEveryRouting) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  for (double zipf : {0.0, 0.7, 2.0})
    for (int rows : {1, 64, 1000}) {
      const MoeLoad load = MoeWorkload(rows, zipf, seed).draw(layer());
      EXPECT_EQ(load.counts.size(), 64u);
      EXPECT_EQ(loadStats(load).choices, rows * 6) << rows << " " << zipf;
      EXPECT_LE(loadStats(load).most, rows) << "a row chooses an expert once";
      EXPECT_EQ(load.counts, MoeWorkload(rows, zipf, seed).draw(layer()).counts);
      EXPECT_NE(load.counts, MoeWorkload(rows, zipf, seed + 1).draw(layer()).counts);
    }
}

TEST(MoeWorkload, ZipfIsSkewedAndUniformIsNot) {
  const MoeLoadStats even = loadStats(MoeWorkload(4096).draw(layer())),
                     skewed = loadStats(MoeWorkload(4096, 1).draw(layer()));
  EXPECT_NEAR(double(even.most), 384, 80);
  EXPECT_GT(skewed.most, 2 * even.most);
  const MoeLoadStats one = loadStats(MoeWorkload(1).draw(layer()));
  EXPECT_EQ(one.busyExperts, 6);
  EXPECT_EQ(one.most, 1);
}

TEST(MoeWorkload, ManyRowsAreDrawnInPart) {
  const MoeLoadStats stats = loadStats(MoeWorkload(1'000'000).draw(layer()));
  EXPECT_NEAR(double(stats.choices), 6e6, 100);
  EXPECT_NEAR(double(stats.most), 6e6 / 64, 6e6 / 64 * 0.2);
}

TEST(MoeWorkload, OnlyLocalExpertsHaveRows) {
  codegen::MoeProblem slice = layer();
  slice.experts = 16;
  slice.partial = slice.offset = true;
  const MoeLoad load = MoeWorkload(512).draw(slice);
  EXPECT_EQ(load.counts.size(), 16u);
  EXPECT_NEAR(double(loadStats(load).choices), 512 * 6 / 4.0, 200);
  slice.router = codegen::MoeRouter::Given; // Then all experts that are known are those.
  slice.routedExperts = 0;
  EXPECT_EQ(loadStats(MoeWorkload(512).draw(slice)).choices, 512 * 6);
}

TEST(MoeWorkload, ReadsWhatUsersType) {
  EXPECT_EQ(MoeWorkload::parseRouting("uniform"), 0);
  EXPECT_EQ(MoeWorkload::parseRouting("zipf"), 1);
  EXPECT_EQ(MoeWorkload::parseRouting("zipf(1.25)"), 1.25);
  EXPECT_EQ(MoeWorkload::parseRouting("zipf:0.5"), 0.5);
  for (const char *text : {"", "flat", "zipf()", "zipf(1", "zipf:", "zipf:x", "zipf 1"})
    EXPECT_HAS(userError([&] { MoeWorkload::parseRouting(text); }), "zipf(1.2)");
  EXPECT_HAS(userError([] { MoeWorkload::parseRouting("zipf:-1"); }), "-1");
  EXPECT_HAS(userError([] { MoeWorkload(0); }), "--rows");
  EXPECT_EQ(MoeWorkload(64, 1).str(), "64 rows, zipf(1) routing");
  EXPECT_EQ(MoeWorkload(1).str(), "1 row, uniform routing");
  EXPECT_NE(MoeWorkload(64, 0, 1).json(), MoeWorkload(64, 0, 2).json());
  EXPECT_NE(MoeWorkload(64, 0.5).json(), MoeWorkload(64, 1).json());
}

TEST(MoeWorkload, RangesAreCoveredByLookUps) {
  EXPECT_EQ(parseRows("64"), std::vector{64});
  EXPECT_EQ(parseRows("256,1,16,16"), (std::vector{1, 16, 256}));
  EXPECT_EQ(parseRows("1:4096"), (std::vector{1, 4, 16, 64, 256, 1024, 4096}));
  EXPECT_EQ(parseRows("8:8,1"), (std::vector{1, 8}));
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    const int low = 1 + int(random() % 300), high = low + int(random() % 10000);
    const std::vector<int> rows = parseRows(std::to_string(low) + ":" + std::to_string(high));
    EXPECT_EQ(rows.front(), low);
    EXPECT_EQ(rows.back(), high);
    for (size_t i = 1; i < rows.size(); ++i)
      EXPECT_TRUE(MoeFamily::narrow({rows[i - 1], 0}, {rows[i], 0}, TuningDb::maxRangeFactor))
          << low << ":" << high << " has " << rows[i - 1] << " and " << rows[i];
    EXPECT_LE(rows.size(), size_t(std::ceil(std::log(double(high) / low) / std::log(4.0))) + 2)
        << "no more than are needed";
  }
  for (const char *text : {"", "0", "1,", "a", "4:1", "1:", ":4", "1:2:3", "-3", "10000000", "1 2"})
    userError([&] { parseRows(text); });
}

TEST(MoeCostModel, NeverBelowEitherLimit) {
  for (int rows : {1, 64, 4096}) {
    const MoeLoad load = MoeWorkload(rows).draw(layer());
    for (const MoeConfig &config : buildSearchSpace(layer(), h100().target(), rows).legal) {
      const MoeEstimate result = estimate(layer(), config, load, h100());
      ASSERT_GE(result.totalUs, result.weightBytes / (h100().readGBs * 1e3)) << config.str();
      ASSERT_GE(result.totalUs, result.flops / (h100().matrixTflops * 1e6)) << config.str();
      ASSERT_GE(result.paddedFlops, result.flops);
    }
  }
}

TEST(MoeCostModel, CountsBytesAndOperations) {
  const MoeEstimate one = predict(defaultFor(1), 1);
  EXPECT_DOUBLE_EQ(one.weightBytes, 6 * 3.0 * 2048 * 1408 * 2);
  EXPECT_DOUBLE_EQ(one.flops, 6 * 2 * 3.0 * 2048 * 1408);
  EXPECT_EQ(one.tiles, 6);
  EXPECT_EQ(one.up.items, 6 * 2816 / 64 / defaultFor(1).consumers);
  const MoeEstimate shared = predict(defaultFor(1), 1, 0, 2);
  EXPECT_DOUBLE_EQ(shared.weightBytes, 8 * 3.0 * 2048 * 1408 * 2);
}

TEST(MoeCostModel, MoreRowsTakeNoLessTime) {
  double before = 0;
  for (int rows : {1, 4, 16, 64, 256, 1024, 4096, 16384}) {
    const double us = predict(defaultFor(rows), rows).totalUs;
    EXPECT_GT(us, before) << rows;
    before = us;
  }
  EXPECT_LT(predict(defaultFor(4096), 4096).totalUs,
            estimate(layer(), defaultFor(4096), MoeWorkload(4096).draw(layer()), machineByName("h100-pcie"))
                .totalUs);
}

TEST(MoeCostModel, PaddingCosts) {
  MoeConfig narrow = defaultFor(4096), wide = narrow;
  narrow.widths = wide.widths = 1;
  narrow.tokenTile = 208; // Two hold the 384 rows of an expert and their spread.
  wide.tokenTile = 256;
  EXPECT_LT(predict(narrow, 4096).totalUs, predict(wide, 4096).totalUs);
  EXPECT_LT(predict(narrow, 4096).paddedFlops, predict(wide, 4096).paddedFlops);
}

TEST(MoeCostModel, SeveralWidthsPadLess) {
  MoeConfig one = defaultFor(4096), several = one;
  one.tokenTile = several.tokenTile = 256;
  one.widths = 1;
  several.widths = 8;
  EXPECT_LT(predict(several, 4096).paddedFlops, predict(one, 4096).paddedFlops);
  EXPECT_EQ(predict(several, 4096).tiles, predict(one, 4096).tiles);
}

/// Of 64 experts' rows at most one unit each is not full, however many tiles they have.
TEST(MoeCostModel, PartsButTheLastFillTheirWidths) {
  const MoeConfig config = defaultFor(4096);
  ASSERT_EQ(config.widths, 8);
  const MoeEstimate estimate = predict(config, 4096);
  EXPECT_GE(estimate.tiles, 2 * 64);
  EXPECT_LE(estimate.paddedFlops - estimate.flops,
            64.0 * (codegen::moeWidthStep - 1) * estimate.flops / (4096 * 6));
}

/// Items of unequal rows, given to CTAs in turns, leave some with more than others.
TEST(MoeCostModel, UnevenItemsAreBetterGivenOut) {
  MoeConfig dynamic = defaultFor(4096), fixed = dynamic;
  dynamic.dynamic = true;
  fixed.dynamic = false;
  EXPECT_LT(predict(dynamic, 4096).up.busiestUs, predict(fixed, 4096).up.busiestUs);
  EXPECT_EQ(predict(dynamic, 4096).up.items, predict(fixed, 4096).up.items);
}

/// The order of forms that docs/schedules/moe.md tells of an H100, whose times were taken with zeros as
/// weights; with few rows, where these draw no less power, also the time.
TEST(MoeCostModel, KnowsTheMeasuredForms) {
  const MoeConfig one{.tokenTile = 256, .consumers = 1, .stages = 2, .evictFirst = false},
      two{.tokenTile = 256, .consumers = 2, .stages = 2, .evictFirst = false},
      less{.tokenTile = 208, .consumers = 2, .stages = 2, .evictFirst = false},
      again{.tokenTile = 208, .consumers = 2, .stages = 2, .evictFirst = true},
      few{.tokenTile = 8, .consumers = 1, .stages = 10, .ctasPerSm = 1};
  EXPECT_NEAR(predict(few, 1).totalUs / 39.1, 1, 0.1);
  EXPECT_GT(predict(one, 4096).totalUs, predict(two, 4096).totalUs);
  EXPECT_GT(predict(two, 4096).totalUs, predict(again, 4096).totalUs);
  EXPECT_GT(predict(again, 4096).totalUs, predict(less, 4096).totalUs);
}

/// Copying rows costs little beside what many tiles gain by it, and too much where weights are the limit.
TEST(MoeCostModel, PermutingHelpsWhereProductsAreTheLimit) {
  for (auto [rows, helps] : {std::pair{4096, true}, {256, false}}) {
    MoeConfig gathered = defaultFor(rows), together = gathered;
    gathered.permute = false;
    together.permute = true;
    EXPECT_EQ(predict(together, rows).totalUs < predict(gathered, rows).totalUs, helps) << rows;
    EXPECT_GT(predict(together, rows).permuteUs, 0);
  }
}

TEST(MoeCostModel, SharedRowsAreBroughtOnce) {
  MoeConfig alone = defaultFor(4096), pair = alone;
  pair.permute = alone.permute = true;
  pair.cluster = 2;
  EXPECT_LE(predict(pair, 4096).up.busiestUs, predict(alone, 4096).up.busiestUs);
}

TEST(MoeCostModel, EvictionHelpsWhereWeightsAreReadOnce) {
  MoeConfig first = defaultFor(64), stay = first;
  first.evictFirst = true;
  stay.evictFirst = false;
  EXPECT_LT(predict(first, 64).totalUs, predict(stay, 64).totalUs);
}

TEST(MoeCostModel, DeeperRingsHelpAndPaddingCostsWhereMemoryIsTheLimit) {
  MoeConfig deep = defaultFor(64);
  deep.depthTile = 128, deep.ctasPerSm = 2;
  MoeConfig flat = deep, wide = deep;
  deep.stages = 5;
  flat.stages = 2;
  EXPECT_LT(predict(deep, 64).totalUs, predict(flat, 64).totalUs);
  wide.tokenTile = 48;
  wide.stages = deep.stages = 3;
  EXPECT_LT(predict(deep, 64).totalUs, predict(wide, 64).totalUs);
}

TEST(MoeCostModel, DependentLaunchHelps) {
  MoeConfig early = defaultFor(64), off = early;
  early.dependentLaunch = codegen::DependentLaunch::Early;
  off.dependentLaunch = codegen::DependentLaunch::Off;
  EXPECT_LT(predict(early, 64).totalUs, predict(off, 64).totalUs);
}
