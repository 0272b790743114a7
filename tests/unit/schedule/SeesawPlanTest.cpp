//===- SeesawPlanTest.cpp - Shared memory of the form with two consumers in turns --------------------===//
//
// Plans computed by hand, byte by byte, and what the kernel relies on for every problem it serves: regions
// follow one another, matrices start with the swizzle pattern, parts are whole boxes, Resources count the
// plan, and all of it fits.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/MemoryPlan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

using namespace lathe::codegen;

static const Config seesaw{.kvTile = 64, .stages = 2, .consumers = 2, .seesaw = true};

static MemoryPlan planOf(const AttentionProblem &problem) {
  const MemoryPlan plan = memoryPlan(problem, seesaw);
  EXPECT_EQ(resources(problem, seesaw).sharedBytes, plan.sharedBytes);
  EXPECT_EQ(resources(problem, seesaw).mbarriers, plan.mbarriers);
  EXPECT_EQ(resources(problem, seesaw).stageBytes, plan.stageBytes);
  return plan;
}

namespace {
/// Where the regions begin that come one behind the other, and where the last ends.
struct Bytes {
  int ring, probabilities, statistics, barriers, end;
};
} // namespace

static void expectBytes(const MemoryPlan &plan, const Bytes &bytes) {
  EXPECT_EQ(plan.query, 0);
  EXPECT_EQ(plan.ring, bytes.ring);
  EXPECT_EQ(plan.probabilities, bytes.probabilities);
  EXPECT_EQ(plan.statistics, bytes.statistics);
  EXPECT_EQ(plan.barriers, bytes.barriers);
  EXPECT_EQ(plan.sharedBytes, bytes.end);
}

/// Nine boxes of 64 rows of 128 bytes for the query and each tile, eight of them values: a part a side and
/// the ninth box, which holds the probabilities of the second tile.
TEST(SeesawPlan, DeepSeek) {
  const MemoryPlan plan = planOf({.name = "mla", .heads = 64, .keyDim = 576, .valueDim = 512});
  expectBytes(plan, {.ring = 73728,
                     .probabilities = 73728 + 2 * 73728,
                     .statistics = 221184 + 8192,
                     .barriers = 229376 + 6 * 256,
                     .end = 230912 + (2 + 2 * (9 + 3)) * 8});
  EXPECT_EQ(plan.sharedBytes, 231120);
  EXPECT_EQ(plan.stageBytes, 73728);
  EXPECT_EQ(plan.probabilityBytes, 8192);
  EXPECT_EQ(plan.loadGroups, 9);
  EXPECT_EQ(plan.stageParts, 3);
  EXPECT_TRUE(plan.probabilitiesInStage);
}

/// All eight boxes are values: both tiles' probabilities have buffers.
TEST(SeesawPlan, WithoutKeysOnly) {
  const MemoryPlan plan = planOf({.name = "values", .heads = 64, .keyDim = 512, .valueDim = 512});
  expectBytes(plan, {.ring = 65536,
                     .probabilities = 65536 + 2 * 65536,
                     .statistics = 196608 + 2 * 8192,
                     .barriers = 212992 + 6 * 256,
                     .end = 214528 + (2 + 2 * (8 + 2)) * 8});
  EXPECT_EQ(plan.stageParts, 2);
  EXPECT_FALSE(plan.probabilitiesInStage);
}

/// Three boxes of keys only are one part; the last, which is not full, counts whole.
TEST(SeesawPlan, OneBoxASide) {
  const MemoryPlan plan = planOf({.name = "narrow", .heads = 64, .keyDim = 272, .valueDim = 128});
  expectBytes(plan, {.ring = 5 * 8192,
                     .probabilities = 40960 + 2 * 40960,
                     .statistics = 122880 + 8192,
                     .barriers = 131072 + 6 * 256,
                     .end = 132608 + (2 + 2 * (5 + 3)) * 8});
  EXPECT_EQ(plan.loadGroups, 5);
  EXPECT_EQ(plan.stageParts, 3);
}

using Visit = std::function<void(const AttentionProblem &, const MemoryPlan &)>;

static void forEveryPlan(const Visit &visit) {
  for (int valueDim = 128; valueDim <= 512; valueDim += 128)
    for (int keyDim = valueDim; keyDim <= 576; keyDim += 16) {
      const AttentionProblem problem{.name = "any", .heads = 64, .keyDim = keyDim, .valueDim = valueDim};
      SCOPED_TRACE(testing::Message() << keyDim << "/" << valueDim);
      visit(problem, planOf(problem));
      if (testing::Test::HasFailure())
        return; // One is enough to read.
    }
}

TEST(SeesawPlan, RegionsFollowOneAnotherAndFit) {
  forEveryPlan([](const AttentionProblem &problem, const MemoryPlan &plan) {
    const int boxes = (problem.keyDim + 63) / 64;
    const int buffers = boxes > problem.valueDim / 64 ? 1 : 2; // Of probabilities.
    EXPECT_EQ(plan.ring, boxes * 8192);
    EXPECT_EQ(plan.probabilities, plan.ring + 2 * boxes * 8192);
    EXPECT_EQ(plan.statistics, plan.probabilities + buffers * 8192);
    EXPECT_EQ(plan.barriers, plan.statistics + 6 * 64 * 4);
    EXPECT_EQ(plan.mbarriers, 2 + 2 * (boxes + plan.stageParts));
    EXPECT_EQ(plan.sharedBytes, plan.barriers + 8 * plan.mbarriers);
    EXPECT_LE(plan.sharedBytes, Target().sharedBytesPerCta);
    EXPECT_TRUE(check(problem, seesaw, {})) << check(problem, seesaw, {}).reason;
  });
}

TEST(SeesawPlan, RegionsStartWhereTheirUsersNeedThem) {
  forEveryPlan([](const AttentionProblem &, const MemoryPlan &plan) {
    for (int matrix : {plan.query, plan.ring, plan.stageBytes, plan.probabilities, plan.probabilityBytes})
      EXPECT_EQ(matrix % 1024, 0); // Swizzle patterns.
    EXPECT_EQ(plan.statistics % 16, 0);
    EXPECT_EQ(plan.barriers % 8, 0);
  });
}

/// The sides' parts are alike and whole boxes, so that each consumer multiplies whole parts.
TEST(SeesawPlan, PartsAreWholeBoxes) {
  forEveryPlan([](const AttentionProblem &problem, const MemoryPlan &plan) {
    const int valueParts = plan.stageParts - (plan.probabilitiesInStage ? 1 : 0);
    EXPECT_EQ(valueParts % 2, 0);
    EXPECT_EQ(plan.valueBoxes % valueParts, 0);
    EXPECT_EQ(2 * valueColumns(problem, seesaw), problem.valueDim);
    EXPECT_EQ(plan.loadGroups, plan.boxes);
  });
}
