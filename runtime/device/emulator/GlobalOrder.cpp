#include "lathe/runtime/device/emulator/GlobalOrder.h"

#include "lathe/runtime/device/emulator/Grid.h"

#include <fmt/format.h>

using namespace lathe::runtime::emulator;

//===- Knowledge -------------------------------------------------------------------------------------===//

void Knowledge::join(const Knowledge &other) {
  seen = joined(seen, other.seen);
  fenced = joined(fenced, other.fenced);
}

Knowledge lathe::runtime::emulator::knowledgeOf(uint32_t cluster, const Clock &clock) {
  auto own = std::make_shared<Others>();
  own->push_back({cluster, std::make_shared<const Clock>(clock.alone())});
  return {joined(clock.others(), own), clock.othersFenced()};
}

void GlobalOrder::release(uint64_t address, uint32_t cluster, bool wide, const Knowledge &knowledge) {
  std::lock_guard lock(mutex_);
  released_[{address, cluster + 1}].join(knowledge);
  if (wide)
    released_[{address, 0}].join(knowledge);
}

Knowledge GlobalOrder::acquire(uint64_t address, uint32_t cluster, bool wide) {
  std::lock_guard lock(mutex_);
  Knowledge knowledge;
  for (uint32_t who : {0u, cluster + 1})
    if (auto found = released_.find({address, who}); found != released_.end() && (wide || who != 0))
      knowledge.join(found->second);
  return knowledge;
}

//===- Releases, acquires, fences --------------------------------------------------------------------===//

static GlobalOrder &orderOf(Warp &w) { return w.cluster().grid().order(); }

static void learn(Warp &w, const Knowledge &knowledge) {
  if (knowledge)
    w.clock.learn(knowledge.seen, knowledge.fenced, w.cluster().number());
}

void lathe::runtime::emulator::releaseGlobal(Warp &w, uint64_t address, bool wide, bool releases) {
  const uint32_t cluster = w.cluster().number();
  if (releases)
    return orderOf(w).release(address, cluster, wide, knowledgeOf(cluster, w.clock));
  if (wide && w.fences.released)
    orderOf(w).release(address, cluster, true, w.fences.released);
  if (w.fences.releasedInCluster)
    orderOf(w).release(address, cluster, false, w.fences.releasedInCluster);
}

void lathe::runtime::emulator::acquireGlobal(Warp &w, uint64_t address, bool wide, bool acquires) {
  const Knowledge found = orderOf(w).acquire(address, w.cluster().number(), wide);
  if (!found)
    return;
  if (acquires)
    learn(w, found);
  else
    (wide ? w.fences.pending : w.fences.pendingInCluster).join(found);
}

void lathe::runtime::emulator::fenceGlobal(Warp &w, bool wide) {
  learn(w, w.fences.pendingInCluster);
  if (wide)
    learn(w, w.fences.pending);
  const Knowledge known = knowledgeOf(w.cluster().number(), w.clock);
  w.fences.releasedInCluster = known;
  w.fences.pendingInCluster = {};
  if (wide) {
    w.fences.released = known;
    w.fences.pending = {};
  }
  w.advance();
}

//===- Accesses --------------------------------------------------------------------------------------===//

/// Whether a write in this launch came before an access.
static Order orderAfter(const Warp &w, const LoggedWrite &write, Proxy proxy) {
  const uint32_t cluster = w.cluster().number();
  if (write.cluster == cluster)
    return order(write.access, proxy, w.clock);
  const Clock *known = clockOf(w.clock.others(), write.cluster);
  if (!known || known->seen(write.access.agent) < write.access.step)
    return Order::Race;
  if (proxy != Proxy::Async || write.access.proxy == Proxy::Async ||
      known->fenced(write.access.agent) >= write.access.step)
    return Order::Ordered;
  const Clock *fenced = clockOf(w.clock.othersFenced(), write.cluster);
  return fenced && fenced->seen(write.access.agent) >= write.access.step ? Order::Ordered : Order::Unfenced;
}

static std::string writerOf(Warp &w, const LoggedWrite &write) {
  if (write.cluster == w.cluster().number())
    return "its own CTA or cluster";
  const Grid &grid = w.cluster().grid();
  const uint32_t size = grid.clusterSize(), across = grid.launch().shape.gridX / size;
  const std::string rows = grid.launch().shape.gridY > 1 || grid.launch().shape.gridZ > 1
                               ? fmt::format(", {}, {}", write.cluster / across % grid.launch().shape.gridY,
                                             write.cluster / across / grid.launch().shape.gridY)
                               : "";
  return fmt::format("{} {}{}", size > 1 ? "the cluster of CTA" : "CTA", write.cluster % across * size, rows);
}

namespace {
/// The first byte of an access that nothing orders after its write.
struct Disorder {
  Order found = Order::Ordered;
  uint64_t address = 0;
  LoggedWrite write;
  explicit operator bool() const { return found != Order::Ordered; }
};
} // namespace

static Report describe(Warp &w, const Disorder &disorder, bool writes, int lane) {
  const LoggedWrite &write = disorder.write;
  const std::string where = w.cluster().nameGlobal(disorder.address), writer = writerOf(w, write);
  const bool own = write.cluster == w.cluster().number(), byTma = write.access.proxy == Proxy::Async;
  if (disorder.found == Order::Unfenced)
    return {FindingKind::ProxyUnfenced,
            w.pc,
            fmt::format("the async proxy {} global memory that ordinary instructions of {} wrote, "
                        "without fence.proxy.async between",
                        writes ? "overwrites" : "reads", writer),
            own ? "execute fence.proxy.async after the writes, before the barrier"
                : "execute fence.proxy.async between the two, before the release or after the acquire",
            where,
            write.access.pc,
            w.cluster().nameAgent(w, lane)};
  return {FindingKind::DataRace,
          w.pc,
          fmt::format("it {} global memory that {} wrote in this launch: nothing orders the two",
                      writes ? "writes" : "reads", writer),
          own ? byTma ? "wait with cp.async.bulk.wait_group (without .read) and put a barrier between them"
                      : "put a barrier between them"
          : byTma
              ? "wait with cp.async.bulk.wait_group (without .read), then release; acquire before this"
              : "release behind the write (a barrier of the CTA, then st.release.gpu, red.release.gpu, or "
                "fence.acq_rel.gpu and a relaxed one), and acquire before this",
          where,
          write.access.pc,
          w.cluster().nameAgent(w, lane)};
}

/// Keeps what is written; gives the first byte that nothing orders.
static Disorder keep(Warp &w, Allocation &buffer, uint64_t address, uint64_t size,
                     const GlobalAccess &access) {
  const uint32_t launch = w.cluster().grid().number(), cluster = w.cluster().number();
  WriteLog &log = buffer.log();
  const bool used = log.usedIn(launch);
  Disorder disorder;
  if (!used && !access.write)
    return disorder;
  const uint64_t begin = address - buffer.base(), end = begin + size;
  for (uint64_t at = begin & ~uint64_t(3); at < end; at += 4) {
    const auto from = uint32_t(std::max(at, begin) - at), to = uint32_t(std::min<uint64_t>(end - at, 4));
    const auto bytes = uint8_t((0xfu >> (4 - to)) & (0xfu << from));
    const LoggedWrite write = used ? log.at(at / 4, launch) : LoggedWrite{};
    if (!access.changes && (write.access.bytes & bytes) == bytes)
      continue;
    if (!disorder && access.changes && (write.access.bytes & bytes)) {
      const bool bothStrong =
          access.strong && write.access.strong && (write.cluster == cluster || (access.wide && write.wide));
      if (!bothStrong)
        disorder = {orderAfter(w, write, access.proxy), buffer.base() + at + from, write};
    }
    if (access.write)
      log.keep(at / 4, launch,
               {cluster,
                access.wide,
                {uint16_t(access.agent), bytes, access.strong, access.proxy, access.step, w.pc}});
  }
  return disorder;
}

void lathe::runtime::emulator::orderGlobal(Warp &w, Allocation &buffer, uint64_t address, uint64_t size,
                                           const GlobalAccess &access, int lane) {
  if (const Disorder disorder = keep(w, buffer, address, size, access)) [[unlikely]]
    w.cluster().report(describe(w, disorder, access.write, lane));
}

uint32_t lathe::runtime::emulator::orderRead(Warp &w, Allocation &buffer, uint64_t address, uint64_t size,
                                             int lane) {
  const Disorder disorder = keep(w, buffer, address, size, {.proxy = Proxy::Async});
  if (!disorder) [[likely]]
    return 0;
  const auto kind = disorder.found == Order::Unfenced ? Origin::Kind::Unfenced : Origin::Kind::Race;
  if (const uint32_t known = w.cluster().findOrigin(kind, w.pc))
    return known;
  Report report = describe(w, disorder, false, lane);
  return w.cluster().addOrigin({kind, w.pc, report.otherPc, std::move(report.address),
                                std::move(report.agent), 0, std::move(report.what),
                                std::move(report.wayOut)});
}
