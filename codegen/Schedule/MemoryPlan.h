//===- MemoryPlan.h - Where the paged-attention schedule puts things in shared memory ----------------===//
//
// Byte offsets of every buffer for a problem and a config. resources() counts with it and the schedule builds
// with it, so that what check() accepted is what the kernel uses. Pure arithmetic.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/Config.h"

namespace lathe::codegen {

struct MemoryPlan {
  int boxes = 0;      ///< Column boxes (64 bf16) of a query or cache row.
  int valueBoxes = 0; ///< Of these, the leading ones that hold values.
  int queryBytes = 0;
  int queryStages = 1; ///< Queries in flight: of the item that is worked on, and of the next where they fit.
  int loadGroups = 1;  ///< Full barriers of a KV stage.
  int stageParts = 1;  ///< Empty barriers of a KV stage.
  int statisticsArrays = 0;          ///< Row statistics of 64 f32 that consumers exchange.
  int stageBytes = 0;                ///< One KV tile.
  int probabilityBytes = 0;          ///< One consumer's 64 × kvTile bf16.
  bool probabilitiesInStage = false; ///< In the tile's last box, which only the scores use.

  /// Byte offsets. `staging` is where output rows are transposed, with operands exchanged.
  int query = 0, ring = 0, probabilities = 0, staging = 0, statistics = 0, barriers = 0;
  int mbarriers = 0;
  int sharedBytes = 0;
};

/// A CTA of the combine, which is to find room beside one of the main kernel.
struct CombinePlan {
  static constexpr int warps = 8;
  static constexpr int laneColumns = 8; ///< One 16-byte load of f16.

  int columns = 0;     ///< Value columns that a warp merges.
  int sharedBytes = 0; ///< Where the warps of a row add up: these columns of each, and two sums.
};

CombinePlan combinePlan(const AttentionProblem &problem);

/// Output columns that one consumer owns: all of them, or with several consumers whole boxes.
int valueColumns(const AttentionProblem &problem, const Config &config);

MemoryPlan memoryPlan(const AttentionProblem &problem, const Config &config);

} // namespace lathe::codegen
