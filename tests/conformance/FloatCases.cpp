// Arithmetic that the PTX ISA wants exact to the last bit, "Floating Point Instructions": computed in
// integers (Numbers.h) and rounded once. .ftz flushes subnormal sources and results, .sat clamps to [0, 1]
// and a NaN to 0.
#include "Lanewise.h"

#include <cmath>

using namespace lathe;
using namespace lathe::conformance;

namespace {
struct Modes {
  bool flush = false, saturate = false;
};
} // namespace

template <class T>
static T rounded(const Exact &value) {
  if constexpr (sizeof(T) == 4)
    return encodeFloat(value);
  else
    return encodeDouble(value);
}

/// Flushed where the modes want it; f64 has no modes.
template <class T>
static T flushedIf(bool flush, T value) {
  if constexpr (sizeof(T) == 4)
    return flush ? std::bit_cast<T>(uint32_t(flushed(f32, std::bit_cast<uint32_t>(value)))) : value;
  else
    return value;
}

/// `exact` of the sources under the modes. A result that only rounding makes normal may be flushed or not:
/// the ISA does not say which comes first.
template <class T, class F>
static auto under(Modes modes, F exact) {
  return [modes, exact](auto... sources) {
    const Exact value = exact(decode(flushedIf(modes.flush, sources))...);
    T result = flushedIf(modes.flush, rounded<T>(value));
    if (modes.saturate)
      result = result > 1 ? T(1) : result > 0 ? result : T(0);
    const bool open = modes.flush && std::fabs(result) == T(0x1p-126) &&
                      std::fabs(encodeDouble(value, Rounding::Zero)) < 0x1p-126;
    return Near{double(result), open ? 0x1p-126 : 0};
  };
}

template <class Signature, class T, class F>
static void addOperation(Cases &cases, const std::string &root, const std::string &type, Modes modes,
                         F exact) {
  static constexpr const char *lists[] = {"", " %d, %a;", " %d, %a, %b;", " %d, %a, %b, %c;"};
  const std::string name =
      fmt::format("{}{}{}.{}", root, modes.flush ? ".ftz" : "", modes.saturate ? ".sat" : "", type);
  cases.push_back(Lanewise<Signature>::make("float", name, name + lists[Lanewise<Signature>::sources],
                                            under<T>(modes, exact)));
}

template <class T>
static void addArithmetic(Cases &cases, const std::string &type, Modes modes) {
  auto minus = [](const Exact &a, const Exact &b) { return add(a, negated(b)); };
  auto fused = [](const Exact &a, const Exact &b, const Exact &c) { return add(multiply(a, b), c); };
  addOperation<T(T, T), T>(cases, "add.rn", type, modes, add);
  addOperation<T(T, T), T>(cases, "sub.rn", type, modes, minus);
  addOperation<T(T, T), T>(cases, "mul.rn", type, modes, multiply);
  addOperation<T(T, T, T), T>(cases, "fma.rn", type, modes, fused);
}

template <class T>
static void addDivision(Cases &cases, const std::string &type, Modes modes) {
  addOperation<T(T, T), T>(cases, "div.rn", type, modes, divide);
  addOperation<T(T), T>(cases, "rcp.rn", type, modes, [](const Exact &a) { return divide(exactly(1), a); });
  addOperation<T(T), T>(cases, "sqrt.rn", type, modes, squareRoot);
}

//===- min, max and signs ----------------------------------------------------------------------------===//

/// A NaN loses, or with `keepsNan` wins; -0 is less than +0.
template <class T>
static T extreme(bool least, bool keepsNan, T a, T b) {
  if (keepsNan && (std::isnan(a) || std::isnan(b)))
    return std::numeric_limits<T>::quiet_NaN();
  if (std::isnan(a) || std::isnan(b))
    return std::isnan(a) ? b : a;
  const bool aIsLess = less(decode(a), decode(b)) || (a == b && std::signbit(a));
  return aIsLess == least ? a : b;
}

template <class T>
static void addExtremes(Cases &cases, const std::string &type) {
  for (bool least : {true, false}) {
    const std::string root = least ? "min" : "max";
    auto add2 = [&](const std::string &name, bool flush, bool keepsNan) {
      cases.push_back(Lanewise<T(T, T)>::make("float", name, name + " %d, %a, %b;", [=](T a, T b) {
        return extreme(least, keepsNan, flushedIf(flush, a), flushedIf(flush, b));
      }));
    };
    add2(fmt::format("{}.{}", root, type), false, false);
    if (sizeof(T) == 4) {
      add2(fmt::format("{}.ftz.{}", root, type), true, false);
      add2(fmt::format("{}.NaN.{}", root, type), false, true);
      add2(fmt::format("{}.ftz.NaN.{}", root, type), true, true);
    }
  }
}

/// abs and neg of a NaN give any NaN; copysign takes the sign of its first source.
template <class T>
static void addSigns(Cases &cases, const std::string &type) {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  constexpr Bits sign = Bits(1) << (sizeof(T) * 8 - 1);
  auto withBits = [](auto change) {
    return
        [change](auto... values) { return std::bit_cast<T>(Bits(change(std::bit_cast<Bits>(values)...))); };
  };
  auto add1 = [&](const std::string &name, auto change) {
    cases.push_back(Lanewise<T(T)>::make("float", name, name + " %d, %a;", withBits(change)));
  };
  add1("abs." + type, [](Bits a) { return a & ~sign; });
  add1("neg." + type, [](Bits a) { return a ^ sign; });
  if (sizeof(T) == 4) {
    add1("abs.ftz." + type, [](Bits a) { return flushed(f32, a) & ~sign; });
    add1("neg.ftz." + type, [](Bits a) { return flushed(f32, a) ^ sign; });
  }
  const std::string copy = "copysign." + type;
  cases.push_back(Lanewise<T(T, T)>::make("float", copy, copy + " %d, %a, %b;",
                                          withBits([](Bits a, Bits b) { return (b & ~sign) | (a & sign); })));
}

void conformance::addFloatCases(Cases &cases) {
  for (Modes modes : {Modes{}, Modes{.flush = true}}) {
    addArithmetic<float>(cases, "f32", modes);
    addDivision<float>(cases, "f32", modes);
  }
  addArithmetic<float>(cases, "f32", {.saturate = true});
  addArithmetic<float>(cases, "f32", {.flush = true, .saturate = true});
  addArithmetic<double>(cases, "f64", {});
  addDivision<double>(cases, "f64", {});
  cases.push_back(Lanewise<float(float, float)>::make(
      "float", "mul.rn.ftz.f32.tiny", "mul.rn.ftz.f32 %d, %a, %b;", [](float, float) { return 0.0f; },
      {[](float) { return std::bit_cast<float>(0x3f7fffffu); }, [](float) { return 0x1p-126f; }}));
  cases.back().question = "(1 - 2^-24) 2^-126 is flushed, not first rounded to 2^-126, as an H100 does";
  addExtremes<float>(cases, "f32");
  addExtremes<double>(cases, "f64");
  addSigns<float>(cases, "f32");
  addSigns<double>(cases, "f64");
  // Numbers in the text: hexadecimal of both widths, and decimal.
  cases.push_back(
      Lanewise<float(float)>::make("float", "add.f32.immediate", "add.rn.f32 %d, %a, 0fBFC00000;",
                                   under<float>({}, [](const Exact &a) { return add(a, decode(-1.5f)); })));
  cases.push_back(Lanewise<double(double)>::make(
      "float", "mul.f64.immediate", "mul.rn.f64 %d, %a, 0d4008000000000000;",
      under<double>({}, [](const Exact &a) { return multiply(a, decode(3.0)); })));
  cases.push_back(Lanewise<float(float)>::make(
      "float", "mul.f32.decimal", "mul.rn.f32 %d, %a, 0.1;",
      under<float>({}, [](const Exact &a) { return multiply(a, decode(0.1f)); })));
}
