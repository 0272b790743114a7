//===- MoeCostModel.cpp - Predicted time of a mixture of experts --------------------------------------===//
//
// The terms, each a line. Figures named "H100" come from docs/schedules/moe.md (NVIDIA H100 80GB HBM3); those
// named "assumed" are orders of magnitude that only have to rank candidates. Shared experts are experts of
// all rows.
//
//   tiles    Σ experts ⌈rows of the expert / tokenTile⌉, each as wide as its rows need (Config: widths)
//   memory   (weights of busy experts + rows in + results) / read bandwidth, for both products; weights that
//            further tiles of an expert read again come in part from DRAM where they leave the L2 first
//   stage    max(products at the matrix rate, bytes over a multiprocessor's share of L2), and no less than
//            what the ring allows: the time that a stage is on its way and held, over the number of stages
//   busiest  most items of a multiprocessor · (stages of an item · stage + what its results cost); more where
//            unequal items are not given to who is ready; `up` ends with a mean number of items where items
//            of `down` follow in one launch
//   permute  rows read once and written in order; then a tenth less for a multiprocessor's items of the first
//   product total    fixed + Σ products (max(memory, busiest) + a little of the other) + permute + combine
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/MoeCostModel.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace lathe::autotuner {

// Fitted together to all configurations of docs/benchmarks/moe-h200-candidates.json and to the standard
// tables of an H200 and an H100, in which weights are random: off by 4 % in the mean.
static constexpr double fixedUs = 6.9; // Launches and ramps; 39.1 µs at one row, of which weights are 33.5.
static constexpr double handoverUs = 0.35; // Both products in one launch: a release and an acquire an item.
static constexpr double itemFixedUs = 0.1; // Results of an item through shared memory, and
static constexpr double itemColumnUs = 0.004; // for each of its columns.
static constexpr double loadLatencyUs = 0.8;  // Request to full barrier, as far as others do not hide it.
static constexpr double heldSteps = 2.5; // A stage is given back when the next one's product has been begun.
static constexpr double matrixShare = 0.77;   // Of the matrix rate: the memory shares the power limit.
static constexpr int stepColumns = 18;        // What a step costs besides its columns, as so many of them.
static constexpr double l2Gain = 3;           // Of the L2's rate for attention kernels.
static constexpr double againShare = 0.33;    // Of weights that leave the L2 first and are read again.
static constexpr double togetherShare = 0.23; // Of an item's time, where its rows lie together.
static constexpr double unevenShare = 1.7;    // Standard deviations of the most of some hundred CTAs.
static constexpr double hiddenShare = 0.94;   // Of the shorter one of memory and products.
// From comparisons.
static constexpr double separateUs = 1.5;     // Assumed: each launch that does not overlap the one before.
static constexpr int launches = 3;            // Behind the first; one less where both products are one.
static constexpr double crowdedShare = 0.012; // H100: 379 against 372 µs, 292.9 against 290.8.
static constexpr int leastColumns = 32; // WGMMA reads 64 rows of weights for few columns in no less time.
static constexpr int elementBytes = 2;

namespace {
/// Tiles of a step.
struct Tiles {
  std::map<int, int64_t> ofColumns; ///< How many are multiplied as so many rows.
  int64_t all = 0, busy = 0;        ///< Tiles; experts with rows, shared ones included.
  double rows = 0;                  ///< Of all experts, shared ones included.
};

/// One of the two products.
struct Product {
  double weights; ///< Rows of an expert's weights.
  double depth;   ///< Their columns.
  double columns; ///< Of a result's row that is written.
  double share;   ///< Of an item's time where threads gather rows.
  bool last;      ///< Nothing follows its items in the same launch.
};

struct Model {
  const codegen::MoeConfig &config;
  const Machine &machine;
  Tiles tiles;

  MoeProductEstimate product(const Product &product) const;
  double itemUs(double stages, int columns) const;
  double mostItems(int64_t items, bool last) const;
};
} // namespace

/// The narrowest main loop that serves so many rows.
static int columnsOf(const codegen::MoeConfig &config, int64_t rows) {
  int columns = config.tokenTile;
  for (int width : codegen::moeWidths(config))
    if (width >= rows)
      columns = std::min(columns, width);
  return columns;
}

static Tiles tilesOf(const codegen::MoeProblem &problem, const codegen::MoeConfig &config,
                     const MoeLoad &load) {
  Tiles tiles;
  auto add = [&](int64_t rows, int64_t experts) {
    const int64_t all = (rows + config.tokenTile - 1) / config.tokenTile;
    if (all > 0) { // Cut evenly into whole units, the first ones a unit longer.
      const int64_t unit = codegen::moeTileUnit(config), units = (rows + unit - 1) / unit,
                    longer = units % all;
      tiles.ofColumns[columnsOf(config, units / all * unit)] += experts * (all - longer);
      if (longer > 0)
        tiles.ofColumns[columnsOf(config, (units / all + 1) * unit)] += experts * longer;
    }
    tiles.all += experts * all;
    tiles.busy += rows > 0 ? experts : 0;
    tiles.rows += double(rows) * double(experts);
  };
  for (int64_t count : load.counts)
    add(count, 1);
  add(load.rows, problem.shared);
  return tiles;
}

/// A multiprocessor's time for one item: what it multiplies, what it brings, or what its ring lets it; then
/// the results.
double Model::itemUs(double stages, int columns) const {
  const double rowsOfWeights = 64.0 * config.consumers;
  const double matrixUs = 2 * rowsOfWeights * (std::max(columns, leastColumns) + stepColumns) *
                          config.depthTile / (machine.matrixTflops * matrixShare * 1e6 / machine.smCount);
  const double bytes = (rowsOfWeights + double(columns) / config.cluster) * config.depthTile * elementBytes;
  const double portUs = bytes / (machine.l2ReadGBs * l2Gain * 1e3 / machine.smCount);
  const double busyUs = std::max(matrixUs, portUs);
  const double ringUs = (loadLatencyUs / config.ctasPerSm + heldSteps * busyUs) / config.stages;
  const double resultUs = (itemFixedUs + itemColumnUs * columns) / config.ctasPerSm;
  return stages * std::max(busyUs, ringUs) + resultUs;
}

/// Items of the multiprocessor that has most: of all CTAs' rounds, and of those that are left for the last
/// one, which the hardware gives to as many multiprocessors as it can.
double Model::mostItems(int64_t items, bool last) const {
  if (!last)
    return double(items) / machine.smCount;
  const int64_t workers = int64_t(machine.smCount) * config.ctasPerSm, left = items % workers,
                most = items / workers * config.ctasPerSm + (left + machine.smCount - 1) / machine.smCount;
  return double(most);
}

MoeProductEstimate Model::product(const Product &product) const {
  MoeProductEstimate result;
  const int64_t blocks = int64_t(product.weights) / (int64_t(64) * config.consumers);
  double sumUs = 0, squares = 0;
  for (auto [columns, count] : tiles.ofColumns) {
    const double us = itemUs(product.depth / config.depthTile, columns) * product.share;
    sumUs += double(count * blocks) * us;
    squares += double(count * blocks) * us * us;
  }
  result.items = tiles.all * blocks;
  const double most = mostItems(result.items, product.last);
  if (result.items > 0) {
    const double mean = sumUs / double(result.items),
                 deviation = std::sqrt(std::max(0.0, squares / double(result.items) - mean * mean));
    result.busiestUs = mean * most + (config.dynamic ? 0 : unevenShare * deviation * std::sqrt(most));
  }

  const double bandwidth = machine.readGBs * 1e3;
  const double weightsUs = product.weights * product.depth * elementBytes / bandwidth;
  const double rowsUs = tiles.rows * (product.depth + product.columns) * elementBytes / bandwidth;
  const double crowded = config.evictFirst ? 0 : crowdedShare;
  result.memoryUs = (double(tiles.busy) * weightsUs + rowsUs) * (1 + crowded);
  const double again = config.evictFirst ? againShare * double(tiles.all - tiles.busy) : 0;
  result.totalUs = std::max(result.memoryUs, result.busiestUs) +
                   (1 - hiddenShare) * std::min(result.memoryUs, result.busiestUs) + again * weightsUs;
  return result;
}

MoeEstimate estimate(const codegen::MoeProblem &problem, const codegen::MoeConfig &config,
                     const MoeLoad &load, const Machine &machine) {
  const Model model{config, machine, tilesOf(problem, config, load)};
  const double hidden = problem.hidden, inner = problem.intermediate;
  const double each = hidden * inner * (problem.halves + 1);
  MoeEstimate result;
  result.tiles = model.tiles.all;
  result.weightBytes = double(model.tiles.busy) * each * elementBytes;
  result.flops = 2 * model.tiles.rows * each;
  for (auto [columns, count] : model.tiles.ofColumns)
    result.paddedFlops += 2 * double(count) * columns * each;
  const double gathered = config.permute ? 1 - togetherShare : 1;
  result.up = model.product({problem.halves * inner, hidden, inner, gathered, !config.oneLaunch});
  result.down = model.product({hidden, inner, hidden, 1, true});
  result.permuteUs =
      config.permute ? (model.tiles.rows + load.rows) * hidden * elementBytes / (machine.readGBs * 1e3) : 0;
  result.combineUs = (model.tiles.rows + load.rows) * hidden * elementBytes / (machine.readGBs * 1e3);
  const bool separate = config.dependentLaunch == codegen::DependentLaunch::Off;
  const int following = launches + problem.gate.has_value() + config.permute - config.oneLaunch;
  result.fixedUs = fixedUs + (separate ? separateUs * following : 0) + (config.oneLaunch ? handoverUs : 0);
  result.totalUs =
      result.fixedUs + result.permuteUs + result.up.totalUs + result.down.totalUs + result.combineUs;
  return result;
}

static nlohmann::json productJson(const MoeProductEstimate &product) {
  return {{"totalUs", product.totalUs},
          {"memoryUs", product.memoryUs},
          {"busiestUs", product.busiestUs},
          {"items", product.items}};
}

void to_json(nlohmann::json &json, const MoeEstimate &estimate) {
  json = {{"totalUs", estimate.totalUs},         {"fixedUs", estimate.fixedUs},
          {"up", productJson(estimate.up)},      {"down", productJson(estimate.down)},
          {"permuteUs", estimate.permuteUs},     {"combineUs", estimate.combineUs},
          {"weightBytes", estimate.weightBytes}, {"flops", estimate.flops},
          {"paddedFlops", estimate.paddedFlops}, {"tiles", estimate.tiles}};
}

} // namespace lathe::autotuner
