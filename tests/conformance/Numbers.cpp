#include "Numbers.h"

#include <algorithm>
#include <utility>

using namespace lathe;
using namespace lathe::conformance;

using Wide = unsigned __int128;
using Kind = Exact::Kind;

static constexpr int wideBits = 128;
static constexpr int sumBits =
    120; ///< Of the larger number of a sum: what is shifted out of the other one is tiny.

static int topBit(Wide value) {
  const auto high = uint64_t(value >> 64);
  return high ? 127 - std::countl_zero(high) : 63 - std::countl_zero(uint64_t(value));
}

static Exact nan() { return {Kind::Nan, false, false, 0, 0}; }
static Exact infinite(bool negative) { return {Kind::Infinite, negative, false, 0, 0}; }

//===- Bits ------------------------------------------------------------------------------------------===//

Exact conformance::decode(Format format, uint64_t bits) {
  const bool negative = (bits & format.signBit()) != 0;
  const uint64_t fraction = bits & ((uint64_t(1) << format.fractionBits) - 1);
  const auto exponent = int(bits >> format.fractionBits & ((uint64_t(1) << format.exponentBits) - 1));
  if (exponent == (1 << format.exponentBits) - 1)
    return fraction ? nan() : infinite(negative);
  const uint64_t hidden = exponent ? uint64_t(1) << format.fractionBits : 0;
  return {Kind::Finite, negative, false, Wide(fraction | hidden),
          std::max(exponent, 1) - format.bias() - format.fractionBits};
}

/// value · 2^-shift as a whole number.
static Wide shiftRounded(const Exact &value, int shift, Rounding rounding) {
  if (shift <= 0)
    return value.magnitude << -shift;
  const Wide kept = shift >= wideBits ? 0 : value.magnitude >> shift;
  const Wide rest = shift >= wideBits ? value.magnitude : value.magnitude & ((Wide(1) << shift) - 1);
  if (rest == 0 && !value.more)
    return kept;
  bool up = false;
  switch (rounding) {
  case Rounding::Nearest: {
    const Wide half = shift > wideBits ? ~Wide(0) : Wide(1) << (shift - 1);
    up = rest > half || (rest == half && (value.more || (kept & 1)));
    break;
  }
  case Rounding::Zero:
    break;
  case Rounding::Down:
    up = value.negative;
    break;
  case Rounding::Up:
    up = !value.negative;
    break;
  }
  return kept + up;
}

uint64_t conformance::encode(Format format, const Exact &value, Rounding rounding) {
  const uint64_t sign = value.negative ? format.signBit() : 0;
  if (value.kind == Kind::Nan)
    return format.nan();
  if (value.kind == Kind::Infinite)
    return sign | format.infinity();
  if (value.magnitude == 0)
    return sign;
  const int least = 1 - format.bias(), exponent = std::max(value.exponent + topBit(value.magnitude), least);
  const auto kept = uint64_t(shiftRounded(value, exponent - format.fractionBits - value.exponent, rounding));
  // A carry out of the fraction goes on to the exponent, and from the subnormal numbers to the first normal
  // one.
  const uint64_t bits = (uint64_t(exponent - least) << format.fractionBits) + kept;
  if (bits < format.infinity())
    return sign | bits;
  const bool toInfinity = rounding == Rounding::Nearest || (rounding == Rounding::Down && value.negative) ||
                          (rounding == Rounding::Up && !value.negative);
  return sign | (toInfinity ? format.infinity() : format.infinity() - 1);
}

Exact conformance::exactly(__int128 value) {
  return {Kind::Finite, value < 0, false, value < 0 ? -Wide(value) : Wide(value), 0};
}

__int128 conformance::toInteger(const Exact &value, Rounding rounding) {
  constexpr int limit = 100;
  Wide magnitude = Wide(1) << limit;
  if (value.isZero())
    magnitude = 0;
  else if (value.kind == Kind::Finite && value.exponent + topBit(value.magnitude) < limit)
    magnitude = shiftRounded(value, -value.exponent, rounding);
  return value.negative ? -__int128(magnitude) : __int128(magnitude);
}

uint64_t conformance::flushed(Format format, uint64_t bits) {
  const uint64_t exponent = bits & format.infinity();
  return exponent == 0 ? bits & format.signBit() : bits;
}

double conformance::toDouble(Format format, uint64_t bits) {
  return std::bit_cast<double>(encode(f64, decode(format, bits)));
}

//===- Arithmetic ------------------------------------------------------------------------------------===//

Exact conformance::negated(Exact a) {
  a.negative = !a.negative;
  return a;
}

/// The same number with its highest bit at `sumBits`.
static Exact normalised(Exact value) {
  const int shift = sumBits - topBit(value.magnitude);
  value.magnitude <<= shift;
  value.exponent -= shift;
  return value;
}

Exact conformance::add(const Exact &a, const Exact &b) {
  if (a.isNan() || b.isNan() ||
      (a.kind == Kind::Infinite && b.kind == Kind::Infinite && a.negative != b.negative))
    return nan();
  if (a.kind == Kind::Infinite || b.kind == Kind::Infinite)
    return a.kind == Kind::Infinite ? a : b;
  if (a.isZero() && b.isZero())
    return {Kind::Finite, a.negative && b.negative, false, 0, 0};
  if (a.isZero() || b.isZero())
    return a.isZero() ? b : a;
  Exact large = normalised(a), small = normalised(b);
  if (large.exponent < small.exponent ||
      (large.exponent == small.exponent && large.magnitude < small.magnitude))
    std::swap(large, small);
  const int shift = large.exponent - small.exponent;
  const Wide low = shift >= wideBits ? 0 : small.magnitude >> shift;
  large.more = shift >= wideBits || (low << shift) != small.magnitude;
  if (large.negative == small.negative)
    large.magnitude += low;
  else
    large.magnitude -=
        low + (large.more ? 1 : 0); // large - (low + part) is large - low - 1 and the rest of one.
  if (large.magnitude == 0)
    large.negative = false;
  return large;
}

Exact conformance::multiply(const Exact &a, const Exact &b) {
  const bool negative = a.negative != b.negative;
  if (a.isNan() || b.isNan())
    return nan();
  if (a.kind == Kind::Infinite || b.kind == Kind::Infinite)
    return a.isZero() || b.isZero() ? nan() : infinite(negative);
  return {Kind::Finite, negative, false, a.magnitude * b.magnitude, a.exponent + b.exponent};
}

Exact conformance::divide(const Exact &a, const Exact &b) {
  const bool negative = a.negative != b.negative;
  const bool bothInfinite = a.kind == Kind::Infinite && b.kind == Kind::Infinite;
  if (a.isNan() || b.isNan() || bothInfinite || (a.isZero() && b.isZero()))
    return nan();
  if (a.kind == Kind::Infinite || b.isZero())
    return infinite(negative);
  if (b.kind == Kind::Infinite || a.isZero())
    return {Kind::Finite, negative, false, 0, 0};
  const Exact dividend = normalised(a);
  const Wide quotient = dividend.magnitude / b.magnitude;
  return {Kind::Finite, negative, quotient * b.magnitude != dividend.magnitude, quotient,
          dividend.exponent - b.exponent};
}

Exact conformance::squareRoot(const Exact &a) {
  if (a.isNan() || (a.negative && !a.isZero()))
    return nan();
  if (a.isZero() || a.kind == Kind::Infinite)
    return a;
  Exact square = normalised(a);
  if (square.exponent % 2 != 0) {
    square.magnitude <<= 1;
    --square.exponent;
  }
  Wide root = 0;
  for (int bit = 62; bit >= 0; --bit)
    if (const Wide next = root | Wide(1) << bit; next * next <= square.magnitude)
      root = next;
  return {Kind::Finite, false, root * root != square.magnitude, root, square.exponent / 2};
}

bool conformance::less(const Exact &a, const Exact &b) {
  if (a.isNan() || b.isNan())
    return false;
  if (a.kind == Kind::Infinite && b.kind == Kind::Infinite)
    return a.negative && !b.negative;
  const Exact difference = add(a, negated(b));
  return difference.negative && !difference.isZero();
}
