//===- Bf16.h - bfloat16 on the host -----------------------------------------------------------------===//
//
// Conversions between bfloat16 bits and binary64 with round to nearest even, straight from binary64 so that
// nothing is rounded twice. Used by the problem generator, the references and the comparison.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <bit>
#include <cstdint>

namespace lathe::reference {

inline float fromBf16(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }

/// Rounds to nearest, ties to even; overflow gives infinity, NaN stays NaN. Values below the smallest normal
/// bfloat16 go through float and may be rounded twice, far below every tolerance.
inline uint16_t toBf16(double value) {
  float narrow = float(value);
  uint32_t bits = std::bit_cast<uint32_t>(narrow);
  if (narrow != narrow)
    return uint16_t(bits >> 16 | 0x40);
  // If float rounding hit a bf16 tie exactly, the discarded part of the binary64 value decides it.
  if ((bits & 0xffff) == 0x8000 && double(narrow) != value) {
    bool roundedAway = (double(narrow) > value) == (value > 0);
    return uint16_t((bits >> 16) + (roundedAway ? 0 : 1));
  }
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

} // namespace lathe::reference
