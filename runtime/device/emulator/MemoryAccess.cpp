#include "lathe/runtime/device/emulator/MemoryAccess.h"

#include "lathe/runtime/device/emulator/Grid.h"
#include "lathe/runtime/device/emulator/Windows.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

using namespace lathe::runtime::emulator;

static constexpr uint32_t bankCount = 32, sectorBytes = 32;

LaneAddresses lathe::runtime::emulator::laneAddresses(Warp &warp, const Instr &instr, int base) {
  LaneAddresses result;
  result.mask = warp.mask;
  if (base < 0) {
    std::fill(std::begin(result.at), std::end(result.at),
              sharedWindowAddress(warp.cta.rank, uint32_t(instr.offset)));
    return result;
  }
  const Value &source = instr.source(base);
  if (const uint32_t lanes = warp.undefined(source) & warp.mask) {
    warp.cluster().reportUndefined(warp, lanes, warp.origin(source), "is used as an address");
    result.mask &= ~lanes;
  }
  const std::byte *row = warp.row(source);
  if (source.kind == ptx::RegisterClass::Bits64)
    overLanes(warp.mask,
              [&](int lane) { result.at[lane] = laneAt<uint64_t>(row, lane) + uint64_t(instr.offset); });
  else
    overLanes(warp.mask, [&](int lane) {
      result.at[lane] = uint32_t(laneAt<uint32_t>(row, lane) + uint32_t(instr.offset));
    });
  return result;
}

//===- Reports ---------------------------------------------------------------------------------------===//

static uint32_t bit(int lane) { return uint32_t(1) << lane; }

void lathe::runtime::emulator::reportShared(Warp &warp, const Cta &cta, const AccessFault &fault, bool write,
                                            int lane) {
  const std::string where = warp.cluster().nameShared(cta, fault.offset, &warp.cta);
  if (fault.onBarrier)
    return warp.report(FindingKind::BarrierMisuse, bit(lane),
                       fmt::format("an ordinary {} of an mbarrier", write ? "write" : "read"),
                       "use mbarrier instructions, or invalidate the barrier first", where);
  const Access &earlier = fault.conflict.earlier;
  if (fault.conflict.order == Order::Unfenced)
    return warp.report(
        FindingKind::ProxyUnfenced, bit(lane),
        fmt::format("the async proxy {} what ordinary instructions {}, without fence.proxy.async between",
                    write ? "overwrites" : "reads", fault.conflict.withRead ? "read" : "wrote"),
        "execute fence.proxy.async between the two, before the barrier that orders them", where, earlier.pc);
  if (fault.conflict.order == Order::Race) {
    const char *mine = write ? "writes" : "reads";
    const char *theirs = fault.conflict.withRead ? "may still read" : "may still write";
    bool copies = false;
    for (const auto &other : cta.warps)
      copies = copies || other->copyAgent == earlier.agent;
    return warp.report(
        FindingKind::DataRace, bit(lane),
        fmt::format("it {} bytes that {} {}: nothing orders the two", mine,
                    copies ? "a cp.async" : "another access", theirs),
        copies ? "wait with cp.async.wait_group, then put a barrier between threads; or wait for the mbarrier"
               : "put a barrier, or a wait for the mbarrier, between them",
        where, earlier.pc);
  }
  warp.report(FindingKind::UnwrittenRead, bit(lane), "it reads shared memory that nothing wrote",
              "write or load it first", where);
}

//===- Shared memory ---------------------------------------------------------------------------------===//

Cta *lathe::runtime::emulator::findShared(Warp &warp, uint32_t address, bool own, uint32_t size, int lane) {
  auto &ctas = warp.cluster().ctas();
  const uint32_t rank = rankOf(address), offset = offsetOf(address);
  if (rank >= ctas.size() || (own && rank != warp.cta.rank)) {
    warp.report(FindingKind::OutOfBounds, bit(lane),
                fmt::format("the shared address {:#x} is of CTA {} of the cluster, {}", address, rank,
                            rank >= ctas.size()
                                ? fmt::format("which has {}", ctas.size())
                                : fmt::format("the access is to the own memory of CTA {}", warp.cta.rank)),
                "mask the rank, or use shared::cluster with an address from mapa");
    return nullptr;
  }
  Cta &cta = *ctas[rank];
  if (!cta.shared.holds(offset, size)) {
    const uint32_t bytes = cta.shared.bytes();
    warp.report(
        FindingKind::OutOfBounds, bit(lane),
        offset < reservedSharedBytes
            ? fmt::format("{} bytes at shared offset {}, in the kilobyte that the system keeps", size, offset)
            : fmt::format("{} bytes at byte {} of dynamic shared memory, which has {}", size,
                          int64_t(offset) - warp.program().dynamicOffset,
                          int64_t(bytes) - warp.program().dynamicOffset),
        "check the offset, or launch with more shared memory");
    return nullptr;
  }
  if (&cta != &warp.cta) {
    Cta::RemoteUse &use = cta.remoteUses[warp.agent];
    if (use.pc != warp.pc || use.agent.empty())
      use.agent = warp.cluster().nameAgent(warp, lane);
    use.step = warp.step();
    use.pc = warp.pc;
    use.offset = offset;
  }
  if (cta.exited() && &cta != &warp.cta) {
    warp.report(FindingKind::ExitInFlight, bit(lane), fmt::format("CTA {} of the cluster has ended", rank),
                "keep it alive with a barrier of the cluster at its end",
                warp.cluster().nameShared(cta, offset, &warp.cta));
    return nullptr;
  }
  return &cta;
}

Place lathe::runtime::emulator::accessShared(Warp &warp, uint32_t address, bool own, uint32_t size,
                                             AccessMode mode, int lane) {
  if (address % size != 0) {
    warp.report(FindingKind::Misaligned, bit(lane),
                fmt::format("the address {:#x} must be a multiple of {} bytes", address, size));
    return {};
  }
  Cta *cta = findShared(warp, address, own, size, lane);
  if (!cta)
    return {};
  const uint32_t offset = offsetOf(address);
  const Accessor who{warp.agent, warp.step(), warp.pc, Proxy::Generic, &warp.clock, mode.strong};
  const AccessFault fault =
      mode.write ? cta->shared.write(offset, size, who) : cta->shared.read(offset, size, who);
  Place place{cta->shared.data() + offset, cta, offset, nullptr, address, false, 0};
  if (!fault)
    return place;
  const bool inherited = fault.undefined && fault.origin != 0 && !fault.onBarrier && !fault.conflict;
  place.undefined = inherited;
  place.origin = fault.origin;
  if (!inherited)
    reportShared(warp, *cta, fault, mode.write, lane);
  return place;
}

//===- Global memory ---------------------------------------------------------------------------------===//

GlobalAccess lathe::runtime::emulator::globalAccess(const Warp &warp, AccessMode mode, bool changes) {
  return {mode.write, mode.strong, mode.strong && mode.wide, changes, Proxy::Generic,
          warp.agent, warp.step()};
}

static Place accessGlobal(Warp &warp, uint64_t address, uint32_t size, AccessMode mode, int lane) {
  GlobalMemory &memory = warp.cluster().grid().memory();
  if (!warp.lastBuffer || !warp.lastBuffer->holds(address, size))
    warp.lastBuffer = memory.find(address);
  Allocation *buffer = warp.lastBuffer;
  if (!buffer || !buffer->holds(address, size)) {
    warp.lastBuffer = nullptr;
    warp.report(FindingKind::OutOfBounds, bit(lane),
                fmt::format("{} bytes at a global address that no buffer holds", size),
                "check index and extent", warp.cluster().nameGlobal(address));
    return {};
  }
  if (address % size != 0) {
    warp.report(FindingKind::Misaligned, bit(lane),
                fmt::format("the address {:#x} must be a multiple of {} bytes", address, size), "",
                warp.cluster().nameGlobal(address));
    return {};
  }
  if (mode.write)
    buffer->markWritten(address, size);
  else if (!buffer->written(address, size))
    warp.report(FindingKind::UnwrittenRead, bit(lane), "it reads global memory that nothing wrote",
                "write it first, or do not read past what was written", warp.cluster().nameGlobal(address));
  if (mode.ordered)
    orderGlobal(warp, *buffer, address, size, globalAccess(warp, mode), lane);
  return {buffer->at(address), nullptr, 0, buffer, address, false, 0};
}

Place lathe::runtime::emulator::access(Warp &warp, Space space, uint64_t address, uint32_t size,
                                       AccessMode mode, int lane) {
  if (space == Space::Generic) {
    if (address >= sharedWindow && address - sharedWindow < windowBytes)
      return accessShared(warp, uint32_t(address - sharedWindow), false, size, mode, lane);
    return accessGlobal(warp, address, size, mode, lane);
  }
  if (space == Space::Global)
    return accessGlobal(warp, address, size, mode, lane);
  return accessShared(warp, uint32_t(address), space == Space::Shared, size, mode, lane);
}

//===- Counting --------------------------------------------------------------------------------------===//

void lathe::runtime::emulator::countBanks(Warp &warp, const uint32_t *offsets, uint32_t lanes,
                                          uint32_t size) {
  const uint32_t wordsEach = std::max(size / 4, 1u), lanesAtOnce = bankCount / wordsEach;
  uint64_t passes = 0, least = 0;
  for (uint32_t first = 0; first < laneCount; first += lanesAtOnce) {
    uint32_t words[bankCount];
    uint32_t count = 0;
    for (uint32_t lane = first; lane < first + lanesAtOnce; ++lane)
      for (uint32_t k = 0; (lanes >> lane & 1) && k < wordsEach; ++k)
        words[count++] = offsets[lane] / 4 + k;
    if (count == 0)
      continue;
    std::sort(words, words + count);
    count = uint32_t(std::unique(words, words + count) - words);
    uint32_t perBank[bankCount] = {};
    uint32_t most = 0;
    for (uint32_t k = 0; k < count; ++k)
      most = std::max(most, ++perBank[words[k] % bankCount]);
    passes += most;
    ++least;
  }
  warp.counters().sharedAccesses += least;
  warp.counters().bankConflicts += passes - least;
}

uint64_t lathe::runtime::emulator::countSectors(const LaneAddresses &addresses, uint32_t size) {
  uint64_t sectors[laneCount];
  size_t count = 0;
  overLanes(addresses.mask, [&](int lane) { sectors[count++] = addresses.at[lane] / sectorBytes; });
  std::sort(sectors, sectors + count);
  const auto distinct = uint64_t(std::unique(sectors, sectors + count) - sectors);
  return distinct * std::max<uint64_t>(1, size / sectorBytes);
}
