//===- Integer.cpp - Integer arithmetic and bits -----------------------------------------------------===//
//
// add, mul, mad, div, shifts, bit fields and their kin, for 16, 32 and 64 bits, after the PTX ISA's sections
// "Integer Arithmetic Instructions" and "Logic and Shift Instructions". Wrapping is two's complement.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/Cluster.h"
#include "lathe/runtime/device/emulator/instructions/Alu.h"

#include <algorithm>
#include <bit>
#include <limits>

using namespace lathe::runtime::emulator;

namespace {

template <class T>
using Unsigned = std::make_unsigned_t<T>;
/// The type of twice the width, for products.
template <class T>
using Wide = std::conditional_t<
    sizeof(T) == 2, std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>,
    std::conditional_t<sizeof(T) == 4, std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>,
                       std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>>>;

template <class T>
constexpr unsigned width = sizeof(T) * 8;

// Products of 16-bit values would overflow int: everything is computed unsigned, in 64 bits.
struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return T(uint64_t(a) + uint64_t(b));
  }
};
struct Subtract {
  template <class T>
  T operator()(T a, T b) const {
    return T(uint64_t(a) - uint64_t(b));
  }
};
struct MultiplyLow {
  template <class T>
  T operator()(T a, T b) const {
    return T(uint64_t(a) * uint64_t(b));
  }
};
struct MultiplyHigh {
  template <class T>
  T operator()(T a, T b) const {
    return T((Wide<T>(a) * Wide<T>(b)) >> width<T>);
  }
};
struct MultiplyWide {
  template <class T>
  Wide<T> operator()(T a, T b) const {
    return Wide<T>(a) * Wide<T>(b);
  }
};
struct MaddLow {
  template <class T>
  T operator()(T a, T b, T c) const {
    return T(uint64_t(a) * uint64_t(b) + uint64_t(c));
  }
};
struct MaddHigh {
  template <class T>
  T operator()(T a, T b, T c) const {
    return T(uint64_t(MultiplyHigh{}(a, b)) + uint64_t(c));
  }
};
struct MaddWide {
  template <class T, class W>
  W operator()(T a, T b, W c) const {
    return W(uint64_t(Wide<T>(a) * Wide<T>(b)) + uint64_t(c));
  }
};
struct Divide {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0)
      return T(~T(0));
    if constexpr (std::is_signed_v<T>)
      if (b == -1)
        return T(0 - uint64_t(a));
    return T(a / b);
  }
};
struct Remainder {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0)
      return a;
    if constexpr (std::is_signed_v<T>)
      if (b == -1)
        return 0;
    return T(a % b);
  }
};
struct Absolute {
  template <class T>
  T operator()(T a) const {
    return a < 0 ? T(0 - uint64_t(a)) : a;
  }
};
struct Negate {
  template <class T>
  T operator()(T a) const {
    return T(0 - uint64_t(a));
  }
};
struct Minimum {
  template <class T>
  T operator()(T a, T b) const {
    return std::min(a, b);
  }
};
struct Maximum {
  template <class T>
  T operator()(T a, T b) const {
    return std::max(a, b);
  }
};
struct MinimumRelu {
  int32_t operator()(int32_t a, int32_t b) const { return std::max(std::min(a, b), 0); }
};
struct MaximumRelu {
  int32_t operator()(int32_t a, int32_t b) const { return std::max(std::max(a, b), 0); }
};
struct And {
  template <class T>
  T operator()(T a, T b) const {
    return T(a & b);
  }
};
struct Or {
  template <class T>
  T operator()(T a, T b) const {
    return T(a | b);
  }
};
struct Xor {
  template <class T>
  T operator()(T a, T b) const {
    return T(a ^ b);
  }
};
struct Not {
  template <class T>
  T operator()(T a) const {
    return T(~a);
  }
};
struct ShiftLeft {
  template <class T>
  T operator()(T a, uint32_t by) const {
    return by >= width<T> ? T(0) : T(uint64_t(a) << by);
  }
};
struct ShiftRight {
  template <class T>
  T operator()(T a, uint32_t by) const {
    if (by >= width<T>)
      return std::is_signed_v<T> && a < 0 ? T(-1) : T(0);
    return T(a >> by);
  }
};
struct FunnelLeft { // .wrap; `hi:lo` shifted left, the high word.
  uint32_t operator()(uint32_t lo, uint32_t hi, uint32_t by) const {
    return uint32_t((uint64_t(hi) << 32 | lo) << (by & 31) >> 32);
  }
};
struct FunnelRight {
  uint32_t operator()(uint32_t lo, uint32_t hi, uint32_t by) const {
    return uint32_t((uint64_t(hi) << 32 | lo) >> (by & 31));
  }
};
struct FunnelLeftClamped {
  uint32_t operator()(uint32_t lo, uint32_t hi, uint32_t by) const {
    return by >= 32 ? lo : FunnelLeft{}(lo, hi, by);
  }
};
struct FunnelRightClamped {
  uint32_t operator()(uint32_t lo, uint32_t hi, uint32_t by) const {
    return by >= 32 ? hi : FunnelRight{}(lo, hi, by);
  }
};
struct FieldExtract {
  template <class T>
  T operator()(T a, uint32_t position, uint32_t length) const {
    position &= 0xff, length &= 0xff;
    const unsigned there = position >= width<T> ? 0 : std::min(length, width<T> - position);
    const auto bits = Unsigned<T>(there == 0 ? 0 : Unsigned<T>(a) >> position);
    const auto keep =
        there == width<T> ? Unsigned<T>(~Unsigned<T>(0)) : Unsigned<T>((Unsigned<T>(1) << there) - 1);
    const unsigned last = std::min(position + length - 1, width<T> - 1);
    const bool fill = std::is_signed_v<T> && length != 0 && (Unsigned<T>(a) >> last & 1);
    return T((bits & keep) | (fill ? Unsigned<T>(~keep) : Unsigned<T>(0)));
  }
};
struct FieldInsert {
  template <class T>
  T operator()(T a, T b, uint32_t position, uint32_t length) const {
    position &= 0xff, length &= 0xff;
    if (position >= width<T> || length == 0)
      return b;
    const T keep = length >= width<T> ? T(~T(0)) : T((T(1) << length) - 1);
    const T mask = T(keep << position);
    return T((b & ~mask) | ((a << position) & mask));
  }
};
struct Reverse {
  template <class T>
  T operator()(T a) const {
    T result = 0;
    for (unsigned i = 0; i < width<T>; ++i)
      result = T(result | (a >> i & 1) << (width<T> - 1 - i));
    return result;
  }
};
struct CountOnes {
  template <class T>
  uint32_t operator()(T a) const {
    return uint32_t(std::popcount(a));
  }
};
struct CountZeros {
  template <class T>
  uint32_t operator()(T a) const {
    return uint32_t(std::countl_zero(a));
  }
};
struct FindBit {
  template <class T>
  uint32_t operator()(T a) const {
    const auto bits = Unsigned<T>(a < 0 ? ~a : a);
    return bits == 0 ? ~uint32_t(0) : width<T> - 1 - uint32_t(std::countl_zero(bits));
  }
};
struct Permute {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t select) const {
    const uint64_t bytes = uint64_t(b) << 32 | a;
    uint32_t result = 0;
    for (unsigned i = 0; i < 4; ++i) {
      const uint32_t pick = select >> (4 * i) & 0xf;
      auto byte = uint32_t(bytes >> (8 * (pick & 7)) & 0xff);
      if (pick & 8)
        byte = byte & 0x80 ? 0xff : 0;
      result |= byte << (8 * i);
    }
    return result;
  }
};
struct Logic3 {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t c, uint32_t table) const {
    uint32_t result = 0;
    for (unsigned row = 0; row < 8; ++row)
      if (table >> row & 1)
        result |= (row & 4 ? a : ~a) & (row & 2 ? b : ~b) & (row & 1 ? c : ~c);
    return result;
  }
};

} // namespace

//===- Division --------------------------------------------------------------------------------------===//

/// What the hardware gives for a division by zero is nobody's business: such lanes are not defined.
template <class Op, class T>
static void division(Warp &w, const Instr &i) {
  lanewise<Op, T, T, T>(w, i);
  const std::byte *divisors = w.row(i.source(1));
  uint32_t zero = 0;
  overLanes(w.mask, [&](int lane) { zero |= uint32_t(laneAt<T>(divisors, lane) == 0) << lane; });
  if (zero == 0)
    return;
  uint32_t origin = w.cluster().findOrigin(Origin::Kind::Register, w.pc);
  if (origin == 0)
    origin = w.cluster().addOrigin({Origin::Kind::Register, w.pc, UINT32_MAX, "that divides by zero", ""});
  w.setUndefined(i.result(), zero | w.undefined(i.result()), origin);
}

template <class Op>
static Handler divisionHandler(Type type) {
  switch (type) {
  case Type::U16:
    return &division<Op, uint16_t>;
  case Type::S16:
    return &division<Op, int16_t>;
  case Type::U32:
    return &division<Op, uint32_t>;
  case Type::S32:
    return &division<Op, int32_t>;
  case Type::U64:
    return &division<Op, uint64_t>;
  case Type::S64:
    return &division<Op, int64_t>;
  default:
    return nullptr;
  }
}

//===- Forms of operands -----------------------------------------------------------------------------===//

template <class Op>
static Handler wideHandler2(Type type) {
  switch (type) {
  case Type::U16:
    return &lanewise<Op, uint32_t, uint16_t, uint16_t>;
  case Type::S16:
    return &lanewise<Op, int32_t, int16_t, int16_t>;
  case Type::U32:
    return &lanewise<Op, uint64_t, uint32_t, uint32_t>;
  case Type::S32:
    return &lanewise<Op, int64_t, int32_t, int32_t>;
  default:
    return nullptr;
  }
}

template <class Op>
static Handler wideHandler3(Type type) {
  switch (type) {
  case Type::U16:
    return &lanewise<Op, uint32_t, uint16_t, uint16_t, uint32_t>;
  case Type::S16:
    return &lanewise<Op, int32_t, int16_t, int16_t, int32_t>;
  case Type::U32:
    return &lanewise<Op, uint64_t, uint32_t, uint32_t, uint64_t>;
  case Type::S32:
    return &lanewise<Op, int64_t, int32_t, int32_t, int64_t>;
  default:
    return nullptr;
  }
}

static Type doubled(Type type) {
  switch (type) {
  case Type::U16:
    return Type::U32;
  case Type::S16:
    return Type::S32;
  case Type::U32:
    return Type::U64;
  default:
    return Type::S64;
  }
}

static bool unary(Decoder &d, Type type, Handler handler, Type result) {
  d.requireCount(2);
  d.results({result});
  d.sources(1, {type});
  return d.done(handler, Mix::Integer);
}

static bool binary(Decoder &d, Type type, Handler handler, Type result) {
  d.requireCount(3);
  d.results({result});
  d.sources(1, {type, type});
  return d.done(handler, Mix::Integer);
}

static bool multiply(Decoder &d, bool add) {
  const int part = d.takeOneOf({"lo", "hi", "wide"});
  const Type type = d.takeType();
  const Type result = part == 2 ? doubled(type) : type;
  d.requireCount(add ? 4 : 3);
  d.results({result});
  d.sources(1, {type, type});
  if (add)
    d.sources(3, {result});
  Handler handler = nullptr;
  if (part == 0)
    handler = add ? integerHandler<MaddLow, 3>(type) : integerHandler<MultiplyLow, 2>(type);
  else if (part == 1)
    handler = add ? integerHandler<MaddHigh, 3>(type) : integerHandler<MultiplyHigh, 2>(type);
  else if (part == 2)
    handler = add ? wideHandler3<MaddWide>(type) : wideHandler2<MultiplyWide>(type);
  return d.done(handler, Mix::Integer);
}

template <class Op>
static bool shift(Decoder &d) {
  const Type type = d.takeType();
  d.requireCount(3);
  d.results({type});
  d.sources(1, {type, Type::U32});
  switch (type) {
  case Type::B16:
  case Type::U16:
    return d.done(&lanewise<Op, uint16_t, uint16_t, uint32_t>, Mix::Integer);
  case Type::S16:
    return d.done(&lanewise<Op, int16_t, int16_t, uint32_t>, Mix::Integer);
  case Type::B32:
  case Type::U32:
    return d.done(&lanewise<Op, uint32_t, uint32_t, uint32_t>, Mix::Integer);
  case Type::S32:
    return d.done(&lanewise<Op, int32_t, int32_t, uint32_t>, Mix::Integer);
  case Type::B64:
  case Type::U64:
    return d.done(&lanewise<Op, uint64_t, uint64_t, uint32_t>, Mix::Integer);
  case Type::S64:
    return d.done(&lanewise<Op, int64_t, int64_t, uint32_t>, Mix::Integer);
  default:
    d.refuseModifiers();
  }
}

static bool funnel(Decoder &d) {
  const int direction = d.takeOneOf({"l", "r"});
  const int mode = d.takeOneOf({"wrap", "clamp"});
  d.take("b32");
  d.requireCount(4);
  d.results({Type::B32});
  d.sources(1, {Type::B32, Type::B32, Type::B32});
  static constexpr Handler handlers[2][2] = {
      {&lanewise<FunnelLeft, uint32_t, uint32_t, uint32_t, uint32_t>,
       &lanewise<FunnelLeftClamped, uint32_t, uint32_t, uint32_t, uint32_t>},
      {&lanewise<FunnelRight, uint32_t, uint32_t, uint32_t, uint32_t>,
       &lanewise<FunnelRightClamped, uint32_t, uint32_t, uint32_t, uint32_t>}};
  return d.done(direction < 0 || mode < 0 ? nullptr : handlers[direction][mode], Mix::Integer);
}

static bool extractField(Decoder &d) {
  const Type type = d.takeType();
  d.requireCount(4);
  d.results({type});
  d.sources(1, {type, Type::U32, Type::U32});
  Handler handler = nullptr;
  if (type == Type::U32)
    handler = &lanewise<FieldExtract, uint32_t, uint32_t, uint32_t, uint32_t>;
  else if (type == Type::S32)
    handler = &lanewise<FieldExtract, int32_t, int32_t, uint32_t, uint32_t>;
  else if (type == Type::U64)
    handler = &lanewise<FieldExtract, uint64_t, uint64_t, uint32_t, uint32_t>;
  else if (type == Type::S64)
    handler = &lanewise<FieldExtract, int64_t, int64_t, uint32_t, uint32_t>;
  return d.done(handler, Mix::Integer);
}

static bool insertField(Decoder &d) {
  const Type type = d.takeType();
  d.requireCount(5);
  d.results({type});
  d.sources(1, {type, type, Type::U32, Type::U32});
  return d.done(type == Type::B32   ? &lanewise<FieldInsert, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t>
                : type == Type::B64 ? &lanewise<FieldInsert, uint64_t, uint64_t, uint64_t, uint32_t, uint32_t>
                                    : nullptr,
                Mix::Integer);
}

/// A count over the bits of a 32- or 64-bit value, in 32 bits.
template <class Op, class Narrow, class Full>
static bool countBits(Decoder &d, Type narrow, Type full) {
  const Type type = d.takeType();
  return unary(d, type,
               type == narrow ? &lanewise<Op, uint32_t, Narrow>
               : type == full ? &lanewise<Op, uint32_t, Full>
                              : nullptr,
               Type::U32);
}

static bool words32(Decoder &d, Handler handler, size_t sources) {
  d.take("b32");
  d.requireCount(sources + 1);
  d.results({Type::B32});
  for (size_t i = 1; i <= sources; ++i)
    d.sources(i, {Type::B32});
  return d.done(handler, Mix::Integer);
}

static bool minMax(Decoder &d, bool least) {
  if (d.take("relu")) {
    if (d.takeType() != Type::S32)
      d.refuseModifiers();
    return binary(d, Type::S32,
                  least ? &lanewise<MinimumRelu, int32_t, int32_t, int32_t>
                        : &lanewise<MaximumRelu, int32_t, int32_t, int32_t>,
                  Type::S32);
  }
  const Type type = d.takeType();
  return binary(d, type, least ? integerHandler<Minimum, 2>(type) : integerHandler<Maximum, 2>(type), type);
}

static bool bitField(Decoder &d) {
  const std::string_view root = d.root();
  if (root == "bfe")
    return extractField(d);
  if (root == "bfi")
    return insertField(d);
  if (root == "popc")
    return countBits<CountOnes, uint32_t, uint64_t>(d, Type::B32, Type::B64);
  if (root == "clz")
    return countBits<CountZeros, uint32_t, uint64_t>(d, Type::B32, Type::B64);
  if (root == "bfind") {
    if (d.mentions("s32") || d.mentions("s64"))
      return countBits<FindBit, int32_t, int64_t>(d, Type::S32, Type::S64);
    return countBits<FindBit, uint32_t, uint64_t>(d, Type::U32, Type::U64);
  }
  if (root == "brev") {
    const Type type = d.takeType();
    return unary(d, type,
                 type == Type::B32   ? &lanewise<Reverse, uint32_t, uint32_t>
                 : type == Type::B64 ? &lanewise<Reverse, uint64_t, uint64_t>
                                     : nullptr,
                 type);
  }
  if (root == "prmt")
    return words32(d, &lanewise<Permute, uint32_t, uint32_t, uint32_t, uint32_t>, 3);
  if (root == "lop3")
    return words32(d, &lanewise<Logic3, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t>, 4);
  if (root == "shf")
    return funnel(d);
  return false;
}

bool lathe::runtime::emulator::decodeInteger(Decoder &d) {
  const std::string_view root = d.root();
  if (d.mentionsFloat() || d.mentions("pred"))
    return false;
  if (root == "add" || root == "sub") {
    const Type type = d.takeType();
    return binary(d, type, root == "add" ? integerHandler<Add, 2>(type) : integerHandler<Subtract, 2>(type),
                  type);
  }
  if (root == "mul" || root == "mad")
    return multiply(d, root == "mad");
  if (root == "div" || root == "rem") {
    const Type type = d.takeType();
    return binary(d, type, root == "div" ? divisionHandler<Divide>(type) : divisionHandler<Remainder>(type),
                  type);
  }
  if (root == "abs" || root == "neg" || root == "not") {
    const Type type = d.takeType();
    return unary(d, type,
                 root == "abs"   ? integerHandler<Absolute, 1>(type)
                 : root == "neg" ? integerHandler<Negate, 1>(type)
                                 : integerHandler<Not, 1>(type),
                 type);
  }
  if (root == "min" || root == "max")
    return minMax(d, root == "min");
  if (root == "and" || root == "or" || root == "xor") {
    const Type type = d.takeType();
    return binary(d, type,
                  root == "and"  ? integerHandler<And, 2>(type)
                  : root == "or" ? integerHandler<Or, 2>(type)
                                 : integerHandler<Xor, 2>(type),
                  type);
  }
  if (root == "shl")
    return shift<ShiftLeft>(d);
  if (root == "shr")
    return shift<ShiftRight>(d);
  return bitField(d);
}
