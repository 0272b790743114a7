//===- Judge.h - Whether a step was right --------------------------------------------------------------===//
//
// Brings a step's tensors from the device and compares: each stage with float64 from the inputs that the
// device gave it, the layer with float64 from its own input, and the routing with the rules. Called by
// Main.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Layer.h"
#include "Reference.h"

#include <string>

namespace lathe::examples {

/// ||got - expected|| / ||expected|| of a stage's worst row and result.
struct StageError {
  std::string name;
  double relative = 0, allowed = 0;
  bool passed() const { return relative <= allowed; } ///< NaN is not.
};

struct Verdict {
  std::vector<StageError> stages; ///< As Reference::stages(), then "whole".
  std::string routing;            ///< First fault of the routing of any row; empty when right.
  bool passed() const;
};

struct Subject {
  runtime::Device &device;
  const LayerShape &shape;
  const Weights &weights;
  const Cache &cache;
  const Activations &activations;
};

/// Judges `rows` sequences, spread over the batch, or all when that is 0; waits for the device.
Verdict judge(const Subject &subject, int rows);

} // namespace lathe::examples
