//===- Move.cpp - mov, cvta, isspacep, special registers ---------------------------------------------===//
//
// Values from one place to another: registers, constants, addresses of shared variables and parameters,
// vectors taken apart and put together, the special registers, and addresses between state spaces. Windows of
// the generic space are the emulator's own (Windows.h).
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/Cluster.h"
#include "lathe/runtime/device/emulator/Grid.h"
#include "lathe/runtime/device/emulator/Windows.h"
#include "lathe/runtime/device/emulator/instructions/Alu.h"

#include <chrono>
#include <map>

using namespace lathe;
using namespace lathe::runtime::emulator;
using Kind = ptx::Operand::Kind;

namespace {
struct Same {
  template <class T>
  T operator()(T a) const {
    return a;
  }
};
} // namespace

//===- Predicates ------------------------------------------------------------------------------------===//

static void movePredicate(Warp &w, const Instr &i) {
  w.setPredicate(i.result(), w.predicate(i.source(0)));
  w.define(i);
}
static void notPredicate(Warp &w, const Instr &i) {
  w.setPredicate(i.result(), ~w.predicate(i.source(0)));
  w.define(i);
}
static void combinePredicates(Warp &w, const Instr &i) {
  const uint32_t a = w.predicate(i.source(0)), b = w.predicate(i.source(1));
  w.setPredicate(i.result(), i.detail == 0 ? a & b : i.detail == 1 ? a | b : a ^ b);
  w.define(i);
}

static bool decodePredicates(Decoder &d) {
  const std::string_view root = d.root();
  if (root == "not" || root == "mov") {
    d.take("pred");
    d.requireCount(2);
    d.results({Type::Pred});
    d.sources(1, {Type::Pred});
    return d.done(root == "not" ? &notPredicate : &movePredicate, Mix::Compare);
  }
  if (root != "and" && root != "or" && root != "xor")
    return false;
  d.take("pred");
  d.requireCount(3);
  d.results({Type::Pred});
  d.sources(1, {Type::Pred, Type::Pred});
  d.out.detail = root == "and" ? 0 : root == "or" ? 1 : 2;
  return d.done(&combinePredicates, Mix::Compare);
}

//===- Special registers -----------------------------------------------------------------------------===//

namespace {
enum class Special : uint32_t {
  TidX,
  TidYZ,
  NtidX,
  NtidYZ,
  LaneId,
  CtaidX,
  CtaidY,
  CtaidZ,
  NctaidX,
  NctaidY,
  NctaidZ,
  ClusterCtaid,
  ClusterCtaidYZ,
  ClusterNctaid,
  ClusterNctaidYZ,
  ClusterIdX,
  LaneMaskEq,
  LaneMaskLt,
  LaneMaskLe,
  LaneMaskGt,
  LaneMaskGe,
  DynamicShared,
  Clock
};
} // namespace

static const std::map<std::string_view, Special> &specials() {
  using enum Special;
  static const std::map<std::string_view, Special> names{{"%tid.x", TidX},
                                                         {"%tid.y", TidYZ},
                                                         {"%tid.z", TidYZ},
                                                         {"%ntid.x", NtidX},
                                                         {"%ntid.y", NtidYZ},
                                                         {"%ntid.z", NtidYZ},
                                                         {"%laneid", LaneId},
                                                         {"%ctaid.x", CtaidX},
                                                         {"%ctaid.y", CtaidY},
                                                         {"%ctaid.z", CtaidZ},
                                                         {"%nctaid.x", NctaidX},
                                                         {"%nctaid.y", NctaidY},
                                                         {"%nctaid.z", NctaidZ},
                                                         {"%cluster_ctaid.x", ClusterCtaid},
                                                         {"%cluster_ctaid.y", ClusterCtaidYZ},
                                                         {"%cluster_ctaid.z", ClusterCtaidYZ},
                                                         {"%cluster_ctarank", ClusterCtaid},
                                                         {"%cluster_nctaid.x", ClusterNctaid},
                                                         {"%cluster_nctaid.y", ClusterNctaidYZ},
                                                         {"%cluster_nctaid.z", ClusterNctaidYZ},
                                                         {"%cluster_nctarank", ClusterNctaid},
                                                         {"%clusterid.x", ClusterIdX},
                                                         {"%lanemask_eq", LaneMaskEq},
                                                         {"%lanemask_lt", LaneMaskLt},
                                                         {"%lanemask_le", LaneMaskLe},
                                                         {"%lanemask_gt", LaneMaskGt},
                                                         {"%lanemask_ge", LaneMaskGe},
                                                         {"%dynamic_smem_size", DynamicShared},
                                                         {"%clock", Clock},
                                                         {"%clock64", Clock},
                                                         {"%globaltimer", Clock}};
  return names;
}

static uint64_t specialValue(const Warp &w, Special which, uint32_t lane) {
  const Grid &grid = w.cluster().grid();
  const runtime::LaunchShape &shape = grid.launch().shape;
  const Cta &cta = w.cta;
  const uint32_t bit = uint32_t(1) << lane;
  switch (which) {
  case Special::TidX:
    return w.index * laneCount + lane;
  case Special::TidYZ:
  case Special::ClusterCtaidYZ:
    return 0;
  case Special::NtidX:
    return shape.threads;
  case Special::NtidYZ:
  case Special::ClusterNctaidYZ:
    return 1;
  case Special::LaneId:
    return lane;
  case Special::CtaidX:
    return cta.x;
  case Special::CtaidY:
    return cta.y;
  case Special::CtaidZ:
    return cta.z;
  case Special::NctaidX:
    return shape.gridX;
  case Special::NctaidY:
    return shape.gridY;
  case Special::NctaidZ:
    return shape.gridZ;
  case Special::ClusterCtaid:
    return cta.rank;
  case Special::ClusterNctaid:
    return grid.clusterSize();
  case Special::ClusterIdX:
    return cta.x / grid.clusterSize();
  case Special::LaneMaskEq:
    return bit;
  case Special::LaneMaskLt:
    return bit - 1;
  case Special::LaneMaskLe:
    return bit | (bit - 1);
  case Special::LaneMaskGt:
    return uint32_t(~(bit | (bit - 1)));
  case Special::LaneMaskGe:
    return uint32_t(~(bit - 1));
  case Special::DynamicShared:
    return shape.sharedBytes;
  case Special::Clock:
    return uint64_t(std::chrono::steady_clock::now().time_since_epoch().count());
  }
  return 0;
}

template <class T>
static void readSpecial(Warp &w, const Instr &i) {
  std::byte *result = w.row(i.result());
  overLanes(w.mask, [&](int lane) {
    setLane<T>(result, lane, T(specialValue(w, static_cast<Special>(i.detail), uint32_t(lane))));
  });
  w.define(i);
}

static bool decodeSpecial(Decoder &d, Type type) {
  auto found = specials().find(d.operand(1).text);
  if (found == specials().end())
    d.refuse("a special register must be one that the emulator has", std::string(d.operand(1).text));
  d.results({type});
  d.out.detail = uint32_t(found->second);
  return d.done(bitsOf(type) == 64 ? &readSpecial<uint64_t> : &readSpecial<uint32_t>, Mix::Move);
}

//===- Addresses -------------------------------------------------------------------------------------===//

/// The address of shared memory in this CTA's window.
template <class T>
static void sharedAddress(Warp &w, const Instr &i) {
  std::byte *result = w.row(i.result());
  const T address = T(sharedWindowAddress(w.cta.rank, uint32_t(i.offset)));
  overLanes(w.mask, [&](int lane) { setLane<T>(result, lane, address); });
  w.define(i);
}

template <class T>
static void offsetAddress(Warp &w, const Instr &i) {
  std::byte *result = w.row(i.result());
  overLanes(w.mask, [&](int lane) { setLane<T>(result, lane, T(i.offset)); });
  w.define(i);
}

static bool decodeSymbol(Decoder &d, Type type) {
  const ptx::Operand &symbol = d.operand(1);
  const bool wide = bitsOf(type) == 64;
  d.results({type});
  if (auto shared = d.sharedOffset(symbol.text)) {
    d.out.offset = int64_t(*shared) + symbol.offset;
    return d.done(wide ? &sharedAddress<uint64_t> : &sharedAddress<uint32_t>, Mix::Move);
  }
  if (auto parameter = d.parameterOffset(symbol.text)) {
    d.out.offset = int64_t(*parameter) + symbol.offset;
    return d.done(wide ? &offsetAddress<uint64_t> : &offsetAddress<uint32_t>, Mix::Move);
  }
  d.refuse("a name must be a shared variable's or a parameter's", std::string(symbol.text));
}

/// cvta: adds or takes off the start of a window; global addresses are generic ones.
static void convertAddress(Warp &w, const Instr &i) {
  const auto start = uint64_t(i.offset);
  std::byte *result = w.row(i.result());
  const std::byte *source = w.row(i.source(0));
  overLanes(w.mask,
            [&](int lane) { setLane<uint64_t>(result, lane, laneAt<uint64_t>(source, lane) + start); });
  w.define(i);
}

static bool decodeCvta(Decoder &d) {
  const bool to = d.take("to");
  const int space = d.takeOneOf({"global", "shared", "shared::cta", "shared::cluster", "param", "const"});
  if (!d.take("u64") || space < 0 || space > 4)
    d.refuseModifiers();
  d.requireCount(2);
  d.results({Type::U64});
  if (d.operand(1).kind == Kind::Symbol)
    d.refuse("cvta must be from a register", std::string(d.operand(1).text));
  d.sources(1, {Type::U64});
  const uint64_t start = space == 0 ? 0 : space == 4 ? parameterWindow : sharedWindow;
  d.out.offset = int64_t(to ? 0 - start : start);
  return d.done(&convertAddress, Mix::Integer);
}

/// isspacep: detail is the space.
static void inSpace(Warp &w, const Instr &i) {
  const uint64_t offset = uint64_t(i.offset);
  uint32_t lanes = 0;
  overLanes(w.mask, [&](int lane) {
    const uint64_t address = i.source(0).kind == ptx::RegisterClass::Bits64
                                 ? laneAt<uint64_t>(w.row(i.source(0)), lane)
                                 : laneAt<uint32_t>(w.row(i.source(0)), lane);
    const uint64_t at = address + offset;
    const bool shared = at >= sharedWindow && at - sharedWindow < windowBytes;
    const bool parameter = at >= parameterWindow && at - parameterWindow < windowBytes;
    const bool holds = i.detail == 0   ? !shared && !parameter
                       : i.detail == 1 ? shared && rankOf(uint32_t(at - sharedWindow)) == w.cta.rank
                       : i.detail == 2 ? shared
                       : i.detail == 3 ? parameter
                                       : false;
    lanes |= uint32_t(holds) << lane;
  });
  w.setPredicate(i.result(), lanes);
  w.define(i);
}

static bool decodeSpaceTest(Decoder &d) {
  const int space = d.takeOneOf(
      {"global", "shared", "shared::cta", "shared::cluster", "param", "param::entry", "const", "local"});
  static constexpr uint32_t details[] = {0, 1, 1, 2, 3, 3, 4, 4};
  if (space < 0)
    d.refuseModifiers();
  d.requireCount(2);
  d.results({Type::Pred});
  d.sourceWide(d.operand(1));
  d.out.detail = details[space];
  return d.done(&inSpace, Mix::Compare);
}

//===- mov -------------------------------------------------------------------------------------------===//

/// mov.b64 d, {a, b}: two halves of 32 bits; mov.b32 d, {a, b}: two of 16.
template <class Whole, class Half>
static void join(Warp &w, const Instr &i) {
  std::byte *result = w.row(i.result());
  const std::byte *low = w.row(i.source(0)), *high = w.row(i.source(1));
  overLanes(w.mask, [&](int lane) {
    setLane<Whole>(result, lane,
                   Whole(Whole(laneAt<Half>(high, lane)) << (8 * sizeof(Half)) | laneAt<Half>(low, lane)));
  });
  w.define(i);
}

template <class Whole, class Half>
static void divide(Warp &w, const Instr &i) {
  std::byte *low = w.row(i.result(0)), *high = w.row(i.result(1));
  const std::byte *source = w.row(i.source(0));
  overLanes(w.mask, [&](int lane) {
    const Whole value = laneAt<Whole>(source, lane);
    setLane<Half>(low, lane, Half(value));
    setLane<Half>(high, lane, Half(value >> (8 * sizeof(Half))));
  });
  w.define(i);
}

/// mov.b64 d, {a, b, c, d} of 16 bits.
static void joinFour(Warp &w, const Instr &i) {
  std::byte *result = w.row(i.result());
  overLanes(w.mask, [&](int lane) {
    uint64_t value = 0;
    for (int part = 0; part < 4; ++part)
      value |= uint64_t(laneAt<uint16_t>(w.row(i.source(part)), lane)) << (16 * part);
    setLane<uint64_t>(result, lane, value);
  });
  w.define(i);
}

static void divideFour(Warp &w, const Instr &i) {
  uint64_t values[laneCount];
  const std::byte *source = w.row(i.source(0));
  overLanes(w.mask, [&](int lane) { values[lane] = laneAt<uint64_t>(source, lane); });
  for (int part = 0; part < 4; ++part) {
    std::byte *result = w.row(i.result(part));
    overLanes(w.mask,
              [&](int lane) { setLane<uint16_t>(result, lane, uint16_t(values[lane] >> (16 * part))); });
  }
  w.define(i);
}

static bool decodeVectorMove(Decoder &d, Type type) {
  const bool joins = d.operand(1).kind == Kind::Vector;
  const ptx::Operand &vector = d.operand(joins ? 1 : 0);
  const size_t parts = vector.parts.size();
  const int bits = bitsOf(type);
  if ((bits != 32 && bits != 64) || (parts != 2 && !(parts == 4 && bits == 64)))
    d.refuseModifiers();
  const Type half = bits / int(parts) == 32 ? Type::B32 : Type::B16;
  if (joins) {
    d.result(d.operand(0), type);
    for (const ptx::Operand &part : vector.parts)
      d.source(part, half);
  } else {
    for (const ptx::Operand &part : vector.parts)
      d.result(part, half);
    d.source(d.operand(1), type);
  }
  Handler handler = joins ? &joinFour : &divideFour;
  if (parts == 2)
    handler = bits == 64 ? (joins ? &join<uint64_t, uint32_t> : &divide<uint64_t, uint32_t>)
                         : (joins ? &join<uint32_t, uint16_t> : &divide<uint32_t, uint16_t>);
  return d.done(handler, Mix::Move);
}

static bool decodeMov(Decoder &d) {
  const Type type = d.takeType();
  d.requireCount(2);
  if (d.operand(0).kind == Kind::Vector || d.operand(1).kind == Kind::Vector)
    return decodeVectorMove(d, type);
  if (d.operand(1).kind == Kind::Special)
    return decodeSpecial(d, type);
  if (d.operand(1).kind == Kind::Symbol)
    return decodeSymbol(d, type);
  d.results({type});
  d.sources(1, {type});
  const int bits = bitsOf(type);
  return d.done(bits == 64   ? &lanewise<Same, uint64_t, uint64_t>
                : bits == 32 ? &lanewise<Same, uint32_t, uint32_t>
                : bits == 16 ? &lanewise<Same, uint16_t, uint16_t>
                             : nullptr,
                Mix::Move);
}

bool lathe::runtime::emulator::decodeMove(Decoder &d) {
  if (d.mentions("pred") && decodePredicates(d))
    return true;
  if (d.root() == "mov")
    return decodeMov(d);
  if (d.root() == "cvta")
    return decodeCvta(d);
  if (d.root() == "isspacep")
    return decodeSpaceTest(d);
  return false;
}
