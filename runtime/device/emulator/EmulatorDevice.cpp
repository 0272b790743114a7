//===- EmulatorDevice.cpp - Device over the emulator -------------------------------------------------===//
//
// Memory, streams, events, graphs and launches as the Device interface wants them. Everything happens at once
// and in the order of the calls, which is one of the orders that a GPU may choose; a capture keeps the calls
// and a graph makes them again.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/Checks.h"
#include "lathe/runtime/device/Image.h"
#include "lathe/runtime/device/emulator/Emulator.h"
#include "lathe/runtime/device/emulator/GlobalMemory.h"
#include "lathe/runtime/device/emulator/Grid.h"
#include "lathe/runtime/device/emulator/Notes.h"
#include "lathe/runtime/device/emulator/TensorMapCode.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <chrono>
#include <functional>
#include <mutex>
#include <set>

using namespace lathe;
using namespace lathe::runtime;
using namespace lathe::runtime::emulator;

static constexpr int64_t memoryBytes = int64_t(80) << 30;
static constexpr size_t keptLaunches = 4096;

namespace {

using Clock = std::chrono::steady_clock;

/// A stream: what is captured on it, if anything.
struct EmulatedStream {
  bool capturing = false;
  std::vector<std::function<void()>> captured;
};

class EmulatedModule final : public Module {
public:
  explicit EmulatedModule(std::string_view image);
  Function function(const std::string &name, int sharedBytes, Carveout carveout) override;

private:
  std::vector<std::shared_ptr<const Program>> programs_;
};

class EmulatedEvent final : public Event {
public:
  void record(Stream) override { at_ = Clock::now(); }
  void synchronize() override {}
  float millisecondsSince(const Event &start) const override {
    return std::chrono::duration<float, std::milli>(at_ - static_cast<const EmulatedEvent &>(start).at_)
        .count();
  }

private:
  Clock::time_point at_;
};

class EmulatedGraph final : public Graph {
public:
  explicit EmulatedGraph(std::vector<std::function<void()>> calls) : calls_(std::move(calls)) {}
  void launch(Stream) override {
    for (const auto &call : calls_)
      call();
  }

private:
  std::vector<std::function<void()>> calls_;
};

class EmulatorDevice final : public Emulator {
public:
  explicit EmulatorDevice(const EmulatorOptions &options);

  const DeviceProperties &properties() const override { return properties_; }
  ImageKind imageKind() const override { return ImageKind::Ptx; }

  DevicePtr allocate(size_t bytes) override { return memory_.allocate(bytes); }
  void release(DevicePtr pointer) override { memory_.release(pointer); }
  void copyToDevice(DevicePtr to, const void *from, size_t bytes) override {
    memory_.copyIn(to, from, bytes);
  }
  void copyToHost(void *to, DevicePtr from, size_t bytes) override { memory_.copyOut(to, from, bytes); }
  void fill(DevicePtr to, uint8_t byte, size_t bytes, Stream stream) override {
    doOrCapture(stream, [=, this] { memory_.fill(to, byte, bytes); });
  }

  Stream createStream() override;
  void destroyStream(Stream stream) override;
  void synchronize(Stream) override {}
  void synchronize() override {}
  std::unique_ptr<Event> createEvent() override { return std::make_unique<EmulatedEvent>(); }
  void checkStream(Stream stream) override;
  void beginCapture(Stream stream) override;
  std::unique_ptr<Graph> endCapture(Stream stream) override;

  std::unique_ptr<Module> load(std::string_view image) override;
  int64_t residentClusters(Function function, const ClusterShape &shape) override;
  TensorMap encode(const TensorMapSpec &spec) override {
    checkTensorMap(spec);
    return encodeTensorMap(spec);
  }
  void launch(Function function, const LaunchShape &shape, void **arguments, Stream stream) override;

  FindingList takeFindings() override;
  std::vector<LaunchRecord> takeLaunches() override;

private:
  void doOrCapture(Stream stream, std::function<void()> call);
  void run(const Launch &launch);
  EmulatedStream &find(Stream stream);

  EmulatorOptions options_;
  DeviceProperties properties_;
  GlobalMemory memory_{uint64_t(memoryBytes)};
  std::mutex mutex_; ///< Of all below.
  std::set<EmulatedStream *> streams_;
  EmulatedStream defaultStream_;
  FindingList findings_;
  std::vector<LaunchRecord> launches_;
};

} // namespace

EmulatorDevice::EmulatorDevice(const EmulatorOptions &options) : options_(options) {
  properties_.name = "Lathe PTX emulator";
  properties_.uuid = "emulator";
  properties_.major = 9;
  properties_.minor = 0;
  properties_.smCount = options.smCount;
  properties_.sharedBytesPerCta = 232448;
  properties_.l2Bytes = 50 << 20;
  properties_.memoryBytes = memoryBytes;
}

//===- Streams and graphs ----------------------------------------------------------------------------===//

Stream EmulatorDevice::createStream() {
  std::lock_guard lock(mutex_);
  return {*streams_.insert(new EmulatedStream).first};
}

void EmulatorDevice::destroyStream(Stream stream) {
  std::lock_guard lock(mutex_);
  auto *mine = static_cast<EmulatedStream *>(stream.handle);
  if (streams_.erase(mine))
    delete mine;
}

EmulatedStream &EmulatorDevice::find(Stream stream) {
  if (!stream.handle)
    return defaultStream_;
  auto *mine = static_cast<EmulatedStream *>(stream.handle);
  if (!streams_.count(mine))
    throw UserError({"stream", "it must be one of the emulator's", "a stream of another device",
                     "make it with createStream of this device"});
  return *mine;
}

void EmulatorDevice::checkStream(Stream stream) {
  std::lock_guard lock(mutex_);
  find(stream);
}

void EmulatorDevice::doOrCapture(Stream stream, std::function<void()> call) {
  {
    std::lock_guard lock(mutex_);
    if (EmulatedStream &mine = find(stream); mine.capturing) {
      mine.captured.push_back(std::move(call));
      return;
    }
  }
  call();
}

void EmulatorDevice::beginCapture(Stream stream) {
  std::lock_guard lock(mutex_);
  EmulatedStream &mine = find(stream);
  mine.captured.clear();
  mine.capturing = true;
}

std::unique_ptr<Graph> EmulatorDevice::endCapture(Stream stream) {
  std::lock_guard lock(mutex_);
  EmulatedStream &mine = find(stream);
  if (!mine.capturing)
    throw DeviceError(
        {"ending a capture", "one must have begun on the stream", "none", "call beginCapture first"});
  mine.capturing = false;
  return std::make_unique<EmulatedGraph>(std::move(mine.captured));
}

//===- Modules and launches --------------------------------------------------------------------------===//

EmulatedModule::EmulatedModule(std::string_view image) {
  auto module = std::make_shared<const ptx::Module>(ptx::parse(image));
  auto notes = std::make_shared<const Notes>(readNotes(*module->source));
  for (const ptx::Kernel &kernel : module->kernels)
    programs_.push_back(decode(module, kernel, notes));
}

Function EmulatedModule::function(const std::string &name, int, Carveout) {
  for (auto &program : programs_)
    if (program->name == name)
      return {&program};
  throw DeviceError({fmt::format("kernel {}", name), "the module must have it", "no kernel of that name",
                     "the image and its manifest do not belong together: compile again"});
}

std::unique_ptr<Module> EmulatorDevice::load(std::string_view image) {
  if (checkImage(image) != ImageKind::Ptx)
    throw DeviceError({"emulator", "the image must be PTX", "a cubin", "load the kernel's .ptx"});
  return std::make_unique<EmulatedModule>(image);
}

static const std::shared_ptr<const Program> &programOf(Function function) {
  return *static_cast<const std::shared_ptr<const Program> *>(function.handle);
}

int64_t EmulatorDevice::residentClusters(Function function, const ClusterShape &shape) {
  const Program &program = *programOf(function);
  return emulator::residentClusters(program, properties_, shape.threads,
                                    program.dynamicOffset + shape.sharedBytes);
}

void EmulatorDevice::launch(Function function, const LaunchShape &shape, void **arguments, Stream stream) {
  Launch launch{programOf(function), shape, {}};
  launch.parameters.resize(launch.program->kernel->parameterBytes);
  size_t i = 0;
  for (const ptx::Parameter &parameter : launch.program->kernel->parameters)
    std::memcpy(launch.parameters.data() + parameter.offset, arguments[i++], parameter.bytes);
  doOrCapture(stream, [this, launch = std::move(launch)] { run(launch); });
}

void EmulatorDevice::run(const Launch &launch) {
  Grid grid(launch, memory_, properties_, options_);
  grid.run();
  FindingList found = grid.takeFindings();
  std::string summary;
  if (!found.empty() && options_.throwFindings)
    summary = found.findings.front().summary();
  const size_t count = found.findings.size() + found.dropped;
  {
    std::lock_guard lock(mutex_);
    for (Finding &finding : found.findings)
      findings_.findings.push_back(std::move(finding));
    findings_.dropped += found.dropped;
    if (launches_.size() < keptLaunches)
      launches_.push_back(grid.record());
  }
  if (!summary.empty())
    throw DeviceError({fmt::format("emulating {}", launch.program->name),
                       "the kernel must keep the rules of the hardware",
                       count > 1 ? fmt::format("{}, and {} more", summary, count - 1) : summary,
                       "lathe inspect --run tells all of them"});
}

FindingList EmulatorDevice::takeFindings() {
  std::lock_guard lock(mutex_);
  return std::exchange(findings_, {});
}

std::vector<LaunchRecord> EmulatorDevice::takeLaunches() {
  std::lock_guard lock(mutex_);
  return std::exchange(launches_, {});
}

std::shared_ptr<Emulator> runtime::openEmulator(const EmulatorOptions &options) {
  return std::make_shared<EmulatorDevice>(options);
}
