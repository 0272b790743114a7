//===- CostModel.cpp - Predicted time of a configuration ----------------------------------------------===//
//
// The terms, each a line with its source. Figures named "H100" come from kernels of this shape on an NVIDIA
// H100 80GB HBM3; figures named "assumed" are orders of magnitude that only have to rank candidates.
//
//   memory   Σ length · keyDim · 2 B / read bandwidth                  (every cache row is read from DRAM
//   once) L2       memory bytes · rowBlocks / cluster / L2 bandwidth         (each row block reads the row
//   again) worker   Σ items (itemUs + tiles · max(matrix, load) + softmax)    (busiest worker of the
//   division) combine  combineUs + partial results written and read              (only where a sequence is
//   split) total    fixed + max(memory, L2, worker) + combine
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/CostModel.h"

#include <algorithm>
#include <numeric>

namespace lathe::autotuner {

static constexpr double fixedUs = 2.5;     // H100: empty kernel 1.1 µs, first load at cycle 1,400, epilogue.
static constexpr double itemUs = 1.2;      // Assumed: Q load, pipeline fill, epilogue of an item.
static constexpr double turnsItemUs = 4.4; // H200: 7,700 cycles from item to item of two consumers in turns.
static constexpr double softmaxUs = 0.28;  // H100: 500 cycles a tile at 1.8 GHz, per consumer.
static constexpr double exchangeUs = 0.10; // Assumed: barriers and P exchange of a tile.
static constexpr double combineFixedUs = 2.0;    // H100: launch of a dependent grid and its ramp.
static constexpr double combineEfficiency = 0.6; // Assumed: short, strided reads.
static constexpr double loadLatencyUs = 1.1;     // Assumed: request to full barrier under load.
// H100: two CTAs coupled by multicast on a ring of two stages took 371 to 400 us where separate ones took
// 252.
static constexpr double multicastSlackUs = 0.5;
// H200: one of 64 busy SMs takes no longer than its work for a tile of 73,728 bytes, 1.17 µs. All SMs
// together are at the machine's L2 rate sooner.
static constexpr double smReadGBs = 64;
// Of the bandwidth that a streaming kernel has: 64 to 128 long sequences in both committed tables.
static constexpr double streamShare = 0.95;
static constexpr int cacheElementBytes = 2;
static constexpr int partialElementBytes = 2;
// Exchanged. H100: 840 cycles for the scores, 500 for the softmax and 715 for the output of a tile with 16
// rows. The shares of a row, of a tile and of an item, are fitted to the candidates of 8 to 32 rows in
// docs/benchmarks/mla-h200-standard.json; so is what their CTAs get out of the L2 more than two consumers do.
static constexpr double swappedTileUs = 0.97, swappedTileRowUs = 0.0125;
static constexpr double swappedItemUs = 0.45, swappedItemRowUs = 0.045;
static constexpr double swappedL2Gain = 1.65;
// H100: 7.26 against 8.04 µs at 1 × 4096 with 16 heads, two launches a step; 7.32 where it comes late.
static constexpr double earlyLaunchUs = 0.4, lateLaunchUs = 0.35;
// H200, 16 heads, 1 × 1024: 5.7 to 5.5 µs with the first tile brought to the L2; 4.97 to 4.62 with old tokens
// loaded, and as much or more of every larger batch.
static constexpr double prefetchUs = 0.2, cacheAheadUs = 0.4;

namespace {
/// Adds pieces of sequences, in units of the work list, to workers.
struct Divider {
  const codegen::Config &config;
  WorkDivision division;

  Divider(const codegen::Config &config, int workers)
      : config(config),
        division{std::vector<int64_t>(size_t(workers)), std::vector<int>(size_t(workers)), 0} {}
  int64_t unitsOf(int length) const {
    const int64_t unitTokens = int64_t(config.kvTile) * config.consumers;
    return (length + unitTokens - 1) / unitTokens;
  }
  void give(int64_t worker, int64_t units) {
    if (units == 0)
      return;
    division.tiles[size_t(worker)] += units * config.consumers;
    division.items[size_t(worker)] += 1;
  }
};
} // namespace

/// Whole sequences, longest first to the workers and back again.
static void dealWhole(Divider &divider, const std::vector<int64_t> &units, int64_t workers) {
  int64_t worker = 0;
  for (const std::vector<int> &sequences : codegen::planDeal(units, workers)) {
    for (int sequence : sequences)
      divider.give(worker, units[size_t(sequence)]);
    ++worker;
  }
}

/// The line of all costs (a unit of overhead before each sequence's units) in equal shares, one a worker.
static void cutShares(Divider &divider, const std::vector<int> &lengths, int64_t workers) {
  int64_t total = 0, start = 0;
  for (int length : lengths)
    total += codegen::planOverheadUnits + divider.unitsOf(length);
  const codegen::PlanShares shares(total, workers);
  for (int length : lengths) {
    const int64_t units = divider.unitsOf(length), first = start + codegen::planOverheadUnits,
                  end = first + units;
    if (divider.config.split == codegen::SplitPolicy::Whole) {
      divider.give(shares.workerAt(start), units);
    } else {
      int64_t pieces = 0;
      for (int64_t at = first, next = at; at < end; at = next, ++pieces) {
        const int64_t worker = shares.workerAt(at);
        next = std::min(end, shares.begin(worker + 1));
        divider.give(worker, next - at);
      }
      divider.division.partials += pieces > 1 ? pieces : 0;
    }
    start = end;
  }
}

/// Items longest first, each to the worker with the least.
static void dealLongest(Divider &divider, const codegen::PlanCosts &costs,
                        const std::vector<int64_t> &items) {
  int64_t worker = 0;
  for (const std::vector<int> &mine :
       codegen::planDealLongest(costs, items, int64_t(divider.division.items.size()))) {
    for (int item : mine)
      divider.give(worker, items[size_t(item)]);
    ++worker;
  }
}

/// Items in order, in equal counts.
static void dealInOrder(Divider &divider, const std::vector<int64_t> &items) {
  const auto workers = int64_t(divider.division.items.size()), count = int64_t(items.size());
  for (int64_t item = 0; item < count; ++item)
    divider.give(item * workers / count, items[size_t(item)]);
}

/// Every sequence in equal parts of at most `part` units.
static std::vector<int64_t> cutParts(Divider &divider, const std::vector<int64_t> &units, int64_t part) {
  for (int64_t each : units)
    divider.division.partials += each > part ? (each + part - 1) / part : 0;
  return codegen::planParts(units, part);
}

/// Every sequence in parts that its length gives.
static void dealFixed(Divider &divider, const codegen::PlanCosts &costs, const std::vector<int> &lengths,
                      int64_t workers) {
  const int64_t most = codegen::fixedPartUnits(divider.config);
  std::vector<int64_t> items;
  for (int length : lengths) {
    const int64_t units = divider.unitsOf(length);
    const int64_t parts =
        std::max<int64_t>(1, std::min<int64_t>((units + most - 1) / most, divider.config.fixedSplits));
    for (int64_t part = 0; part < parts; ++part)
      items.push_back(units * (part + 1) / parts - units * part / parts);
    divider.division.partials += parts > 1 ? parts : 0;
  }
  if (codegen::planDealsFixed(items, workers))
    dealLongest(divider, costs, items);
  else
    dealInOrder(divider, items);
}

/// As the plan kernel chooses (codegen/Schedule/PlanCosts.h).
static void divideBalanced(Divider &divider, const std::vector<int> &lengths, int64_t workers,
                           int memoryGBs) {
  const codegen::PlanCosts costs = codegen::planCosts(divider.config, memoryGBs);
  std::vector<int64_t> units;
  for (int length : lengths)
    units.push_back(divider.unitsOf(length));
  if (codegen::planWhole(costs, units, workers))
    return dealWhole(divider, units, workers);
  const int64_t longest = codegen::planLongestPart(costs, units, workers);
  if (const int64_t part = codegen::planDealtPart(costs, units, workers, longest))
    dealLongest(divider, costs, cutParts(divider, units, part));
  else if (longest > 0)
    dealInOrder(divider, cutParts(divider, units, longest));
  else
    cutShares(divider, lengths, workers);
}

WorkDivision divide(const codegen::Config &config, const std::vector<int> &lengths, int workers,
                    int memoryGBs) {
  Divider divider(config, workers);
  switch (config.split) {
  case codegen::SplitPolicy::Balanced:
    divideBalanced(divider, lengths, workers, memoryGBs);
    break;
  case codegen::SplitPolicy::Whole:
    cutShares(divider, lengths, workers);
    break;
  case codegen::SplitPolicy::Fixed:
    dealFixed(divider, codegen::planCosts(config, memoryGBs), lengths, workers);
    break;
  }
  return divider.division;
}

/// Time of one tile in the steady state of one CTA.
static double tileUs(const codegen::AttentionProblem &problem, const codegen::Config &config,
                     const Machine &machine) {
  const codegen::Resources cost = codegen::resources(problem, config);
  const double flops = 2.0 * config.rowsPerCta * config.kvTile * (problem.keyDim + problem.valueDim);
  const double matrixUs = flops / (machine.matrixTflops * 1e6 / machine.smCount);
  // One consumer's softmax hides behind another's products where they take turns; where they go together its
  // time is that of both, and grows with the tile.
  const double shown = config.seesaw ? 0 : softmaxUs * config.kvTile / 64 / config.consumers;
  const double swappedUs = swappedTileUs + swappedTileRowUs * config.rowsPerCta;
  const double busyUs =
      config.swapOperands ? std::max(swappedUs, matrixUs) : matrixUs + shown + exchangeUs / config.consumers;
  // Little's law: what the ring holds arrives once a latency. The stage in use cannot be filled; exchanged, a
  // stage is in use for as long as its tile takes (H200: 18.4 µs with one, 14.3 with two, 16 heads, 8 ×
  // 4096).
  const int flying = std::max(1, config.stages - config.consumers);
  const double loadUs =
      config.swapOperands ? (loadLatencyUs + busyUs) / config.stages : loadLatencyUs / flying;
  const double coupledUs = config.cluster > 1 ? multicastSlackUs / config.stages : 0;
  const double portUs = cost.stageBytes / (smReadGBs * 1e3) / config.cluster;
  return std::max({busyUs, loadUs, portUs}) + coupledUs;
}

/// What is under way before the launch before has ended.
static double aheadGain(const codegen::Config &config) {
  return (config.swapOperands && config.prefetch ? prefetchUs : 0) + (config.cacheAhead ? cacheAheadUs : 0);
}

/// What dependent launch saves of a launch.
static double launchGain(const codegen::Config &config) {
  switch (config.dependentLaunch) {
  case codegen::DependentLaunch::Off:
    return 0;
  case codegen::DependentLaunch::Early:
    return earlyLaunchUs;
  case codegen::DependentLaunch::Late:
    return lateLaunchUs;
  }
  return 0;
}

Estimate estimate(const codegen::AttentionProblem &problem, const codegen::Config &config,
                  const std::vector<int> &lengths, const Machine &machine) {
  const codegen::Resources cost = codegen::resources(problem, config);
  const int64_t tokens = std::accumulate(lengths.begin(), lengths.end(), int64_t(0));
  Estimate result;
  result.workers = std::max(1, machine.smCount / cost.rowBlocks);
  result.bytes = tokens * problem.keyDim * cacheElementBytes;
  result.flops = 2.0 * problem.rows() * double(tokens) * (problem.keyDim + problem.valueDim);
  result.memoryUs = double(result.bytes) / (machine.readGBs * 1e3 * streamShare);
  const double l2GBs = machine.l2ReadGBs * (config.swapOperands ? swappedL2Gain : 1);
  result.l2Us = double(result.bytes) * cost.rowBlocks / config.cluster / (l2GBs * 1e3);

  const WorkDivision division = divide(config, lengths, result.workers, machine.memoryGBs);
  const double perTileUs = tileUs(problem, config, machine);
  const double firstItemUs =
      config.swapOperands ? swappedItemUs + swappedItemRowUs * config.rowsPerCta : itemUs;
  const double nextItemUs = config.seesaw ? turnsItemUs : firstItemUs;
  double sumUs = 0;
  for (size_t worker = 0; worker < division.tiles.size(); ++worker) {
    const int items = division.items[worker];
    const double us =
        (items > 0 ? firstItemUs + (items - 1) * nextItemUs : 0) + double(division.tiles[worker]) * perTileUs;
    sumUs += us;
    result.longestUs = std::max(result.longestUs, us);
    result.items += items;
  }
  result.utilisation = result.longestUs > 0 ? sumUs / double(division.tiles.size()) / result.longestUs : 0;
  result.partials = division.partials;

  const double partialBytes =
      double(division.partials) * problem.rows() * (problem.valueDim + 1) * partialElementBytes;
  if (division.partials > 0)
    result.combineUs =
        combineFixedUs - launchGain(config) + 2 * partialBytes / (machine.readGBs * 1e3 * combineEfficiency);
  result.fixedUs = fixedUs - launchGain(config) - aheadGain(config);
  result.totalUs =
      result.fixedUs + std::max({result.memoryUs, result.l2Us, result.longestUs}) + result.combineUs;
  return result;
}

void to_json(nlohmann::json &json, const Estimate &estimate) {
  json = {{"totalUs", estimate.totalUs},
          {"memoryUs", estimate.memoryUs},
          {"l2Us", estimate.l2Us},
          {"longestUs", estimate.longestUs},
          {"combineUs", estimate.combineUs},
          {"fixedUs", estimate.fixedUs},
          {"utilisation", estimate.utilisation},
          {"bytes", estimate.bytes},
          {"flops", estimate.flops},
          {"workers", estimate.workers},
          {"items", estimate.items},
          {"partials", estimate.partials}};
}

} // namespace lathe::autotuner
