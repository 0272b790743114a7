//===- PlanCosts.cpp - What a plan costs -------------------------------------------------------------===//
//
// See PlanCosts.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/PlanCosts.h"

#include <algorithm>
#include <numeric>

namespace lathe::codegen {

// NVIDIA H100 80GB HBM3, 132 SMs. The memory gives 73,728 bytes in 25 ns (604 MB in 202.5 µs), 88 % of the
// data sheet's bandwidth; so an H200's 4,800 GB/s are 17 ns. The others are fitted so that the numbers of
// busy workers that were best in experiments come out (tests/unit/schedule/PlanCostsTest.cpp has them), near
// what single parts took. Exchanged operands, 64 tokens: scores, softmax and output take 1.17 µs, the first
// load of a lone worker longer; a combine of 64 parts costs 3 µs. What a part costs the combine of all
// (slotNs) is reckoned from the bytes that it reads, not fitted.
static constexpr int swappedTokens = 64;
static constexpr PlanCosts swappedCosts{
    .unitNs = 1560, .memoryNs = 0, .lagNs = 72, .itemNs = 2500, .startNs = 2000, .partNs = 48, .slotNs = 13};
// 64 rows, 128 tokens: 16 × 4096 tokens of 128 heads take 49 µs in 4 parts each, of 8 units.
static constexpr int fullTokens = 128;
static constexpr PlanCosts fullCosts{.unitNs = 3750,
                                     .memoryNs = 0,
                                     .lagNs = 144,
                                     .itemNs = 4000,
                                     .startNs = 2000,
                                     .partNs = 50,
                                     .slotNs = 100};

int planMemoryWork(const Config &config) {
  constexpr int rowBytes = 1152, reachedPercent = 88;
  return rowBytes * config.kvTile * config.consumers * 100 / reachedPercent;
}

PlanCosts planCosts(const Config &config, int memoryGBs) {
  PlanCosts costs = config.swapOperands ? swappedCosts : fullCosts;
  const int tokens = config.swapOperands ? swappedTokens : fullTokens;
  for (int *each : {&costs.unitNs, &costs.lagNs})
    *each = *each * config.kvTile * config.consumers / tokens;
  costs.memoryNs = std::clamp((planMemoryWork(config) + memoryGBs / 2) / memoryGBs, 1, planMostMemoryNs);
  return costs;
}

static int64_t ceilDiv(int64_t x, int64_t y) { return (x + y - 1) / y; }

/// Time of a worker with so many units and items, beside whom all others work.
static int64_t timeOf(const PlanCosts &costs, int64_t total, int64_t longest, int64_t items, int64_t parts) {
  total = std::min<int64_t>(total, planMaxTotal);
  longest = std::min<int64_t>(longest, planMaxLongest);
  return std::max(costs.startNs + costs.memoryNs * total, costs.itemNs + costs.unitNs * longest) +
         costs.lagNs * longest + costs.itemNs * (items - 1) + (parts > 1 ? costs.partNs * parts : 0);
}

/// The least length of parts with which no worker has two: the more units a part, the fewer parts.
static int64_t shortestPart(const std::vector<int64_t> &units, int64_t longest, int64_t workers) {
  int64_t least = 1, most = std::max<int64_t>(longest, 1);
  while (least < most) {
    const int64_t part = (least + most) / 2;
    int64_t parts = 0;
    for (int64_t each : units)
      parts += std::max<int64_t>(1, ceilDiv(each, part));
    (parts <= workers ? most : least) = parts <= workers ? part : part + 1;
  }
  return least;
}

/// Time of the cut line; a worker has the items of its share's sequences, in the mean, and one more.
static int64_t lineTime(const PlanCosts &costs, const std::vector<int64_t> &units, int64_t workers) {
  const int64_t batch = int64_t(units.size()),
                total = std::accumulate(units.begin(), units.end(), int64_t(0));
  const int64_t longest = *std::max_element(units.begin(), units.end());
  const int64_t share = std::max<int64_t>(1, ceilDiv(total + batch * planOverheadUnits, workers));
  const int64_t parts = std::min(workers, ceilDiv(longest, share) + 1);
  return timeOf(costs, total, share, 1 + ceilDiv(batch, workers), parts);
}

int64_t planLongestPart(const PlanCosts &costs, const std::vector<int64_t> &units, int64_t workers) {
  const int64_t batch = int64_t(units.size());
  if (batch == 0 || batch > std::min<int64_t>(workers, planThreads))
    return 0;
  const int64_t total = std::accumulate(units.begin(), units.end(), int64_t(0));
  const int64_t longest = *std::max_element(units.begin(), units.end());
  const int64_t shortest = shortestPart(units, longest, workers);
  int64_t best = 0, bestTime = 0;
  for (int64_t cuts = 1; cuts <= planThreads; ++cuts) {
    const int64_t part = std::max(shortest, ceilDiv(longest, cuts));
    const int64_t time = timeOf(costs, total, part, 1, ceilDiv(longest, part));
    if (best == 0 || time < bestTime)
      best = part, bestTime = time;
  }
  return bestTime <= lineTime(costs, units, workers) ? best : 0;
}

/// Parts of all sequences in equal ones of at most `part` units, and of those that are split.
static std::pair<int64_t, int64_t> partsOf(const std::vector<int64_t> &units, int64_t part) {
  int64_t all = 0, split = 0;
  for (int64_t each : units) {
    const int64_t parts = std::max<int64_t>(1, ceilDiv(each, part));
    all += parts;
    split += parts > 1 ? parts : 0;
  }
  return {all, split};
}

static int64_t counted(const std::vector<int64_t> &units, int index) {
  return std::min<int64_t>(units[size_t(index)], planMaxLongest);
}
static std::vector<int> longestFirst(const std::vector<int64_t> &units) {
  std::vector<int> order(units.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int one, int other) {
    return std::pair(-counted(units, one), one) < std::pair(-counted(units, other), other);
  });
  return order;
}

/// The deal, and the busiest worker's load.
static std::pair<std::vector<std::vector<int>>, int64_t>
dealLongest(const PlanCosts &costs, const std::vector<int64_t> &itemUnits, int64_t workers) {
  std::vector<std::vector<int>> dealt(static_cast<size_t>(workers));
  std::vector<int64_t> loads(static_cast<size_t>(workers));
  for (int item : longestFirst(itemUnits)) {
    const size_t worker = size_t(std::min_element(loads.begin(), loads.end()) - loads.begin());
    dealt[worker].push_back(item);
    loads[worker] = std::min<int64_t>(
        loads[worker] + ((costs.unitNs * counted(itemUnits, item) + costs.itemNs) >> planLoadShift),
        planMostLoad);
  }
  return {dealt, *std::max_element(loads.begin(), loads.end())};
}

std::vector<int64_t> planParts(const std::vector<int64_t> &units, int64_t part) {
  std::vector<int64_t> items;
  for (int64_t each : units) {
    const int64_t parts = std::max<int64_t>(1, ceilDiv(each, part));
    for (int64_t i = 0; i < parts; ++i)
      items.push_back(each / parts + (i < each % parts));
  }
  return items;
}

static int64_t dealtTime(const PlanCosts &costs, const std::vector<int64_t> &units, int64_t workers,
                         int64_t part, int64_t split) {
  const int64_t total = std::accumulate(units.begin(), units.end(), int64_t(0));
  const int64_t longest = *std::max_element(units.begin(), units.end());
  const std::vector<int64_t> items = planParts(units, part);
  const int64_t busiest = dealLongest(costs, items, workers).second << planLoadShift;
  const int64_t share = std::min<int64_t>(part, planMaxLongest), count = int64_t(items.size());
  const int64_t mean = share * costs.unitNs + count * costs.itemNs / workers;
  const int64_t late = (std::max<int64_t>(busiest - mean, 0) >> planLateShift) * planLateParts;
  const int64_t memory = costs.startNs + costs.memoryNs * std::min<int64_t>(total, planMaxTotal) + late;
  const int64_t parts = std::max<int64_t>(1, ceilDiv(longest, part));
  return std::max(memory, busiest) + costs.lagNs * share + (parts > 1 ? costs.partNs * parts : 0) +
         costs.slotNs * split;
}

/// Of what was chosen before.
static int64_t undealtTime(const PlanCosts &costs, const std::vector<int64_t> &units, int64_t workers,
                           int64_t longestPart) {
  const int64_t batch = int64_t(units.size());
  const int64_t total = std::accumulate(units.begin(), units.end(), int64_t(0));
  const int64_t longest = *std::max_element(units.begin(), units.end());
  if (longestPart > 0)
    return timeOf(costs, total, longestPart, 1, ceilDiv(longest, longestPart)) +
           costs.slotNs * partsOf(units, longestPart).second;
  return lineTime(costs, units, workers) + costs.slotNs * (workers - 1 + std::min(batch, workers - 1));
}

int64_t planDealtPart(const PlanCosts &costs, const std::vector<int64_t> &units, int64_t workers,
                      int64_t longestPart) {
  const int64_t batch = int64_t(units.size());
  if (!planDealsParts(batch, workers))
    return 0;
  const int64_t total = std::accumulate(units.begin(), units.end(), int64_t(0));
  const int64_t part = std::max<int64_t>(1, ceilDiv(total, workers));
  const auto [items, split] = partsOf(units, part);
  // No more items than sequences and workers together, nor parts of split ones than twice the workers, so
  // that there is room for them (runtime/Planner.h).
  if (items > planThreads)
    return 0;
  return dealtTime(costs, units, workers, part, split) < undealtTime(costs, units, workers, longestPart)
             ? part
             : 0;
}

std::vector<std::vector<int>> planDealLongest(const PlanCosts &costs, const std::vector<int64_t> &itemUnits,
                                              int64_t workers) {
  return dealLongest(costs, itemUnits, workers).first;
}

bool planDealsFixed(const std::vector<int64_t> &itemUnits, int64_t workers) {
  const int64_t items = int64_t(itemUnits.size());
  if (items <= workers || items > planThreads || workers > planDealtWorkers)
    return false;
  const auto [least, most] = std::minmax_element(itemUnits.begin(), itemUnits.end());
  return *least < std::min<int64_t>(*most, planMaxLongest);
}

std::vector<std::vector<int>> planDeal(const std::vector<int64_t> &units, int64_t workers) {
  const std::vector<int> order = longestFirst(units);
  std::vector<std::vector<int>> dealt(static_cast<size_t>(workers));
  for (int64_t rank = 0; rank < int64_t(order.size()); ++rank) {
    const int64_t round = rank / workers, place = rank % workers;
    dealt[size_t(round % 2 ? workers - 1 - place : place)].push_back(order[size_t(rank)]);
  }
  return dealt;
}

bool planWhole(const PlanCosts &costs, const std::vector<int64_t> &units, int64_t workers) {
  if (int64_t(units.size()) <= workers || int64_t(units.size()) > planThreads)
    return false;
  const int64_t total = std::accumulate(units.begin(), units.end(), int64_t(0));
  int64_t time = 0;
  for (const std::vector<int> &sequences : planDeal(units, workers)) {
    int64_t sum = 0;
    for (int sequence : sequences)
      sum += units[size_t(sequence)];
    time = std::max(time, timeOf(costs, total, sum, int64_t(sequences.size()), 1));
  }
  return time <= lineTime(costs, units, workers);
}

int64_t PlanShares::begin(int64_t worker) const { return worker * shorter + std::min(worker, longer); }

int64_t PlanShares::workerAt(int64_t cost) const {
  const int64_t rest = cost - longer * (shorter + 1);
  return rest < 0 ? cost / (shorter + 1) : longer + rest / std::max<int64_t>(shorter, 1);
}

} // namespace lathe::codegen
