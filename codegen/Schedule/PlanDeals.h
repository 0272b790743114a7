//===- PlanDeals.h - Work to workers by length, on the device ----------------------------------------===//
//
// Orders and deals of the plan kernel in shared memory. PlanCosts.h has the same on the host (planDeal(),
// planDealLongest()). Called by PlanChoice.cpp and PlanKernel.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/KernelBuilder.h"
#include "lathe/codegen/Schedule/PlanCosts.h"

namespace lathe::codegen {

/// Words of the plan kernel's shared memory: one a warp for scans and for each step of the choice, then the
/// units of each sequence, or the key by which they are dealt; then, for parts that are dealt, keys of items,
/// the worker of each, and the first item of each worker.
inline constexpr int planWarps = planThreads / 32;
inline constexpr int planScanWord = 0, planLargestWord = planWarps, planPossibleWord = 2 * planWarps,
                     planTimesWord = 3 * planWarps, planPartsWord = 4 * planWarps,
                     planUnitsWord = 5 * planWarps, planItemsWord = planUnitsWord + planThreads,
                     planGivenWord = planItemsWord + planThreads,
                     planBeginsWord = planGivenWord + planThreads;
inline constexpr int planSharedBytes = (planBeginsWord + planDealtWorkers) * 4;

/// Address of a word of shared memory.
inline mlir::Value planWord(KernelBuilder &k, int first, mlir::Value index) {
  return k.at(k.shared(), k.mul(k.add(index, first), 4));
}

/// Sequences or items by length, longest first; of equal ones the first. No more than planThreads of them,
/// whose keys lie from `word` of shared memory on.
class PlanOrder {
public:
  PlanOrder(KernelBuilder &k, int word) : k(k), word(word) {}
  /// Of the units of each thread's, in all threads, for the first `count`; others that are made later with
  /// the same word find the order in shared memory.
  void sort(mlir::Value units, mlir::Value count);
  mlir::Value index(mlir::Value rank);
  mlir::Value units(mlir::Value rank); ///< At most planMaxLongest.

private:
  mlir::Value key(mlir::Value rank);
  void exchange(mlir::Value size, mlir::Value distance, mlir::Value count);
  KernelBuilder &k;
  int word;
};

/// Whole sequences dealt by length, longest first, to workers 0, 1, ... and back again: fewer workers than
/// sequences, and no more than planThreads sequences. Its values may be used where it was made.
class PlanDeal {
public:
  explicit PlanDeal(KernelBuilder &k);
  PlanOrder order; ///< Of sequences.

  mlir::Value count(mlir::Value worker); ///< Sequences of a worker.
  mlir::Value begin(mlir::Value worker); ///< Of all workers before; `workers` gives the batch.
  mlir::Value rank(mlir::Value worker, mlir::Value nth); ///< Place in the order of a worker's nth sequence.
  mlir::Value item(mlir::Value rank);                    ///< Place in the list, which is grouped by worker.

private:
  mlir::Value worker(mlir::Value place, mlir::Value round);
  KernelBuilder &k;
  mlir::Value rounds, rest; ///< That give each worker a sequence; sequences of the one after.
};

/// As planDealLongest(): no more than planThreads items and planDealtWorkers workers. Who makes another one
/// later finds the deal in shared memory.
class PlanLongest {
public:
  PlanLongest(KernelBuilder &k, const PlanCosts &costs) : order(k, planItemsWord), k(k), costs(costs) {}
  PlanOrder order; ///< Of items.

  mlir::Value scratch(mlir::Value item); ///< Address of a word for each item, until give().
  /// One warp, behind the sort; gives what the worker with most takes, in 2^planLoadShift ns.
  mlir::Value give(mlir::Value items);
  /// Behind a barrier after that, in all threads: items of the worker of the thread's number, and those of
  /// its rank's worker that come before.
  std::pair<mlir::Value, mlir::Value> tally(mlir::Value items);
  /// The place of a worker's first item in the list, which is grouped by worker.
  void setBegin(mlir::Value worker, mlir::Value begin);
  /// Of a rank, behind a barrier after that; `before` from tally().
  mlir::Value place(mlir::Value rank, mlir::Value before);

private:
  using Values = llvm::SmallVector<mlir::Value>;
  mlir::Value cost(mlir::Value units);
  mlir::Value worker(mlir::Value rank);
  /// The item of a rank to the worker with the least; new loads.
  Values giveNext(mlir::Value rank, mlir::ValueRange loads, mlir::Value cost);
  KernelBuilder &k;
  PlanCosts costs;
};

} // namespace lathe::codegen
