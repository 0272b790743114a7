//===- 3-run.cpp - Lesson 3: a decode step -----------------------------------------------------------===//
//
// Has the facade find or compile a kernel, plans a ragged batch on the device, runs it, and checks one number
// that can be computed by hand. The second build comes from the cache. The device is a GPU or, without one,
// the PTX emulator, which runs the same kernels on the CPU and throws when one breaks a rule of the hardware.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/dsl/models/Mla.h"
#include "lathe/runtime/Jit.h"

#include <cmath>
#include <cstdio>

using namespace lathe;
using namespace lathe::runtime;

template <typename T>
static Buffer upload(Device &device, const std::vector<T> &values) {
  Buffer buffer(device, values.size() * sizeof(T));
  device.copyToDevice(buffer.get(), values.data(), buffer.bytes());
  return buffer;
}

/// Two sequences of 100 and 3 tokens. q is 0, so every token weighs the same: lse is the logarithm of the
/// length.
static bool step(const Kernel &kernel) {
  Device &device = kernel.device();
  const Manifest &shape = kernel.manifest();
  const size_t rows = 2 * size_t(shape.heads);
  Buffer q = upload(device, std::vector<uint16_t>(rows * size_t(shape.keyDim), 0));
  Buffer kv =
      upload(device, std::vector<uint16_t>(size_t(4 * shape.page * shape.keyDim), 0x3f80)); // bf16 1.0
  Buffer table = upload(device, std::vector<int>{2, 0, 3, 1}),
         lengths = upload(device, std::vector<int>{100, 3});
  Buffer out(device, rows * size_t(shape.valueDim) * 2), lse(device, rows * 4);

  DecodeTensors tensors;
  tensors.batch = 2;
  tensors.q = q.get();
  tensors.kv = kv.get();
  tensors.numPages = 4;
  tensors.blockTable = table.get();
  tensors.blockTableStride = 2;
  tensors.lengths = lengths.get();
  tensors.out = out.get();
  tensors.lse = lse.get();
  tensors.scale = 0.1f;

  Stream stream = device.createStream();
  Plan plan = kernel.makePlan(2);                // Once: allocates.
  kernel.plan(plan, tensors.lengths, 2, stream); // Each step: lengths to work list, on the device.
  // From here on, only each sequence's last query tokens may still be written.
  kernel.validate(plan, tensors, 2, stream); // Checked mode, for debugging: no table entry out of range.
  kernel.run(plan, tensors, stream);         // Each layer.
  device.synchronize(stream);
  device.destroyStream(stream);

  std::vector<float> found(rows);
  std::vector<uint16_t> mean(rows * size_t(shape.valueDim));
  device.copyToHost(found.data(), lse.get(), lse.bytes());
  device.copyToHost(mean.data(), out.get(), out.bytes());
  std::printf("lse %.5f and %.5f, expected ln 100 and ln 3; out 0x%04x, expected 0x3f80\n", found[0],
              found[rows / 2], mean[0]);
  return std::fabs(found[0] - std::log(100.0)) < 1e-3 && std::fabs(found[rows / 2] - std::log(3.0)) < 1e-3 &&
         mean[0] == 0x3f80;
}

int main() {
  const dsl::Kernel description = dsl::mlaDecode({.heads = 16});
  const Jit jit;
  jit.build(description, {});
  const JitArtifact again = jit.build(description, {});
  std::printf("%s configuration, %.2f ms from %s\n", std::string(name(again.report.source)).c_str(),
              again.report.totalMs, again.report.entryPath.c_str());
  if (again.report.compiled)
    return 1;
  const auto device = openDevice();
  std::printf("on %s\n", device->properties().name.c_str());
  return step(jit.load(description, device)) ? 0 : 1;
}
