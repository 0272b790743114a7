//===- Random.h - Random numbers that are the same everywhere ----------------------------------------===//
//
// A tiny seedable generator with the draws that problems need, as those of the standard library differ from
// one implementation to the next. Every random problem of this room follows from it and its seed.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/reference/Bf16.h"

#include <cmath>
#include <cstdint>
#include <numbers>
#include <string_view>
#include <vector>

namespace lathe::reference {

/// splitmix64: tiny, seedable, the same everywhere.
class Random {
public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t bits() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  /// Uniform in [0, bound).
  int64_t below(int64_t bound) { return int64_t(bits() % uint64_t(bound)); }
  /// Uniform in (0, 1].
  double unit() { return double((bits() >> 11) + 1) * 0x1p-53; }
  /// N(0, 1), by Box and Muller; one of the pair is thrown away.
  double normal() {
    const double radius = std::sqrt(-2 * std::log(unit()));
    return radius * std::cos(2 * std::numbers::pi * unit());
  }

private:
  uint64_t state_;
};

/// `count` values of N(0, deviation²), rounded to bfloat16.
inline std::vector<uint16_t> normalBf16(Random &random, int64_t count, double deviation) {
  std::vector<uint16_t> values(size_t(count + 1));
  for (int64_t i = 0; i < count; i += 2) { // Box-Muller, two at a time.
    double radius = deviation * std::sqrt(-2 * std::log(random.unit()));
    double angle = 2 * std::numbers::pi * random.unit();
    values[size_t(i)] = toBf16(radius * std::cos(angle));
    values[size_t(i + 1)] = toBf16(radius * std::sin(angle));
  }
  values.resize(size_t(count));
  return values;
}

/// The seed of a case of a shape table: FNV-1a of its name, so that adding a case moves no other.
inline uint64_t seedOf(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325;
  for (char c : name)
    hash = (hash ^ uint64_t(static_cast<unsigned char>(c))) * 0x100000001b3;
  return hash;
}

} // namespace lathe::reference
