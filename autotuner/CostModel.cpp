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
#include <functional>
#include <numeric>
#include <queue>

namespace lathe::autotuner {

static constexpr double fixedUs = 2.5;     // H100: empty kernel 1.1 µs, first load at cycle 1,400, epilogue.
static constexpr double itemUs = 1.2;      // Assumed: Q load, pipeline fill, epilogue of an item.
static constexpr double softmaxUs = 0.28;  // H100: 500 cycles a tile at 1.8 GHz, per consumer.
static constexpr double exchangeUs = 0.10; // Assumed: barriers and P exchange of a tile.
static constexpr double combineFixedUs = 2.0;    // H100: launch of a dependent grid and its ramp.
static constexpr double combineEfficiency = 0.6; // Assumed: short, strided reads.
static constexpr double loadLatencyUs = 1.1;     // Assumed: request to full barrier under load.
// H100: two CTAs coupled by multicast on a ring of two stages took 371 to 400 us where separate ones took
// 252.
static constexpr double multicastSlackUs = 0.5;
static constexpr int cacheElementBytes = 2;
static constexpr int partialElementBytes = 4;

static int64_t tilesOf(int length, int kvTile) { return (int64_t(length) + kvTile - 1) / kvTile; }

static WorkDivision divideEqually(const codegen::Config &config, const std::vector<int> &lengths,
                                  int workers) {
  WorkDivision division{std::vector<int64_t>(size_t(workers)), std::vector<int>(size_t(workers)), 0};
  int64_t total = 0;
  for (int length : lengths)
    total += tilesOf(length, config.kvTile);
  const int64_t share = std::max<int64_t>(1, (total + workers - 1) / workers);
  int64_t position = 0;
  for (int length : lengths) {
    const int64_t tiles = tilesOf(length, config.kvTile), end = position + tiles;
    int pieces = 0;
    while (position < end) {
      const size_t worker = size_t(position / share);
      const int64_t piece = std::min(end, int64_t(worker + 1) * share) - position;
      division.tiles[worker] += piece;
      division.items[worker] += 1;
      position += piece;
      ++pieces;
    }
    division.partials += pieces > 1 ? pieces : 0;
  }
  return division;
}

static WorkDivision divideGreedily(const codegen::Config &config, const std::vector<int> &lengths,
                                   int workers) {
  WorkDivision division{std::vector<int64_t>(size_t(workers)), std::vector<int>(size_t(workers)), 0};
  using Load = std::pair<int64_t, int>; // Tiles so far, worker.
  std::priority_queue<Load, std::vector<Load>, std::greater<>> idle;
  for (int worker = 0; worker < workers; ++worker)
    idle.emplace(0, worker);
  const int parts = config.split == codegen::SplitPolicy::Fixed ? config.fixedSplits : 1;
  for (int length : lengths) {
    const int64_t tiles = tilesOf(length, config.kvTile);
    const int64_t part = std::max<int64_t>(1, (tiles + parts - 1) / parts);
    const int64_t pieces = (tiles + part - 1) / part;
    for (int64_t begin = 0; begin < tiles; begin += part) {
      auto [load, worker] = idle.top();
      idle.pop();
      const int64_t piece = std::min(part, tiles - begin);
      division.tiles[size_t(worker)] += piece;
      division.items[size_t(worker)] += 1;
      idle.emplace(load + piece, worker);
    }
    division.partials += pieces > 1 ? pieces : 0;
  }
  return division;
}

WorkDivision divide(const codegen::Config &config, const std::vector<int> &lengths, int workers) {
  return config.split == codegen::SplitPolicy::Balanced ? divideEqually(config, lengths, workers)
                                                        : divideGreedily(config, lengths, workers);
}

/// Time of one tile in the steady state of one CTA.
static double tileUs(const codegen::AttentionProblem &problem, const codegen::Config &config,
                     const Machine &machine) {
  const codegen::Resources cost = codegen::resources(problem, config);
  const double flops = 2.0 * config.rowsPerCta * config.kvTile * (problem.keyDim + problem.valueDim);
  const double matrixUs = flops / (machine.matrixTflops * 1e6 / machine.smCount);
  // One consumer's softmax hides behind another's products; alone it does not. Its time grows with the tile.
  const double hidden = config.consumers > 1 ? 0 : softmaxUs * config.kvTile / 64;
  const double busyUs = matrixUs + hidden + exchangeUs / config.consumers;
  // Little's law: what the ring holds arrives once a latency. The stage in use cannot be filled.
  const int flying = std::max(1, config.stages - config.consumers);
  const double loadUs = loadLatencyUs / flying;
  const double coupledUs = config.cluster > 1 ? multicastSlackUs / config.stages : 0;
  const double portUs = cost.stageBytes / (machine.l2ReadGBs * 1e3 / machine.smCount) / config.cluster;
  return std::max({busyUs, loadUs, portUs}) + coupledUs;
}

Estimate estimate(const codegen::AttentionProblem &problem, const codegen::Config &config,
                  const std::vector<int> &lengths, const Machine &machine) {
  const codegen::Resources cost = codegen::resources(problem, config);
  const int64_t tokens = std::accumulate(lengths.begin(), lengths.end(), int64_t(0));
  Estimate result;
  result.workers = std::max(1, machine.smCount / cost.rowBlocks);
  result.bytes = tokens * problem.keyDim * cacheElementBytes;
  result.flops = 2.0 * problem.rows() * double(tokens) * (problem.keyDim + problem.valueDim);
  result.memoryUs = double(result.bytes) / (machine.readGBs * 1e3);
  result.l2Us = double(result.bytes) * cost.rowBlocks / config.cluster / (machine.l2ReadGBs * 1e3);

  const WorkDivision division = divide(config, lengths, result.workers);
  const double perTileUs = tileUs(problem, config, machine);
  double sumUs = 0;
  for (size_t worker = 0; worker < division.tiles.size(); ++worker) {
    const double us = division.items[worker] * itemUs + double(division.tiles[worker]) * perTileUs;
    sumUs += us;
    result.longestUs = std::max(result.longestUs, us);
    result.items += division.items[worker];
  }
  result.utilisation = result.longestUs > 0 ? sumUs / double(division.tiles.size()) / result.longestUs : 0;
  result.partials = division.partials;

  const double partialBytes =
      double(division.partials) * problem.rows() * (problem.valueDim + 1) * partialElementBytes;
  if (division.partials > 0)
    result.combineUs = combineFixedUs + 2 * partialBytes / (machine.readGBs * 1e3 * combineEfficiency);
  result.fixedUs = fixedUs;
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
