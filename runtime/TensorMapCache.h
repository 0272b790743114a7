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
#include <vector>

namespace lathe::runtime {

class TensorMapCache {
public:
  /// The map of `spec`, encoded by `device` unless it is known. Throws what Device::encode throws.
  TensorMap get(Device &device, const TensorMapSpec &spec);

private:
  static constexpr size_t sets = 256, ways = 4;
  struct Entry {
    TensorMapSpec spec; ///< base 0: empty.
    TensorMap map;
  };
  struct Set {
    std::array<Entry, ways> entries;
    size_t oldest = 0;
  };
  /// The entry of `spec` in its set, or null. The lock is held.
  static const Entry *find(const Set &set, const TensorMapSpec &spec);
  std::mutex mutex_; ///< Held for comparisons and copies, never for a driver call.
  std::vector<Set> sets_{sets};
};

} // namespace lathe::runtime
