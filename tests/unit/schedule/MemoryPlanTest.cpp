//===- MemoryPlanTest.cpp - The schedule's shared memory, by enumeration -----------------------------===//
//
// Lays the plan's regions out as intervals for every value dimension, tile, consumer count and a spread of
// key dimensions, and asks what the kernel relies on: nothing overlaps, matrices start where swizzle patterns
// do, and whatever a tensor core may read is memory of the CTA.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/MemoryPlan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

using namespace lathe::codegen;

static constexpr int swizzlePatternBytes = 1024;
static constexpr int swizzleBytes = 128;
static constexpr int rowArrayBytes = 256;

static int boxesOf(int columns) { return (columns + 63) / 64; }

namespace {
struct Region {
  const char *name;
  int begin, end;
};
using Visit = std::function<void(const AttentionProblem &, const Config &, const MemoryPlan &)>;
} // namespace

static void forEveryPlan(const Visit &visit) {
  for (int keyDim : {16, 48, 64, 80, 128, 192, 272, 288, 320, 512, 528, 560, 576})
    for (int valueDim = 16; valueDim <= std::min(keyDim, 512); valueDim += 16)
      for (int kvTile : {16, 32, 64})
        for (int consumers : {1, 2})
          for (int stages : {2, 5}) {
            const AttentionProblem problem{.heads = 16, .keyDim = keyDim, .valueDim = valueDim};
            const Config config{.kvTile = kvTile, .stages = stages, .consumers = consumers};
            SCOPED_TRACE(testing::Message() << keyDim << "/" << valueDim << " " << config.str());
            visit(problem, config, memoryPlan(problem, config));
            if (testing::Test::HasFailure())
              return; // One is enough to read.
          }
}

TEST(MemoryPlan, RegionsFollowOneAnotherWithinTheTotal) {
  forEveryPlan([](const AttentionProblem &problem, const Config &config, const MemoryPlan &plan) {
    const int exchanged = config.consumers > 1 && !plan.probabilitiesInStage ? config.consumers : 0;
    const Region regions[] = {
        {"query", plan.query, plan.query + boxesOf(problem.keyDim) * 64 * swizzleBytes},
        {"ring", plan.ring,
         plan.ring + config.stages * boxesOf(problem.keyDim) * config.kvTile * swizzleBytes},
        {"probabilities", plan.probabilities, plan.probabilities + exchanged * 64 * config.kvTile * 2},
        {"statistics", plan.statistics, plan.statistics + config.consumers * 2 * rowArrayBytes},
        {"barriers", plan.barriers, plan.barriers + 2 * (config.stages + 1) * 8}};
    int end = 0;
    for (const Region &region : regions) {
      EXPECT_GE(region.begin, end) << region.name;
      end = region.end;
    }
    EXPECT_EQ(plan.sharedBytes, end);
    EXPECT_EQ(plan.mbarriers, 2 * (config.stages + 1));
  });
}

TEST(MemoryPlan, MatricesStartWithTheSwizzlePattern) {
  forEveryPlan([](const AttentionProblem &, const Config &config, const MemoryPlan &plan) {
    EXPECT_EQ(plan.query % swizzlePatternBytes, 0);
    EXPECT_EQ(plan.ring % swizzlePatternBytes, 0);
    EXPECT_EQ(plan.stageBytes % swizzlePatternBytes, 0);
    EXPECT_EQ(plan.stageBytes, plan.boxes * config.kvTile * swizzleBytes);
    EXPECT_EQ(plan.probabilities % swizzlePatternBytes, 0);
    EXPECT_EQ(plan.probabilityBytes % swizzlePatternBytes, 0);
    EXPECT_EQ(plan.statistics % 16, 0);
    EXPECT_EQ(plan.barriers % 8, 0);
  });
}

TEST(MemoryPlan, ConsumersCoverTheValueAndReadNothingElse) {
  forEveryPlan([](const AttentionProblem &problem, const Config &config, const MemoryPlan &plan) {
    const int columns = valueColumns(problem, config);
    EXPECT_GE(config.consumers * columns, problem.valueDim);
    EXPECT_EQ(columns % 16, 0);
    if (config.consumers > 1) { // A consumer's columns start at a box.
      EXPECT_EQ(columns % 64, 0);
    }
    // One consumer's boxes fit the values, so that the last one can begin where it ends with them.
    EXPECT_LE(boxesOf(columns), plan.valueBoxes);
  });
}

TEST(MemoryPlan, ProbabilitiesLieInABoxWithoutValuesOrApart) {
  int inStage = 0, apart = 0;
  forEveryPlan([&](const AttentionProblem &problem, const Config &config, const MemoryPlan &plan) {
    EXPECT_EQ(plan.boxes, boxesOf(problem.keyDim));
    EXPECT_EQ(plan.valueBoxes, boxesOf(problem.valueDim));
    // The tile's last box holds probabilities only where no value column is in it.
    EXPECT_EQ(plan.probabilitiesInStage, (plan.boxes - 1) * 64 >= problem.valueDim);
    EXPECT_LE(plan.probabilityBytes, config.kvTile * swizzleBytes);
    ++(plan.probabilitiesInStage ? inStage : apart);
  });
  EXPECT_GT(inStage, 0);
  EXPECT_GT(apart, 0);
}

TEST(MemoryPlan, ResourcesCountThePlan) {
  forEveryPlan([](const AttentionProblem &problem, const Config &config, const MemoryPlan &plan) {
    const Resources cost = resources(problem, config);
    EXPECT_EQ(cost.sharedBytes, plan.sharedBytes);
    EXPECT_EQ(cost.stageBytes, plan.stageBytes);
    EXPECT_EQ(cost.mbarriers, plan.mbarriers);
  });
}
