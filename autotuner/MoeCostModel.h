//===- MoeCostModel.h - Predicted time of a mixture of experts ----------------------------------------===//
//
// An analytic model of the grouped products: weights of busy experts over the memory's bandwidth, what each
// multiprocessor brings from L2 and multiplies, padding included, a fixed cost an item and a launch. It ranks
// candidates so that few need measuring, and chooses where there is no GPU. Called by the search and `lathe
// tune moe --target`.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/autotuner/Machine.h"
#include "lathe/autotuner/MoeWorkload.h"
#include "lathe/codegen/Schedule/MoeConfig.h"

#include <nlohmann/json.hpp>

#include <cstdint>

namespace lathe::autotuner {

/// Where the time of one of the two products goes, microseconds.
struct MoeProductEstimate {
  double totalUs = 0;   ///< About the longer one of:
  double memoryUs = 0;  ///< weights and rows at DRAM bandwidth,
  double busiestUs = 0; ///< the busiest multiprocessor's items.
  int64_t items = 0;    ///< Tiles × blocks of rows of weights.
};

/// Where the time of one layer goes, microseconds.
struct MoeEstimate {
  double totalUs = 0; ///< The sum of:
  double fixedUs = 0; ///< launches, routing, first load, last result,
  MoeProductEstimate up, down;
  double permuteUs = 0;   ///< copying rows into the order of experts,
  double combineUs = 0;   ///< and reading the choices' results and writing the sum.
  double weightBytes = 0; ///< Of the experts that any row chose, and of shared ones.
  double flops = 0;       ///< Of rows that there are.
  double paddedFlops = 0; ///< Of whole tiles.
  int64_t tiles = 0;
};

/// `config` must be one that check() accepts.
MoeEstimate estimate(const codegen::MoeProblem &problem, const codegen::MoeConfig &config,
                     const MoeLoad &load, const Machine &machine);

void to_json(nlohmann::json &json, const MoeEstimate &estimate);

} // namespace lathe::autotuner
