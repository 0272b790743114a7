//===- TensorMapCache.h - Encoded tensor maps, kept --------------------------------------------------===//
//
// Encoding a tensor map is a driver call on the host; the tensors of a serving loop hardly change from step
// to step. This keeps the last map of each of a few hundred slots, chosen by a hash of the whole spec, so
// that one cache per layer and one query buffer per stream all stay. Owned by Kernel; thread-safe.
//
//===----------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"

#include <array>
#include <mutex>

namespace lathe::runtime {

class TensorMapCache {
public:
  /// The map of `spec`, encoded by `device` unless it is known. Throws what Device::encode throws.
  TensorMap get(Device &device, const TensorMapSpec &spec);

private:
  static constexpr size_t slots = 256;
  struct Entry {
    TensorMapSpec spec; ///< base 0: empty.
    TensorMap map;
  };
  std::mutex mutex_; ///< Held for comparisons and copies, never for a driver call.
  std::array<Entry, slots> entries_;
};

} // namespace lathe::runtime
