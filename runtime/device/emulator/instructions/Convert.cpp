//===- Convert.cpp - cvt -----------------------------------------------------------------------------===//
//
// Conversions between integers of all widths, floats, bf16, f16 and their pairs, with the rounding that the
// instruction names. Source: PTX ISA, "cvt": a float out of an integer's range gives the nearest bound, a NaN
// gives 0, or from f64 or to 64 bits the highest bit alone. Bytes are extended to the 16 bits of their
// register.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/instructions/Alu.h"
#include "lathe/runtime/device/emulator/instructions/Float.h"

#include <algorithm>
#include <limits>

using namespace lathe::runtime::emulator;

namespace {

enum class Rounding : uint8_t { Nearest, Zero, Down, Up };

template <class D>
struct Cast {
  template <class S>
  D operator()(S value) const {
    return D(value);
  }
};

template <Rounding rounding>
struct Integral {
  template <class T>
  T operator()(T value) const {
    switch (rounding) {
    case Rounding::Nearest:
      return std::nearbyint(value);
    case Rounding::Zero:
      return std::trunc(value);
    case Rounding::Down:
      return std::floor(value);
    case Rounding::Up:
      return std::ceil(value);
    }
  }
};

template <class D, Rounding rounding>
struct ToInteger {
  template <class S>
  D operator()(S value) const {
    const double whole = Integral<rounding>{}(double(value));
    if (whole != whole)
      return sizeof(S) == 8 || sizeof(D) == 8 ? D(uint64_t(1) << (8 * sizeof(D) - 1)) : D(0);
    // 2^digits is exact in double, the largest value of 64 bits is not.
    if (whole >= std::ldexp(1.0, std::numeric_limits<D>::digits))
      return std::numeric_limits<D>::max();
    return whole <= double(std::numeric_limits<D>::min()) ? std::numeric_limits<D>::min() : D(whole);
  }
};

struct FromBf16 {
  float operator()(uint16_t bits) const { return fromBf16(bits); }
};
struct FromF16 {
  float operator()(uint16_t bits) const { return fromF16(bits); }
};
template <bool truncate>
struct ToBf16 {
  uint16_t operator()(float value) const { return truncate ? toBf16Truncated(value) : toBf16(value); }
};
template <bool truncate>
struct ToF16 {
  uint16_t operator()(float value) const { return toF16(value, truncate); }
};
template <class Op>
struct Relu {
  /// -0 becomes +0 too: the ISA leaves it open, an H100 does so.
  uint16_t operator()(float value) const { return Op{}(value <= 0 ? 0.0f : value); }
};
/// The first source is the high half.
template <class Op>
struct PairOf {
  uint32_t operator()(float high, float low) const {
    return uint32_t(Op{}(low)) | uint32_t(Op{}(high)) << 16;
  }
};
struct Narrow {
  float operator()(double value) const { return float(value); }
};
struct FlushTo {
  float operator()(float value) const { return flushed(value); }
};
/// The source flushed (.ftz).
template <class Op>
struct FlushFirst {
  auto operator()(float value) const { return Op{}(flushed(value)); }
};
struct NarrowFlushed {
  float operator()(double value) const { return flushed(float(value)); }
};

/// What holds a result.
template <class D>
using Held =
    std::conditional_t<sizeof(D) != 1, D, std::conditional_t<std::is_signed_v<D>, int16_t, uint16_t>>;

} // namespace

/// Calls pick(T()) with the C++ type of an integer type; null for others.
template <class Pick>
static Handler withInteger(Type type, Pick pick) {
  switch (type) {
  // NOLINTNEXTLINE(bugprone-branch-clone): the types differ.
  case Type::U8:
    return pick(uint8_t());
  case Type::S8:
    return pick(int8_t());
  case Type::U16:
    return pick(uint16_t());
  case Type::S16:
    return pick(int16_t());
  case Type::U32:
    return pick(uint32_t());
  case Type::S32:
    return pick(int32_t());
  case Type::U64:
    return pick(uint64_t());
  case Type::S64:
    return pick(int64_t());
  default:
    return nullptr;
  }
}

static Handler integerToInteger(Type to, Type from) {
  return withInteger(to, [from]<class D>(D) -> Handler {
    return withInteger(from, []<class S>(S) -> Handler { return &lanewise<Cast<D>, Held<D>, S>; });
  });
}

static Handler integerToFloat(Type to, Type from) {
  return withInteger(from, [to]<class S>(S) -> Handler {
    return to == Type::F32   ? &lanewise<Cast<float>, float, S>
           : to == Type::F64 ? &lanewise<Cast<double>, double, S>
                             : nullptr;
  });
}

template <Rounding rounding>
static Handler floatToInteger(Type to, Type from, bool flush) {
  return withInteger(to, [from, flush]<class D>(D) -> Handler {
    using Op = ToInteger<D, rounding>;
    if (from == Type::F32)
      return flush ? &lanewise<FlushFirst<Op>, Held<D>, float> : &lanewise<Op, Held<D>, float>;
    return from == Type::F64 && !flush ? &lanewise<Op, Held<D>, double> : nullptr;
  });
}

template <Rounding rounding>
static Handler floatToWhole(Type to, Type from, bool flush) {
  if (to != from)
    return nullptr;
  using Op = Integral<rounding>;
  if (to == Type::F32)
    return flush ? &lanewise<FlushFirst<Op>, float, float> : &lanewise<Op, float, float>;
  return to == Type::F64 && !flush ? &lanewise<Op, double, double> : nullptr;
}

template <Rounding rounding>
static Handler toIntegral(Type to, Type from, bool flush) {
  return isFloat(to) ? floatToWhole<rounding>(to, from, flush) : floatToInteger<rounding>(to, from, flush);
}

static Handler toIntegral(int rounding, Type to, Type from, bool flush) {
  switch (rounding) {
  case 0:
    return toIntegral<Rounding::Nearest>(to, from, flush);
  case 1:
    return toIntegral<Rounding::Zero>(to, from, flush);
  case 2:
    return toIntegral<Rounding::Down>(to, from, flush);
  default:
    return toIntegral<Rounding::Up>(to, from, flush);
  }
}

template <template <bool> class To>
static Handler narrowing(bool truncate, bool relu) {
  if (relu)
    return truncate ? &lanewise<Relu<To<true>>, uint16_t, float>
                    : &lanewise<Relu<To<false>>, uint16_t, float>;
  return truncate ? &lanewise<To<true>, uint16_t, float> : &lanewise<To<false>, uint16_t, float>;
}

template <template <bool> class To>
static Handler pairing(bool truncate, bool relu) {
  if (relu)
    return truncate ? &lanewise<PairOf<Relu<To<true>>>, uint32_t, float, float>
                    : &lanewise<PairOf<Relu<To<false>>>, uint32_t, float, float>;
  return truncate ? &lanewise<PairOf<To<true>>, uint32_t, float, float>
                  : &lanewise<PairOf<To<false>>, uint32_t, float, float>;
}

static Handler floatToFloat(Type to, Type from, int rounding, bool relu, bool flush) {
  const bool truncate = rounding == 1;
  if (relu && to != Type::BF16 && to != Type::F16)
    return nullptr;
  if (rounding >= 0 && bitsOf(to) > bitsOf(from))
    return nullptr; // What is exact names no rounding.
  if (from == Type::BF16 && to == Type::F32 && !flush)
    return &lanewise<FromBf16, float, uint16_t>;
  if (from == Type::F16 && to == Type::F32)
    return &lanewise<FromF16, float, uint16_t>;
  if (from == Type::F32 && to == Type::F64)
    return flush ? &lanewise<FlushFirst<Cast<double>>, double, float>
                 : &lanewise<Cast<double>, double, float>;
  if (from == Type::F32 && to == Type::F32 && flush)
    return &lanewise<FlushTo, float, float>;
  if (rounding < 0)
    return nullptr;
  if (from == Type::F64 && to == Type::F32 && !truncate)
    return flush ? &lanewise<NarrowFlushed, float, double> : &lanewise<Narrow, float, double>;
  if (from == Type::F32 && to == Type::BF16)
    return narrowing<ToBf16>(truncate, relu);
  if (from == Type::F32 && to == Type::F16)
    return narrowing<ToF16>(truncate, relu);
  return nullptr;
}

static bool convertPair(Decoder &d, Type to, int rounding, bool relu) {
  if (d.takeType() != Type::F32 || rounding < 0)
    d.refuseModifiers();
  d.requireCount(3);
  d.results({to});
  d.sources(1, {Type::F32, Type::F32});
  return d.done(to == Type::BF16x2 ? pairing<ToBf16>(rounding == 1, relu)
                                   : pairing<ToF16>(rounding == 1, relu),
                Mix::Convert);
}

bool lathe::runtime::emulator::decodeConvert(Decoder &d) {
  if (d.root() != "cvt")
    return false;
  const int integral = d.takeOneOf({"rni", "rzi", "rmi", "rpi"});
  const int rounding = integral < 0 ? d.takeOneOf({"rn", "rz"}) : -1;
  const bool flush = d.take("ftz"), relu = d.take("relu"), saturate = d.take("sat");
  const Type to = d.takeType();
  if (to == Type::BF16x2 || to == Type::F16x2)
    return convertPair(d, to, rounding, relu);
  const Type from = d.takeType();
  d.requireCount(2);
  d.results({to});
  d.sources(1, {from});
  Handler handler = nullptr;
  if (integral >= 0 && isFloat(from) && !(saturate && isFloat(to)))
    handler = toIntegral(integral, to, from, flush); // To integers it always saturates.
  else if (saturate)
    handler = nullptr;
  else if (!isFloat(to) && !isFloat(from))
    handler = rounding < 0 && !flush && !relu ? integerToInteger(to, from) : nullptr;
  else if (!isFloat(from))
    handler = rounding == 0 ? integerToFloat(to, from) : nullptr;
  else if (isFloat(to))
    handler = floatToFloat(to, from, rounding, relu, flush);
  return d.done(handler, Mix::Convert);
}
