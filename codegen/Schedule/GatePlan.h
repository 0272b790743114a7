//===- GatePlan.h - The extents of the gate's kernel -------------------------------------------------===//
//
// How many rows and experts a CTA makes logits for, and how its warps share the columns. Plain C++: the
// kernel is built by it, the manifest tells the runtime the same.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/MoeConfig.h"

namespace lathe::codegen {

/// Rows lie on M of mma.sync (16), experts on its N (8); a step is two products of 16 columns.
inline constexpr int gateRowUnit = 16, gateExpertUnit = 8, gateStepColumns = 32;

struct GatePlan {
  int rows = 16, experts = 8; ///< Of a CTA.
  int warps = 16;             ///< That share the columns, each equally many neighbouring steps.
  int unroll = 1;             ///< Steps whose loads are on their way at once.
  int steps = 1;              ///< Of a warp; a multiple of unroll.

  int rowUnits() const { return rows / gateRowUnit; }
  int expertUnits() const { return experts / gateExpertUnit; }
  /// Words between rows of a warp's sums in shared memory: eight rows of pairs lie in banks of their own.
  int rowWords() const { return experts % 16 == 0 ? experts + 8 : experts; }
  int warpWords() const { return rows * rowWords(); }
};

inline int largestDivisor(int value, int atMost) {
  int divisor = atMost < 1 ? 1 : atMost < value ? atMost : value;
  while (value % divisor)
    --divisor;
  return divisor;
}

/// By how many rows the configuration is for: with few, many CTAs read the gate's weights once; with many,
/// tiles are larger, for rows and weights come from L2 as often as there are tiles along the other side.
inline GatePlan gatePlan(const MoeProblem &problem, const MoeConfig &config) {
  GatePlan plan;
  if (config.tokenTile > 16)
    plan.rows = 32, plan.experts = 16;
  if (config.tokenTile > 64)
    plan.rows = 64, plan.experts = 32, plan.warps = 8;
  const int steps = problem.hidden / gateStepColumns;
  plan.warps = largestDivisor(steps, plan.warps);
  plan.steps = steps / plan.warps;
  // Registers of a thread: sums, and of a step the rows and twice the weights, of which the next ones are on
  // their way.
  const int sums = plan.rowUnits() * plan.expertUnits() * 4, words = problem.gate == Dtype::F32 ? 8 : 4;
  const int step = 8 * plan.rowUnits() + 2 * words * plan.expertUnits(), budget = plan.warps > 8 ? 88 : 200;
  plan.unroll = largestDivisor(plan.steps, (budget - sums) / step);
  return plan;
}

} // namespace lathe::codegen
