//===- MemoryPlan.cpp - Where the paged-attention schedule puts things in shared memory --------------===//
//
// See MemoryPlan.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/MemoryPlan.h"

#include <algorithm>

namespace lathe::codegen {

static constexpr int boxColumns = 64; // bf16 elements of a 128-byte swizzle row.
static constexpr int swizzleBytes = 128;
static constexpr int rowArrayBytes = 256;  // 64 row statistics of 4 bytes.
static constexpr int statisticsArrays = 2; // Row maxima and row sums, a consumer.
static constexpr int barrierBytes = 8;

int valueColumns(const AttentionProblem &problem, const Config &config) {
  if (config.consumers <= 1)
    return problem.valueDim;
  int share = (problem.valueDim + config.consumers - 1) / config.consumers;
  return (share + boxColumns - 1) / boxColumns * boxColumns;
}

MemoryPlan memoryPlan(const AttentionProblem &problem, const Config &config) {
  MemoryPlan plan;
  plan.boxes = (problem.keyDim + boxColumns - 1) / boxColumns;
  plan.valueBoxes = (problem.valueDim + boxColumns - 1) / boxColumns;
  plan.queryBytes = plan.boxes * config.rowsPerCta * swizzleBytes;
  plan.stageBytes = plan.boxes * config.kvTile * swizzleBytes;
  plan.probabilityBytes = config.rowsPerCta * config.kvTile * 2;
  plan.probabilitiesInStage = plan.boxes > plan.valueBoxes;

  plan.query = 0;
  plan.ring = plan.query + plan.queryBytes;
  plan.probabilities = plan.ring + config.stages * plan.stageBytes;
  bool exchanged = config.consumers > 1 && !plan.probabilitiesInStage;
  plan.statistics = plan.probabilities + (exchanged ? config.consumers * plan.probabilityBytes : 0);
  plan.barriers = plan.statistics + config.consumers * statisticsArrays * rowArrayBytes;
  plan.mbarriers = 2 * (config.stages + 1);
  plan.sharedBytes = plan.barriers + plan.mbarriers * barrierBytes;
  return plan;
}

} // namespace lathe::codegen
