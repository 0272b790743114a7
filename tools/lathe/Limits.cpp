//===- Limits.cpp - Measuring the two limits ----------------------------------------------------------===//
//
// Runs the kernels of LimitsPtx.cpp between events and keeps the best of ten: a limit is the best that the
// machine does, not its usual day. Failures fall back to the datasheet, so that a benchmark still prints.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Limits.h"

#include "lathe/support/Error.h"

#include <algorithm>
#include <functional>

using namespace lathe;
using namespace lathe::tools;
using runtime::Buffer;
using runtime::Device;
using runtime::Stream;

void lathe::tools::to_json(nlohmann::json &json, const Limits &limits) {
  json = {{"readGbps", limits.readGbps},
          {"matrixTflops", limits.matrixTflops},
          {"readSource", limits.readSource},
          {"matrixSource", limits.matrixSource}};
}

Limits lathe::tools::datasheetLimits() {
  // NVIDIA H100 datasheet, SXM5: 3.35 TB/s, 989.4 TFLOPS dense bf16.
  return {3350, 989.4, "datasheet", "datasheet"};
}

/// Shortest of ten runs of `body` after a warm-up, milliseconds.
static double bestMilliseconds(Device &device, Stream stream, const std::function<void()> &body) {
  auto start = device.createEvent(), stop = device.createEvent();
  double best = 1e30;
  for (int run = 0; run < 11; ++run) {
    start->record(stream);
    body();
    stop->record(stream);
    stop->synchronize();
    if (run)
      best = std::min<double>(best, stop->millisecondsSince(*start));
  }
  return best;
}

/// PTX images end in a zero byte.
static std::unique_ptr<runtime::Module> loadPtx(Device &device, const std::string &ptx) {
  return device.load(std::string_view(ptx.c_str(), ptx.size() + 1));
}

static double measureRead(Device &device, Stream stream) {
  auto module = loadPtx(device, readStreamPtx());
  runtime::Function function = module->function("read_stream", 0);
  runtime::LaunchShape shape;
  shape.gridX = unsigned(device.properties().smCount) * 4;
  shape.threads = readThreads;
  const size_t bytesPerIteration = size_t(shape.gridX) * readThreads * readUnroll * 16;
  const size_t wanted = std::min<size_t>(size_t(4) << 30, size_t(device.properties().memoryBytes) / 8);
  uint32_t iterations = uint32_t(std::max<size_t>(1, wanted / bytesPerIteration));
  Buffer data(device, bytesPerIteration * iterations), sink(device, 256);
  device.fill(data.get(), 0x5a, data.bytes(), stream);
  runtime::DevicePtr base = data.get(), out = sink.get();
  void *arguments[] = {&base, &iterations, &out};
  double ms = bestMilliseconds(device, stream, [&] { device.launch(function, shape, arguments, stream); });
  return double(data.bytes()) / ms * 1e-6;
}

static double measureMatrix(Device &device, Stream stream) {
  auto module = loadPtx(device, matrixRatePtx());
  runtime::Function function = module->function("wgmma_rate", matrixSharedBytes);
  runtime::LaunchShape shape;
  shape.gridX = unsigned(device.properties().smCount);
  shape.threads = matrixThreads;
  shape.sharedBytes = matrixSharedBytes;
  uint32_t iterations = 4096; // About 20 ms: long enough for the clocks to settle under load.
  Buffer sink(device, 256);
  runtime::DevicePtr out = sink.get();
  void *arguments[] = {&iterations, &out};
  double ms = bestMilliseconds(device, stream, [&] { device.launch(function, shape, arguments, stream); });
  double operations = 2.0 * 64 * 256 * 16 * matrixUnroll * 2 * iterations * shape.gridX;
  return operations / ms * 1e-9;
}

Limits lathe::tools::measureLimits(Device &device) {
  Limits limits = datasheetLimits();
  Stream stream = device.createStream();
  try {
    limits.readGbps = measureRead(device, stream);
    limits.readSource = "measured";
  } catch (const Error &) {
    limits.readSource = "datasheet (the read kernel did not run)";
  }
  try {
    limits.matrixTflops = measureMatrix(device, stream);
    limits.matrixSource = "measured";
  } catch (const Error &) {
    limits.matrixSource = "datasheet (the matrix kernel did not run)";
  }
  device.destroyStream(stream);
  return limits;
}
