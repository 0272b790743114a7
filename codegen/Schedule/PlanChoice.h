//===- PlanChoice.h - Which plan, on the device ------------------------------------------------------===//
//
// The part of the plan kernel that weighs one item a worker and whole sequences against the cut line
// (PlanCosts.h, whose planLongestPart(), planDeal() and planWhole() it repeats). Called by PlanKernel.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/KernelBuilder.h"
#include "lathe/codegen/Schedule/PlanCosts.h"

#include <functional>

namespace lathe::codegen {

/// Words of the plan kernel's shared memory: one a warp for scans and for each step of the choice, then the
/// units of each sequence, or the key by which they are dealt.
inline constexpr int planWarps = planThreads / 32;
inline constexpr int planScanWord = 0, planLargestWord = planWarps, planPossibleWord = 2 * planWarps,
                     planTimesWord = 3 * planWarps, planPartsWord = 4 * planWarps,
                     planUnitsWord = 5 * planWarps, planGivenWord = planUnitsWord + planThreads,
                     planCountsWord = planGivenWord + planThreads;
inline constexpr int planSharedBytes = (planCountsWord + planDealtWorkers) * 4;

/// A batch of at most planThreads sequences; all but `units` are the same in all threads.
struct PlanBatch {
  mlir::Value units;    ///< Of the thread's sequence; 0 past the last one.
  mlir::Value total;    ///< Units of all sequences.
  mlir::Value share;    ///< Of a worker of the cut line, its overheads included.
  mlir::Value memoryNs; ///< That of the costs, of the GPU that it runs on.
  /// Sum of the values of all threads before; all threads call it.
  std::function<mlir::Value(mlir::Value)> sumBefore;
};

/// Whole sequences dealt by length, longest first, to workers 0, 1, ... and back again: fewer workers than
/// sequences, and no more than planThreads sequences. Its values may be used where it was made.
class PlanDeal {
public:
  PlanDeal(KernelBuilder &k, mlir::Value sequences);
  /// Sorts by length, in all threads; other deals that are made later find the order in shared memory.
  void sort(mlir::Value units);

  mlir::Value count(mlir::Value worker); ///< Sequences of a worker.
  mlir::Value begin(mlir::Value worker); ///< Of all workers before; `workers` gives the batch.
  mlir::Value rank(mlir::Value worker, mlir::Value nth); ///< Place in the order of a worker's nth sequence.
  mlir::Value item(mlir::Value rank);                    ///< Place in the list, which is grouped by worker.
  mlir::Value sequence(mlir::Value rank);
  mlir::Value units(mlir::Value rank); ///< At most planMaxLongest.

private:
  mlir::Value key(mlir::Value rank);
  mlir::Value worker(mlir::Value place, mlir::Value round);
  void exchange(mlir::Value size, mlir::Value distance);
  KernelBuilder &k;
  mlir::Value sequences, rounds, rest; ///< That give each worker a sequence; sequences of the one after.
};

/// As planDealLongest(): no more than planThreads items and planDealtWorkers workers. All threads call deal()
/// and setBegin(), which wait for each other.
class PlanLongest {
public:
  PlanLongest(KernelBuilder &k, const PlanCosts &costs, mlir::Value items)
      : k(k), costs(costs), items(items) {}
  mlir::Value deal(mlir::Value units);   ///< Of the thread's item.
  mlir::Value source(mlir::Value rank);  ///< The item of a rank, longest first.
  mlir::Value count(mlir::Value worker); ///< Its items; 0 past the last worker.
  void setBegin(mlir::Value worker, mlir::Value begin);
  mlir::Value place(mlir::Value rank); ///< Of that item in the list, which is grouped by worker.

private:
  llvm::SmallVector<mlir::Value> give(mlir::Value rank, mlir::ValueRange loadsAndCounts);
  KernelBuilder &k;
  PlanCosts costs;
  mlir::Value items;
};

/// Units of the longest part with one item a worker, or 0 where the line is cut, in all threads. All threads
/// call it; the batch has no more sequences than there are workers.
mlir::Value chooseLongestPart(KernelBuilder &k, const PlanCosts &costs, const PlanBatch &batch);

/// As planDealtPart(), in all threads, which all call it; no more than planThreads sequences. `longestPart`
/// as chooseLongestPart() gave it, 0 where there are more sequences than workers.
mlir::Value chooseDealtPart(KernelBuilder &k, const PlanCosts &costs, const PlanBatch &batch,
                            mlir::Value longestPart);

/// Whether whole sequences take no more time than the cut line, in all threads, which all call it; the batch
/// has more sequences than there are workers. They are sorted afterwards.
mlir::Value chooseWhole(KernelBuilder &k, const PlanCosts &costs, const PlanBatch &batch);

} // namespace lathe::codegen
