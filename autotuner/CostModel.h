//===- CostModel.h - Predicted time of a configuration ------------------------------------------------===//
//
// An analytic model: bytes over bandwidth, operations over the matrix rate, a fixed cost a tile, an item, a
// split, and the idle tails that the split policy leaves, found by dividing the workload's lengths among
// workers as the planner does. It ranks candidates so that few need measuring, and chooses where there is no
// GPU; it never overrules a measurement. Called by the search and `lathe tune --target`. How near it is to
// committed measurements is in tests/unit/autotuner/CostModelTableTest.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/autotuner/Machine.h"
#include "lathe/codegen/Schedule/PlanCosts.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <vector>

namespace lathe::autotuner {

/// Where the time of one decode step goes, microseconds.
struct Estimate {
  double totalUs = 0;
  double memoryUs = 0;    ///< All cache bytes at DRAM bandwidth: no step is shorter.
  double l2Us = 0;        ///< The same bytes once for each row block (cluster), L2 to SM.
  double longestUs = 0;   ///< The busiest worker: tiles, items, fixed costs.
  double combineUs = 0;   ///< Writing, reading and merging partial results.
  double fixedUs = 0;     ///< Launch, first load, epilogue.
  double utilisation = 0; ///< Mean over busiest worker.
  int64_t bytes = 0;      ///< Cache bytes read once.
  double flops = 0;       ///< Useful operations (heads, not padded rows).
  int workers = 0;
  int64_t items = 0;    ///< Pieces of work.
  int64_t partials = 0; ///< Pieces that a combine must merge.
};

/// The division of a batch among workers.
struct WorkDivision {
  std::vector<int64_t> tiles; ///< Tiles of each worker.
  std::vector<int> items;     ///< Items of each worker.
  int64_t partials = 0;
};

/// As the plan kernel divides (codegen/Schedule/PlanKernel.cpp), formula by formula; empty sequences count no
/// item. `workers` at least 1.
WorkDivision divide(const codegen::Config &config, const std::vector<int> &lengths, int workers,
                    int memoryGBs = codegen::planMemoryGBs);

/// `config` must be one that check() accepts. An empty batch takes the fixed cost.
Estimate estimate(const codegen::AttentionProblem &problem, const codegen::Config &config,
                  const std::vector<int> &lengths, const Machine &machine);

void to_json(nlohmann::json &json, const Estimate &estimate);

} // namespace lathe::autotuner
