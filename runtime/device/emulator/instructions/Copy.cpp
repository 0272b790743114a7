//===- Copy.cpp - cp.async ---------------------------------------------------------------------------===//
//
// Copies of 4, 8 or 16 bytes a lane from global to shared memory, which complete by groups or on an mbarrier.
// They write through the generic proxy, in the name of the warp's copies until somebody has waited for them.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/Windows.h"
#include "lathe/runtime/device/emulator/instructions/BulkCopy.h"

#include <fmt/format.h>

#include <bit>

using namespace lathe::runtime::emulator;

static constexpr uint32_t mostBytes = 16;

static uint32_t bit(int lane) { return uint32_t(1) << lane; }

/// The bytes of one lane, zeros behind those that are read. Read in pieces that their number divides into.
static void fetch(Warp &w, uint64_t from, uint32_t bytes, std::byte *value, int lane) {
  for (uint32_t at = 0; at < bytes;) {
    const uint32_t size = std::bit_floor(bytes - at);
    if (const Place place = access(w, Space::Global, from + at, size, {}, lane))
      std::memcpy(value + at, place.bytes, size);
    at += size;
  }
}

/// Lanes whose addresses and sizes come from somewhere.
static uint32_t definedLanes(Warp &w, const Instr &i) {
  if (i.hinted) [[unlikely]]
    checkPolicy(w, i);
  uint32_t mask = w.mask;
  for (int k = 0; k < i.sources - (i.hinted ? 1 : 0); ++k)
    if (const uint32_t lanes = w.undefined(i.source(k)) & mask) {
      w.cluster().reportUndefined(w, lanes, w.origin(i.source(k)), "is an operand of a copy");
      mask &= ~lanes;
    }
  return mask;
}

/// Bytes that a lane reads.
static uint32_t givenBytes(Warp &w, const Instr &i, const BulkDetail &detail, int lane) {
  if (detail.ignores >= 0 && (w.predicate(i.source(detail.ignores)) >> lane & 1))
    return 0;
  if (detail.size < 0)
    return detail.bytes;
  const uint32_t given = laneAt<uint32_t>(w.row(i.source(detail.size)), lane);
  if (given > detail.bytes)
    w.report(FindingKind::IllegalInstruction, bit(lane),
             fmt::format("a copy of {} bytes is to read {}", detail.bytes, given),
             "give a source size of at most the copy's");
  return std::min(given, detail.bytes);
}

/// Whether both addresses are multiples of the copy's size, as they must be also where it reads less.
static bool aligned(Warp &w, const BulkDetail &detail, uint32_t target, uint64_t from, uint32_t given,
                    int lane) {
  const bool wrongTarget = target % detail.bytes != 0;
  if (!wrongTarget && (given == 0 || from % detail.bytes == 0))
    return true;
  w.report(FindingKind::Misaligned, bit(lane),
           fmt::format("the {} {:#x} must be a multiple of {} bytes", wrongTarget ? "destination" : "source",
                       wrongTarget ? target : from, detail.bytes));
  return false;
}

static void copy(Warp &w, const Instr &i) {
  const BulkDetail &detail = w.program().bulkDetails[i.detail];
  const uint32_t step = w.copies.issue();
  uint32_t offsets[laneCount] = {}, landed = 0;
  LaneAddresses read;
  overLanes(definedLanes(w, i), [&](int lane) {
    const auto target = uint32_t(detail.shared.at(w, i, lane));
    const uint32_t given = givenBytes(w, i, detail, lane);
    read.at[lane] = detail.global.at(w, i, lane);
    if (!aligned(w, detail, target, read.at[lane], given, lane))
      return;
    Cta *cta = findShared(w, target, true, detail.bytes, lane);
    if (!cta)
      return;
    std::byte value[mostBytes] = {};
    fetch(w, read.at[lane], given, value, lane);
    read.mask |= given > 0 ? bit(lane) : 0;
    landed |= bit(lane);
    const uint32_t offset = offsets[lane] = offsetOf(target);
    const Accessor who{w.copyAgent, step, w.pc, Proxy::Generic, &w.clock};
    if (const AccessFault fault = cta->shared.write(offset, detail.bytes, who))
      reportShared(w, *cta, fault, true, lane);
    std::memcpy(cta->shared.data() + offset, value, detail.bytes);
  });
  w.counters().globalLoadBytes += uint64_t(std::popcount(read.mask)) * detail.bytes;
  w.counters().globalLoadSectors += countSectors(read, detail.bytes);
  w.counters().sharedStoreBytes += uint64_t(std::popcount(landed)) * detail.bytes;
  countBanks(w, offsets, landed, detail.bytes);
  w.cluster().progress();
}

static void commitGroup(Warp &w, const Instr &) { w.copies.commit(); }
static void waitGroup(Warp &w, const Instr &i) { w.clock.see(w.copyAgent, w.copies.wait(i.detail)); }
static void waitAll(Warp &w, const Instr &) {
  w.copies.commit();
  w.clock.see(w.copyAgent, w.copies.wait(0));
}

static bool decodeGroups(Decoder &d) {
  if (d.take("commit_group") || d.take("wait_all")) {
    d.requireCount(0);
    return d.done(d.mentions("wait_all") ? &waitAll : &commitGroup,
                  d.mentions("wait_all") ? Mix::Barrier : Mix::AsyncCopy);
  }
  d.take("wait_group");
  d.requireCount(1);
  d.out.detail = uint32_t(d.integer(d.operand(0), 0, 1 << 20));
  return d.done(&waitGroup, Mix::Barrier);
}

/// The fourth operand: how many bytes are read, or a predicate that says that none are.
static void takeSize(Decoder &d, BulkDetail &detail, BulkSources &sources) {
  if (d.count() < (d.out.hinted ? 5u : 4u))
    return;
  const ptx::Operand &operand = d.operand(3);
  const bool ignores = operand.kind == ptx::Operand::Kind::Register &&
                       d.kernel().registers[operand.reg].kind == ptx::RegisterClass::Predicate;
  (ignores ? detail.ignores : detail.size) = sources.value(operand, ignores ? Type::Pred : Type::U32);
}

bool lathe::runtime::emulator::decodeCopy(Decoder &d) {
  if (d.root() != "cp" || !d.take("async"))
    return false;
  if (d.mentions("commit_group") || d.mentions("wait_group") || d.mentions("wait_all"))
    return decodeGroups(d);
  const int cache = d.takeOneOf({"ca", "cg"});
  if (cache < 0 || d.takeOneOf({"shared", "shared::cta"}) < 0 || !d.take("global"))
    d.refuseModifiers();
  const size_t hints = d.takeHint() ? 1 : 0;
  d.takeOneOf({"L2::64B", "L2::128B", "L2::256B"});
  d.requireCount(3 + hints, 4 + hints);
  BulkDetail detail;
  BulkSources sources(d);
  detail.shared = sources.address(d.operand(0));
  detail.global = sources.address(d.operand(1));
  detail.bytes = uint32_t(d.integer(d.operand(2), 4, mostBytes));
  if (std::popcount(detail.bytes) != 1 || (cache == 1 && detail.bytes != mostBytes))
    d.refuse(cache == 1 ? "cp.async.cg must copy 16 bytes" : "cp.async must copy 4, 8 or 16 bytes",
             fmt::format("{}", detail.bytes));
  takeSize(d, detail, sources);
  d.policy();
  d.out.detail = uint32_t(d.program().bulkDetails.size());
  d.program().bulkDetails.push_back(detail);
  return d.done(&copy, Mix::AsyncCopy);
}
