//===- Problem.h - One random layer, dealt out to ranks ----------------------------------------------===//
//
// The rows of all ranks and the weights of all experts are one random problem of the reference. Each rank
// gets its rows and its experts; what the ranks made of them comes back and is judged as if one GPU had
// computed it. Called by Main.cpp and Rank.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/dsl/models/Moe.h"
#include "lathe/reference/MoeReference.h"

#include <cstdint>
#include <vector>

namespace lathe::examples {

/// What all ranks agree on.
struct Layer {
  dsl::MoeShape shape; ///< Of the whole layer; all experts, none of them shared.
  int ranks = 1;
  int rows = 0; ///< Of each rank.

  int heldExperts() const { return shape.experts / ranks; } ///< Of each rank: from rank · heldExperts on.
  /// The slice of one rank, for rows whose routing begins as `router` says.
  dsl::MoeShape slice(dsl::Router router) const;
};

/// The tensors of one rank, on its device; all as runtime::MoeTensors describes them.
struct RankTensors {
  RankTensors(runtime::Device &device, const Layer &layer);
  runtime::Buffer x, logits, bias; ///< Its rows; bias is empty without one.
  runtime::Buffer w1, w2;          ///< Its experts.
  runtime::Buffer ids, weights, y; ///< Of its rows.
};

class Problem {
public:
  /// Draws the problem on `device`, which must outlive it. Synchronous.
  Problem(runtime::Device &device, const Layer &layer, uint64_t seed);

  /// Fills a rank's inputs. Synchronous, through host memory.
  void deal(int rank, runtime::Device &device, const RankTensors &tensors) const;
  /// Puts what a rank wrote (ids, weights, y) to that of the others. Synchronous.
  void collect(int rank, runtime::Device &device, const RankTensors &tensors);

  struct Verdict {
    reference::RoutingCheck routing;
    reference::MoeComparison result;
    bool passed() const { return routing.passed && result.passed; }
  };
  /// Routing and result of all ranks against float64: on the GPU every row, where NVRTC is there; on the CPU,
  /// every row of a small problem and a sample of a large one.
  Verdict judge();
  /// The bits of y of all ranks, as collected.
  std::vector<uint16_t> bits() const { return reference::downloadOutput(instance_); }

private:
  runtime::Device &device_;
  Layer layer_;
  reference::MoeInstance instance_;
};

} // namespace lathe::examples
