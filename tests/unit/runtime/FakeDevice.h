//===- FakeDevice.h - A device that records ----------------------------------------------------------===//
//
// Memory is host memory, a launch is a line in a list with its arguments decoded by the manifest's kinds, a
// tensor map is the number of its spec. So everything that Kernel does on the host is tested on a machine
// without a GPU. Used by the tests of this folder.
//
//===----------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Checks.h"
#include "lathe/runtime/device/Device.h"
#include "lathe/support/Error.h"
#include "lathe/support/Manifest.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace lathe::runtime::test {

/// One argument as a kernel would see it.
struct Argument {
  std::string kind;
  int64_t integer = 0; ///< Pointers and integers.
  float real = 0;
  TensorMapSpec map;
};

struct Launch {
  std::string kernel;
  LaunchShape shape;
  Stream stream;
  std::map<std::string, Argument> arguments; ///< By manifest name.
};

class FakeDevice final : public Device {
public:
  FakeDevice() {
    properties_.name = "Fake H100";
    properties_.major = 9;
    properties_.smCount = 132;
    properties_.sharedBytesPerCta = 232448;
  }

  DeviceProperties properties_;
  std::vector<KernelEntry> kernels; ///< How to decode launches.
  std::vector<Launch> launches;
  std::vector<TensorMapSpec> encoded;
  std::map<DevicePtr, size_t> allocations;
  int allocationCount = 0, synchronizations = 0;
  std::map<std::string, int> sharedBytes;
  std::map<std::string, Carveout> carveouts;
  std::map<std::string, int64_t> clustersThatFit; ///< By kernel; 0: cannot say.
  std::map<std::string, std::vector<ClusterShape>> askedFit;
  void *foreignStream = reinterpret_cast<void *>(0xf0);

  const DeviceProperties &properties() const override { return properties_; }
  DevicePtr allocate(size_t bytes) override {
    ++allocationCount;
    auto pointer = reinterpret_cast<DevicePtr>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
    std::memset(host(pointer), 0xa5, bytes); // As little to be relied on as fresh device memory.
    allocations[pointer] = bytes;
    return pointer;
  }
  void release(DevicePtr pointer) override {
    allocations.erase(pointer);
    std::free(host(pointer));
  }
  void copyToDevice(DevicePtr to, const void *from, size_t bytes) override {
    std::memcpy(host(to), from, bytes);
  }
  void copyToHost(void *to, DevicePtr from, size_t bytes) override { std::memcpy(to, host(from), bytes); }
  void fill(DevicePtr to, uint8_t byte, size_t bytes, Stream) override { std::memset(host(to), byte, bytes); }
  Stream createStream() override { return {reinterpret_cast<void *>(0x10)}; }
  void destroyStream(Stream) override {}
  void synchronize(Stream) override { ++synchronizations; }
  void synchronize() override { ++synchronizations; }
  std::unique_ptr<Event> createEvent() override { return nullptr; }
  void checkStream(Stream stream) override {
    if (stream.handle == foreignStream)
      throw UserError({"stream", "it must belong to GPU 0", "a stream of GPU 1", ""});
  }
  void beginCapture(Stream) override {}
  std::unique_ptr<Graph> endCapture(Stream) override { return nullptr; }
  std::unique_ptr<Module> load(std::string_view) override { return std::make_unique<FakeModule>(*this); }

  int64_t residentClusters(Function function, const ClusterShape &shape) override {
    const std::string &name = entryOf(function).name;
    askedFit[name].push_back(shape);
    return clustersThatFit[name];
  }

  TensorMap encode(const TensorMapSpec &spec) override {
    checkTensorMap(spec);
    std::lock_guard lock(mutex_);
    TensorMap map{};
    size_t number = encoded.size();
    std::memcpy(map.bytes.data(), &number, sizeof(number));
    encoded.push_back(spec);
    return map;
  }

  void launch(Function function, const LaunchShape &shape, void **arguments, Stream stream) override {
    std::lock_guard lock(mutex_);
    const KernelEntry &entry = entryOf(function);
    Launch launch{entry.name, shape, stream, {}};
    for (size_t i = 0; i < entry.arguments.size(); ++i)
      launch.arguments[entry.arguments[i].name] = decode(entry.arguments[i].kind, arguments[i]);
    launches.push_back(std::move(launch));
  }

private:
  static void *host(DevicePtr pointer) {
    return reinterpret_cast<void *>(pointer); // NOLINT(performance-no-int-to-ptr): it was a pointer.
  }

  const KernelEntry &entryOf(Function function) const {
    return kernels.at(reinterpret_cast<size_t>(function.handle) - 1);
  }

  struct FakeModule final : Module {
    explicit FakeModule(FakeDevice &device) : device(device) {}
    Function function(const std::string &name, int sharedBytes, Carveout carveout) override {
      device.sharedBytes[name] = sharedBytes;
      device.carveouts[name] = carveout;
      for (size_t i = 0; i < device.kernels.size(); ++i)
        if (device.kernels[i].name == name)
          // NOLINTNEXTLINE(performance-no-int-to-ptr): a number serves as handle.
          return {reinterpret_cast<void *>(i + 1)};
      throw DeviceError({"kernel " + name, "it must be in the image", "none", ""});
    }
    FakeDevice &device;
  };

  template <typename T>
  static T read(const void *from) {
    T value;
    std::memcpy(&value, from, sizeof(T));
    return value;
  }
  /// Reads exactly as many bytes as the kind has.
  Argument decode(const std::string &kind, const void *from) const {
    Argument argument;
    argument.kind = kind;
    if (kind == "f32")
      argument.real = read<float>(from);
    else if (kind == "i32")
      argument.integer = read<int32_t>(from);
    else if (kind == "tensor_map")
      argument.map = encoded.at(read<size_t>(from));
    else
      argument.integer = read<int64_t>(from);
    return argument;
  }

  std::mutex mutex_;
};

inline KernelEntry examplePlan() {
  return {"mla_decode_plan",
          128,
          0,
          1,
          {{"pointer", "lengths"},
           {"i32", "batch"},
           {"i32", "workers"},
           {"i32", "memory_gbs"},
           {"pointer", "items"},
           {"pointer", "worker_begin"},
           {"pointer", "splits"}},
          {}};
}

inline KernelEntry exampleAttend() {
  return {"mla_decode_attend",
          384,
          200000,
          1,
          {{"tensor_map", "q"},
           {"tensor_map", "kv"},
           {"pointer", "block_table"},
           {"i64", "block_table_stride"},
           {"pointer", "lengths"},
           {"pointer", "items"},
           {"pointer", "worker_begin"},
           {"f32", "scale"},
           {"pointer", "out"},
           {"i64", "out_stride_batch"},
           {"i64", "out_stride_query"},
           {"i32", "out_stride_head"},
           {"pointer", "lse"},
           {"i64", "lse_stride_batch"},
           {"i64", "lse_stride_head"},
           {"i64", "lse_stride_query"},
           {"pointer", "partial_out"},
           {"pointer", "partial_lse"},
           {"i32", "num_pages"}},
          {}};
}

inline KernelEntry exampleCombine() {
  return {"mla_decode_combine",
          256,
          0,
          1,
          {{"pointer", "splits"},
           {"pointer", "partial_out"},
           {"pointer", "partial_lse"},
           {"i32", "batch"},
           {"i32", "workers"},
           {"i32", "combine_shift"},
           {"pointer", "out"},
           {"i64", "out_stride_batch"},
           {"i64", "out_stride_query"},
           {"i64", "out_stride_head"},
           {"pointer", "lse"},
           {"i64", "lse_stride_batch"},
           {"i64", "lse_stride_head"},
           {"i64", "lse_stride_query"}},
          {}};
}

/// DeepSeek-V2-Lite's decode: 16 heads, one query token, pages of 64.
inline Manifest exampleManifest() {
  Manifest m;
  m.description = "mla_decode";
  m.heads = 16;
  m.queryTokens = 1;
  m.keyDim = 576;
  m.valueDim = 512;
  m.page = 64;
  m.config = {{"rowsPerCta", 64}, {"kvTile", 32}};
  m.kvTile = 32;
  m.tensorMaps = {{"q", 64, 64}, {"kv", 64, 32}};
  m.plan = examplePlan();
  m.attend = exampleAttend();
  m.combine = exampleCombine();
  return m;
}

/// The message of the E that `call` throws; empty when it throws nothing (other exceptions pass through).
template <typename E, typename Call>
std::string messageOf(Call call) {
  try {
    call();
  } catch (const E &error) {
    return error.what();
  }
  return "";
}

} // namespace lathe::runtime::test
