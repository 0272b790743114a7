//===- Values.h - Types of operands and the values worth trying --------------------------------------===//
//
// Number types that C++ does not have, as their bits, and for every operand type the edge values that its
// instructions are tried on, with random ones beside them. Called by Lanewise.h.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Case.h"
#include "Numbers.h"

#include <limits>
#include <type_traits>

namespace lathe::conformance {

struct F16 {
  uint16_t bits = 0;
};
struct Bf16 {
  uint16_t bits = 0;
};
/// Two 16-bit floats, the first in the low half.
struct F16x2 {
  uint32_t bits = 0;
};
struct Bf16x2 {
  uint32_t bits = 0;
};

template <class T>
constexpr Element elementOf() {
  if constexpr (std::is_same_v<T, F16> || std::is_same_v<T, F16x2>)
    return Element::F16;
  else if constexpr (std::is_same_v<T, Bf16> || std::is_same_v<T, Bf16x2>)
    return Element::BF16;
  else if constexpr (std::is_same_v<T, float>)
    return Element::F32;
  else if constexpr (std::is_same_v<T, double>)
    return Element::F64;
  else
    return sizeof(T) == 1   ? Element::Bits8
           : sizeof(T) == 2 ? Element::Bits16
           : sizeof(T) == 4 ? Element::Bits32
                            : Element::Bits64;
}

/// Bits of floats of a format: zeros, ones, ties, ends of the range, subnormal numbers, infinities, NaNs.
std::vector<uint64_t> edgeBits(Format format);
/// Any bits, a number near one, one of few bits, a tiny one, or an edge.
uint64_t randomBits(Format format, Random &random);

template <class T>
constexpr Format formatOf() {
  return elementOf<T>() == Element::F16    ? f16
         : elementOf<T>() == Element::BF16 ? bf16
         : elementOf<T>() == Element::F32  ? f32
                                           : f64;
}

template <class T>
std::vector<T> integerEdges() {
  using U = std::make_unsigned_t<T>;
  constexpr unsigned width = sizeof(T) * 8;
  std::vector<T> values{T(0),
                        T(1),
                        T(-1),
                        T(2),
                        T(3),
                        T(-2),
                        T(7),
                        T(31),
                        T(32),
                        T(33),
                        T(63),
                        T(64),
                        std::numeric_limits<T>::min(),
                        std::numeric_limits<T>::max()};
  values.push_back(T(U(1) << (width - 1)));
  values.push_back(T(~(U(1) << (width - 1))));
  values.push_back(T(U(0x5555555555555555u)));
  values.push_back(T(U(0xfedcba9876543210u)));
  return values;
}

/// Edge values of a type.
template <class T>
std::vector<T> edges() {
  std::vector<T> values;
  if constexpr (std::is_integral_v<T>) {
    return integerEdges<T>();
  } else if constexpr (std::is_same_v<T, float>) {
    for (uint64_t bits : edgeBits(f32))
      values.push_back(std::bit_cast<float>(uint32_t(bits)));
  } else if constexpr (std::is_same_v<T, double>) {
    for (uint64_t bits : edgeBits(f64))
      values.push_back(std::bit_cast<double>(bits));
  } else if constexpr (sizeof(T) == 2) {
    for (uint64_t bits : edgeBits(formatOf<T>()))
      values.push_back({uint16_t(bits)});
  } else {
    const std::vector<uint64_t> halves = edgeBits(formatOf<T>());
    for (size_t i = 0; i < halves.size(); ++i)
      values.push_back({uint32_t(halves[i] | halves[(i * 7 + 3) % halves.size()] << 16)});
  }
  return values;
}

/// A random value of a type.
template <class T>
T randomValue(Random &random) {
  if constexpr (std::is_integral_v<T>) {
    const auto bits = T(random());
    return random() % 3 == 0 ? T(bits >> (random() % (sizeof(T) * 8))) : bits;
  } else if constexpr (std::is_same_v<T, float>) {
    return std::bit_cast<float>(uint32_t(randomBits(f32, random)));
  } else if constexpr (std::is_same_v<T, double>) {
    return std::bit_cast<double>(randomBits(f64, random));
  } else if constexpr (sizeof(T) == 2) {
    return {uint16_t(randomBits(formatOf<T>(), random))};
  } else {
    return {uint32_t(randomBits(formatOf<T>(), random) | randomBits(formatOf<T>(), random) << 16)};
  }
}

} // namespace lathe::conformance
