// Any text and, behind a zero byte, any parameters: what can be loaded is launched, with small buffers and
// tensor maps for arguments and a small budget. Errors and findings are fine; crashes, hangs and much memory
// are not.
#include "lathe/runtime/device/emulator/Emulator.h"
#include "lathe/runtime/device/emulator/Ptx.h"
#include "lathe/support/Error.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

using namespace lathe;
using namespace lathe::runtime;

static constexpr size_t bufferBytes = 16384, mostKernels = 4;
static constexpr uint64_t mostInstructions = 20'000;

namespace {

/// Bytes of the input's tail, zeros behind its end.
class Tail {
public:
  explicit Tail(std::string_view bytes) : bytes_(bytes) {}
  uint8_t byte() { return at_ < bytes_.size() ? uint8_t(bytes_[at_++]) : 0; }
  uint32_t word() { return byte() | uint32_t(byte()) << 8 | uint32_t(byte()) << 16 | uint32_t(byte()) << 24; }

private:
  std::string_view bytes_;
  size_t at_ = 0;
};

/// One device with its buffers, and the arguments made of them.
class Launcher {
public:
  Launcher(uint64_t seed)
      : device_(openEmulator(
            {.hostThreads = 1, .seed = seed, .throwFindings = false, .maxInstructions = mostInstructions})),
        first_(*device_, bufferBytes), second_(*device_, bufferBytes) {
    const std::vector<uint8_t> bytes(bufferBytes, 3);
    device_->copyToDevice(first_.get(), bytes.data(), bytes.size());
    Tail none("");
    const TensorMap map = makeMap(none); // In memory, where a kernel may write on it.
    device_->copyToDevice(first_.get(), &map, sizeof(map));
    device_->fill(second_.get(), 0, bufferBytes / 2, {}); // The rest nobody wrote.
  }
  Emulator &device() { return *device_; }
  void launch(Module &module, const emulator::ptx::Kernel &kernel, Tail &tail);

private:
  TensorMap makeMap(Tail &tail);
  std::vector<std::byte> makeArgument(const emulator::ptx::Parameter &parameter, Tail &tail);

  std::shared_ptr<Emulator> device_;
  Buffer first_, second_;
};

} // namespace

TensorMap Launcher::makeMap(Tail &tail) {
  TensorMapSpec spec;
  const uint8_t form = tail.byte();
  spec.base = first_.get();
  spec.dtype = form & 1 ? Dtype::F32 : Dtype::BF16;
  spec.rank = 1 + (form >> 1) % 5;
  static constexpr int swizzles[] = {0, 32, 64, 128};
  spec.swizzleBytes = swizzles[tail.byte() % 4];
  spec.box[0] = uint32_t(spec.swizzleBytes ? spec.swizzleBytes : 64) / uint32_t(byteSize(spec.dtype));
  spec.extent[0] = 1 + tail.byte() % 64;
  uint64_t stride = 256;
  const bool large = form >= 240; // Boxes that fit no memory.
  for (int i = 1; i < spec.rank; ++i) {
    spec.box[size_t(i)] = 1 + (large ? tail.byte() : tail.byte() % 8);
    spec.extent[size_t(i)] = 1 + tail.byte() % 16;
    spec.strideBytes[size_t(i - 1)] = stride;
    stride *= 2;
  }
  return device_->encode(spec);
}

std::vector<std::byte> Launcher::makeArgument(const emulator::ptx::Parameter &parameter, Tail &tail) {
  std::vector<std::byte> bytes(parameter.bytes);
  if (parameter.bytes == sizeof(TensorMap)) {
    const TensorMap map = makeMap(tail);
    std::memcpy(bytes.data(), &map, sizeof(map));
  } else if (parameter.bytes == sizeof(DevicePtr) && tail.byte() < 240) {
    const DevicePtr pointer = parameter.offset / 8 % 2 ? second_.get() : first_.get();
    std::memcpy(bytes.data(), &pointer, sizeof(pointer));
  } else {
    for (std::byte &byte : bytes)
      byte = std::byte(tail.byte());
  }
  return bytes;
}

void Launcher::launch(Module &module, const emulator::ptx::Kernel &kernel, Tail &tail) {
  LaunchShape shape;
  const uint32_t wanted = kernel.requiredThreads ? kernel.requiredThreads : 1 + tail.byte() % 128;
  shape.threads = std::min(wanted, kernel.maxThreads ? kernel.maxThreads : wanted);
  shape.gridX = std::min(kernel.cluster, 32u) * (1 + tail.byte() % 2);
  shape.sharedBytes = (tail.byte() % 4) * 16384u;
  if (shape.threads > 512)
    return;
  std::vector<std::vector<std::byte>> values;
  std::vector<void *> arguments;
  for (const emulator::ptx::Parameter &parameter : kernel.parameters)
    values.push_back(makeArgument(parameter, tail));
  for (auto &value : values)
    arguments.push_back(value.data());
  device_->launch(module.function(kernel.name, int(shape.sharedBytes)), shape, arguments.data(), {});
}

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const std::string_view input(reinterpret_cast<const char *>(data), size);
  const size_t length = std::min(input.find('\0'), size);
  Tail tail(input.substr(std::min(length + 1, size)));
  Launcher launcher(tail.byte() % 3);
  try {
    const auto module = launcher.device().load(input.substr(0, length));
    const emulator::ptx::Module text = emulator::ptx::parse(input.substr(0, length));
    for (size_t i = 0; i < std::min(text.kernels.size(), mostKernels); ++i)
      launcher.launch(*module, text.kernels[i], tail);
  } catch (const Error &) {
    return 0; // Refused, and still worth keeping.
  }
  launcher.device().takeFindings();
  return 0;
}
