// The gate's tiles: warps share the columns without rest, shared memory fits, sums go to banks of their own.
#include "lathe/codegen/Schedule/GatePlan.h"

#include <gtest/gtest.h>

#include <set>

using namespace lathe;
using namespace lathe::codegen;

static MoeProblem problemOf(int hidden, Dtype gate) {
  MoeProblem problem;
  problem.hidden = hidden;
  problem.gate = gate;
  return problem;
}

TEST(GatePlan, WarpsShareAllColumns) {
  for (int hidden = 64; hidden <= 16384; hidden += 64)
    for (Dtype type : {Dtype::BF16, Dtype::F32})
      for (int tokenTile = 8; tokenTile <= 256; tokenTile += 8) {
        MoeConfig config;
        config.tokenTile = tokenTile;
        const GatePlan plan = gatePlan(problemOf(hidden, type), config);
        SCOPED_TRACE(testing::Message() << hidden << " columns, " << name(type) << ", tile " << tokenTile);
        ASSERT_EQ(plan.warps * plan.steps * gateStepColumns, hidden);
        ASSERT_GE(plan.unroll, 1);
        ASSERT_EQ(plan.steps % plan.unroll, 0);
        ASSERT_GE(plan.warps, 1);
        ASSERT_LE(plan.warps, 16);
        ASSERT_EQ(plan.rows % gateRowUnit + plan.experts % gateExpertUnit, 0);
        ASSERT_LE(4 * plan.warps * plan.warpWords(), 100 * 1024);
      }
}

TEST(GatePlan, TilesGrowWithTheRowsOfAnExpert) {
  auto tile = [](int tokenTile) {
    MoeConfig config;
    config.tokenTile = tokenTile;
    const GatePlan plan = gatePlan(problemOf(2048, Dtype::BF16), config);
    return std::pair(plan.rows, plan.experts);
  };
  EXPECT_EQ(tile(8), std::pair(16, 8));
  EXPECT_EQ(tile(16), std::pair(16, 8));
  EXPECT_EQ(tile(24), std::pair(32, 16));
  EXPECT_EQ(tile(64), std::pair(32, 16));
  EXPECT_EQ(tile(72), std::pair(64, 32));
}

/// Half a warp stores at once, eight bytes a lane: row lane / 4, columns 2 (lane mod 4) and the next.
TEST(GatePlan, SumsAreStoredWithoutBankConflicts) {
  for (int tokenTile : {8, 32, 128}) {
    MoeConfig config;
    config.tokenTile = tokenTile;
    const GatePlan plan = gatePlan(problemOf(2048, Dtype::BF16), config);
    for (int half : {0, 16}) {
      std::set<int> banks;
      for (int lane = half; lane < half + 16; ++lane)
        for (int i = 0; i < 2; ++i)
          banks.insert((lane / 4 * plan.rowWords() + lane % 4 * 2 + i) % 32);
      EXPECT_EQ(banks.size(), 32u) << plan.experts << " experts";
    }
  }
}
