//===- PlanCosts.h - What a plan costs ---------------------------------------------------------------===//
//
// Under the balanced policy the plan kernel weighs four ways to divide a batch; this is its measure, and the
// choice itself as plain C++. Pure arithmetic in integers, so that PlanChoice.cpp can do the same on the
// device; called by it, by the cost model and by the tests that compare.
//
//   one item a worker   every sequence in equal parts of at most `longest` units, a worker a part; possible
//                       where the parts are no more than the workers
//   whole sequences     where there are more sequences than workers: dealt by length, longest first, to the
//                       workers and back again, so that a worker with a long one gets a short one next
//   cut line            the line of all costs in equal shares; a worker ends one sequence and begins another
//   parts, dealt        every sequence in equal parts of at most a share of all units; longest first, each to
//                       the worker with the least work so far
//
//   time = max(start + memory · units of the batch, item + unit · longest)       two limits of a step
//        + lag · longest + item · (items a worker - 1) + part · parts of the longest sequence, if it is split
//
// `longest` is a part with one item a worker, all units of the slowest worker otherwise; the cut line's share
// counts a unit of overhead for each sequence, too. With dealt parts item + unit · longest is what the
// busiest worker has, and beside the memory stands some of what that is more than the mean; lag counts a
// share. Between these and the others each part of any split sequence counts, too: slot.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/Config.h"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace lathe::codegen {

/// Nanoseconds of 16-bit cache rows of 576 elements, for a unit of the configuration's tokens.
struct PlanCosts {
  int unitNs;   ///< A unit, in one worker that has the memory for itself.
  int memoryNs; ///< A unit of the batch, where the memory is the limit: the same for all plans of a batch.
  int lagNs;    ///< A unit of the longest worker: those who share the memory do not end together.
  int itemNs;   ///< An item: query, first tiles, epilogue.
  int startNs;  ///< Before the memory streams.
  int partNs;   ///< A part of a split sequence: partial results and combine.
  int slotNs;   ///< A part of any split sequence, for what the combine reads of all.
};
/// Peak bandwidth of the memory, in 1e9 bytes a second, of the H100 (HBM3) that the other costs are from.
inline constexpr int planMemoryGBs = 3352;
PlanCosts planCosts(const Config &config, int memoryGBs = planMemoryGBs);
/// memoryNs is this divided by the bandwidth, rounded, from 1 to planMostMemoryNs.
int planMemoryWork(const Config &config);
inline constexpr int planMostMemoryNs = 100; ///< So that times fit 31 bits.

/// Threads of the plan kernel. It weighs plans of at most as many sequences, and as many parts of one.
inline constexpr int planThreads = 1024;
/// Beyond these, numbers of units count no further, so that times fit 31 bits: 16 million tokens.
inline constexpr int planMaxLongest = 1 << 18, planMaxTotal = 1 << 24;

/// Loads of workers are summed up in units of 2^planLoadShift ns, to planMostLoad at most.
inline constexpr int planLoadShift = 6, planMostLoad = (1 << 22) - 1;
/// Parts that are dealt by length go to no more workers than this, as many as a warp keeps the loads of.
inline constexpr int planDealtWorkers = 256;
/// planLateParts / 2^planLateShift of what the busiest worker has more than the mean is not hidden where the
/// memory is the limit: the others, done sooner, leave it more of the bandwidth than it can take.
inline constexpr int planLateParts = 3, planLateShift = 3;

/// The line of costs in shares that differ by at most a unit, longer ones first. `workers` at least 1.
struct PlanShares {
  int64_t shorter; ///< Cost of a share.
  int64_t longer;  ///< So many have a unit more.
  PlanShares(int64_t total, int64_t workers) : shorter(total / workers), longer(total % workers) {}
  int64_t begin(int64_t worker) const;
  int64_t workerAt(int64_t cost) const; ///< Below the total.
};

/// Units of the longest part of the plan with one item a worker, at least 1; 0: the line is cut. The least
/// time wins; of equal ones the fewer parts. `workers` at least 1.
int64_t planLongestPart(const PlanCosts &costs, const std::vector<int64_t> &units, int64_t workers);

/// Whether parts that are dealt are weighed: not where workers are many, for then one item each is best.
inline bool planDealsParts(int64_t batch, int64_t workers) {
  return batch > 0 && batch <= planThreads && workers <= std::min<int64_t>(planDealtWorkers, 2 * batch);
}
/// A share of all units, if parts of at most so many that are dealt, longest first, each to the worker with
/// the least work so far, take less time than what planLongestPart() (`longestPart`) and planWhole() have
/// chosen; else 0.
int64_t planDealtPart(const PlanCosts &costs, const std::vector<int64_t> &units, int64_t workers,
                      int64_t longestPart);
/// Units of the parts of all sequences, in order: equal ones of at most `part` units, the first ones longer.
std::vector<int64_t> planParts(const std::vector<int64_t> &units, int64_t part);
/// That deal: the items of each worker, of all with so many units. Equal ones go in order, to the first
/// worker of those with the least.
std::vector<std::vector<int>> planDealLongest(const PlanCosts &costs, const std::vector<int64_t> &itemUnits,
                                              int64_t workers);
/// Whether the items of the fixed policy go to the workers that way; else in order, in equal counts, as do
/// those that are all as long as one another.
bool planDealsFixed(const std::vector<int64_t> &itemUnits, int64_t workers);

/// Whole sequences, several a worker: those of each in its order. Equal lengths go in order of the batch.
std::vector<std::vector<int>> planDeal(const std::vector<int64_t> &units, int64_t workers);
/// Whether that takes no more time than the cut line; false where planLongestPart() decides.
bool planWhole(const PlanCosts &costs, const std::vector<int64_t> &units, int64_t workers);

} // namespace lathe::codegen
