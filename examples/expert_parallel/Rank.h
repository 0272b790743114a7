//===- Rank.h - One GPU's part of an expert-parallel layer -------------------------------------------===//
//
// What the process of one GPU does in a step: route its rows, send each to the GPUs that hold its experts,
// run its own experts for the rows that came, send the results home and sum them. It speaks to others through
// Exchange alone. Called by Main.cpp, each rank by a thread of its own.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Exchange.h"
#include "Problem.h"
#include "RowKernels.h"

#include "lathe/runtime/Jit.h"

#include <array>
#include <optional>

namespace lathe::examples {

/// Parts of a step in their order.
inline constexpr std::array stageNames{"route", "pack", "counts", "dispatch", "experts", "return", "sum"};

class Rank {
public:
  /// Loads the two kernels and takes its part of the problem. Synchronous. `exchange` is this rank's end.
  Rank(const Layer &layer, int rank, std::shared_ptr<runtime::Device> device, const runtime::Jit &jit,
       std::unique_ptr<Exchange> exchange);
  ~Rank();
  Rank(const Rank &) = delete;
  Rank &operator=(const Rank &) = delete;

  runtime::Device &device() const { return *device_; }
  const RankTensors &tensors() const { return tensors_; }

  /// One layer; all ranks must take it. Allocates nothing. Returns when it is done; the milliseconds of each
  /// stage, the host's waiting and list-making included.
  std::array<float, stageNames.size()> step();

  int sentRows() const { return int(lists_.rows.size()); } ///< Of the last step, its own included.
  int takenRows() const { return takenRows_; }

private:
  /// Who gets what: rows by destination, ascending.
  struct Lists {
    std::vector<int32_t> rows;   ///< The row at each place of what is sent.
    std::vector<int32_t> places; ///< [ranks, rows]: where a row is in what is sent, -1: not sent there.
    std::vector<int32_t> sent;   ///< [ranks]: rows for each rank.
  };
  void makeLists(const std::vector<int32_t> &ids);
  void route();
  void pack();
  void exchangeCounts();
  void dispatch();
  void runExperts();
  void returnParts();
  void sum();

  const Layer layer_;
  const int rank_;
  std::shared_ptr<runtime::Device> device_;
  std::unique_ptr<Exchange> exchange_;
  RowKernels rowKernels_;
  runtime::MoeKernel router_, experts_;
  runtime::MoeWorkspace routerWorkspace_, expertsWorkspace_;
  runtime::Stream stream_;
  RankTensors tensors_;

  Lists lists_;
  std::vector<int32_t> taken_; ///< [ranks]: rows from each rank.
  int takenRows_ = 0;
  /// On the device: the lists, and rows on their way with their ids and weights. Room for all rows of all.
  runtime::Buffer listRows_, listPlaces_, sentCounts_, takenCounts_;
  struct Packed {
    Packed(runtime::Device &device, const Layer &layer);
    runtime::Buffer x, ids, weights, parts; ///< parts: results of experts, or those that came home.
  };
  Packed out_, in_;
  std::vector<std::unique_ptr<runtime::Event>> marks_; ///< Before, between and behind the stages.
};

} // namespace lathe::examples
