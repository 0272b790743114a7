#include "lathe/runtime/device/emulator/Cluster.h"

#include "lathe/runtime/device/emulator/Grid.h"
#include "lathe/runtime/device/emulator/Mixed.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

using namespace lathe;
using namespace lathe::runtime;
using namespace lathe::runtime::emulator;

static constexpr uint32_t warpsPerGroup = 4;
static constexpr Agent agentLimit = 4096;          ///< Each has its place in every clock.
static constexpr uint64_t turnInstructions = 4096; ///< That a warp runs before the next one gets a turn.

//===- Making ----------------------------------------------------------------------------------------===//

Cluster::Cluster(Grid &grid, uint32_t number)
    : grid_(grid), program_(grid.program()), number_(number), random_(grid.seed() + number) {
  const LaunchShape &shape = grid.launch().shape;
  const uint32_t size = grid.clusterSize(), across = shape.gridX / size;
  for (uint32_t rank = 0; rank < size; ++rank) {
    makeCta(rank);
    Cta &cta = *ctas_.back();
    cta.x = number % across * size + rank;
    cta.y = number / across % shape.gridY;
    cta.z = number / across / shape.gridY;
  }
  counters.ctas = size;
}

Cluster::~Cluster() = default;

void Cluster::makeCta(uint32_t rank) {
  ctas_.push_back(std::make_unique<Cta>(*this, rank, grid_.sharedBytes()));
  Cta &cta = *ctas_.back();
  const uint32_t threads = grid_.launch().shape.threads, warps = (threads + laneCount - 1) / laneCount;
  for (uint32_t index = 0; index < warps; ++index) {
    cta.warps.push_back(std::make_unique<Warp>(cta, index, threads));
    cta.warps.back()->registerBudget = grid_.registersAtEntry();
  }
  cta.liveWarps = warps;
  cta.warpgroups.resize((warps + warpsPerGroup - 1) / warpsPerGroup);
  for (Warpgroup &group : cta.warpgroups)
    group.agent = newAgent();
}

uint32_t Cta::liveThreads() const {
  uint32_t threads = 0;
  for (const auto &warp : warps)
    threads += warp->exited() ? 0 : laneCount;
  return threads;
}

//===- Running ---------------------------------------------------------------------------------------===//

Cluster::Round Cluster::runRound(uint64_t &budget) {
  Round round;
  std::vector<Warp *> order;
  for (auto &cta : ctas_)
    for (auto &warp : cta->warps)
      if (!warp->exited())
        order.push_back(warp.get());
  round.alive = !order.empty();
  const bool shuffled = grid_.seed() != 0;
  if (shuffled)
    std::shuffle(order.begin(), order.end(), random_);
  for (Warp *warp : order) {
    if (warp->exited() || !warp->canRun())
      continue;
    round.ran = true;
    uint64_t turn = std::min(budget, shuffled ? 1 + random_() % turnInstructions : turnInstructions);
    budget -= turn;
    warp->run(turn);
    budget += turn;
    round.spins = round.spins && (warp->exited() || warp->spins() || !warp->canRun());
    if (!shuffled || random_() % 2)
      completeLoads();
    if (budget == 0 || grid_.stopped())
      break;
  }
  if ((!round.ran || round.spins) && !loads_.empty()) {
    completeLoads();
    round.ran = true;
    round.spins = false;
  }
  return round;
}

Cluster::Ended Cluster::run(uint64_t &budget, bool patient) {
  patient_ = patient;
  while (budget > 0 && !grid_.stopped()) {
    const uint64_t before = changes_;
    const Round round = runRound(budget);
    if (!round.alive) {
      completeLoads();
      return Ended::Exited;
    }
    if (!round.ran) {
      reportDeadlock();
      grid_.stop();
    } else if (round.spins && changes_ == before && budget > 0) {
      return Ended::Spins;
    }
  }
  return grid_.stopped() ? Ended::Exited : Ended::Budget;
}

bool Cluster::partLanes() {
  bool some = false;
  for (auto &cta : ctas_)
    for (auto &warp : cta->warps)
      some = warp->partLanes() || some;
  return some;
}

uint64_t Cluster::state() const {
  uint64_t state = 0;
  for (const auto &cta : ctas_)
    for (const auto &warp : cta->warps)
      state = mixed(state, warp->state());
  return state;
}

Agent Cluster::newAgent() {
  if (agents_ >= agentLimit)
    throw DeviceError(
        {fmt::format("emulating {}", program_.name),
         fmt::format("a cluster must have at most {} warps, warpgroups and initialisations of mbarriers",
                     agentLimit),
         "more", "initialise mbarriers once"});
  return agents_++;
}

//===- mbarriers -------------------------------------------------------------------------------------===//

void Cluster::endPhaseIfDone(Cta &cta, Mbarrier &barrier) {
  if (barrier.pending != 0 || barrier.owedBytes != 0)
    return;
  barrier.passed.join(barrier.arriving);
  barrier.passed.see(barrier.agent, ++barrier.phase);
  barrier.pending = barrier.expected;
  barrier.announcedBytes = barrier.arrivedBytes = 0;
  progress();
  for (auto &other : ctas_)
    for (auto &warp : other->warps)
      for (Group &group : warp->groups())
        if (group.wait.kind == Wait::Kind::Mbarrier && group.wait.rank == cta.rank &&
            group.wait.place == barrier.offset)
          group.wait = {};
}

void Cluster::arrive(Cta &cta, Mbarrier &barrier, uint32_t arrivals, const Warp &by) {
  if (arrivals > barrier.pending) {
    by.report(FindingKind::BarrierMisuse, by.mask,
              fmt::format("{} arrivals where {} of {} are pending in phase {}", arrivals, barrier.pending,
                          barrier.expected, barrier.phase),
              "initialise the barrier with the number of arrivals of a phase",
              nameShared(cta, barrier.offset, &by.cta), barrier.lastArrivePc);
    arrivals = barrier.pending;
  }
  barrier.pending -= arrivals;
  barrier.lastArrivePc = by.pc;
  progress();
  if (barrier.pending == 0 && barrier.owedBytes < 0)
    completeBytes(cta, barrier, 0, by, by.pc);
  endPhaseIfDone(cta, barrier);
}

void Cluster::completeBytes(Cta &cta, Mbarrier &barrier, int64_t bytes, const Warp &by, uint32_t pc) {
  barrier.owedBytes -= bytes;
  barrier.arrivedBytes += bytes;
  progress();
  if (barrier.pending == 0 && barrier.owedBytes < 0) {
    report({FindingKind::TransactionCount, pc,
            fmt::format("{} bytes arrive in phase {}, {} were announced", barrier.arrivedBytes, barrier.phase,
                        barrier.announcedBytes),
            "announce with expect_tx what the loads of the phase bring",
            nameShared(cta, barrier.offset, &by.cta), barrier.lastArrivePc, nameAgent(by, -1)});
    barrier.owedBytes = 0; // So that the rest of the kernel can be looked at.
  }
  endPhaseIfDone(cta, barrier);
}

//===- Named barriers and the cluster's --------------------------------------------------------------===//

void Cluster::releaseNamed(Cta &cta, uint32_t number) {
  NamedBarrier &barrier = cta.named[number];
  for (auto &warp : cta.warps)
    for (Group &group : warp->groups())
      if (group.wait.kind == Wait::Kind::NamedBarrier && group.wait.place == number) {
        group.wait = {};
        ++group.pc;
        warp->clock.join(barrier.clock);
      }
  barrier = {};
  progress();
}

bool Cluster::arriveNamed(Warp &warp, uint32_t number, uint32_t threads, bool wait) {
  Cta &cta = warp.cta;
  NamedBarrier &barrier = cta.named[number];
  const bool all = threads == 0;
  const uint32_t expected = all ? cta.liveThreads() : threads;
  ++counters.namedBarriers;
  if (barrier.arrived == 0) {
    barrier.expected = expected;
    barrier.all = all;
    barrier.pc = warp.pc;
  } else if (barrier.all != all || (!all && barrier.expected != expected)) {
    warp.report(FindingKind::BarrierMisuse, warp.mask,
                fmt::format("named barrier {} is for {} threads here and for {} where others wait", number,
                            expected, barrier.expected),
                "give all its users the same number", "", barrier.pc);
  }
  barrier.clock.join(warp.clock);
  warp.advance();
  barrier.arrived += laneCount;
  if (barrier.arrived < (barrier.all ? cta.liveThreads() : barrier.expected)) {
    if (wait)
      warp.block({Wait::Kind::NamedBarrier, cta.rank, number, 0});
    return !wait;
  }
  warp.clock.join(barrier.clock);
  releaseNamed(cta, number);
  return true;
}

void Cluster::completeIfAllArrived(Cta &cta, uint32_t number) {
  NamedBarrier &barrier = cta.named[number];
  if (barrier.all && barrier.arrived > 0 && barrier.arrived >= cta.liveThreads())
    releaseNamed(cta, number);
}

void Cluster::arriveCluster(Warp &warp, uint32_t lanes, bool release) {
  ++counters.clusterBarriers;
  if (const uint32_t again = warp.clusterArrived & lanes)
    warp.report(FindingKind::BarrierMisuse, again, "the cluster's barrier is arrived at twice without a wait",
                "pair barrier.cluster.arrive with barrier.cluster.wait");
  warp.clusterArrived |= lanes;
  if (release) {
    clusterArriving_.join(warp.clock);
    warp.advance();
  }
  progress();
  endClusterPhaseIfDone();
}

void Cluster::endClusterPhaseIfDone() {
  bool some = false;
  for (auto &cta : ctas_)
    for (auto &warp : cta->warps) {
      if (warp->live() & ~warp->clusterArrived)
        return;
      some = some || warp->clusterArrived != 0;
    }
  if (!some)
    return;
  clusterPassed_.join(clusterArriving_);
  for (auto &cta : ctas_)
    for (auto &warp : cta->warps) {
      warp->clusterArrived = 0;
      for (Group &group : warp->groups())
        if (group.wait.kind == Wait::Kind::ClusterBarrier)
          group.wait = {};
    }
}

bool Cluster::clusterPassed(Warp &warp, uint32_t lanes) {
  if (warp.clusterArrived & lanes)
    return false;
  warp.clock.join(clusterPassed_);
  return true;
}

void Cluster::exited(Warp &warp, uint32_t lanes) {
  progress();
  warp.clusterArrived &= ~lanes;
  Cta &cta = warp.cta;
  if (warp.exited()) {
    --cta.liveWarps;
    for (uint32_t number = 0; number < cta.named.size(); ++number)
      completeIfAllArrived(cta, number);
    if (cta.exited())
      checkExit(cta);
  }
  if (ctas_.size() > 1)
    endClusterPhaseIfDone();
}

void Cluster::wakeRegisterWaits(Cta &cta) {
  for (auto &warp : cta.warps)
    for (Group &group : warp->groups())
      if (group.wait.kind == Wait::Kind::Registers)
        group.wait = {};
}

//===- Asynchronous loads ----------------------------------------------------------------------------===//

void Cluster::completeLoads() {
  if (loads_.size() > 1 && grid_.seed() != 0)
    std::shuffle(loads_.begin(), loads_.end(), random_);
  while (!loads_.empty()) {
    PendingLoad load = std::move(loads_.front());
    loads_.pop_front();
    Cta &cta = *ctas_[load.rank];
    load.move();
    Mbarrier *barrier = cta.shared.barrierAt(load.barrier);
    if (!barrier)
      continue;
    --barrier->loadsInFlight;
    if (barrier->phase != load.phase)
      report({FindingKind::TransactionCount, load.pc,
              fmt::format(
                  "the load arrives in phase {} of its barrier, it was issued in phase {}: that phase ended "
                  "with bytes still on their way",
                  barrier->phase, load.phase),
              "announce with expect_tx the bytes of all loads of the phase",
              nameShared(cta, load.barrier, &load.issuer->cta), barrier->lastArrivePc,
              nameAgent(*load.issuer, int(load.lane))});
    completeBytes(cta, *barrier, load.bytes, *load.issuer, load.pc);
  }
}
