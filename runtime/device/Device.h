//===- Device.h - What a kernel runs on --------------------------------------------------------------===//
//
// One interface for the CUDA driver and the PTX emulator: memory, modules, streams, events, graphs,
// tensor maps, launches. The planner, the kernel and the tuner know nothing else. A Device is thread-safe;
// every call is made current on its own GPU, so any number of GPUs can be used in one process.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/support/Dtype.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lathe::runtime {

/// Address in device memory, as a plain integer (CUdeviceptr).
using DevicePtr = uint64_t;

struct DeviceProperties {
  std::string name; ///< "NVIDIA H100 80GB HBM3".
  std::string uuid;
  int major = 0, minor = 0; ///< Compute capability.
  int smCount = 0;
  int sharedBytesPerCta = 0; ///< Opt-in maximum of dynamic shared memory.
  int64_t l2Bytes = 0;
  int64_t memoryBytes = 0;
  int memoryGBs = 3352;  ///< Peak bandwidth, 1e9 bytes a second; an H100's (HBM3) where it is not known.
  int driverVersion = 0; ///< 13000 for CUDA 13.0.
};

/// A stream of one device. Borrowed when made from a foreign CUstream; owned ones come from
/// Device::createStream.
struct Stream {
  void *handle = nullptr; ///< CUstream, null for the default stream.
};

/// A tiled tensor map to encode. Extents innermost first.
struct TensorMapSpec {
  DevicePtr base = 0;
  Dtype dtype = Dtype::BF16;
  int rank = 0;                          ///< 1 to 5.
  std::array<uint64_t, 5> extent{};      ///< Elements.
  std::array<uint64_t, 4> strideBytes{}; ///< Of dimensions 1 … rank-1; multiples of 16.
  std::array<uint32_t, 5> box{};         ///< Elements; box[0] times the element size is the swizzle's width.
  int swizzleBytes = 128; ///< 32, 64 or 128; 0: none, and a row of the box is a multiple of 16 bytes.

  bool operator==(const TensorMapSpec &) const = default;
};

struct alignas(64) TensorMap {
  std::array<std::byte, 128> bytes;
};

struct LaunchShape {
  unsigned gridX = 1, gridY = 1, gridZ = 1;
  unsigned threads = 1;
  unsigned sharedBytes = 0;
  bool dependent = false; ///< Programmatic dependent launch after the previous kernel of the stream.
};

/// CTAs of a kernel as it will be launched, for Device::residentClusters.
struct ClusterShape {
  unsigned threads = 1;     ///< A CTA.
  unsigned sharedBytes = 0; ///< Dynamic shared memory a CTA.
  unsigned cluster = 1;     ///< CTAs a cluster, along x.
};

/// What a kernel is loaded from.
enum class ImageKind { Cubin, Ptx };

/// A kernel of a loaded module. Lives as long as its Module.
struct Function {
  void *handle = nullptr;
};

/// How a multiprocessor divides its memory between L1 cache and shared memory while a kernel has it: the
/// driver's choice, or the most for shared memory. A preference.
enum class Carveout { Default, MaxShared };

/// A loaded cubin or PTX.
class Module {
public:
  virtual ~Module() = default;
  /// Throws DeviceError when there is no such kernel. Raises the dynamic shared memory limit to sharedBytes.
  virtual Function function(const std::string &name, int sharedBytes,
                            Carveout carveout = Carveout::Default) = 0;
};

/// A captured graph, ready to replay.
class Graph {
public:
  virtual ~Graph() = default;
  virtual void launch(Stream stream) = 0;
};

class Event {
public:
  virtual ~Event() = default;
  virtual void record(Stream stream) = 0;
  virtual void synchronize() = 0;
  /// Milliseconds from `start` to this event; both recorded and synchronized.
  virtual float millisecondsSince(const Event &start) const = 0;
};

class Device {
public:
  virtual ~Device() = default;
  virtual const DeviceProperties &properties() const = 0;

  virtual DevicePtr
  allocate(size_t bytes) = 0; ///< 256-byte aligned, uninitialised. Throws DeviceError when full.
  virtual void release(DevicePtr pointer) = 0;
  virtual void copyToDevice(DevicePtr to, const void *from, size_t bytes) = 0;    ///< Synchronous.
  virtual void copyToHost(void *to, DevicePtr from, size_t bytes) = 0;            ///< Synchronous.
  virtual void fill(DevicePtr to, uint8_t byte, size_t bytes, Stream stream) = 0; ///< Asynchronous.

  virtual Stream createStream() = 0;
  virtual void destroyStream(Stream stream) = 0;
  virtual void synchronize(Stream stream) = 0;
  virtual void synchronize() = 0;
  virtual std::unique_ptr<Event> createEvent() = 0;
  /// Throws UserError when the stream belongs to another device.
  virtual void checkStream(Stream stream) = 0;

  virtual void beginCapture(Stream stream) = 0;
  virtual std::unique_ptr<Graph> endCapture(Stream stream) = 0;

  /// What load() wants where there is a choice.
  virtual ImageKind imageKind() const { return ImageKind::Cubin; }
  /// Image: a cubin, or PTX text ending in a zero byte. Throws DeviceError with the driver's log.
  virtual std::unique_ptr<Module> load(std::string_view image) = 0;
  /// How many clusters of `function` (CTAs where the cluster is 1) the device holds at once when nothing else
  /// runs on it; 0 where it cannot say. May take long: to be asked when a kernel is loaded, never in a step.
  virtual int64_t residentClusters(Function, const ClusterShape &) { return 0; }
  virtual TensorMap encode(const TensorMapSpec &spec) = 0;
  /// `arguments` are pointers to the argument values, in order. Asynchronous, capturable, no allocation.
  virtual void launch(Function function, const LaunchShape &shape, void **arguments, Stream stream) = 0;
};

/// A device buffer that frees itself.
class Buffer {
public:
  Buffer() = default;
  Buffer(Device &device, size_t bytes) : device_(&device), pointer_(device.allocate(bytes)), bytes_(bytes) {}
  Buffer(Buffer &&other) noexcept { *this = std::move(other); }
  Buffer &operator=(Buffer &&other) noexcept {
    std::swap(device_, other.device_);
    std::swap(pointer_, other.pointer_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Buffer() {
    if (pointer_)
      device_->release(pointer_);
  }
  DevicePtr get() const { return pointer_; }
  size_t bytes() const { return bytes_; }

private:
  Device *device_ = nullptr;
  DevicePtr pointer_ = 0;
  size_t bytes_ = 0;
};

/// Number of CUDA devices; 0 where there is no driver (never throws).
int cudaDeviceCount();
/// Opens GPU `ordinal` through the driver (libcuda is opened at run time, the primary context retained).
/// Throws DeviceError when the driver is missing, the ordinal is out of range, or the GPU is not sm_90.
std::shared_ptr<Device> openCudaDevice(int ordinal = 0);
/// Why cudaDeviceCount() is 0, for messages and skipped tests: "libcuda.so.1 was not found", …; empty if it
/// is not 0.
std::string cudaUnavailableReason();

enum class DeviceKind { Cuda, Emulator };
/// What openDevice() opens: what LATHE_DEVICE names, else a GPU where there is one, else the emulator. Throws
/// UserError when LATHE_DEVICE names anything else.
DeviceKind defaultDeviceKind();
/// GPU `ordinal` where there is a GPU, else the emulator (emulator/Emulator.h), which has no ordinals.
/// LATHE_DEVICE=cuda|emulator forces one. Throws as openCudaDevice(); a GPU that cannot be used is an error,
/// never a reason to emulate.
std::shared_ptr<Device> openDevice(int ordinal = 0);

} // namespace lathe::runtime
