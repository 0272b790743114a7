//===- Memory.cpp - ld and st ------------------------------------------------------------------------===//
//
// Ordinary loads and stores of all spaces, alone and as vectors. Cache hints mean nothing here; orders
// (.acquire, .release, .relaxed, .volatile) make an access strong and carry clocks through shared memory.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/Grid.h"
#include "lathe/runtime/device/emulator/MemoryAccess.h"
#include "lathe/runtime/device/emulator/Mixed.h"
#include "lathe/runtime/device/emulator/instructions/Alu.h"

#include <atomic>
#include <fmt/format.h>

using namespace lathe::runtime::emulator;
using Kind = ptx::Operand::Kind;

namespace {

enum class Semantics : uint8_t { Weak, Relaxed, Acquire, Release };

/// Detail of a load or store.
struct MemoryDetail {
  Space space = Space::Global;
  Semantics semantics = Semantics::Weak;
  uint8_t elementBytes = 4, vector = 1;
  bool isSigned = false; ///< Loads narrower than their register fill with the sign.
  bool ownBase = false;  ///< The address is a name of shared memory.
  bool wide = true;      ///< The scope of an order: the GPU or more.

  uint32_t pack() const {
    return uint32_t(space) | uint32_t(semantics) << 4 | uint32_t(elementBytes) << 8 | uint32_t(vector) << 16 |
           uint32_t(isSigned) << 24 | uint32_t(ownBase) << 25 | uint32_t(wide) << 26;
  }
  static MemoryDetail unpack(uint32_t bits) {
    return {static_cast<Space>(bits & 15),
            static_cast<Semantics>(bits >> 4 & 15),
            uint8_t(bits >> 8),
            uint8_t(bits >> 16 & 0xff),
            (bits >> 24 & 1) != 0,
            (bits >> 25 & 1) != 0,
            (bits >> 26 & 1) != 0};
  }
  uint32_t bytes() const { return uint32_t(elementBytes) * vector; }
};

} // namespace

//===- Elements and registers ------------------------------------------------------------------------===//

static void setRegister(Warp &w, const Value &result, int lane, uint64_t bits, const MemoryDetail &detail) {
  if (detail.isSigned && detail.elementBytes < 8) {
    const unsigned unused = 64 - 8 * detail.elementBytes;
    bits = uint64_t(int64_t(bits << unused) >> unused);
  }
  if (result.kind == ptx::RegisterClass::Bits64)
    setLane<uint64_t>(w.row(result), lane, bits);
  else
    setLane<uint32_t>(w.row(result), lane,
                      result.kind == ptx::RegisterClass::Bits16 ? uint16_t(bits) : uint32_t(bits));
}

static uint64_t getRegister(const Warp &w, const Value &source, int lane) {
  return source.kind == ptx::RegisterClass::Bits64 ? laneAt<uint64_t>(w.row(source), lane)
                                                   : laneAt<uint32_t>(w.row(source), lane);
}

/// Moves one element; strong accesses are atomic for the host's threads too.
static uint64_t readElement(const std::byte *from, uint32_t bytes, bool strong) {
  uint64_t bits = 0;
  if (strong && bytes == 4)
    return std::atomic_ref(*reinterpret_cast<uint32_t *>(const_cast<std::byte *>(from))).load();
  if (strong && bytes == 8)
    return std::atomic_ref(*reinterpret_cast<uint64_t *>(const_cast<std::byte *>(from))).load();
  std::memcpy(&bits, from, bytes);
  return bits;
}

/// Gives whether the bytes are others now.
static bool writeElement(std::byte *to, uint64_t bits, uint32_t bytes, bool strong) {
  const bool changes = std::memcmp(to, &bits, bytes) != 0;
  if (strong && bytes == 4)
    std::atomic_ref(*reinterpret_cast<uint32_t *>(to)).store(uint32_t(bits));
  else if (strong && bytes == 8)
    std::atomic_ref(*reinterpret_cast<uint64_t *>(to)).store(bits);
  else
    std::memcpy(to, &bits, bytes);
  return changes;
}

//===- Loads -----------------------------------------------------------------------------------------===//

static void countAccess(Warp &w, const LaneAddresses &addresses, const MemoryDetail &detail,
                        const uint32_t *offsets, uint32_t shared, bool write) {
  Counters &counters = w.counters();
  const uint64_t bytes = detail.bytes();
  if (shared) {
    (write ? counters.sharedStoreBytes : counters.sharedLoadBytes) += bytes * uint64_t(std::popcount(shared));
    countBanks(w, offsets, shared, uint32_t(bytes));
  }
  if (const uint32_t global = addresses.mask & ~shared) {
    LaneAddresses rest = addresses;
    rest.mask = global;
    (write ? counters.globalStoreBytes : counters.globalLoadBytes) += bytes * uint64_t(std::popcount(global));
    (write ? counters.globalStoreSectors : counters.globalLoadSectors) += countSectors(rest, uint32_t(bytes));
  }
}

/// What a load with an order has seen: who sees the same again waits for somebody.
static void pollLoaded(Warp &w, const Instr &i, const MemoryDetail &detail, const LaneAddresses &addresses,
                       uint32_t shared) {
  if (addresses.mask == 0)
    return;
  const int first = std::countr_zero(addresses.mask);
  Warp::Poll poll;
  poll.what = shared >> first & 1 ? Warp::Poll::What::Shared : Warp::Poll::What::Global;
  poll.address = poll.what == Warp::Poll::What::Shared ? uint32_t(addresses.at[first]) : addresses.at[first];
  poll.value = getRegister(w, i.result(0), first);
  poll.seen = addresses.mask;
  overLanes(addresses.mask, [&](int lane) {
    poll.seen = mixed(poll.seen, addresses.at[lane]);
    for (int k = 0; k < detail.vector; ++k)
      poll.seen = mixed(poll.seen, getRegister(w, i.result(k), lane));
  });
  w.poll(poll);
}

static void load(Warp &w, const Instr &i) {
  if (i.hinted) [[unlikely]]
    checkPolicy(w, i);
  const MemoryDetail detail = MemoryDetail::unpack(i.detail);
  const bool strong = detail.semantics != Semantics::Weak;
  const LaneAddresses addresses = laneAddresses(w, i, detail.ownBase ? -1 : 0);
  uint32_t offsets[laneCount] = {}, shared = 0, undefined = 0, origin = 0;
  overLanes(addresses.mask, [&](int lane) {
    const Place place =
        access(w, detail.space, addresses.at[lane], detail.bytes(), {false, strong, true, detail.wide}, lane);
    for (int k = 0; k < detail.vector; ++k)
      setRegister(
          w, i.result(k), lane,
          place ? readElement(place.bytes + size_t(k) * detail.elementBytes, detail.elementBytes, strong) : 0,
          detail);
    if (!place)
      return;
    if (place.cta) {
      offsets[lane] = place.offset;
      shared |= uint32_t(1) << lane;
      if (detail.semantics == Semantics::Acquire)
        w.clock.join(place.cta->shared.released(place.offset));
    } else if (strong) {
      acquireGlobal(w, addresses.at[lane], detail.wide, detail.semantics == Semantics::Acquire);
    }
    if (place.undefined) {
      undefined |= uint32_t(1) << lane;
      origin = place.origin;
    }
  });
  for (int k = 0; k < detail.vector; ++k)
    w.setUndefined(i.result(k), undefined, origin);
  countAccess(w, addresses, detail, offsets, shared, false);
  if (strong) [[unlikely]]
    pollLoaded(w, i, detail, addresses, shared);
}

static void loadParameter(Warp &w, const Instr &i) {
  const MemoryDetail detail = MemoryDetail::unpack(i.detail);
  const std::byte *from = w.cluster().grid().launch().parameters.data() + i.offset;
  for (int k = 0; k < detail.vector; ++k) {
    const uint64_t bits = readElement(from + size_t(k) * detail.elementBytes, detail.elementBytes, false);
    overLanes(w.mask, [&](int lane) { setRegister(w, i.result(k), lane, bits, detail); });
    w.setUndefined(i.result(k), 0);
  }
}

//===- Stores ----------------------------------------------------------------------------------------===//

/// Lanes of one store that write different values to the same bytes: which one stays is not defined.
static void checkSameAddress(Warp &w, const Instr &i, const MemoryDetail &detail, const uint32_t *offsets,
                             uint32_t lanes) {
  uint64_t seen = 0;
  bool again = false;
  overLanes(lanes, [&](int lane) {
    const uint64_t mark = uint64_t(1) << (offsets[lane] / detail.bytes() % 64);
    again = again || (seen & mark);
    seen |= mark;
  });
  if (!again)
    return;
  const int first = detail.ownBase ? 0 : 1;
  for (int a = 0; a < laneCount; ++a)
    for (int b = a + 1; b < laneCount; ++b)
      if ((lanes >> a & 1) && (lanes >> b & 1) && offsets[a] == offsets[b])
        for (int k = 0; k < detail.vector; ++k)
          if (getRegister(w, i.source(first + k), a) != getRegister(w, i.source(first + k), b))
            return w.report(
                FindingKind::DataRace, uint32_t(1) << a,
                fmt::format("lanes {} and {} of the same store write different values to the same bytes", a,
                            b),
                "let one lane write", w.cluster().nameShared(w.cta, offsets[a]));
}

/// Gives whether the bytes are others now.
static bool storeLane(Warp &w, const Instr &i, const MemoryDetail &detail, AccessMode mode,
                      const Place &place, int lane) {
  if (mode.strong && place.buffer) // Before the value can be seen.
    releaseGlobal(w, place.address, detail.wide, detail.semantics == Semantics::Release);
  const int first = detail.ownBase ? 0 : 1;
  bool changes = false;
  for (int k = 0; k < detail.vector; ++k)
    changes |= writeElement(place.bytes + size_t(k) * detail.elementBytes,
                            getRegister(w, i.source(first + k), lane), detail.elementBytes, mode.strong);
  if (place.buffer)
    orderGlobal(w, *place.buffer, place.address, detail.bytes(), globalAccess(w, mode, changes), lane);
  return changes;
}

static void store(Warp &w, const Instr &i) {
  if (i.hinted) [[unlikely]]
    checkPolicy(w, i);
  const MemoryDetail detail = MemoryDetail::unpack(i.detail);
  const bool strong = detail.semantics != Semantics::Weak;
  const LaneAddresses addresses = laneAddresses(w, i, detail.ownBase ? -1 : 0);
  const int first = detail.ownBase ? 0 : 1;
  uint32_t undefined = 0, origin = 0;
  for (int k = 0; k < detail.vector; ++k)
    if (const uint32_t lanes = w.undefined(i.source(first + k)) & addresses.mask) {
      undefined |= lanes;
      origin = w.origin(i.source(first + k));
    }
  uint32_t offsets[laneCount] = {}, shared = 0;
  bool changes = false;
  overLanes(addresses.mask, [&](int lane) {
    const AccessMode mode{true, strong, false, detail.wide};
    const Place place = access(w, detail.space, addresses.at[lane], detail.bytes(), mode, lane);
    if (!place)
      return;
    changes |= storeLane(w, i, detail, mode, place, lane);
    const uint32_t bit = uint32_t(1) << lane;
    if (place.cta) {
      offsets[lane] = place.offset;
      shared |= bit;
      if (undefined & bit)
        place.cta->shared.undefine(place.offset, detail.bytes(), origin);
      if (detail.semantics == Semantics::Release)
        place.cta->shared.released(place.offset).join(w.clock);
    }
  });
  if (detail.semantics == Semantics::Release)
    w.advance();
  if (const uint32_t lanes = undefined & ~shared)
    w.cluster().reportUndefined(w, lanes, origin, "is written to global memory");
  if (shared)
    checkSameAddress(w, i, detail, offsets, shared);
  if (changes) // Or else a loop that writes the same again would look like one that gets somewhere.
    w.cluster().progress();
  countAccess(w, addresses, detail, offsets, shared, true);
}

//===- Decoding --------------------------------------------------------------------------------------===//

static Space takeSpace(Decoder &d) {
  switch (d.takeOneOf({"global", "shared", "shared::cta", "shared::cluster", "param"})) {
  case 0:
    return Space::Global;
  case 1:
  case 2:
    return Space::Shared;
  case 3:
    return Space::SharedCluster;
  case 4:
    return Space::Parameter;
  default:
    return Space::Generic;
  }
}

static Semantics takeSemantics(Decoder &d, bool &wide) {
  const int order = d.takeOneOf({"weak", "relaxed", "acquire", "release", "volatile"});
  const int scope = d.takeOneOf({"cta", "cluster", "gpu", "sys"});
  wide = scope != 0 && scope != 1;
  switch (order) {
  case 1:
  case 4:
    return Semantics::Relaxed;
  case 2:
    return Semantics::Acquire;
  case 3:
    return Semantics::Release;
  default:
    return Semantics::Weak;
  }
}

static void takeHints(Decoder &d) {
  d.takeAny({"ca", "cg", "cs", "lu", "cv", "wb", "wt", "nc", "L1::evict_normal", "L1::evict_unchanged",
             "L1::evict_first", "L1::evict_last", "L1::no_allocate", "L2::64B", "L2::128B", "L2::256B",
             "L2::evict_first", "L2::evict_last", "L2::evict_normal"});
}

/// A register of at least the element's width.
static Type registerType(Decoder &d, const ptx::Operand &operand, Type element) {
  if (operand.kind != Kind::Register)
    return bitsOf(element) < 16 ? Type::B16 : element;
  switch (d.kernel().registers[operand.reg].kind) {
  case ptx::RegisterClass::Bits16:
    return bitsOf(element) <= 16 ? Type::B16 : element;
  case ptx::RegisterClass::Bits32:
    return bitsOf(element) <= 32 ? Type::B32 : element;
  case ptx::RegisterClass::Bits64:
    return Type::B64;
  default:
    return element;
  }
}

static std::vector<ptx::Operand> elementsOf(Decoder &d, const ptx::Operand &operand, int vector) {
  if (vector == 1)
    return {operand};
  if (operand.kind != Kind::Vector || operand.parts.size() != size_t(vector))
    d.refuse(fmt::format("{} must move {} elements", d.in().opcode, vector), "another number");
  return operand.parts;
}

static bool decodeParameterLoad(Decoder &d, MemoryDetail detail, const std::vector<ptx::Operand> &elements,
                                Type type) {
  const ptx::Operand &address = d.operand(1);
  if (address.kind != Kind::Address || address.parts[0].kind != Kind::Symbol)
    d.refuse("a parameter must be named", "an address in a register");
  const ptx::Operand &symbol = address.parts[0];
  auto offset = d.parameterOffset(symbol.text);
  if (!offset)
    d.refuse("a parameter must exist", std::string(symbol.text));
  d.out.offset = int64_t(*offset) + symbol.offset;
  if (d.out.offset < 0 || d.out.offset + detail.bytes() > d.kernel().parameterBytes)
    d.refuse("a parameter must be read inside its bytes", fmt::format("byte {}", d.out.offset));
  for (const ptx::Operand &element : elements)
    d.result(element, registerType(d, element, type));
  d.out.detail = detail.pack();
  return d.done(&loadParameter, Mix::ParameterLoad);
}

static bool decodeAccess(Decoder &d, bool isLoad) {
  MemoryDetail detail;
  detail.semantics = takeSemantics(d, detail.wide);
  detail.space = takeSpace(d);
  takeHints(d);
  d.takeHint();
  d.takeOneOf({"L2::64B", "L2::128B", "L2::256B"});
  static constexpr uint8_t sizes[] = {2, 4, 8};
  const int vector = d.takeOneOf({"v2", "v4", "v8"});
  detail.vector = vector < 0 ? 1 : sizes[vector];
  const Type type = d.takeType();
  if (bitsOf(type) < 8)
    d.refuseModifiers();
  detail.elementBytes = uint8_t(bitsOf(type) / 8);
  detail.isSigned = isLoad && isSigned(type);
  if (detail.bytes() > 32)
    d.refuse("an access must have at most 32 bytes", fmt::format("{}", detail.bytes()));
  d.requireCount(d.out.hinted ? 3 : 2);
  const size_t value = isLoad ? 0 : 1, address = isLoad ? 1 : 0;
  const std::vector<ptx::Operand> elements = elementsOf(d, d.operand(value), detail.vector);
  if (detail.space == Space::Parameter)
    return isLoad ? decodeParameterLoad(d, detail, elements, type) : d.done(nullptr, Mix::Other);
  detail.ownBase = d.address(d.operand(address));
  if (detail.ownBase && detail.space == Space::Global)
    d.refuse("a name in a global address must be a global variable's", "shared memory's");
  for (const ptx::Operand &element : elements)
    isLoad ? d.result(element, registerType(d, element, type))
           : d.source(element, registerType(d, element, type));
  d.policy();
  const bool shared = detail.space == Space::Shared || detail.space == Space::SharedCluster || detail.ownBase;
  if (detail.ownBase && detail.space == Space::Generic)
    detail.space = Space::Shared;
  d.out.detail = detail.pack();
  return isLoad ? d.done(&load, shared ? Mix::SharedLoad : Mix::GlobalLoad)
                : d.done(&store, shared ? Mix::SharedStore : Mix::GlobalStore);
}

bool lathe::runtime::emulator::decodeMemory(Decoder &d) {
  if (d.root() == "ld" || d.root() == "st") {
    if (d.startsWith("st.async"))
      return false;
    return decodeAccess(d, d.root() == "ld");
  }
  return false;
}
