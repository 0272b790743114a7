//===- Sync.cpp - Barriers of CTAs and clusters, fences ----------------------------------------------===//
//
// bar, barrier, barrier.cluster, bar.warp.sync, membar, fence and fence.proxy. Barriers join clocks; a proxy
// fence marks what was seen so far as visible to the other proxy; a memory fence lets the strong writes
// behind it release, and what the strong reads before it have seen be acquired.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/Cluster.h"
#include "lathe/runtime/device/emulator/Decoder.h"
#include "lathe/runtime/device/emulator/Grid.h"

#include <fmt/format.h>

#include <bit>

using namespace lathe::runtime::emulator;

static uint32_t uniform(Warp &w, const Value &value) {
  return laneAt<uint32_t>(w.row(value), std::countr_zero(w.mask));
}

//===- Named barriers --------------------------------------------------------------------------------===//

/// Detail bit 0: waits; bit 1: a number of threads is given.
static void namedBarrier(Warp &w, const Instr &i) {
  if (!w.requireConverged(allLanes, "a barrier of the CTA"))
    return;
  const uint32_t number = uniform(w, i.source(0)), threads = i.detail & 2 ? uniform(w, i.source(1)) : 0;
  const bool rightThreads = !(i.detail & 2) || (threads > 0 && threads <= 1024 && threads % laneCount == 0);
  if (number >= 16 || !rightThreads) {
    w.report(FindingKind::BarrierMisuse, w.mask,
             number >= 16
                 ? fmt::format("named barrier {}, a CTA has 0 to 15", number)
                 : fmt::format("a barrier of {} threads: it must be a multiple of 32 up to 1024", threads));
    return;
  }
  w.cluster().arriveNamed(w, number, threads, i.detail & 1);
}

static bool decodeBar(Decoder &d) {
  const std::string_view root = d.root();
  if (root == "barrier")
    d.take("cta");
  if (root == "bar" && d.take("cta")) { // bar.cta.sync
  }
  const int what = d.takeOneOf({"sync", "arrive"});
  d.take("aligned");
  d.requireCount(what == 1 ? 2 : 1, 2);
  d.source(d.operand(0), Type::B32);
  if (d.count() == 2)
    d.source(d.operand(1), Type::B32);
  d.out.detail = (what == 0 ? 1u : 0u) | (d.count() == 2 ? 2u : 0u);
  return d.done(what < 0 ? nullptr : &namedBarrier, Mix::Barrier);
}

static void warpBarrier(Warp &w, const Instr &i) {
  w.requireConverged(uniform(w, i.source(0)), "bar.warp.sync");
}

//===- The cluster's barrier -------------------------------------------------------------------------===//

/// Detail bit 0: relaxed.
static void clusterArrive(Warp &w, const Instr &i) { w.cluster().arriveCluster(w, w.mask, !(i.detail & 1)); }

static void clusterWait(Warp &w, const Instr &) {
  if (!w.cluster().clusterPassed(w, w.mask))
    w.block({Wait::Kind::ClusterBarrier, 0, 0, 0});
}

static bool decodeClusterBarrier(Decoder &d) {
  d.take("cluster");
  const int what = d.takeOneOf({"arrive", "wait"});
  const int order = d.takeOneOf({"release", "relaxed", "acquire"});
  d.take("aligned");
  d.requireCount(0);
  d.out.detail = order == 1 ? 1 : 0;
  return d.done(what == 0 ? &clusterArrive : what == 1 ? &clusterWait : nullptr, Mix::Barrier);
}

//===- Fences ----------------------------------------------------------------------------------------===//

static void markFenced(Warp &w) {
  for (Mbarrier *barrier : w.unfenced)
    barrier->fenced = true;
  w.unfenced.clear();
}

static void proxyFence(Warp &w, const Instr &) {
  w.clock.fenceAll();
  w.advance();
  markFenced(w);
}

static void initFence(Warp &w, const Instr &) { markFenced(w); }

/// Detail 1: of the whole GPU.
static void memoryFence(Warp &w, const Instr &i) { fenceGlobal(w, i.detail != 0); }

static void nothing(Warp &, const Instr &) {}

static bool decodeFence(Decoder &d) {
  d.requireCount(0);
  if (d.take("proxy")) {
    if (d.take("async")) {
      d.takeOneOf({"global", "shared::cta", "shared::cluster"});
      return d.done(&proxyFence, Mix::Barrier);
    }
    return d.take("alias") ? d.done(&nothing, Mix::Barrier) : d.done(nullptr, Mix::Barrier);
  }
  if (d.take("mbarrier_init")) {
    if (!d.take("release") || !d.take("cluster"))
      d.refuseModifiers();
    return d.done(&initFence, Mix::Barrier);
  }
  d.takeOneOf({"acq_rel", "sc", "acquire", "release"});
  const int scope = d.takeOneOf({"cta", "cluster", "gpu", "sys"});
  d.out.detail = scope == 0 || scope == 1 ? 0 : 1;
  return d.done(&memoryFence, Mix::Barrier);
}

bool lathe::runtime::emulator::decodeSync(Decoder &d) {
  const std::string_view root = d.root();
  if (d.startsWith("bar.warp.sync")) {
    d.take("warp"), d.take("sync");
    d.requireCount(1);
    d.sources(0, {Type::B32});
    return d.done(&warpBarrier, Mix::Barrier);
  }
  if (d.startsWith("barrier.cluster"))
    return decodeClusterBarrier(d);
  if (root == "bar" || root == "barrier")
    return decodeBar(d);
  if (root == "fence")
    return decodeFence(d);
  if (root == "membar") {
    d.out.detail = d.takeOneOf({"cta", "gl", "sys"}) > 0 ? 1 : 0;
    d.requireCount(0);
    return d.done(&memoryFence, Mix::Barrier);
  }
  return false;
}
