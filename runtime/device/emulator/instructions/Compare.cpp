//===- Compare.cpp - setp and selp -------------------------------------------------------------------===//
//
// Comparisons of integers and floats into predicates, alone or combined with another predicate, and the
// selection between two values by one. A selected value is only as undefined as the one that was taken.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/Warp.h"
#include "lathe/runtime/device/emulator/instructions/Alu.h"
#include "lathe/runtime/device/emulator/instructions/Float.h"

#include <array>
#include <cmath>
#include <utility>

using namespace lathe::runtime::emulator;
using Kind = ptx::Operand::Kind;

namespace {
enum class Relation : uint8_t { Eq, Ne, Lt, Le, Gt, Ge, Num, Nan };
enum class Combine : uint8_t { None, And, Or, Xor };

/// Detail of a setp: how to compare, what a NaN gives, how to combine.
struct SetpDetail {
  Relation relation = Relation::Eq;
  bool unordered = false; ///< True when either is a NaN.
  Combine combine = Combine::None;
  bool negated = false; ///< The combined predicate.
  bool flush = false;   ///< Subnormal numbers are zeros.
  uint32_t pack() const {
    return uint32_t(relation) | uint32_t(unordered) << 4 | uint32_t(combine) << 8 | uint32_t(negated) << 12 |
           uint32_t(flush) << 13;
  }
  static SetpDetail unpack(uint32_t bits) {
    return {static_cast<Relation>(bits & 15), (bits >> 4 & 1) != 0, static_cast<Combine>(bits >> 8 & 15),
            (bits >> 12 & 1) != 0, (bits >> 13 & 1) != 0};
  }
};
} // namespace

/// Of an integer: never.
template <class T>
static bool isNan(T value) {
  if constexpr (std::is_floating_point_v<T>)
    return std::isnan(value);
  return false;
}

template <class T>
static bool compare(Relation relation, T a, T b) {
  switch (relation) {
  case Relation::Eq:
    return a == b;
  case Relation::Ne:
    return a != b && !isNan(a) && !isNan(b);
  case Relation::Lt:
    return a < b;
  case Relation::Le:
    return a <= b;
  case Relation::Gt:
    return a > b;
  case Relation::Ge:
    return a >= b;
  case Relation::Num:
    return !isNan(a) && !isNan(b);
  case Relation::Nan:
    return isNan(a) || isNan(b);
  }
  return false;
}

template <class T, class Bits = T>
static void setp(Warp &w, const Instr &i) {
  const SetpDetail detail = SetpDetail::unpack(i.detail);
  const std::byte *a = w.row(i.source(0)), *b = w.row(i.source(1));
  uint32_t lanes = 0;
  overLanes(w.mask, [&](int lane) {
    T x, y;
    if constexpr (std::is_same_v<T, Bits>) {
      x = laneAt<T>(a, lane), y = laneAt<T>(b, lane);
      if constexpr (std::is_same_v<T, float>)
        if (detail.flush)
          x = flushed(x), y = flushed(y);
    } else { // A 16-bit float.
      x = Bits::from(laneAt<uint16_t>(a, lane)), y = Bits::from(laneAt<uint16_t>(b, lane));
    }
    const bool unordered = isNan(x) || isNan(y);
    lanes |= uint32_t(unordered && detail.unordered ? true : compare(detail.relation, x, y)) << lane;
  });
  uint32_t inverse = ~lanes;
  if (detail.combine != Combine::None) {
    const uint32_t other = detail.negated ? ~w.predicate(i.source(2)) : w.predicate(i.source(2));
    auto with = [&](uint32_t mine) {
      return detail.combine == Combine::And  ? mine & other
             : detail.combine == Combine::Or ? mine | other
                                             : mine ^ other;
    };
    lanes = with(lanes);
    inverse = with(inverse);
  }
  w.setPredicate(i.result(0), lanes);
  if (i.results > 1)
    w.setPredicate(i.result(1), inverse);
  w.define(i);
}

namespace {
struct Bf16Bits {
  static float from(uint16_t bits) { return fromBf16(bits); }
};
struct F16Bits {
  static float from(uint16_t bits) { return fromF16(bits); }
};
} // namespace

static Handler setpHandler(Type type) {
  switch (type) {
  case Type::U16:
  case Type::B16:
    return &setp<uint16_t>;
  case Type::S16:
    return &setp<int16_t>;
  case Type::U32:
  case Type::B32:
    return &setp<uint32_t>;
  case Type::S32:
    return &setp<int32_t>;
  case Type::U64:
  case Type::B64:
    return &setp<uint64_t>;
  case Type::S64:
    return &setp<int64_t>;
  case Type::F32:
    return &setp<float>;
  case Type::F64:
    return &setp<double>;
  case Type::BF16:
    return &setp<float, Bf16Bits>;
  case Type::F16:
    return &setp<float, F16Bits>;
  default:
    return nullptr;
  }
}

static SetpDetail takeRelation(Decoder &d) {
  struct Name {
    std::string_view name;
    Relation relation;
    bool unordered;
  };
  static constexpr Name names[] = {
      {"eq", Relation::Eq, false}, {"ne", Relation::Ne, false},   {"lt", Relation::Lt, false},
      {"le", Relation::Le, false}, {"gt", Relation::Gt, false},   {"ge", Relation::Ge, false},
      {"lo", Relation::Lt, false}, {"ls", Relation::Le, false},   {"hi", Relation::Gt, false},
      {"hs", Relation::Ge, false}, {"equ", Relation::Eq, true},   {"neu", Relation::Ne, true},
      {"ltu", Relation::Lt, true}, {"leu", Relation::Le, true},   {"gtu", Relation::Gt, true},
      {"geu", Relation::Ge, true}, {"num", Relation::Num, false}, {"nan", Relation::Nan, false}};
  for (const Name &entry : names)
    if (d.take(entry.name))
      return {entry.relation, entry.unordered, Combine::None, false, false};
  d.refuseModifiers();
}

static bool decodeSetp(Decoder &d) {
  SetpDetail detail = takeRelation(d);
  if (const int combine = d.takeOneOf({"and", "or", "xor"}); combine >= 0)
    detail.combine = static_cast<Combine>(combine + 1);
  detail.flush = d.take("ftz");
  const Type type = d.takeType();
  if (detail.flush && type != Type::F32)
    d.refuseModifiers();
  const bool combined = detail.combine != Combine::None;
  d.requireCount(combined ? 4 : 3);
  if (d.operand(0).kind == Kind::Pair)
    for (const ptx::Operand &part : d.operand(0).parts)
      d.result(part, Type::Pred);
  else
    d.results({Type::Pred});
  d.sources(1, {type, type});
  if (combined) {
    ptx::Operand other = d.operand(3);
    detail.negated = std::exchange(other.negated, false);
    d.source(other, Type::Pred);
  }
  d.out.detail = detail.pack();
  return d.done(setpHandler(type), Mix::Compare);
}

template <class T>
static void selp(Warp &w, const Instr &i) {
  std::byte *result = w.row(i.result());
  const std::byte *a = w.row(i.source(0)), *b = w.row(i.source(1));
  const uint32_t choice = w.predicate(i.source(2));
  overLanes(w.mask, [&](int lane) {
    const T x = laneAt<T>(a, lane), y = laneAt<T>(b, lane);
    setLane<T>(result, lane, choice >> lane & 1 ? x : y);
  });
  const uint32_t fromA = w.undefined(i.source(0)) & choice, fromB = w.undefined(i.source(1)) & ~choice,
                 fromChoice = w.undefined(i.source(2));
  if (const uint32_t lanes = fromA | fromB | fromChoice; lanes & w.mask) [[unlikely]]
    w.setUndefined(i.result(), lanes, w.origin(i.source(fromChoice & w.mask ? 2 : fromA & w.mask ? 0 : 1)));
  else
    w.setUndefined(i.result(), 0);
}

static bool decodeSelp(Decoder &d) {
  const Type type = d.takeType();
  d.requireCount(4);
  d.results({type});
  d.sources(1, {type, type});
  d.sources(3, {Type::Pred});
  const int bits = bitsOf(type);
  return d.done(bits == 64   ? &selp<uint64_t>
                : bits == 32 ? &selp<uint32_t>
                : bits == 16 ? &selp<uint16_t>
                             : nullptr,
                Mix::Compare);
}

bool lathe::runtime::emulator::decodeCompare(Decoder &d) {
  if (d.root() == "setp")
    return decodeSetp(d);
  if (d.root() == "selp")
    return decodeSelp(d);
  return false;
}
