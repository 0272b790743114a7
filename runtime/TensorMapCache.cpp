#include "lathe/runtime/TensorMapCache.h"

using namespace lathe::runtime;

static uint64_t mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 32);
}

static uint64_t hashOf(const TensorMapSpec &spec) {
  uint64_t hash = mix(0, spec.base);
  for (int i = 0; i < spec.rank; ++i)
    hash = mix(hash, spec.extent[i]);
  for (int i = 0; i + 1 < spec.rank; ++i)
    hash = mix(hash, spec.strideBytes[i]);
  return hash;
}

TensorMap TensorMapCache::get(Device &device, const TensorMapSpec &spec) {
  Entry &entry = entries_[hashOf(spec) % slots];
  {
    std::lock_guard lock(mutex_);
    if (entry.spec.base != 0 && entry.spec == spec)
      return entry.map;
  }
  TensorMap map = device.encode(spec);
  std::lock_guard lock(mutex_);
  entry = {spec, map};
  return map;
}
