//===- BenchMoe.h - Timing a mixture-of-experts layer as a model runs it -------------------------------===//
//
// A row is a shape of layer and a number of rows with a spread over experts. Its layers are captured back to
// back in a CUDA graph, each with weights and a routing of its own, and timed twice: from the router's logits
// to the output, and the experts alone for the routing that is there. Called by `lathe bench moe` and the
// tuner.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "BenchMla.h"

#include "lathe/reference/MoeShapeTable.h"
#include "lathe/runtime/Moe.h"

#include <string>
#include <vector>

namespace lathe::tools {

/// One row of a table: a named problem, with a routing as its options say.
struct MoeRow {
  reference::MoeCase entry; ///< "v2-lite/64", "v2-lite/256-zipf".
  int layers = 0;           ///< In one graph, fewer where their weights do not fit; 0: as MoeTimingOptions.
};

/// (a) DeepSeek-V2-Lite's experts, (b) a slice of DeepSeek-V3's with one local choice a row, (c) 64 experts
/// of DeepSeek-V3 with all eight choices; and (a) with skewed routing and as the model has it, with shared
/// experts.
std::vector<MoeRow> standardMoeGrid();

/// Bytes and operations of a layer with the experts that its rows chose, in the mean over layers: weights of
/// busy experts, rows and results; two operations a multiply-add.
struct MoeWork {
  double busyExperts = 0, bytes = 0, operations = 0;
};

/// Microseconds of one layer of several in a graph.
struct MoeTimes {
  int layers = 0;
  Timing whole;   ///< From logits (or a given routing) to the output, a layer.
  Timing experts; ///< Both products and the weighted sum.
  double hostUs = 0;
};

/// A kernel and its memory for the rows of a step.
struct MoeContender {
  runtime::MoeKernel kernel;
  runtime::MoeWorkspace workspace;
};

struct MoeTimingOptions {
  TimingOptions timing;
  /// In one graph, as their weights fit into memory; 0: as many as make it read 400 MB of weights, eight
  /// times what the L2 cache holds, and 8 at most. More would only draw power for longer: clocks fall, and so
  /// do figures.
  int layers = 0;
  bool parts = true; ///< Also the experts alone, and the host; else `whole` is all there is.
};

/// Counts what the instance's layer does at least.
MoeWork workOf(const reference::MoeInstance &instance);

/// Times kernels in turns, all over the same weights; the times are in their order. Layer 0 has the
/// instance's tensors. Throws DeviceError.
std::vector<MoeTimes> timeMoe(const std::vector<MoeContender> &contenders,
                              const reference::MoeInstance &instance, const MoeTimingOptions &options);

} // namespace lathe::tools
