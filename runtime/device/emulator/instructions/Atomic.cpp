//===- Atomic.cpp - atom and red ---------------------------------------------------------------------===//
//
// Read-modify-write on global and shared memory, alone and, for red, as vectors. Lanes of one instruction go
// in the order of their numbers; other host threads are held off, so floating sums depend on nothing but the
// order in which warps come.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/MemoryAccess.h"
#include "lathe/runtime/device/emulator/Mixed.h"
#include "lathe/runtime/device/emulator/Windows.h"
#include "lathe/runtime/device/emulator/instructions/Float.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <mutex>

using namespace lathe::runtime::emulator;
using Kind = ptx::Operand::Kind;

namespace {

enum class Operation : uint8_t { Add, Min, Max, And, Or, Xor, Exch, Cas, Inc, Dec };

/// Detail of an atomic.
struct AtomicDetail {
  Operation operation = Operation::Add;
  Type type = Type::U32;
  Space space = Space::Global;
  uint8_t vector = 1;
  bool ownBase = false, returns = false, acquires = false, releases = false;
  bool wide = true; ///< The scope: the GPU or more.
  uint32_t pack() const {
    return uint32_t(operation) | uint32_t(type) << 4 | uint32_t(space) << 12 | uint32_t(vector) << 16 |
           uint32_t(ownBase) << 24 | uint32_t(returns) << 25 | uint32_t(acquires) << 26 |
           uint32_t(releases) << 27 | uint32_t(wide) << 28;
  }
  static AtomicDetail unpack(uint32_t bits) {
    auto flag = [bits](int at) { return (bits >> at & 1) != 0; };
    return {static_cast<Operation>(bits & 15),
            static_cast<Type>(bits >> 4 & 255),
            static_cast<Space>(bits >> 12 & 15),
            uint8_t(bits >> 16 & 255),
            flag(24),
            flag(25),
            flag(26),
            flag(27),
            flag(28)};
  }
};

} // namespace

static std::mutex &atomicMutex() {
  static std::mutex mutex;
  return mutex;
}

template <class T>
static T arithmetic(Operation operation, T old, T value) {
  switch (operation) {
  case Operation::Add:
    if constexpr (std::is_integral_v<T>)
      return T(uint64_t(old) + uint64_t(value));
    else
      return old + value;
  case Operation::Min:
    return std::min(old, value);
  case Operation::Max:
    return std::max(old, value);
  case Operation::Inc:
    return old >= value ? T(0) : T(old + 1);
  case Operation::Dec:
    return old == T(0) || old > value ? value : T(old - 1);
  default:
    return value;
  }
}

/// Two 16-bit floats in 32 bits, or one.
template <float (*from)(uint16_t), uint16_t (*to)(float)>
static uint64_t halves(Operation operation, uint64_t old, uint64_t value, int count) {
  uint64_t result = 0;
  for (int k = 0; k < count; ++k) {
    const float a = from(uint16_t(old >> (16 * k))), b = from(uint16_t(value >> (16 * k)));
    result |= uint64_t(to(arithmetic(operation, a, b))) << (16 * k);
  }
  return result;
}

static uint16_t roundF16(float value) { return toF16(value); }

template <class T>
static uint64_t typed(Operation operation, uint64_t old, uint64_t value) {
  using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
  return std::bit_cast<Bits>(
      arithmetic(operation, std::bit_cast<T>(Bits(old)), std::bit_cast<T>(Bits(value))));
}

static uint64_t flushedBits(uint64_t bits) {
  return std::bit_cast<uint32_t>(flushed(std::bit_cast<float>(uint32_t(bits))));
}

/// What is in memory afterwards. Sums of f32 in global memory (not `shared`) flush subnormal numbers.
static uint64_t next(const AtomicDetail &detail, uint64_t old, uint64_t value, uint64_t other, bool shared) {
  switch (detail.operation) {
  case Operation::And:
    return old & value;
  case Operation::Or:
    return old | value;
  case Operation::Xor:
    return old ^ value;
  case Operation::Exch:
    return value;
  case Operation::Cas:
    return old == value ? other : old;
  default:
    break;
  }
  switch (detail.type) {
  case Type::S32:
    return typed<int32_t>(detail.operation, old, value);
  case Type::U64:
  case Type::B64:
    return typed<uint64_t>(detail.operation, old, value);
  case Type::S64:
    return typed<int64_t>(detail.operation, old, value);
  case Type::F32:
    return shared ? typed<float>(detail.operation, old, value)
                  : flushedBits(typed<float>(detail.operation, flushedBits(old), flushedBits(value)));
  case Type::F64:
    return typed<double>(detail.operation, old, value);
  case Type::BF16:
  case Type::BF16x2:
    return halves<fromBf16, toBf16>(detail.operation, old, value, detail.type == Type::BF16 ? 1 : 2);
  case Type::F16:
  case Type::F16x2:
    return halves<fromF16, roundF16>(detail.operation, old, value, detail.type == Type::F16 ? 1 : 2);
  default:
    return typed<uint32_t>(detail.operation, old, value);
  }
}

static uint64_t registerBits(const Warp &w, const Value &value, int lane) {
  return value.kind == ptx::RegisterClass::Bits64 ? laneAt<uint64_t>(w.row(value), lane)
                                                  : laneAt<uint32_t>(w.row(value), lane);
}

static void atomic(Warp &w, const Instr &i) {
  const AtomicDetail detail = AtomicDetail::unpack(i.detail);
  const auto elementBytes = size_t(bitsOf(detail.type) / 8);
  const LaneAddresses addresses = laneAddresses(w, i, detail.ownBase ? -1 : 0);
  const int first = detail.ownBase ? 0 : 1;
  const bool swaps = detail.operation == Operation::Cas;
  if (i.hinted) [[unlikely]]
    checkPolicy(w, i);
  for (int k = 0; k < i.sources - first - (i.hinted ? 1 : 0); ++k)
    if (const uint32_t lanes = w.undefined(i.source(first + k)) & addresses.mask)
      w.cluster().reportUndefined(w, lanes, w.origin(i.source(first + k)), "is an operand of an atomic");
  Warp::Poll poll;
  bool changes = false;
  overLanes(addresses.mask, [&](int lane) {
    const auto bytes = uint32_t(elementBytes * detail.vector);
    const Place seen =
        access(w, detail.space, addresses.at[lane], bytes, {false, true, false, detail.wide}, lane);
    if (!seen)
      return;
    access(w, detail.space, addresses.at[lane], bytes, {true, true, true, detail.wide}, lane);
    if (seen.cta && detail.acquires)
      w.clock.join(seen.cta->shared.released(seen.offset));
    if (seen.cta && detail.releases)
      seen.cta->shared.released(seen.offset).join(w.clock);
    // Flags are whole numbers: sums of floats would fill the books.
    const bool orders = !seen.cta && (!isFloat(detail.type) || detail.acquires || detail.releases);
    if (orders)
      releaseGlobal(w, addresses.at[lane], detail.wide, detail.releases);
    std::unique_lock lock(atomicMutex());
    for (int k = 0; k < detail.vector; ++k) {
      uint64_t old = 0;
      std::memcpy(&old, seen.bytes + size_t(k) * elementBytes, elementBytes);
      const uint64_t value = registerBits(w, i.source(first + k), lane),
                     other = swaps ? registerBits(w, i.source(first + 1), lane) : 0;
      const uint64_t updated = next(detail, old, value, other, seen.cta != nullptr);
      changes |= updated != old;
      poll.seen = mixed(mixed(poll.seen, addresses.at[lane]), old);
      poll.what = seen.cta ? Warp::Poll::What::Shared : Warp::Poll::What::Global;
      poll.address = seen.cta ? sharedWindowAddress(seen.cta->rank, seen.offset) : addresses.at[lane];
      poll.value = old;
      std::memcpy(seen.bytes + size_t(k) * elementBytes, &updated, elementBytes);
      if (detail.returns && i.result(k).kind == ptx::RegisterClass::Bits64)
        setLane<uint64_t>(w.row(i.result(k)), lane, old);
      else if (detail.returns)
        setLane<uint32_t>(w.row(i.result(k)), lane, uint32_t(old));
    }
    lock.unlock();
    if (orders)
      acquireGlobal(w, addresses.at[lane], detail.wide, detail.acquires);
    ++w.counters().atomics;
  });
  if (detail.releases)
    w.advance();
  for (int k = 0; k < i.results; ++k)
    w.setUndefined(i.result(k), 0);
  if (changes)
    w.cluster().progress();
  else if (detail.returns && poll.what != Warp::Poll::What::Time) // A lock that is taken, or the like.
    w.poll(poll);
}

static std::vector<ptx::Operand> elementsOf(Decoder &d, const ptx::Operand &operand, int vector) {
  if (vector == 1)
    return {operand};
  if (operand.kind != Kind::Vector || operand.parts.size() != size_t(vector))
    d.refuse(fmt::format("{} must have {} elements", d.in().opcode, vector), "another number");
  return operand.parts;
}

static void takeOrder(Decoder &d, AtomicDetail &detail) {
  const int order = d.takeOneOf({"relaxed", "acquire", "release", "acq_rel", "sem"});
  detail.acquires = order == 1 || order == 3;
  detail.releases = order == 2 || order == 3;
  const int scope = d.takeOneOf({"cta", "cluster", "gpu", "sys"});
  detail.wide = scope != 0 && scope != 1;
  const int space = d.takeOneOf({"global", "shared", "shared::cta", "shared::cluster"});
  detail.space = space < 0    ? Space::Generic
                 : space == 0 ? Space::Global
                 : space == 3 ? Space::SharedCluster
                              : Space::Shared;
}

bool lathe::runtime::emulator::decodeAtomic(Decoder &d) {
  if (d.root() != "atom" && d.root() != "red")
    return false;
  AtomicDetail detail;
  detail.returns = d.root() == "atom";
  takeOrder(d, detail);
  d.take("L1::no_allocate");
  int vector = d.takeOneOf({"v2", "v4", "v8"});
  const int operation = d.takeOneOf({"add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"});
  if (operation < 0)
    d.refuseModifiers();
  d.take("noftz");
  d.takeHint();
  vector = vector < 0 ? d.takeOneOf({"v2", "v4", "v8"}) : vector;
  detail.operation = static_cast<Operation>(operation);
  detail.vector = uint8_t(vector < 0 ? 1 : 2 << vector);
  detail.type = d.takeType();
  const bool bitwise = operation >= int(Operation::And) && operation <= int(Operation::Cas);
  if (bitsOf(detail.type) < 16 || (isFloat(detail.type) && bitwise) ||
      (bitsOf(detail.type) / 8 * detail.vector > 32))
    d.refuseModifiers();
  const size_t first = detail.returns ? 1 : 0, swaps = detail.operation == Operation::Cas ? 1 : 0;
  d.requireCount(first + 2 + swaps + (d.out.hinted ? 1 : 0));
  if (swaps && detail.vector > 1)
    d.refuseModifiers();
  if (detail.returns)
    for (const ptx::Operand &element : elementsOf(d, d.operand(0), detail.vector))
      d.result(element, detail.type);
  detail.ownBase = d.address(d.operand(first));
  for (const ptx::Operand &element : elementsOf(d, d.operand(first + 1), detail.vector))
    d.source(element, detail.type);
  if (swaps)
    d.source(d.operand(first + 2), detail.type);
  d.policy();
  if (detail.ownBase && detail.space == Space::Generic)
    detail.space = Space::Shared;
  d.out.detail = detail.pack();
  return d.done(&atomic, Mix::Atomic);
}
