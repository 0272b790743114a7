//===- HostDevice.h - A Device without a GPU ---------------------------------------------------------===//
//
// Memory of this Device is host memory, so that tests can make problems and look into every byte of them on
// any machine. It allocates, copies and fills; it has no streams, modules or launches, and says so.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"
#include "lathe/support/Error.h"

#include <cstdlib>
#include <cstring>
#include <map>

namespace lathe::reference {

class HostDevice : public runtime::Device {
public:
  ~HostDevice() override {
    for (auto &[pointer, bytes] : blocks_)
      std::free(host(pointer));
  }
  const runtime::DeviceProperties &properties() const override { return properties_; }
  runtime::DevicePtr allocate(size_t bytes) override {
    void *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    std::memset(memory, 0xa5, bytes);
    auto pointer = reinterpret_cast<runtime::DevicePtr>(memory);
    blocks_[pointer] = bytes;
    return pointer;
  }
  void release(runtime::DevicePtr pointer) override {
    blocks_.erase(pointer);
    std::free(host(pointer));
  }
  void copyToDevice(runtime::DevicePtr to, const void *from, size_t bytes) override {
    std::memcpy(inside(to, bytes), from, bytes);
  }
  void copyToHost(void *to, runtime::DevicePtr from, size_t bytes) override {
    std::memcpy(to, inside(from, bytes), bytes);
  }
  void fill(runtime::DevicePtr to, uint8_t byte, size_t bytes, runtime::Stream) override {
    std::memset(inside(to, bytes), byte, bytes);
  }
  void synchronize(runtime::Stream) override {}
  void synchronize() override {}

  runtime::Stream createStream() override { refuse("streams"); }
  void destroyStream(runtime::Stream) override { refuse("streams"); }
  std::unique_ptr<runtime::Event> createEvent() override { refuse("events"); }
  void checkStream(runtime::Stream) override {}
  void beginCapture(runtime::Stream) override { refuse("graphs"); }
  std::unique_ptr<runtime::Graph> endCapture(runtime::Stream) override { refuse("graphs"); }
  std::unique_ptr<runtime::Module> load(std::string_view) override { refuse("modules"); }
  runtime::TensorMap encode(const runtime::TensorMapSpec &) override { refuse("tensor maps"); }
  void launch(runtime::Function, const runtime::LaunchShape &, void **, runtime::Stream) override {
    refuse("launches");
  }

  size_t liveBlocks() const { return blocks_.size(); }
  /// Bytes of the allocation that starts at `pointer`.
  size_t blockBytes(runtime::DevicePtr pointer) const { return blocks_.at(pointer); }

private:
  [[noreturn]] static void refuse(const char *what) {
    throw DeviceError({"host device", "has no such thing", what, "use a GPU"});
  }
  static void *host(runtime::DevicePtr pointer) {
    return reinterpret_cast<void *>(pointer); // NOLINT(performance-no-int-to-ptr): it was a pointer.
  }
  /// Host address of a range, which must lie inside one allocation.
  void *inside(runtime::DevicePtr pointer, size_t bytes) {
    auto next = blocks_.upper_bound(pointer);
    if (next == blocks_.begin() || std::prev(next)->first + std::prev(next)->second < pointer + bytes)
      throw DeviceError(
          {"host device", "an access must stay inside one allocation", std::to_string(bytes), ""});
    return host(pointer);
  }

  runtime::DeviceProperties properties_;
  std::map<runtime::DevicePtr, size_t> blocks_;
};

} // namespace lathe::reference
