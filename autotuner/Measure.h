//===- Measure.h - What repeated runs took ------------------------------------------------------------===//
//
// From the times of single runs to what the search compares. It sees measuring itself only as a callback,
// whose work is that of `lathe bench`.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/autotuner/TuningRecord.h"

#include <vector>

namespace lathe::autotuner {

/// Median and quartiles of times in microseconds, linearly interpolated. Throws CompileError when there are
/// none.
Measurement summarize(std::vector<double> timesUs);

} // namespace lathe::autotuner
