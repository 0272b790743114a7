//===- Mixed.h - Many words as one -------------------------------------------------------------------===//
//
// A fast hash of words and bytes within one run, to see whether a state comes back. Not for anything that is
// kept. Used by the watch for kernels that never end.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace lathe::runtime::emulator {

inline uint64_t mixed(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 29;
}

inline uint64_t mixed(uint64_t hash, const void *bytes, size_t size) {
  for (size_t at = 0; at + sizeof(uint64_t) <= size; at += sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, static_cast<const std::byte *>(bytes) + at, sizeof(word));
    hash = mixed(hash, word);
  }
  if (size % sizeof(uint64_t) == 0)
    return hash;
  uint64_t rest = 0;
  std::memcpy(&rest, static_cast<const std::byte *>(bytes) + size / sizeof(uint64_t) * sizeof(uint64_t),
              size % sizeof(uint64_t));
  return mixed(hash, rest);
}

} // namespace lathe::runtime::emulator
