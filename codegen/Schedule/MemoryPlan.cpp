//===- MemoryPlan.cpp - Where the paged-attention schedule puts things in shared memory --------------===//
//
// See MemoryPlan.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/MemoryPlan.h"

#include "lathe/codegen/Layout/Fragment.h"

#include <algorithm>

namespace lathe::codegen {

static constexpr int boxColumns = 64; // bf16 elements of a 128-byte swizzle row.
static constexpr int swizzleBytes = 128;
static constexpr int rowArrayBytes = 256;  // 64 row statistics of 4 bytes.
static constexpr int statisticsArrays = 2; // Row maxima and row sums, a consumer.
static constexpr int seesawStatistics = 6; // Maxima, shrinking factors and sums of two consumers.
static constexpr int barrierBytes = 8;
static constexpr int swappedGroups = 3;     // A third of a tile is worth a barrier of its own.
static constexpr int swappedStatistics = 2; // Column maxima and column sums.

CombinePlan combinePlan(const AttentionProblem &problem) {
  CombinePlan plan;
  plan.columns = problem.rows() > 64 && problem.valueDim > 256 ? 512 : 256; // With many rows, warps enough.
  plan.sharedBytes = CombinePlan::warps * (plan.columns + 2) * 4;
  return plan;
}

int valueColumns(const AttentionProblem &problem, const Config &config) {
  if (config.consumers <= 1)
    return problem.valueDim;
  int share = (problem.valueDim + config.consumers - 1) / config.consumers;
  return (share + boxColumns - 1) / boxColumns * boxColumns;
}

/// Operands exchanged: the probabilities are a row of 64 tokens for each query row; each row of the output is
/// staged. Two queries where a CTA of the combine then fits beside, for its start is worth more than a query
/// ahead (docs/schedules/exchanged.md).
static void placeSwapped(MemoryPlan &plan, const AttentionProblem &problem, const Config &config) {
  plan.probabilitiesInStage = false;
  plan.probabilityBytes = config.rowsPerCta * swizzleBytes;
  plan.loadGroups = plan.boxes % swappedGroups == 0 ? swappedGroups : 1;
  const int ring = config.stages * plan.stageBytes;
  const int stagingBytes = config.rowsPerCta * int(layout::transposedRowBytes(plan.valueBoxes));
  const int statistics = swappedStatistics * 4 * config.rowsPerCta * 4; // Of each warp, f32.
  auto place = [&](int queryStages) {
    plan.queryStages = queryStages;
    plan.ring = queryStages * plan.queryBytes;
    plan.probabilities = plan.ring + ring;
    plan.staging = plan.probabilities + plan.probabilityBytes;
    plan.statistics = plan.staging + stagingBytes;
    plan.barriers = plan.statistics + statistics;
    plan.mbarriers = config.stages * (plan.loadGroups + 1) + 2 * queryStages;
    plan.sharedBytes = plan.barriers + plan.mbarriers * barrierBytes;
  };
  const Target target;
  place(2);
  if (plan.sharedBytes + target.sharedBytesReserved + combinePlan(problem).sharedBytes >
      target.sharedBytesPerCta)
    place(1);
}

/// Two pages in turns: each box has its full barrier, the two halves of the values, or parts of them, and
/// what only the scores use have an empty one each. The first page's probabilities have a buffer, for its
/// boxes are needed longer.
static void placeSeesaw(MemoryPlan &plan) {
  plan.loadGroups = plan.boxes;
  plan.stageParts = plan.probabilitiesInStage ? 3 : 2;
  plan.ring = plan.queryBytes;
  plan.probabilities = plan.ring + 2 * plan.stageBytes;
  plan.statisticsArrays = seesawStatistics;
  plan.statistics = plan.probabilities + (plan.probabilitiesInStage ? 1 : 2) * plan.probabilityBytes;
  plan.barriers = plan.statistics + seesawStatistics * rowArrayBytes;
  plan.mbarriers = 2 + 2 * (plan.loadGroups + plan.stageParts);
  plan.sharedBytes = plan.barriers + plan.mbarriers * barrierBytes;
}

MemoryPlan memoryPlan(const AttentionProblem &problem, const Config &config) {
  MemoryPlan plan;
  plan.boxes = (problem.keyDim + boxColumns - 1) / boxColumns;
  plan.valueBoxes = (problem.valueDim + boxColumns - 1) / boxColumns;
  plan.queryBytes = plan.boxes * config.rowsPerCta * swizzleBytes;
  plan.stageBytes = plan.boxes * config.kvTile * swizzleBytes;
  plan.probabilityBytes = config.rowsPerCta * config.kvTile * 2;
  plan.probabilitiesInStage = plan.boxes > plan.valueBoxes;

  if (config.swapOperands) {
    placeSwapped(plan, problem, config);
    return plan;
  }
  if (config.seesaw) {
    placeSeesaw(plan);
    return plan;
  }
  plan.statisticsArrays = config.consumers * statisticsArrays;
  plan.query = 0;
  plan.ring = plan.query + plan.queryBytes;
  plan.probabilities = plan.ring + config.stages * plan.stageBytes;
  bool exchanged = config.consumers > 1 && !plan.probabilitiesInStage;
  plan.statistics = plan.probabilities + (exchanged ? config.consumers * plan.probabilityBytes : 0);
  plan.barriers = plan.statistics + plan.statisticsArrays * rowArrayBytes;
  plan.mbarriers = 2 * (config.stages + 1);
  plan.sharedBytes = plan.barriers + plan.mbarriers * barrierBytes;
  return plan;
}

} // namespace lathe::codegen
