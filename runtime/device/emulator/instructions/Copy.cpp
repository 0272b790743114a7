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

static void copy(Warp &w, const Instr &i) {
  const BulkDetail &detail = w.program().bulkDetails[i.detail];
  const uint32_t step = w.copies.issue();
  uint32_t offsets[laneCount] = {}, landed = 0;
  LaneAddresses read;
  overLanes(w.mask, [&](int lane) {
    const auto target = uint32_t(detail.shared.at(w, i, lane));
    if (target % detail.bytes != 0)
      return w.report(
          FindingKind::Misaligned, bit(lane),
          fmt::format("the destination {:#x} must be a multiple of {} bytes", target, detail.bytes));
    Cta *cta = findShared(w, target, true, detail.bytes, lane);
    if (!cta)
      return;
    const uint32_t given =
        detail.size < 0 ? detail.bytes : laneAt<uint32_t>(w.row(i.source(detail.size)), lane);
    std::byte value[mostBytes] = {};
    read.at[lane] = detail.global.at(w, i, lane);
    fetch(w, read.at[lane], std::min(given, detail.bytes), value, lane);
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

bool lathe::runtime::emulator::decodeCopy(Decoder &d) {
  if (d.root() != "cp" || !d.take("async"))
    return false;
  if (d.mentions("commit_group") || d.mentions("wait_group") || d.mentions("wait_all"))
    return decodeGroups(d);
  if (d.takeOneOf({"ca", "cg"}) < 0 || d.takeOneOf({"shared", "shared::cta"}) < 0 || !d.take("global"))
    d.refuseModifiers();
  const bool hint = d.take("L2::cache_hint");
  d.takeOneOf({"L2::64B", "L2::128B", "L2::256B"});
  d.requireCount(3, hint ? 5 : 4);
  BulkDetail detail;
  BulkSources sources(d);
  detail.shared = sources.address(d.operand(0));
  detail.global = sources.address(d.operand(1));
  detail.bytes = uint32_t(d.integer(d.operand(2), 4, mostBytes));
  if (std::popcount(detail.bytes) != 1)
    d.refuse("cp.async must copy 4, 8 or 16 bytes", fmt::format("{}", detail.bytes));
  if (d.count() == (hint ? 5u : 4u))
    detail.size = sources.value(d.operand(3), Type::U32);
  d.out.detail = uint32_t(d.program().bulkDetails.size());
  d.program().bulkDetails.push_back(detail);
  return d.done(&copy, Mix::AsyncCopy);
}
