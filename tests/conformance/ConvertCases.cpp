// cvt: PTX ISA, "Data Movement and Conversion Instructions: cvt". Floats to integers saturate, and a NaN
// gives 0, or from f64 or to 64 bits the highest bit alone.
#include "Lanewise.h"

#include <algorithm>
#include <cmath>

using namespace lathe;
using namespace lathe::conformance;

namespace {
struct Mode {
  const char *name;
  Rounding rounding;
};
} // namespace

static constexpr Mode whole[] = {
    {"rni", Rounding::Nearest}, {"rzi", Rounding::Zero}, {"rmi", Rounding::Down}, {"rpi", Rounding::Up}};

template <class T>
static std::string typeName() {
  if constexpr (std::is_floating_point_v<T>)
    return fmt::format("f{}", 8 * sizeof(T));
  else if constexpr (!std::is_integral_v<T>)
    return elementOf<T>() == Element::F16 ? "f16" : "bf16";
  else
    return fmt::format("{}{}", std::is_signed_v<T> ? 's' : 'u', 8 * sizeof(T));
}

static float flushedFloat(float value) {
  return std::bit_cast<float>(uint32_t(flushed(f32, std::bit_cast<uint32_t>(value))));
}
static double flushedFloat(double value) { return value; } // There is no .ftz.

template <class D, class S, class F>
static void addConversion(Cases &cases, const std::string &modifiers, F result,
                          const std::string &suffix = "") {
  const std::string name = fmt::format("cvt{}.{}.{}", modifiers, typeName<D>(), typeName<S>());
  cases.push_back(Lanewise<D(S)>::make("convert", name + suffix, name + " %d, %a;", result));
}

//===- Floats to integers ----------------------------------------------------------------------------===//

template <class D, class S>
static D toInteger(S value, Rounding rounding) {
  if (std::isnan(value))
    return sizeof(S) == 8 || sizeof(D) == 8 ? D(uint64_t(1) << (8 * sizeof(D) - 1)) : D(0);
  using Limits = std::numeric_limits<D>;
  return D(std::clamp(conformance::toInteger(decode(value), rounding), __int128(Limits::min()),
                      __int128(Limits::max())));
}

template <class D, class S>
static void addToInteger(Cases &cases) {
  for (const Mode &mode : whole) {
    const std::string modifier = fmt::format(".{}", mode.name);
    addConversion<D, S>(cases, modifier, [mode](S a) { return toInteger<D>(a, mode.rounding); });
    if constexpr (sizeof(S) == 4 && sizeof(D) >= 4)
      addConversion<D, S>(cases, modifier + ".ftz",
                          [mode](S a) { return toInteger<D>(flushedFloat(a), mode.rounding); });
  }
}

template <class S>
static void addFloatToIntegers(Cases &cases) {
  addToInteger<uint8_t, S>(cases);
  addToInteger<int8_t, S>(cases);
  addToInteger<uint16_t, S>(cases);
  addToInteger<int16_t, S>(cases);
  addToInteger<uint32_t, S>(cases);
  addToInteger<int32_t, S>(cases);
  addToInteger<uint64_t, S>(cases);
  addToInteger<int64_t, S>(cases);
}

/// A whole number of the same type; zeros and small numbers keep their sign.
template <class T>
static void addRoundToWhole(Cases &cases) {
  for (const Mode &mode : whole)
    for (bool flush : {false, true}) {
      if (flush && sizeof(T) == 8)
        continue;
      addConversion<T, T>(cases, fmt::format(".{}{}", mode.name, flush ? ".ftz" : ""), [mode, flush](T a) {
        a = flush ? flushedFloat(a) : a;
        if (!(std::fabs(a) < T(0x1p60)))
          return a;
        return std::copysign(T(conformance::toInteger(decode(a), mode.rounding)), a);
      });
    }
}

//===- Integers --------------------------------------------------------------------------------------===//

template <class D, class S>
static void addBetweenIntegers(Cases &cases) {
  addConversion<D, S>(cases, "", [](S a) { return D(a); });
}

template <class S>
static void addFromInteger(Cases &cases) {
  addBetweenIntegers<uint8_t, S>(cases);
  addBetweenIntegers<int8_t, S>(cases);
  addBetweenIntegers<uint16_t, S>(cases);
  addBetweenIntegers<int16_t, S>(cases);
  addBetweenIntegers<uint32_t, S>(cases);
  addBetweenIntegers<int32_t, S>(cases);
  addBetweenIntegers<uint64_t, S>(cases);
  addBetweenIntegers<int64_t, S>(cases);
  addConversion<float, S>(cases, ".rn", [](S a) { return encodeFloat(exactly(a)); });
  addConversion<double, S>(cases, ".rn", [](S a) { return encodeDouble(exactly(a)); });
}

/// A result narrower than its register is extended by its sign, or by zeros.
static void addExtensions(Cases &cases) {
  auto add = [&](auto signature, const char *text, auto result) {
    cases.push_back(decltype(signature)::make("convert", std::string(text) + ".extended",
                                              std::string(text) + " %d, %a;", result));
  };
  add(Lanewise<int16_t(int32_t)>(), "cvt.s8.s32", [](int32_t a) { return int16_t(int8_t(a)); });
  add(Lanewise<uint16_t(int32_t)>(), "cvt.u8.s32", [](int32_t a) { return uint16_t(uint8_t(a)); });
  add(Lanewise<int16_t(float)>(), "cvt.rzi.s8.f32",
      [](float a) { return int16_t(toInteger<int8_t>(a, Rounding::Zero)); });
}

//===- Floats ----------------------------------------------------------------------------------------===//

/// Makes most numbers ties of a narrower format or their neighbours, and some the ends of its range: by their
/// lowest bits.
template <class T>
static T nearTie(T value, Format narrow) {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  if (!std::isfinite(value) || value == 0)
    return value;
  const auto bits = std::bit_cast<Bits>(value);
  const Bits half = Bits(1) << (formatOf<T>().fractionBits - narrow.fractionBits - 1),
             kept = bits & ~(2 * half - 1);
  if ((bits >> 2 & 15) == 0) {
    const double largest = toDouble(narrow, narrow.infinity() - 1), least = toDouble(narrow, 1);
    // The first number that rounds to infinity lies half a unit beyond the largest.
    const double beyond = largest + (largest - toDouble(narrow, narrow.infinity() - 2)) / 2;
    const double ends[] = {beyond,
                           std::nextafter(T(beyond), T(0)),
                           least / 2,
                           std::nextafter(T(least / 2), T(1)),
                           least * 1.5,
                           least * 2.5,
                           toDouble(narrow, uint64_t(1) << narrow.fractionBits) - least / 2,
                           largest * 2};
    return T(bits & 1 ? -ends[bits >> 6 & 7] : ends[bits >> 6 & 7]);
  }
  const Bits changed[] = {kept | half, (kept | half) + 1, (kept | half) - 1, bits};
  return std::bit_cast<T>(changed[bits & 3]);
}

/// f32 to 16 bits, alone and two at a time; .relu makes zeros of negative results and of -0.
template <class Half, class Pair>
static void addNarrowing(Cases &cases) {
  for (auto [name, rounding] : {std::pair(".rn", Rounding::Nearest), std::pair(".rz", Rounding::Zero)})
    for (bool relu : {false, true}) {
      auto narrow = [rounding, relu](float a) {
        const auto bits = uint16_t(encode(formatOf<Half>(), decode(a), rounding));
        return Half{relu && a <= 0 ? uint16_t(0) : bits};
      };
      const std::string modifiers = fmt::format("{}{}", name, relu ? ".relu" : "");
      const Limit<float> limit = [](float a) { return nearTie(a, formatOf<Half>()); };
      const std::string one = fmt::format("cvt{}.{}.f32", modifiers, typeName<Half>());
      cases.push_back(Lanewise<Half(float)>::make("convert", one, one + " %d, %a;", narrow, {limit}));
      const std::string two = fmt::format("cvt{}.{}x2.f32", modifiers, typeName<Half>());
      cases.push_back(Lanewise<Pair(float, float)>::make("convert", two, two + " %d, %a, %b;",
                                                         [narrow](float high, float low) {
                                                           return Pair{uint32_t(narrow(high).bits) << 16 |
                                                                       narrow(low).bits};
                                                         },
                                                         {limit, limit}));
    }
}

static void addFloatToFloat(Cases &cases) {
  addConversion<float, F16>(cases, "", [](F16 a) { return encodeFloat(decode(f16, a.bits)); });
  addConversion<float, Bf16>(cases, "", [](Bf16 a) { return encodeFloat(decode(bf16, a.bits)); });
  addConversion<double, float>(cases, "", [](float a) { return encodeDouble(decode(a)); });
  addConversion<double, float>(cases, ".ftz", [](float a) { return encodeDouble(decode(flushedFloat(a))); });
  addConversion<float, double>(cases, ".rn", [](double a) { return encodeFloat(decode(a)); });
  cases.push_back(Lanewise<float(double)>::make("convert", "cvt.rn.f32.f64.ties", "cvt.rn.f32.f64 %d, %a;",
                                                [](double a) { return encodeFloat(decode(a)); },
                                                {[](double a) { return nearTie(a, f32); }}));
  addConversion<float, double>(cases, ".rn.ftz",
                               [](double a) { return flushedFloat(encodeFloat(decode(a))); });
  addConversion<float, float>(cases, ".ftz", [](float a) { return flushedFloat(a); });
  addConversion<F16, float>(cases, ".rn.ftz",
                            [](float a) { return F16{uint16_t(encode(f16, decode(flushedFloat(a))))}; });
  addNarrowing<F16, F16x2>(cases);
  addNarrowing<Bf16, Bf16x2>(cases);
  auto relu = [](const char *text, auto signature, auto zero) {
    auto entry =
        decltype(signature)::make("convert", std::string(text) + ".zero", std::string(text) + " %d, %a;",
                                  [zero](float) { return zero; }, {[](float) { return -0.0f; }});
    entry.question = ".relu makes +0 of -0, as an H100 does";
    return entry;
  };
  cases.push_back(relu("cvt.rn.relu.f16.f32", Lanewise<F16(float)>(), F16{0}));
  cases.push_back(relu("cvt.rn.relu.bf16.f32", Lanewise<Bf16(float)>(), Bf16{0}));
}

void conformance::addConvertCases(Cases &cases) {
  addFloatToIntegers<float>(cases);
  addFloatToIntegers<double>(cases);
  addRoundToWhole<float>(cases);
  addRoundToWhole<double>(cases);
  addFromInteger<uint8_t>(cases);
  addFromInteger<int8_t>(cases);
  addFromInteger<uint16_t>(cases);
  addFromInteger<int16_t>(cases);
  addFromInteger<uint32_t>(cases);
  addFromInteger<int32_t>(cases);
  addFromInteger<uint64_t>(cases);
  addFromInteger<int64_t>(cases);
  addExtensions(cases);
  addFloatToFloat(cases);
}
