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

const TensorMapCache::Entry *TensorMapCache::find(const Set &set, const TensorMapSpec &spec) {
  for (const Entry &entry : set.entries)
    if (entry.spec.base != 0 && entry.spec == spec)
      return &entry;
  return nullptr;
}

TensorMap TensorMapCache::get(Device &device, const TensorMapSpec &spec) {
  Set &set = sets_[hashOf(spec) % sets];
  {
    std::lock_guard lock(mutex_);
    if (const Entry *entry = find(set, spec))
      return entry->map;
  }
  TensorMap map = device.encode(spec);
  std::lock_guard lock(mutex_);
  if (!find(set, spec)) { // Another thread may have been first.
    set.entries[set.oldest] = {spec, map};
    set.oldest = (set.oldest + 1) % ways;
  }
  return map;
}
