//===- Measure.h - Timing kernels on a device ---------------------------------------------------------===//
//
// The real measurement: CUDA events around each run, a cold L2 before it, median and quartiles of many runs.
// A decode step finds its cache in DRAM, so warm timings would choose the wrong configuration. Called by
// `lathe tune` and `lathe bench`; the search sees it only as a callback.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/autotuner/TuningRecord.h"
#include "lathe/runtime/Kernel.h"

#include <functional>
#include <memory>
#include <vector>

namespace lathe::autotuner {

struct MeasureOptions {
  int warmups = 3;
  int runs = 30;
  bool coldL2 = true; ///< Overwrite twice the L2 before each run.
};

/// Median and quartiles of times in microseconds, linearly interpolated. Throws CompileError when there are
/// none.
Measurement summarize(std::vector<double> timesUs);

/// Owns a stream, two events and the flush buffer. One thread at a time.
class Timer {
public:
  /// `device` must outlive the timer. Throws UserError when runs is below 1 or warmups negative, DeviceError.
  Timer(runtime::Device &device, MeasureOptions options = {});
  ~Timer();
  Timer(const Timer &) = delete;
  Timer &operator=(const Timer &) = delete;

  runtime::Stream stream() const { return stream_; }

  /// Times what `enqueue` puts on the stream, once for each run; host-synchronous. Throws what the device
  /// throws.
  Measurement time(const std::function<void(runtime::Stream)> &enqueue);

private:
  double runOnceUs(const std::function<void(runtime::Stream)> &enqueue);

  runtime::Device &device_;
  MeasureOptions options_;
  runtime::Buffer flush_;
  runtime::Stream stream_;
  std::unique_ptr<runtime::Event> begin_, end_;
};

/// One decode step, attend and combine, planned beforehand: lengths stay the same over a step's layers, so
/// the plan's cost is shared by all of them and is not part of the time.
Measurement measureKernel(const runtime::Kernel &kernel, const runtime::DecodeTensors &tensors,
                          const MeasureOptions &options = {});

} // namespace lathe::autotuner
