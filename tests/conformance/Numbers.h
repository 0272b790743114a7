//===- Numbers.h - Floating point in integers --------------------------------------------------------===//
//
// f16, bf16, f32 and f64 as exact numbers, with sums, products, quotients and roots that are rounded once, as
// IEEE 754 and the PTX ISA want it, in integer arithmetic alone. A second opinion beside the host's floating
// point unit, which the emulator uses. Called by the conformance cases.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <bit>
#include <cstdint>

namespace lathe::conformance {

struct Format {
  int exponentBits = 8, fractionBits = 23;
  constexpr int bias() const { return (1 << (exponentBits - 1)) - 1; }
  constexpr uint64_t infinity() const { return ((uint64_t(1) << exponentBits) - 1) << fractionBits; }
  constexpr uint64_t signBit() const { return uint64_t(1) << (exponentBits + fractionBits); }
  constexpr uint64_t nan() const { return signBit() - 1; } ///< All ones but the sign.
};
inline constexpr Format f16{5, 10}, bf16{8, 7}, f32{8, 23}, f64{11, 52};

enum class Rounding : uint8_t { Nearest, Zero, Down, Up };

/// magnitude · 2^exponent and, where `more`, a little further from zero than that by less than 2^exponent.
struct Exact {
  enum class Kind : uint8_t { Finite, Infinite, Nan } kind = Kind::Finite;
  bool negative = false, more = false;
  unsigned __int128 magnitude = 0;
  int exponent = 0;

  bool isZero() const { return kind == Kind::Finite && magnitude == 0 && !more; }
  bool isNan() const { return kind == Kind::Nan; }
};

Exact decode(Format format, uint64_t bits);
uint64_t encode(Format format, const Exact &value, Rounding rounding = Rounding::Nearest);
Exact exactly(__int128 value);

Exact add(const Exact &a, const Exact &b);
Exact multiply(const Exact &a, const Exact &b);
Exact divide(const Exact &a, const Exact &b);
Exact squareRoot(const Exact &a);
Exact negated(Exact a);
/// Less than, for numbers; false where either is a NaN. Zeros are equal.
bool less(const Exact &a, const Exact &b);
/// A whole number, of which nothing is asked beyond 100 bits. Not for NaN.
__int128 toInteger(const Exact &value, Rounding rounding);

/// Subnormal numbers become zero of their sign.
uint64_t flushed(Format format, uint64_t bits);
double toDouble(Format format, uint64_t bits);

inline Exact decode(float value) { return decode(f32, std::bit_cast<uint32_t>(value)); }
inline Exact decode(double value) { return decode(f64, std::bit_cast<uint64_t>(value)); }
inline float encodeFloat(const Exact &value, Rounding rounding = Rounding::Nearest) {
  return std::bit_cast<float>(uint32_t(encode(f32, value, rounding)));
}
inline double encodeDouble(const Exact &value, Rounding rounding = Rounding::Nearest) {
  return std::bit_cast<double>(encode(f64, value, rounding));
}

} // namespace lathe::conformance
