//===- Packed.cpp - Arithmetic on 16-bit numbers, alone and in pairs ---------------------------------===//
//
// add, sub, mul, fma, min, max, abs and neg for bf16, f16 and their pairs. Each is computed in double, where
// products and sums of two or three such numbers are exact or nearly so, and rounded once.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/instructions/Alu.h"
#include "lathe/runtime/device/emulator/instructions/Float.h"

using namespace lathe::runtime::emulator;

/// A result of binary64 as a float that rounds on to 16 bits like the exact value: the last bit says whether
/// anything was lost (round to odd).
static float sticky(double value) {
  const auto narrow = float(value);
  if (value != value || double(narrow) == value || std::isinf(narrow))
    return narrow;
  auto bits = std::bit_cast<uint32_t>(narrow);
  if (std::fabs(double(narrow)) > std::fabs(value))
    --bits; // Towards zero first.
  return std::bit_cast<float>(bits | 1);
}

namespace {

struct Bf16 {
  static float from(uint16_t bits) { return fromBf16(bits); }
  static uint16_t to(float value) { return toBf16(value); }
};
struct F16 {
  static float from(uint16_t bits) { return fromF16(bits); }
  static uint16_t to(float value) { return toF16(value); }
};

struct Add {
  double operator()(double a, double b) const { return a + b; }
};
struct Subtract {
  double operator()(double a, double b) const { return a - b; }
};
struct Multiply {
  double operator()(double a, double b) const { return a * b; }
};
struct MultiplyAdd {
  /// The product is exact; where the sum is not, its last bit says so (round to odd), for a product that is a
  /// tie of 16 bits is decided by however small a third operand.
  double operator()(double a, double b, double c) const {
    const double product = a * b, sum = product + c;
    const double part = sum - product, lost = (product - (sum - part)) + (c - part);
    if (lost == 0 || lost != lost) // Not a number where the sum is infinite.
      return sum;
    const bool tooFar = (lost < 0) == (sum > 0);
    return std::bit_cast<double>((std::bit_cast<uint64_t>(sum) - (tooFar ? 1 : 0)) | 1);
  }
};
struct Minimum {
  double operator()(double a, double b) const { return minNumber(float(a), float(b)); }
};
struct Maximum {
  double operator()(double a, double b) const { return maxNumber(float(a), float(b)); }
};
/// A NaN wins.
struct MinimumNan {
  double operator()(double a, double b) const { return a != a || b != b ? a + b : Minimum{}(a, b); }
};
struct MaximumNan {
  double operator()(double a, double b) const { return a != a || b != b ? a + b : Maximum{}(a, b); }
};
struct Absolute {
  double operator()(double a) const { return std::fabs(a); }
};
struct Negate {
  double operator()(double a) const { return -a; }
};

template <class Format, class Op>
struct Single {
  template <class... T>
  uint16_t operator()(T... a) const {
    return Format::to(sticky(Op{}(double(Format::from(a))...)));
  }
};
template <class Format, class Op>
struct Pair {
  template <class... T>
  uint32_t operator()(T... a) const {
    const uint32_t low = Single<Format, Op>{}(uint16_t(a)...),
                   high = Single<Format, Op>{}(uint16_t(a >> 16)...);
    return low | high << 16;
  }
};

} // namespace

template <class Op, class... S16>
static Handler packedHandler(Type type) {
  switch (type) {
  case Type::BF16:
    return &lanewise<Single<Bf16, Op>, uint16_t, S16...>;
  case Type::F16:
    return &lanewise<Single<F16, Op>, uint16_t, S16...>;
  case Type::BF16x2:
    return &lanewise<Pair<Bf16, Op>, uint32_t, std::conditional_t<true, uint32_t, S16>...>;
  case Type::F16x2:
    return &lanewise<Pair<F16, Op>, uint32_t, std::conditional_t<true, uint32_t, S16>...>;
  default:
    return nullptr;
  }
}

static Handler handlerFor(std::string_view root, Type type, bool keepsNan) {
  using H = uint16_t;
  if (keepsNan)
    return root == "min" ? packedHandler<MinimumNan, H, H>(type) : packedHandler<MaximumNan, H, H>(type);
  if (root == "add")
    return packedHandler<Add, H, H>(type);
  if (root == "sub")
    return packedHandler<Subtract, H, H>(type);
  if (root == "mul")
    return packedHandler<Multiply, H, H>(type);
  if (root == "fma")
    return packedHandler<MultiplyAdd, H, H, H>(type);
  if (root == "min")
    return packedHandler<Minimum, H, H>(type);
  if (root == "max")
    return packedHandler<Maximum, H, H>(type);
  if (root == "abs")
    return packedHandler<Absolute, H>(type);
  return packedHandler<Negate, H>(type);
}

bool lathe::runtime::emulator::decodePacked(Decoder &d) {
  const std::string_view root = d.root();
  size_t sources = 2;
  if (root == "fma")
    sources = 3;
  else if (root == "abs" || root == "neg")
    sources = 1;
  else if (root != "add" && root != "sub" && root != "mul" && root != "min" && root != "max")
    return false;
  if (!d.mentionsFloat() || d.mentions("f32") || d.mentions("f64"))
    return false;
  d.take("rn");
  const bool keepsNan = (root == "min" || root == "max") && d.take("NaN");
  const Type type = d.takeType();
  d.requireCount(sources + 1);
  d.results({type});
  for (size_t i = 1; i <= sources; ++i)
    d.sources(i, {type});
  return d.done(handlerFor(root, type, keepsNan), Mix::Float);
}
