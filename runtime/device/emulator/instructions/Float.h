//===- Float.h - Numbers of 16 and 32 bits as the hardware has them ----------------------------------===//
//
// bf16 and f16 to float and back with the rounding that an instruction names, flushing of subnormals, and the
// rounding of special functions. Source: PTX ISA, "Floating Point Instructions" and "cvt". Used by the
// arithmetic families and the matrix product.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace lathe::runtime::emulator {

inline float fromBf16(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }

inline constexpr uint16_t bf16Nan = 0x7fff, f16Nan = 0x7fff; ///< What conversions give for a NaN.

/// To nearest, ties to even.
inline uint16_t toBf16(float value) {
  if (value != value)
    return bf16Nan;
  const auto bits = std::bit_cast<uint32_t>(value);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
/// Towards zero.
inline uint16_t toBf16Truncated(float value) {
  return value != value ? bf16Nan : uint16_t(std::bit_cast<uint32_t>(value) >> 16);
}

float fromF16(uint16_t bits);
/// To nearest, ties to even, or towards zero.
uint16_t toF16(float value, bool truncate = false);

inline float flushed(float value) {
  return std::fabs(value) < 0x1p-126f ? std::copysign(0.0f, value) : value;
}

/// min and max of the PTX ISA: a NaN loses, and +0 is above -0.
template <class T>
T otherThanNan(T a, T b) {
  if constexpr (sizeof(T) == 4)
    return std::isnan(a) ? (std::isnan(b) ? std::bit_cast<float>(0x7fffffffu) : b) : a;
  return std::isnan(a) ? b : a;
}
template <class T>
T minNumber(T a, T b) {
  if (std::isnan(a) || std::isnan(b))
    return otherThanNan(a, b);
  return a < b || (a == b && std::signbit(a)) ? a : b;
}
template <class T>
T maxNumber(T a, T b) {
  if (std::isnan(a) || std::isnan(b))
    return otherThanNan(a, b);
  return a > b || (a == b && !std::signbit(a)) ? a : b;
}

} // namespace lathe::runtime::emulator
