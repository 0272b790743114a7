//===- CostModelTest.cpp - The model's shape, the machines, the space ---------------------------------===//
//
// A cost model is not tested for its figures but for what must hold: bounds, monotonicity, conservation of
// work, the preferences between split policies that everybody expects; and the book-keeping of the search
// space.
//
//===--------------------------------------------------------------------------------------------------===//
#include "TestFiles.h"

#include "lathe/autotuner/CostModel.h"
#include "lathe/autotuner/SearchSpace.h"

#include <numeric>
#include <random>

using namespace lathe;
using namespace lathe::autotuner;
using namespace lathe::test;
using codegen::Config;
using codegen::SplitPolicy;

static codegen::AttentionProblem mla(int heads) {
  return {.name = "mla", .heads = heads, .queryTokens = 1, .keyDim = 576, .valueDim = 512, .page = 64};
}

static const Machine &h100() { return machineByName("h100-sxm"); }

static std::vector<Config> legalConfigs(int heads) {
  return buildSearchSpace(mla(heads), h100().target()).legal;
}

TEST(CostModel, NeverBelowTheMemoryLimit) {
  for (const Config &config : legalConfigs(16)) {
    const Estimate result = estimate(mla(16), config, std::vector<int>(128, 4096), h100());
    EXPECT_EQ(result.bytes, int64_t(128) * 4096 * 1152);
    EXPECT_GE(result.totalUs, result.bytes / (h100().readGBs * 1e3)) << config.str();
  }
}

TEST(CostModel, MoreTokensTakeMoreTime) {
  for (const Config &config : legalConfigs(16)) {
    double before = 0;
    for (int tokens : {64, 1024, 4096, 16384, 65536}) {
      const double us = estimate(mla(16), config, std::vector<int>(64, tokens), h100()).totalUs;
      EXPECT_GT(us, before) << config.str() << " tokens " << tokens;
      before = us;
    }
  }
}

TEST(CostModel, LargerBatchesAndMoreHeadsTakeNoLessTime) {
  const Config config = codegen::defaultConfig(mla(16), h100().target());
  double before = 0;
  for (int batch : {1, 8, 64, 256, 1024}) {
    const double us = estimate(mla(16), config, std::vector<int>(size_t(batch), 4096), h100()).totalUs;
    EXPECT_GT(us, before);
    before = us;
  }
  EXPECT_GT(estimate(mla(128), config, std::vector<int>(64, 4096), h100()).totalUs,
            estimate(mla(64), config, std::vector<int>(64, 4096), h100()).totalUs);
}

TEST(CostModel, FasterMachineIsFaster) {
  const Config config = codegen::defaultConfig(mla(16), h100().target());
  const std::vector<int> lengths(256, 8192);
  EXPECT_LT(estimate(mla(16), config, lengths, machineByName("h200")).totalUs,
            estimate(mla(16), config, lengths, h100()).totalUs);
  EXPECT_GT(estimate(mla(16), config, lengths, machineByName("h100-pcie")).totalUs,
            estimate(mla(16), config, lengths, h100()).totalUs);
}

TEST(CostModel, DivisionConservesWork) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 200; ++round) {
    std::vector<int> lengths(1 + random() % 100);
    for (int &length : lengths)
      length = random() % 4 ? int(random() % 5000) : int(random() % 2);
    for (Config config : {Config{.split = SplitPolicy::Balanced}, Config{.split = SplitPolicy::Whole},
                          Config{.split = SplitPolicy::Fixed, .fixedSplits = 8},
                          Config{.split = SplitPolicy::Fixed, .fixedSplits = 8, .partTokens = 256}}) {
      config.kvTile = 32;
      const int workers = 1 + int(random() % 140);
      const WorkDivision division = divide(config, lengths, workers);
      int64_t expected = 0, sequences = 0;
      for (int length : lengths) {
        expected += (length + 63) / 64 * 2; // Units of two tiles, one a consumer.
        sequences += length > 0;
      }
      const int64_t items = std::accumulate(division.items.begin(), division.items.end(), int64_t(0));
      ASSERT_EQ(std::accumulate(division.tiles.begin(), division.tiles.end(), int64_t(0)), expected);
      ASSERT_EQ(division.tiles.size(), size_t(workers));
      EXPECT_GE(items, sequences);
      if (config.split == SplitPolicy::Whole) {
        EXPECT_EQ(items, sequences);
        EXPECT_EQ(division.partials, 0);
      }
      if (config.split == SplitPolicy::Balanced) {
        EXPECT_LE(items, sequences + workers);
      }
    }
  }
}

TEST(CostModel, DividesAsThePlanKernelDoes) {
  Config config{.kvTile = 32,
                .consumers = 2}; // Units of 64 tokens; the line of costs is 1+10, 1+1, 1+1, 1+1 long.
  const std::vector<int> lengths{640, 64, 64, 64};
  config.split = SplitPolicy::Balanced; // Whole, and the last worker gets the fourth, too.
  EXPECT_EQ(divide(config, lengths, 3).tiles, (std::vector<int64_t>{20, 2, 4}));
  EXPECT_EQ(divide(config, lengths, 3).items, (std::vector<int>{1, 1, 2}));
  EXPECT_EQ(divide(config, lengths, 3).partials, 0);
  // With 28 units in the first it is cut in three, and the parts are dealt.
  EXPECT_EQ(divide(config, {28 * 64, 64, 64, 64}, 3).tiles, (std::vector<int64_t>{22, 20, 20}));
  EXPECT_EQ(divide(config, {28 * 64, 64, 64, 64}, 3).partials, 3);
  // With two workers more than sequences one item each, in parts of at most four units.
  EXPECT_EQ(divide(config, lengths, 6).tiles, (std::vector<int64_t>{8, 6, 6, 2, 2, 2}));
  EXPECT_EQ(divide(config, lengths, 6).partials, 3);
  config.split = SplitPolicy::Whole; // Starts 0, 11, 13, 15.
  EXPECT_EQ(divide(config, lengths, 3).tiles, (std::vector<int64_t>{20, 2, 4}));
  config.split = SplitPolicy::Fixed, config.fixedSplits = 2; // Items of 5, 5, 1, 1, 1 units.
  EXPECT_EQ(divide(config, lengths, 3).tiles, (std::vector<int64_t>{10, 10, 6}));
}

TEST(CostModel, OneLongSequenceWantsSplitting) {
  Config whole = codegen::defaultConfig(mla(16), h100().target()), balanced = whole;
  whole.split = SplitPolicy::Whole;
  const std::vector<int> lengths{131072};
  EXPECT_LT(10 * estimate(mla(16), balanced, lengths, h100()).totalUs,
            estimate(mla(16), whole, lengths, h100()).totalUs);
}

TEST(CostModel, FullUniformBatchWantsWholeSequences) {
  Config whole = codegen::defaultConfig(mla(16), h100().target()), balanced = whole;
  whole.split = SplitPolicy::Whole;
  const std::vector<int> lengths(132,
                                 1024); // One sequence an SM: splitting gains nothing and costs a combine.
  EXPECT_LE(estimate(mla(16), whole, lengths, h100()).totalUs,
            estimate(mla(16), balanced, lengths, h100()).totalUs);
}

TEST(CostModel, EmptyBatchTakesTheFixedCost) {
  const Config config = codegen::defaultConfig(mla(16), h100().target());
  for (const std::vector<int> &lengths : {std::vector<int>{}, std::vector<int>(8, 0)}) {
    const Estimate result = estimate(mla(16), config, lengths, h100());
    EXPECT_EQ(result.items, 0);
    EXPECT_DOUBLE_EQ(result.totalUs, result.fixedUs);
  }
}

TEST(CostModel, MulticastSavesL2Traffic) {
  Config one = codegen::defaultConfig(mla(128), h100().target()), two = one;
  two.cluster = 2;
  const std::vector<int> lengths(64, 4096);
  EXPECT_DOUBLE_EQ(estimate(mla(128), one, lengths, h100()).l2Us,
                   2 * estimate(mla(128), two, lengths, h100()).l2Us);
}

/// Measured on an H200 by `lathe tune`: 14.3 µs with two stages, 18.4 with one.
TEST(CostModel, OneStageCannotBeFilledWhileItIsUsed) {
  Config config = codegen::defaultConfig(mla(16), machineByName("h200").target());
  ASSERT_TRUE(config.swapOperands && config.stages == 2) << config.str();
  const auto us = [&] {
    return estimate(mla(16), config, std::vector<int>(8, 4096), machineByName("h200")).totalUs;
  };
  const double two = us();
  config.stages = 1;
  EXPECT_NEAR(us() - two, 18.4 - 14.3, 1.5);
}

TEST(Machines, ByNameAndByDevice) {
  EXPECT_EQ(machineForDevice("NVIDIA H100 80GB HBM3", 132).name, "h100-sxm");
  EXPECT_EQ(machineForDevice("NVIDIA H100 PCIe", 114).name, "h100-pcie");
  EXPECT_EQ(machineForDevice("NVIDIA H200", 132).name, "h200");
  EXPECT_EQ(machineForDevice("NVIDIA H20", 78).name, "h20");
  EXPECT_EQ(machineForDevice("NVIDIA GH200 480GB", 132).name, "gh200");
  EXPECT_EQ(machineForDevice("Something else", 66).smCount, 66);
  EXPECT_HAS(userError([] { machineByName("a100"); }), "h100-sxm");
  for (const Machine &machine : machines())
    EXPECT_FALSE(machine.source.empty()) << machine.name;
}

TEST(SearchSpace, CountsEveryRejectionOnce) {
  const SearchSpace space = buildSearchSpace(mla(16), h100().target());
  size_t rejected = 0;
  for (const Rejections &entry : space.rejections) {
    rejected += size_t(entry.count);
    EXPECT_EQ(entry.count > 0, !entry.example.empty()) << entry.constraint;
  }
  EXPECT_EQ(space.enumerated, space.legal.size() + rejected);
  EXPECT_EQ(space.enumerated, codegen::enumerateConfigs(mla(16)).size());
  EXPECT_GT(rejected, 0u);
  for (const Config &config : space.legal)
    EXPECT_TRUE(check(mla(16), config, h100().target()));
  EXPECT_HAS(space.explain(), "shared_memory");
  EXPECT_EQ(nlohmann::json(space)["legal"], space.legal.size());
}

TEST(SearchSpace, BatchInvariantLeavesOutWhatDependsOnTheBatch) {
  const SearchSpace all = buildSearchSpace(mla(16), h100().target()),
                    invariant = buildSearchSpace(mla(16), h100().target(), /*batchInvariant=*/true);
  EXPECT_TRUE(std::all_of(invariant.legal.begin(), invariant.legal.end(), codegen::batchInvariant));
  EXPECT_TRUE(codegen::batchInvariant(invariant.fallback));
  EXPECT_EQ(invariant.rejections.back().constraint, "batch_invariant");
  EXPECT_EQ(invariant.legal.size() + size_t(invariant.rejections.back().count), all.legal.size());
}

TEST(SearchSpace, SmallerMachineRemovesMore) {
  codegen::Target small = h100().target();
  small.sharedBytesPerCta = 180000;
  auto sharedMemory = [](const SearchSpace &space) {
    for (const Rejections &entry : space.rejections)
      if (entry.constraint == "shared_memory")
        return entry.count;
    return -1;
  };
  EXPECT_GT(sharedMemory(buildSearchSpace(mla(16), small)),
            sharedMemory(buildSearchSpace(mla(16), h100().target())));
}

TEST(SearchSpace, ImpossibleProblemIsAnError) {
  codegen::AttentionProblem problem = mla(16);
  problem.page = 24;
  EXPECT_HAS(userError([&] { buildSearchSpace(problem, h100().target()); }), "24");
}
