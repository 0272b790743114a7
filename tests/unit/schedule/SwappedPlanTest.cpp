//===- SwappedPlanTest.cpp - Shared memory of the form with operands exchanged -----------------------===//
//
// Plans computed by hand, byte by byte, and what the kernel relies on for a spread of problems: regions
// follow one another, matrices start with the swizzle pattern, Resources count the plan.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/MemoryPlan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

using namespace lathe::codegen;

static MemoryPlan planOf(const AttentionProblem &problem, int rows, int stages) {
  const Config config{
      .kvTile = 64, .rowsPerCta = rows, .stages = stages, .consumers = 1, .swapOperands = true};
  const MemoryPlan plan = memoryPlan(problem, config);
  EXPECT_EQ(resources(problem, config).sharedBytes, plan.sharedBytes);
  EXPECT_EQ(resources(problem, config).mbarriers, plan.mbarriers);
  EXPECT_EQ(resources(problem, config).stageBytes, plan.stageBytes);
  return plan;
}

namespace {
/// Where the regions begin that come one behind the other, and where the last ends.
struct Bytes {
  int ring, probabilities, staging, statistics, barriers, end;
};
} // namespace

static void expectBytes(const MemoryPlan &plan, const Bytes &bytes) {
  EXPECT_EQ(plan.query, 0);
  EXPECT_EQ(plan.ring, bytes.ring);
  EXPECT_EQ(plan.probabilities, bytes.probabilities);
  EXPECT_EQ(plan.staging, bytes.staging);
  EXPECT_EQ(plan.statistics, bytes.statistics);
  EXPECT_EQ(plan.barriers, bytes.barriers);
  EXPECT_EQ(plan.sharedBytes, bytes.end);
}

/// Nine boxes a row, eight of them values. A query is 9 · 128 bytes a row, a stage 9 · 64 · 128; rows take
/// 128 bytes of probabilities, 8 · 128 + 16 of staging, 2 · 4 · 4 of statistics.
static const AttentionProblem mla{.name = "mla", .heads = 16, .keyDim = 576, .valueDim = 512};

TEST(SwappedPlan, EightRows) {
  const MemoryPlan plan = planOf(mla, 8, 2);
  expectBytes(plan,
              {.ring = 2 * 9216,
               .probabilities = 18432 + 2 * 73728,
               .staging = 165888 + 1024,
               .statistics = 166912 + 8320,
               .barriers = 175232 + 256,
               .end = 175488 + 12 * 8}); // Three full and an empty one a stage, two each of two queries.
  EXPECT_EQ(plan.queryBytes, 9216);
  EXPECT_EQ(plan.stageBytes, 73728);
  EXPECT_EQ(plan.probabilityBytes, 1024);
  EXPECT_EQ(plan.loadGroups, 3);
  EXPECT_EQ(plan.queryStages, 2);
  EXPECT_FALSE(plan.probabilitiesInStage);
}

TEST(SwappedPlan, SixteenRows) {
  expectBytes(planOf(mla, 16, 2), {.ring = 2 * 18432,
                                   .probabilities = 36864 + 2 * 73728,
                                   .staging = 184320 + 2048,
                                   .statistics = 186368 + 16640,
                                   .barriers = 203008 + 512,
                                   .end = 203520 + 12 * 8});
}

/// With 24 rows two would fit, but no CTA of the combine beside them.
TEST(SwappedPlan, ManyRowsHaveOneQueryInFlight) {
  expectBytes(planOf(mla, 24, 2), {.ring = 27648,
                                   .probabilities = 27648 + 2 * 73728,
                                   .staging = 175104 + 3072,
                                   .statistics = 178176 + 24960,
                                   .barriers = 203136 + 768,
                                   .end = 203904 + 10 * 8});
  expectBytes(planOf(mla, 32, 2), {.ring = 36864,
                                   .probabilities = 36864 + 2 * 73728,
                                   .staging = 184320 + 4096,
                                   .statistics = 188416 + 33280,
                                   .barriers = 221696 + 1024,
                                   .end = 222720 + 10 * 8});
  for (int rows : {24, 32})
    EXPECT_EQ(planOf(mla, rows, 2).queryStages, 1) << rows;
}

/// Two boxes a row are not loaded in thirds.
TEST(SwappedPlan, NarrowRowsHaveOneFullBarrierAStage) {
  const MemoryPlan plan = planOf({.name = "narrow", .heads = 8, .keyDim = 128, .valueDim = 48}, 8, 3);
  expectBytes(plan, {.ring = 2 * 2048,
                     .probabilities = 4096 + 3 * 16384,
                     .staging = 53248 + 1024,
                     .statistics = 54272 + 8 * (128 + 16),
                     .barriers = 55424 + 256,
                     .end = 55680 + (3 * 2 + 4) * 8});
  EXPECT_EQ(plan.loadGroups, 1);
}

using Visit = std::function<void(const AttentionProblem &, int, int, const MemoryPlan &)>;

static void forEveryPlan(const Visit &visit) {
  for (int keyDim : {16, 48, 64, 80, 128, 192, 272, 288, 320, 384, 512, 528, 576})
    for (int valueDim = 16; valueDim <= std::min(keyDim, 512); valueDim += 16)
      for (int rows : {8, 16, 24, 32})
        for (int stages : {1, 2, 3, 6}) {
          const AttentionProblem problem{.name = "any", .heads = 16, .keyDim = keyDim, .valueDim = valueDim};
          SCOPED_TRACE(testing::Message()
                       << keyDim << "/" << valueDim << ", " << rows << " rows, " << stages << " stages");
          visit(problem, rows, stages, planOf(problem, rows, stages));
          if (testing::Test::HasFailure())
            return; // One is enough to read.
        }
}

TEST(SwappedPlan, RegionsFollowOneAnotherWithinTheTotal) {
  forEveryPlan([](const AttentionProblem &problem, int rows, int stages, const MemoryPlan &plan) {
    const int boxes = (problem.keyDim + 63) / 64, valueBoxes = (problem.valueDim + 63) / 64;
    EXPECT_EQ(plan.ring, plan.queryStages * boxes * rows * 128);
    EXPECT_EQ(plan.probabilities, plan.ring + stages * boxes * 64 * 128);
    EXPECT_EQ(plan.staging, plan.probabilities + rows * 64 * 2);
    EXPECT_EQ(plan.statistics, plan.staging + rows * (valueBoxes * 128 + 16));
    EXPECT_EQ(plan.barriers, plan.statistics + 2 * 4 * rows * 4);
    EXPECT_EQ(plan.mbarriers, stages * (plan.loadGroups + 1) + 2 * plan.queryStages);
    EXPECT_EQ(plan.sharedBytes, plan.barriers + 8 * plan.mbarriers);
  });
}

TEST(SwappedPlan, RegionsStartWhereTheirUsersNeedThem) {
  forEveryPlan([](const AttentionProblem &, int, int, const MemoryPlan &plan) {
    for (int matrix : {plan.query, plan.queryBytes, plan.ring, plan.stageBytes, plan.probabilities})
      EXPECT_EQ(matrix % 1024, 0); // Swizzle patterns.
    EXPECT_EQ(plan.staging % 16, 0);
    EXPECT_EQ(plan.statistics % 16, 0);
    EXPECT_EQ(plan.barriers % 8, 0);
  });
}

/// The next query is loaded ahead wherever a CTA of the combine (8 warps with 258 words each) and the
/// system's 1,024 bytes of it fit, too; groups are whole boxes and all alike.
TEST(SwappedPlan, TwoQueriesWhereTheyFit) {
  forEveryPlan([](const AttentionProblem &, int, int, const MemoryPlan &plan) {
    const int limit = Target().sharedBytesPerCta - 8 * 258 * 4 - 1024;
    if (plan.queryStages == 1) {
      EXPECT_GT(plan.sharedBytes + plan.queryBytes + 2 * 8, limit);
    } else {
      EXPECT_LE(plan.sharedBytes, limit);
    }
    EXPECT_EQ(plan.loadGroups, plan.boxes % 3 == 0 ? 3 : 1);
  });
}
