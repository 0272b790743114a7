//===- PlanChoice.h - Which plan, on the device ------------------------------------------------------===//
//
// The part of the plan kernel that weighs one item a worker, whole sequences and parts that are dealt against
// the cut line (PlanCosts.h, whose planLongestPart(), planWhole() and planDealtPart() it repeats). Called by
// PlanKernel.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/PlanDeals.h"

#include <functional>

namespace lathe::codegen {

/// A batch of at most planThreads sequences; all but `units` are the same in all threads.
struct PlanBatch {
  mlir::Value units;    ///< Of the thread's sequence; 0 past the last one.
  mlir::Value total;    ///< Units of all sequences.
  mlir::Value share;    ///< Of a worker of the cut line, its overheads included.
  mlir::Value memoryNs; ///< That of the costs, of the GPU that it runs on.
  /// Sum of the values of all threads before; all threads call it.
  std::function<mlir::Value(mlir::Value)> sumBefore;
};

/// Units of the longest part with one item a worker, or 0 where the line is cut, in all threads. All threads
/// call it; the batch has no more sequences than there are workers.
mlir::Value chooseLongestPart(KernelBuilder &k, const PlanCosts &costs, const PlanBatch &batch);

/// As planDealtPart(), in all threads, which all call it; planDealsParts() holds for batch and workers.
/// `longestPart` as chooseLongestPart() gave it, 0 where there are more sequences than workers. The deal of
/// such parts (PlanLongest) has been made where it is not 0.
mlir::Value chooseDealtPart(KernelBuilder &k, const PlanCosts &costs, const PlanBatch &batch,
                            mlir::Value longestPart);

/// Whether whole sequences take no more time than the cut line, in all threads, which all call it; the batch
/// has more sequences than there are workers. They are sorted afterwards.
mlir::Value chooseWhole(KernelBuilder &k, const PlanCosts &costs, const PlanBatch &batch);

} // namespace lathe::codegen
