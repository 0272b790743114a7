//===- Float.cpp - Floating point arithmetic ---------------------------------------------------------===//
//
// add, mul, fma, min, max and the special functions for f32 and f64. Arithmetic is exact IEEE with rounding
// to nearest, as the hardware's; the approximations (ex2, lg2, rcp, rsqrt, sin, cos, tanh) are computed in
// double and rounded, so they differ from the hardware's by the few units that the PTX ISA allows it.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/instructions/Float.h"

#include "lathe/runtime/device/emulator/instructions/Alu.h"

#include <algorithm>
#include <limits>

using namespace lathe::runtime::emulator;

float lathe::runtime::emulator::fromF16(uint16_t bits) {
  const uint32_t sign = uint32_t(bits & 0x8000) << 16, exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
  if (exponent == 0x1f)
    return std::bit_cast<float>(sign | 0x7f800000 | fraction << 13);
  if (exponent == 0)
    return std::copysign(float(fraction) * 0x1p-24f, sign ? -1.0f : 1.0f);
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t lathe::runtime::emulator::toF16(float value, bool truncate) {
  if (value != value)
    return f16Nan;
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::fabs(double(value));
  if (std::isinf(value))
    return uint16_t(sign | 0x7c00);
  if (magnitude >= (truncate ? 65536.0 : 65520.0))
    return uint16_t(sign | (truncate ? 0x7bff : 0x7c00));
  // The unit in the last place at this size; 2^-24 for subnormals.
  const int exponent = magnitude < 0x1p-14 ? -14 : std::ilogb(magnitude);
  const double units = std::ldexp(magnitude, 10 - exponent);
  const auto rounded = uint32_t(truncate ? std::trunc(units) : std::nearbyint(units));
  return uint16_t(sign | (uint32_t(exponent + 14) * 1024 + rounded));
}

namespace {

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return a + b;
  }
};
struct Subtract {
  template <class T>
  T operator()(T a, T b) const {
    return a - b;
  }
};
struct Multiply {
  template <class T>
  T operator()(T a, T b) const {
    return a * b;
  }
};
struct MultiplyAdd {
  template <class T>
  T operator()(T a, T b, T c) const {
    return std::fma(a, b, c);
  }
};
struct Divide {
  template <class T>
  T operator()(T a, T b) const {
    return a / b;
  }
};
/// Divisors beyond 2^126 give zero, and a NaN with an infinity.
struct DivideApproximately {
  float operator()(float a, float b) const {
    if (std::isinf(b) || !(std::fabs(b) > 0x1p126f))
      return a / b;
    return std::isinf(a) || a != a ? std::bit_cast<float>(0x7fffffffu)
                                   : std::copysign(0.0f, std::signbit(a) != std::signbit(b) ? -1.0f : 1.0f);
  }
};
struct Minimum {
  template <class T>
  T operator()(T a, T b) const {
    return minNumber(a, b);
  }
};
struct Maximum {
  template <class T>
  T operator()(T a, T b) const {
    return maxNumber(a, b);
  }
};
struct MinimumNan {
  float operator()(float a, float b) const {
    return a != a || b != b ? std::bit_cast<float>(0x7fffffffu) : minNumber(a, b);
  }
};
struct MaximumNan {
  float operator()(float a, float b) const {
    return a != a || b != b ? std::bit_cast<float>(0x7fffffffu) : maxNumber(a, b);
  }
};
struct Absolute {
  template <class T>
  T operator()(T a) const {
    return std::fabs(a);
  }
};
struct Negate {
  template <class T>
  T operator()(T a) const {
    return -a;
  }
};
struct SquareRoot {
  template <class T>
  T operator()(T a) const {
    return std::sqrt(a);
  }
};
struct Reciprocal {
  template <class T>
  T operator()(T a) const {
    return T(1) / a;
  }
};
struct CopySign { // copysign d, a, b: the sign of a on b.
  template <class T>
  T operator()(T a, T b) const {
    return std::copysign(b, a);
  }
};
struct Exp2 {
  float operator()(float a) const { return float(std::exp2(double(a))); }
};
struct Log2 {
  float operator()(float a) const { return float(std::log2(double(a))); }
};
struct ReciprocalRoot {
  float operator()(float a) const { return float(1 / std::sqrt(double(a))); }
};
struct Sine {
  float operator()(float a) const { return float(std::sin(double(a))); }
};
struct Cosine {
  float operator()(float a) const { return float(std::cos(double(a))); }
};
struct Tanh {
  float operator()(float a) const { return float(std::tanh(double(a))); }
};

/// Sources and result flushed (.ftz). Whether a result is subnormal is seen before it is rounded, where that
/// can differ: the ISA leaves it open, an H100 does so.
template <class Op>
struct Flushed {
  template <class... T>
  float operator()(T... a) const {
    if constexpr (std::is_same_v<Op, Multiply> || std::is_same_v<Op, MultiplyAdd>) {
      const double wide = Op{}(double(flushed(a))...);
      if (std::fabs(wide) < 0x1p-126)
        return std::copysign(0.0f, float(wide));
    }
    return flushed(Op{}(flushed(a)...));
  }
};
/// Clamped to [0, 1], a NaN to 0 (.sat).
template <class Op>
struct Saturated {
  template <class... T>
  float operator()(T... a) const {
    const float value = Op{}(a...);
    return value > 0 ? std::min(value, 1.0f) : 0.0f;
  }
};

struct Modifiers {
  bool flush = false, saturate = false;
};

} // namespace

template <class Op, class... T>
static Handler floatHandler(Type type, Modifiers m) {
  if (type == Type::F32) {
    if (m.saturate)
      return m.flush ? &lanewise<Saturated<Flushed<Op>>, float, T...> : &lanewise<Saturated<Op>, float, T...>;
    return m.flush ? &lanewise<Flushed<Op>, float, T...> : &lanewise<Op, float, T...>;
  }
  return nullptr;
}

/// f32 with its modifiers, f64 without.
template <class Op>
static Handler unaryHandler(Type type, Modifiers m) {
  if (type == Type::F64)
    return m.flush || m.saturate ? nullptr : &lanewise<Op, double, double>;
  return floatHandler<Op, float>(type, m);
}
template <class Op>
static Handler binaryHandler(Type type, Modifiers m) {
  if (type == Type::F64)
    return m.flush || m.saturate ? nullptr : &lanewise<Op, double, double, double>;
  return floatHandler<Op, float, float>(type, m);
}

static Modifiers takeModifiers(Decoder &d) {
  Modifiers m;
  for (;;) {
    if (d.take("ftz"))
      m.flush = true;
    else if (d.take("sat"))
      m.saturate = true;
    else if (!d.take("rn"))
      return m;
  }
}

static bool finish(Decoder &d, Type type, size_t sources, Handler handler, Mix mix = Mix::Float) {
  d.requireCount(sources + 1);
  d.results({type});
  for (size_t i = 1; i <= sources; ++i)
    d.sources(i, {type});
  return d.done(handler, mix);
}

static bool arithmetic(Decoder &d) {
  const std::string_view root = d.root();
  const Modifiers m = takeModifiers(d);
  const Type type = d.takeType();
  if (root == "add")
    return finish(d, type, 2, binaryHandler<Add>(type, m));
  if (root == "sub")
    return finish(d, type, 2, binaryHandler<Subtract>(type, m));
  if (root == "mul")
    return finish(d, type, 2, binaryHandler<Multiply>(type, m));
  return finish(
      d, type, 3,
      type == Type::F64
          ? (m.flush || m.saturate ? nullptr : &lanewise<MultiplyAdd, double, double, double, double>)
          : floatHandler<MultiplyAdd, float, float, float>(type, m));
}

static bool minMax(Decoder &d, bool least) {
  Modifiers m = takeModifiers(d);
  const bool keepsNan = d.take("NaN");
  const Type type = d.takeType();
  if (keepsNan)
    return finish(d, type, 2,
                  least ? floatHandler<MinimumNan, float, float>(type, m)
                        : floatHandler<MaximumNan, float, float>(type, m));
  return finish(d, type, 2, least ? binaryHandler<Minimum>(type, m) : binaryHandler<Maximum>(type, m));
}

/// div, rcp and sqrt: .rn is exact, .approx and .full may differ in the last places.
static bool division(Decoder &d) {
  const std::string_view root = d.root();
  const int approximation = d.takeOneOf({"approx", "full"});
  const bool approximate = approximation >= 0;
  const Modifiers m = takeModifiers(d);
  const Type type = d.takeType();
  const Mix mix = approximate ? Mix::Special : Mix::Float;
  if (root == "div" && approximation == 0)
    return finish(d, type, 2, floatHandler<DivideApproximately, float, float>(type, m), mix);
  if (root == "div")
    return finish(d, type, 2, binaryHandler<Divide>(type, m), mix);
  if (root == "rcp")
    return finish(d, type, 1, unaryHandler<Reciprocal>(type, m), mix);
  return finish(d, type, 1, unaryHandler<SquareRoot>(type, m), mix);
}

static Handler specialHandler(std::string_view root, Type type, Modifiers m) {
  if (root == "ex2")
    return floatHandler<Exp2, float>(type, m);
  if (root == "lg2")
    return floatHandler<Log2, float>(type, m);
  if (root == "rsqrt")
    return floatHandler<ReciprocalRoot, float>(type, m);
  if (root == "sin")
    return floatHandler<Sine, float>(type, m);
  if (root == "cos")
    return floatHandler<Cosine, float>(type, m);
  return floatHandler<Tanh, float>(type, m);
}

bool lathe::runtime::emulator::decodeFloat(Decoder &d) {
  const std::string_view root = d.root();
  if (!d.mentions("f32") && !d.mentions("f64"))
    return false;
  if (root == "add" || root == "sub" || root == "mul" || root == "fma")
    return arithmetic(d);
  if (root == "min" || root == "max")
    return minMax(d, root == "min");
  if (root == "div" || root == "rcp" || root == "sqrt")
    return division(d);
  if (root == "abs" || root == "neg") {
    const Modifiers m = takeModifiers(d);
    const Type type = d.takeType();
    return finish(d, type, 1,
                  root == "abs" ? unaryHandler<Absolute>(type, m) : unaryHandler<Negate>(type, m));
  }
  if (root == "copysign") {
    const Type type = d.takeType();
    return finish(d, type, 2, binaryHandler<CopySign>(type, {}));
  }
  if (root == "ex2" || root == "lg2" || root == "rsqrt" || root == "sin" || root == "cos" || root == "tanh") {
    if (!d.take("approx"))
      d.refuseModifiers();
    const Modifiers m = takeModifiers(d);
    const Type type = d.takeType();
    return finish(d, type, 1, specialHandler(root, type, m), Mix::Special);
  }
  return false;
}
