#include "FakeDevice.h"

#include "lathe/runtime/Planner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

using namespace lathe;
using namespace lathe::runtime;
using namespace lathe::runtime::test;

static Manifest withPolicy(Split policy, int fixedSplits = 1) {
  Manifest manifest = exampleManifest();
  manifest.splitPolicy = static_cast<int>(policy);
  manifest.fixedSplits = fixedSplits;
  return manifest;
}

TEST(PlannerTest, BoundsOfEachPolicy) {
  PlanLayout balanced = layoutPlan(withPolicy(Split::Balanced), 100, 132);
  EXPECT_EQ(balanced.maxItems, 232);
  EXPECT_EQ(balanced.maxSlots, 264);
  PlanLayout whole = layoutPlan(withPolicy(Split::Whole), 100, 132);
  EXPECT_EQ(whole.maxItems, 100);
  EXPECT_EQ(whole.maxSlots, 0);
  PlanLayout fixed = layoutPlan(withPolicy(Split::Fixed, 7), 100, 132);
  EXPECT_EQ(fixed.maxItems, 700);
  EXPECT_EQ(fixed.maxSlots, 700);
  EXPECT_EQ(splitBound(withPolicy(Split::Balanced), 100, 132), 100);
  EXPECT_EQ(splitBound(withPolicy(Split::Balanced), 200, 132), 132);
  EXPECT_EQ(splitBound(withPolicy(Split::Whole), 100, 132), 0);
  EXPECT_EQ(splitBound(withPolicy(Split::Fixed, 7), 200, 132), 200);
}

TEST(PlannerTest, PartsDoNotOverlap) {
  uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 200; ++round) {
    Manifest manifest = withPolicy(static_cast<Split>(random() % 3), 1 + random() % 9);
    manifest.rowBlocks = 1 + random() % 4;
    size_t maxBatch = 1 + random() % 300, workers = 1 + random() % 200;
    PlanLayout layout = layoutPlan(manifest, maxBatch, workers);
    size_t rows = layout.maxSlots * manifest.rowBlocks * 64, splits = splitBound(manifest, maxBatch, workers);
    std::vector<std::pair<size_t, size_t>> parts = {{layout.items, 32 * layout.maxItems},
                                                    {layout.workerBegin, 4 * (workers + 1)},
                                                    {layout.splits, 16 * splits},
                                                    {layout.partialLse, 4 * rows},
                                                    {layout.partialOut, 2 * rows * 512}};
    std::sort(parts.begin(), parts.end());
    for (size_t i = 0; i < parts.size(); ++i) {
      EXPECT_EQ(parts[i].first % 256, 0u);
      size_t end = i + 1 < parts.size() ? parts[i + 1].first : layout.bytes;
      EXPECT_LE(parts[i].first + parts[i].second, end);
    }
  }
}

TEST(PlannerTest, WorkersFillTheGpuOnce) {
  Manifest manifest = exampleManifest();
  for (auto [rowBlocks, workers] : {std::pair(1, 132), {2, 66}, {4, 33}, {5, 26}, {200, 1}}) {
    manifest.rowBlocks = rowBlocks;
    EXPECT_EQ(defaultWorkers(manifest, 132), workers);
  }
  manifest.rowBlocks = 8;
  EXPECT_EQ(defaultWorkers(manifest, int64_t(30) * 4), 15) << "two clusters of four each";
}

TEST(PlannerTest, TooManyItemsAreRefused) {
  EXPECT_NE(messageOf<UserError>([] { layoutPlan(withPolicy(Split::Fixed, 1 << 20), 1 << 20, 1); }), "");
}
