//===- GlobalMemory.h - Device memory of the emulator ------------------------------------------------===//
//
// Buffers at made-up addresses with gaps between them, so that an access past an end meets nothing, and a
// record of which bytes were ever written. Addresses are never used again. Shared by the device (allocation,
// copies) and all host threads that run a grid; what races on the same bytes in a kernel races here too.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"
#include "lathe/runtime/device/emulator/WriteLog.h"

#include <atomic>
#include <map>
#include <memory>
#include <shared_mutex>

namespace lathe::runtime::emulator {

/// One buffer. Its bytes stay where they are until it is released.
class Allocation {
public:
  Allocation(DevicePtr base, size_t bytes, uint64_t number);
  ~Allocation();
  Allocation(const Allocation &) = delete;
  Allocation &operator=(const Allocation &) = delete;

  DevicePtr base() const { return base_; }
  size_t bytes() const { return bytes_; }
  uint64_t number() const { return number_; } ///< Counts allocations of the device, from 1.
  bool holds(DevicePtr address, uint64_t size) const {
    return address >= base_ && address - base_ <= bytes_ && size <= bytes_ - (address - base_);
  }
  std::byte *at(DevicePtr address) const { return data_ + (address - base_); }

  void markWritten(DevicePtr address, size_t size);
  void markUnwritten(DevicePtr address, size_t size);
  /// Whether every byte was written.
  bool written(DevicePtr address, size_t size) const;
  /// What the running kernel wrote.
  WriteLog &log() { return log_; }

private:
  DevicePtr base_;
  size_t bytes_;
  uint64_t number_;
  std::byte *data_ = nullptr;                ///< Mapped; pages that nobody touches cost nothing.
  std::atomic<uint64_t> *written_ = nullptr; ///< A bit a byte.
  WriteLog log_;
};

class GlobalMemory {
public:
  explicit GlobalMemory(uint64_t capacityBytes) : capacity_(capacityBytes) {}

  /// Throws DeviceError when it does not fit.
  DevicePtr allocate(size_t bytes);
  void release(DevicePtr base);
  void copyIn(DevicePtr to, const void *from, size_t bytes);
  void copyOut(void *to, DevicePtr from, size_t bytes) const;
  void fill(DevicePtr to, uint8_t byte, size_t bytes);

  /// The buffer that an address lies in; null where there is none. Holds for the length of a `Use`.
  Allocation *find(DevicePtr address) const;
  /// The buffer that an address lies in or after; null before the first.
  const Allocation *nearest(DevicePtr address) const;
  /// "12 bytes past the end of buffer 7 (4096 bytes)", for an address that no access may have.
  std::string describe(DevicePtr address) const;

  /// Numbers launches, from 1.
  uint32_t newLaunch() { return ++launches_; }

  /// While one exists buffers stay: taken by a running grid.
  using Use = std::shared_lock<std::shared_mutex>;
  Use use() const { return Use(mutex_); }

private:
  Allocation &require(DevicePtr address, size_t bytes, const char *what) const;
  Allocation *findLocked(DevicePtr address) const;

  mutable std::shared_mutex mutex_;
  std::map<DevicePtr, std::unique_ptr<Allocation>> buffers_;
  std::map<DevicePtr, std::pair<size_t, uint64_t>> released_; ///< Bytes and number of the latest ones.
  uint64_t capacity_, used_ = 0, count_ = 0;
  DevicePtr next_ = firstAddress;
  std::atomic<uint32_t> launches_ = 0;

public:
  static constexpr DevicePtr firstAddress = uint64_t(1) << 36;
  static constexpr DevicePtr endAddress = uint64_t(1) << 46; ///< Above it lie the windows of other spaces.
};

} // namespace lathe::runtime::emulator
