//===- Timing.h - How long a step takes ----------------------------------------------------------------===//
//
// Times of each stage and of the whole step on a GPU. Called by Main.cpp where products and elements run on
// the device.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Layer.h"

#include <vector>

namespace lathe::examples {

/// Microseconds, medians.
struct Times {
  std::vector<double> stages; ///< As Layer::stages(), between events in a stream.
  double graph = 0;           ///< All stages, as one CUDA graph.
};

Times timeLayer(Layer &layer, runtime::Device &device, int repeat);

} // namespace lathe::examples
