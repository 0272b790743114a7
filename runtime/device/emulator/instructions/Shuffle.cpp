//===- Shuffle.cpp - What lanes tell each other ------------------------------------------------------===//
//
// shfl, vote, match, elect, redux, activemask. Values come from lanes of the same instruction; a lane that is
// not there has none, so what is read from it is not defined.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/Cluster.h"
#include "lathe/runtime/device/emulator/Decoder.h"

#include <algorithm>
#include <bit>

using namespace lathe::runtime::emulator;
using Kind = ptx::Operand::Kind;

/// The member mask, the same for all lanes, of which every living lane must be here.
static uint32_t members(Warp &w, const Value &mask, const char *instruction) {
  const uint32_t lanes = laneAt<uint32_t>(w.row(mask), std::countr_zero(w.mask));
  w.requireConverged(lanes, instruction);
  return lanes & w.mask;
}

//===- shfl ------------------------------------------------------------------------------------------===//

namespace {
enum class Direction : uint8_t { Up, Down, Butterfly, Index };
struct Reach {
  uint32_t lane = 0;
  bool inRange = false;
};
} // namespace

/// Source lane for a lane: PTX ISA, "shfl.sync", pseudo-code.
static Reach reach(Direction direction, uint32_t lane, uint32_t b, uint32_t c) {
  const uint32_t by = b & 31, clamp = c & 31, segment = c >> 8 & 31;
  const uint32_t last = (lane & segment) | (clamp & ~segment), first = lane & segment;
  switch (direction) {
  case Direction::Up:
    return {lane - by, int32_t(lane - by) >= int32_t(last)};
  case Direction::Down:
    return {lane + by, lane + by <= last};
  case Direction::Butterfly:
    return {lane ^ by, (lane ^ by) <= last};
  case Direction::Index:
    break;
  }
  const uint32_t from = first | (by & ~segment & 31);
  return {from, from <= last};
}

static void shuffle(Warp &w, const Instr &i) {
  const auto direction = static_cast<Direction>(i.detail);
  const uint32_t there = members(w, i.source(3), "shfl.sync");
  if (w.interrupted())
    return;
  uint32_t values[laneCount], lanes = 0, undefined = 0, origin = 0;
  const std::byte *source = w.row(i.source(0)), *b = w.row(i.source(1)), *c = w.row(i.source(2));
  for (int lane = 0; lane < laneCount; ++lane)
    values[lane] = laneAt<uint32_t>(source, lane);
  std::byte *result = w.row(i.result(0));
  overLanes(w.mask, [&](int lane) {
    const Reach from = reach(direction, uint32_t(lane), laneAt<uint32_t>(b, lane), laneAt<uint32_t>(c, lane));
    const uint32_t at = from.inRange ? from.lane & 31 : uint32_t(lane);
    lanes |= uint32_t(from.inRange) << lane;
    setLane<uint32_t>(result, lane, values[at]);
    if (!(there >> at & 1) || (w.undefined(i.source(0)) >> at & 1)) {
      undefined |= uint32_t(1) << lane;
      origin = w.origin(i.source(0));
    }
  });
  undefined |= w.undefined(i.source(1)) | w.undefined(i.source(2));
  w.setUndefined(i.result(0), undefined, origin);
  if (i.results > 1) {
    w.setPredicate(i.result(1), lanes);
    w.setUndefined(i.result(1), 0);
  }
}

static bool decodeShfl(Decoder &d) {
  if (!d.take("sync"))
    d.refuseModifiers();
  const int direction = d.takeOneOf({"up", "down", "bfly", "idx"});
  if (direction < 0 || !d.take("b32"))
    d.refuseModifiers();
  d.requireCount(5);
  if (d.operand(0).kind == Kind::Pair) {
    d.result(d.operand(0).parts[0], Type::B32);
    d.result(d.operand(0).parts[1], Type::Pred);
  } else {
    d.results({Type::B32});
  }
  d.sources(1, {Type::B32, Type::B32, Type::B32, Type::B32});
  d.out.detail = uint32_t(direction);
  return d.done(&shuffle, Mix::Shuffle);
}

//===- vote ------------------------------------------------------------------------------------------===//

namespace {
enum class Vote : uint8_t { All, Any, Uniform, Ballot };
} // namespace

static void vote(Warp &w, const Instr &i) {
  const auto kind = static_cast<Vote>(i.detail & 3);
  const uint32_t there = members(w, i.source(1), "vote.sync");
  if (w.interrupted())
    return;
  const uint32_t yes = (i.detail >> 2 ? ~w.predicate(i.source(0)) : w.predicate(i.source(0))) & there;
  const uint32_t undefined = (w.undefined(i.source(0)) & there) ? allLanes : 0;
  if (kind == Vote::Ballot) {
    std::byte *result = w.row(i.result());
    overLanes(w.mask, [&](int lane) { setLane<uint32_t>(result, lane, yes); });
  } else {
    const bool holds = kind == Vote::All   ? yes == there
                       : kind == Vote::Any ? yes != 0
                                           : yes == 0 || yes == there;
    w.setPredicate(i.result(), holds ? allLanes : 0);
  }
  w.setUndefined(i.result(), undefined, w.origin(i.source(0)));
}

static bool decodeVote(Decoder &d) {
  if (!d.take("sync"))
    d.refuseModifiers();
  const int kind = d.takeOneOf({"all", "any", "uni", "ballot"});
  if (kind < 0 || !(kind == 3 ? d.take("b32") : d.take("pred")))
    d.refuseModifiers();
  d.requireCount(3);
  d.results({kind == 3 ? Type::B32 : Type::Pred});
  ptx::Operand predicate = d.operand(1);
  d.out.detail = uint32_t(kind) | uint32_t(std::exchange(predicate.negated, false)) << 2;
  d.source(predicate, Type::Pred);
  d.sources(2, {Type::B32});
  return d.done(&vote, Mix::Shuffle);
}

//===- match -----------------------------------------------------------------------------------------===//

/// any: the members that have the lane's value; all: all of them where they have one value, else none.
template <class T, bool all>
static void match(Warp &w, const Instr &i) {
  const uint32_t there = members(w, i.source(1), "match.sync");
  if (w.interrupted())
    return;
  const Value &source = i.source(0);
  const std::byte *row = w.row(source);
  uint32_t same[laneCount] = {};
  bool one = true;
  overLanes(there, [&](int lane) {
    overLanes(there, [&](int other) {
      same[lane] |= uint32_t(laneAt<T>(row, lane) == laneAt<T>(row, other)) << other;
    });
    one = one && same[lane] == there;
  });
  std::byte *result = w.row(i.result(0));
  overLanes(w.mask, [&](int lane) { setLane<uint32_t>(result, lane, all ? (one ? there : 0) : same[lane]); });
  const uint32_t undefined = (w.undefined(source) & there) ? allLanes : 0;
  w.setUndefined(i.result(0), undefined, w.origin(source));
  if (i.results > 1) {
    w.setPredicate(i.result(1), one ? allLanes : 0);
    w.setUndefined(i.result(1), undefined, w.origin(source));
  }
}

static bool decodeMatch(Decoder &d) {
  const bool all = d.take("all");
  if ((!all && !d.take("any")) || !d.take("sync"))
    d.refuseModifiers();
  const Type type = d.takeType();
  d.requireCount(3);
  if (all && d.operand(0).kind == Kind::Pair) {
    d.result(d.operand(0).parts[0], Type::B32);
    d.result(d.operand(0).parts[1], Type::Pred);
  } else {
    d.results({Type::B32});
  }
  d.sources(1, {type, Type::B32});
  if (type == Type::B32)
    return d.done(all ? &match<uint32_t, true> : &match<uint32_t, false>, Mix::Shuffle);
  if (type == Type::B64)
    return d.done(all ? &match<uint64_t, true> : &match<uint64_t, false>, Mix::Shuffle);
  d.refuseModifiers();
}

//===- elect, activemask -----------------------------------------------------------------------------===//

static void elect(Warp &w, const Instr &i) {
  const uint32_t there = members(w, i.source(0), "elect.sync");
  if (w.interrupted())
    return;
  const auto leader = uint32_t(std::countr_zero(there ? there : w.mask));
  std::byte *result = w.row(i.result(0));
  overLanes(w.mask, [&](int lane) { setLane<uint32_t>(result, lane, leader); });
  w.setPredicate(i.result(1), uint32_t(1) << leader);
  w.define(i);
}

static bool decodeElect(Decoder &d) {
  if (!d.take("sync") || d.count() != 2 || d.operand(0).kind != Kind::Pair)
    d.refuseModifiers();
  d.result(d.operand(0).parts[0], Type::B32);
  d.result(d.operand(0).parts[1], Type::Pred);
  d.sources(1, {Type::B32});
  return d.done(&elect, Mix::Shuffle);
}

static void activeMask(Warp &w, const Instr &i) {
  std::byte *result = w.row(i.result());
  overLanes(w.mask, [&](int lane) { setLane<uint32_t>(result, lane, w.mask); });
  w.define(i);
}

//===- redux -----------------------------------------------------------------------------------------===//

template <class T>
static T combine(uint32_t how, T a, T b) {
  switch (how) {
  case 0:
    return T(uint32_t(a) + uint32_t(b));
  case 1:
    return std::min(a, b);
  case 2:
    return std::max(a, b);
  case 3:
    return a & b;
  case 4:
    return a | b;
  default:
    return a ^ b;
  }
}

template <class T>
static void reduce(Warp &w, const Instr &i) {
  uint32_t there = members(w, i.source(1), "redux.sync");
  if (w.interrupted())
    return;
  const std::byte *source = w.row(i.source(0));
  T total = laneAt<T>(source, std::countr_zero(there ? there : w.mask));
  for (uint32_t rest = there & (there - 1); rest; rest &= rest - 1)
    total = combine(i.detail, total, laneAt<T>(source, std::countr_zero(rest)));
  std::byte *result = w.row(i.result());
  overLanes(w.mask, [&](int lane) { setLane<T>(result, lane, total); });
  w.setUndefined(i.result(), (w.undefined(i.source(0)) & there) ? allLanes : 0, w.origin(i.source(0)));
}

static bool decodeRedux(Decoder &d) {
  if (!d.take("sync"))
    d.refuseModifiers();
  const int how = d.takeOneOf({"add", "min", "max", "and", "or", "xor"});
  const Type type = d.takeType();
  if (how < 0 || bitsOf(type) != 32 || isFloat(type))
    d.refuseModifiers();
  d.requireCount(3);
  d.results({type});
  d.sources(1, {type, Type::B32});
  d.out.detail = uint32_t(how);
  return d.done(type == Type::S32 ? &reduce<int32_t> : &reduce<uint32_t>, Mix::Shuffle);
}

bool lathe::runtime::emulator::decodeShuffle(Decoder &d) {
  const std::string_view root = d.root();
  if (root == "shfl")
    return decodeShfl(d);
  if (root == "vote")
    return decodeVote(d);
  if (root == "match")
    return decodeMatch(d);
  if (root == "elect")
    return decodeElect(d);
  if (root == "redux")
    return decodeRedux(d);
  if (root == "activemask") {
    d.take("b32");
    d.requireCount(1);
    d.results({Type::B32});
    return d.done(&activeMask, Mix::Shuffle);
  }
  return false;
}
