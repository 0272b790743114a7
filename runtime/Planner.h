//===- Planner.h - How much a plan needs -------------------------------------------------------------===//
//
// The plan kernel writes a work list whose length depends on lengths that only the GPU knows; this states the
// bounds that hold for any lengths, and lays the lists and partial results out in one allocation. Pure
// arithmetic on a manifest, called by Kernel::makePlan.
//
// The list, as the kernels see it, all int32; items are grouped by worker, sequences need not be in order:
//   items[n]                {sequence, tileBegin, tileEnd, slot}; slot -1: the sequence is not split here
//   worker_begin[workers+1] first item of each worker
//   splits[n]               {sequence, firstSlot, count, 0} of each split sequence, count > 1; then zero
//   counts
//
//===----------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"
#include "lathe/support/Manifest.h"

#include <cstdint>

namespace lathe::runtime {

/// Values of Manifest::splitPolicy.
enum class Split { Balanced = 0, Whole = 1, Fixed = 2 };

/// Sizes of a plan and where its parts lie in the workspace, bytes from its start, each 256-byte aligned.
struct PlanLayout {
  int64_t maxItems = 0;
  int64_t maxSlots =
      0; ///< Partial results: float32 [maxSlots][rowBlocks * rowsPerCta][valueDim], and one lse a row.
  size_t items = 0, workerBegin = 0, splits = 0, partialLse = 0, partialOut = 0;
  size_t bytes = 0;
};

/// Rows of a CTA, from the manifest's config. Throws UserError when it is not there.
int rowsPerCta(const Manifest &manifest);

/// As many workers as the GPU runs at once, of whose CTAs it holds `residentCtas` (LoadedKernel): at least 1.
/// A worker more would begin when the others have ended, and double the time of a step.
int defaultWorkers(const Manifest &manifest, int64_t residentCtas);

/// Sequences that a plan splits at most.
int64_t splitBound(const Manifest &manifest, int64_t batch, int64_t workers);

/// Throws UserError when maxBatch or workers is out of range.
PlanLayout layoutPlan(const Manifest &manifest, int maxBatch, int workers);

} // namespace lathe::runtime
