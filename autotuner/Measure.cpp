//===- Measure.cpp - Timing kernels on a device -------------------------------------------------------===//
//
// The flush also keeps the GPU busy while the host enqueues the run, so that short kernels are not timed with
// the host's launch latency in between.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/Measure.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>

namespace lathe::autotuner {

static constexpr int64_t leastFlushBytes = int64_t(64) << 20;

/// Value at `share` (0 to 1) of sorted values, between neighbours by proportion.
static double quantile(const std::vector<double> &sorted, double share) {
  const double at = share * double(sorted.size() - 1);
  const size_t low = size_t(at), high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - double(low)) * (sorted[high] - sorted[low]);
}

Measurement summarize(std::vector<double> timesUs) {
  if (timesUs.empty())
    throw CompileError(Fault{"measurement", "there must be at least one time", "none", {}});
  std::sort(timesUs.begin(), timesUs.end());
  return {quantile(timesUs, 0.5), quantile(timesUs, 0.25), quantile(timesUs, 0.75), int(timesUs.size())};
}

static size_t flushBytes(const runtime::Device &device, const MeasureOptions &options) {
  return options.coldL2 ? size_t(std::max(leastFlushBytes, 2 * device.properties().l2Bytes)) : 0;
}

static MeasureOptions checked(const MeasureOptions &options) {
  if (options.runs < 1 || options.warmups < 0)
    throw UserError(Fault{"measurement",
                          "runs must be at least 1 and warm-ups not negative",
                          fmt::format("{} and {}", options.runs, options.warmups),
                          {}});
  return options;
}

Timer::Timer(runtime::Device &device, MeasureOptions options) : device_(device), options_(checked(options)) {
  if (size_t bytes = flushBytes(device, options_))
    flush_ = runtime::Buffer(device, bytes);
  begin_ = device.createEvent();
  end_ = device.createEvent();
  stream_ = device.createStream();
}

Timer::~Timer() { device_.destroyStream(stream_); }

double Timer::runOnceUs(const std::function<void(runtime::Stream)> &enqueue) {
  if (flush_.bytes() > 0)
    device_.fill(flush_.get(), 0, flush_.bytes(), stream_);
  begin_->record(stream_);
  enqueue(stream_);
  end_->record(stream_);
  end_->synchronize();
  return 1000.0 * end_->millisecondsSince(*begin_);
}

Measurement Timer::time(const std::function<void(runtime::Stream)> &enqueue) {
  for (int i = 0; i < options_.warmups; ++i)
    runOnceUs(enqueue);
  std::vector<double> timesUs;
  for (int i = 0; i < options_.runs; ++i)
    timesUs.push_back(runOnceUs(enqueue));
  return summarize(std::move(timesUs));
}

Measurement measureKernel(const runtime::Kernel &kernel, const runtime::DecodeTensors &tensors,
                          const MeasureOptions &options) {
  Timer timer(kernel.device(), options);
  runtime::Plan plan = kernel.makePlan(tensors.batch);
  kernel.plan(plan, tensors.lengths, tensors.batch, timer.stream());
  Measurement time = timer.time([&](runtime::Stream stream) { kernel.run(plan, tensors, stream); });
  kernel.device().synchronize(timer.stream());
  return time;
}

} // namespace lathe::autotuner
