//===- Mbarrier.cpp - Barriers in shared memory ------------------------------------------------------===//
//
// mbarrier.init, inval, arrive in all its forms, expect_tx, complete_tx, test_wait and try_wait, and mapa,
// which finds another CTA's barrier. An arrival releases, a wait that succeeds acquires, unless the
// instruction is relaxed. A wait that cannot succeed yet blocks; the scheduler knows what it waits for.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/Cluster.h"
#include "lathe/runtime/device/emulator/Grid.h"
#include "lathe/runtime/device/emulator/MemoryAccess.h"
#include "lathe/runtime/device/emulator/Windows.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

using namespace lathe::runtime::emulator;
using Kind = ptx::Operand::Kind;

static constexpr uint32_t barrierBytes = 8, countLimit = (1 << 20) - 1;

namespace {

enum class Operation : uint8_t { Init, Inval, Arrive, ArriveDrop, ExpectTx, CompleteTx, TestWait, TryWait };

/// Detail of an mbarrier instruction.
struct BarrierDetail {
  Operation operation = Operation::Arrive;
  bool expects = false; ///< arrive.expect_tx.
  bool relaxed = false;
  bool parity = false;   ///< test_wait.parity, try_wait.parity.
  bool ownBase = false;  ///< The address is a name of shared memory.
  bool hasCount = false; ///< A count or a number of bytes is given.
  bool noinc = false;    ///< cp.async.mbarrier.arrive.noinc.
  uint32_t pack() const {
    return uint32_t(operation) | uint32_t(expects) << 8 | uint32_t(relaxed) << 9 | uint32_t(parity) << 10 |
           uint32_t(ownBase) << 11 | uint32_t(hasCount) << 12 | uint32_t(noinc) << 13;
  }
  static BarrierDetail unpack(uint32_t bits) {
    auto flag = [bits](int at) { return (bits >> at & 1) != 0; };
    return {static_cast<Operation>(bits & 255), flag(8), flag(9), flag(10), flag(11), flag(12), flag(13)};
  }
  int countSource() const { return ownBase ? 0 : 1; }
};

struct Found {
  Cta *cta = nullptr;
  Mbarrier *barrier = nullptr;
  uint32_t offset = 0;
};

} // namespace

static uint32_t bit(int lane) { return uint32_t(1) << lane; }

/// An address of the shared window, whichever way it was given.
static uint32_t windowAddress(uint64_t address) {
  return uint32_t(address >= sharedWindow ? address - sharedWindow : address);
}

/// The barrier that a lane names; reports and gives null where there is none.
static Found findBarrier(Warp &w, uint64_t address, int lane, bool makes = false) {
  Found found;
  if (address % barrierBytes != 0) {
    w.report(FindingKind::Misaligned, bit(lane),
             fmt::format("an mbarrier at {:#x}, not at a multiple of 8", address));
    return found;
  }
  found.cta = findShared(w, windowAddress(address), false, barrierBytes, lane);
  if (!found.cta)
    return found;
  found.offset = offsetOf(windowAddress(address));
  found.barrier = found.cta->shared.barrierAt(found.offset);
  if (makes)
    return found;
  const std::string name = w.cluster().nameShared(*found.cta, found.offset, &w.cta);
  if (!found.barrier) {
    w.report(FindingKind::BarrierMisuse, bit(lane), "there is no initialised mbarrier at the address",
             "initialise it, or check the offset", name);
    return found;
  }
  const Mbarrier &barrier = *found.barrier;
  if (w.clock.seen(barrier.initAgent) < barrier.initStep)
    w.report(FindingKind::DataRace, bit(lane),
             "the mbarrier is used and nothing orders that after its initialisation",
             "put a barrier of the CTA (of the cluster for other CTAs) between the two", name,
             barrier.initPc);
  return found;
}

//===- Making ----------------------------------------------------------------------------------------===//

static void initialise(Warp &w, const Instr &i, const BarrierDetail &detail) {
  const LaneAddresses addresses = laneAddresses(w, i, detail.ownBase ? -1 : 0);
  overLanes(addresses.mask, [&](int lane) {
    const Found found = findBarrier(w, addresses.at[lane], lane, true);
    if (!found.cta)
      return;
    const uint32_t count = laneAt<uint32_t>(w.row(i.source(detail.countSource())), lane);
    const Accessor who{w.agent, w.step(), w.pc, Proxy::Generic, &w.clock};
    const std::string name = w.cluster().nameShared(*found.cta, found.offset, &w.cta);
    if (count == 0 || count > countLimit)
      w.report(FindingKind::BarrierMisuse, bit(lane), fmt::format("an mbarrier of {} arrivals", count),
               fmt::format("give it 1 to {}", countLimit), name);
    Mbarrier *barrier = found.barrier;
    if (barrier) {
      w.report(FindingKind::BarrierMisuse, bit(lane),
               "the mbarrier is initialised again and was not invalidated",
               "initialise it once, or use mbarrier.inval", name, barrier->initPc);
      found.cta->shared.dropBarrier(found.offset);
    }
    if (const AccessFault fault = found.cta->shared.write(found.offset, barrierBytes, who))
      reportShared(w, *found.cta, fault, true, lane);
    barrier = &found.cta->shared.makeBarrier(found.offset);
    barrier->agent = w.cluster().newAgent();
    barrier->expected = barrier->pending = std::max(count, 1u);
    barrier->initPc = w.pc;
    barrier->initAgent = w.agent;
    barrier->initStep = w.step();
    w.unfenced.push_back(barrier);
  });
  w.cluster().progress();
}

static void invalidate(Warp &w, const Instr &i, const BarrierDetail &detail) {
  const LaneAddresses addresses = laneAddresses(w, i, detail.ownBase ? -1 : 0);
  overLanes(addresses.mask, [&](int lane) {
    const Found found = findBarrier(w, addresses.at[lane], lane);
    if (!found.barrier)
      return;
    std::erase(w.unfenced, found.barrier);
    found.cta->shared.dropBarrier(found.offset);
    const Accessor who{w.agent, w.step(), w.pc, Proxy::Generic, &w.clock};
    found.cta->shared.write(found.offset, barrierBytes, who);
    found.cta->shared.undefine(found.offset, barrierBytes, 0);
  });
}

//===- Arriving --------------------------------------------------------------------------------------===//

static void arrive(Warp &w, const Instr &i, const BarrierDetail &detail) {
  const LaneAddresses addresses = laneAddresses(w, i, detail.ownBase ? -1 : 0);
  uint64_t states[laneCount] = {};
  bool released = false;
  overLanes(addresses.mask, [&](int lane) {
    const Found found = findBarrier(w, addresses.at[lane], lane);
    if (!found.barrier)
      return;
    Mbarrier &barrier = *found.barrier;
    if (found.cta != &w.cta && !barrier.fenced)
      w.report(FindingKind::ProxyUnfenced, bit(lane),
               "another CTA's mbarrier is used, whose initialisation was not fenced",
               "execute fence.mbarrier_init.release.cluster after mbarrier.init",
               w.cluster().nameShared(*found.cta, found.offset, &w.cta), barrier.initPc);
    states[lane] = barrier.phase;
    const uint32_t given =
        detail.hasCount ? laneAt<uint32_t>(w.row(i.source(detail.countSource())), lane) : 1;
    if (detail.expects) {
      barrier.owedBytes += given;
      barrier.announcedBytes += given;
    }
    const uint32_t arrivals = detail.expects ? 1 : given;
    if (detail.operation == Operation::ArriveDrop)
      barrier.expected -= std::min(arrivals, barrier.expected);
    if (!detail.relaxed) {
      barrier.arriving.join(w.clock);
      released = true;
    }
    w.cluster().arrive(*found.cta, barrier, arrivals, w);
  });
  if (released)
    w.advance();
  if (i.results > 0) {
    overLanes(w.mask, [&](int lane) { setLane<uint64_t>(w.row(i.result()), lane, states[lane]); });
    w.setUndefined(i.result(), 0);
  }
}

/// cp.async.mbarrier.arrive: an arrival once all earlier cp.async of the thread are complete, which they are
/// here.
static void arriveAfterCopies(Warp &w, const Instr &i, const BarrierDetail &detail) {
  const LaneAddresses addresses = laneAddresses(w, i, detail.ownBase ? -1 : 0);
  overLanes(addresses.mask, [&](int lane) {
    const Found found = findBarrier(w, addresses.at[lane], lane);
    if (!found.barrier)
      return;
    if (!detail.noinc)
      ++found.barrier->pending;
    found.barrier->arriving.join(w.clock);
    found.barrier->arriving.see(w.copyAgent, w.copies.issued());
    w.cluster().arrive(*found.cta, *found.barrier, 1, w);
  });
  w.advance();
}

static void countBytes(Warp &w, const Instr &i, const BarrierDetail &detail) {
  const LaneAddresses addresses = laneAddresses(w, i, detail.ownBase ? -1 : 0);
  overLanes(addresses.mask, [&](int lane) {
    const Found found = findBarrier(w, addresses.at[lane], lane);
    if (!found.barrier)
      return;
    const uint32_t bytes = laneAt<uint32_t>(w.row(i.source(detail.countSource())), lane);
    if (detail.operation == Operation::CompleteTx)
      return w.cluster().completeBytes(*found.cta, *found.barrier, bytes, w, w.pc);
    found.barrier->owedBytes += bytes;
    found.barrier->announcedBytes += bytes;
  });
}

//===- Waiting ---------------------------------------------------------------------------------------===//

/// Whether the phase that a wait names has ended, and which it is, counted from 1.
static bool ended(const Mbarrier &barrier, const BarrierDetail &detail, uint64_t token, uint32_t &phase) {
  phase = barrier.phase;
  return detail.parity ? (barrier.phase & 1) != (token & 1) : barrier.phase > token;
}

static void checkTwice(Warp &w, const Found &found, uint32_t phase, int lane) {
  Warp::Waited &last = w.waited(found.barrier);
  if (last.phase == phase && (last.lanes & bit(lane)))
    w.report(FindingKind::PhaseWaitedTwice, bit(lane),
             phase == 0 ? "the phase before the first is waited for again"
                        : fmt::format("phase {} is waited for again: this thread has passed it", phase - 1),
             "advance stage and parity with each use of the ring",
             w.cluster().nameShared(*found.cta, found.offset, &w.cta), last.pc);
  if (last.phase != phase)
    last = {phase, 0, w.pc};
  last.lanes |= bit(lane);
}

static void wait(Warp &w, const Instr &i, const BarrierDetail &detail) {
  const LaneAddresses addresses = laneAddresses(w, i, detail.ownBase ? -1 : 0);
  const Value &tokens = i.source(detail.countSource());
  uint32_t passed = 0;
  Found waiting;
  uint32_t parity = 0;
  overLanes(addresses.mask, [&](int lane) {
    const Found found = findBarrier(w, addresses.at[lane], lane);
    if (!found.barrier) {
      passed |= bit(lane); // Reported; going on shows more than standing still.
      return;
    }
    const uint64_t token = tokens.kind == ptx::RegisterClass::Bits64 ? laneAt<uint64_t>(w.row(tokens), lane)
                                                                     : laneAt<uint32_t>(w.row(tokens), lane);
    uint32_t phase = 0;
    if (!ended(*found.barrier, detail, token, phase)) {
      waiting = found;
      parity = uint32_t(token);
      return;
    }
    checkTwice(w, found, phase, lane);
    passed |= bit(lane);
    if (!detail.relaxed)
      w.clock.join(found.barrier->passed);
  });
  if (passed == 0 && waiting.barrier && detail.operation == Operation::TryWait) {
    if (!w.stalled) {
      ++w.counters().barrierStalls;
      w.stalled = true;
    }
    return w.block({Wait::Kind::Mbarrier, waiting.cta->rank, waiting.offset, parity});
  }
  if (passed)
    ++w.counters().barrierWaits;
  else if (waiting.barrier)
    w.poll({Warp::Poll::What::Shared, 0, waiting.barrier->phase,
            sharedWindowAddress(waiting.cta->rank, waiting.offset), waiting.barrier->phase});
  w.stalled = false;
  w.setPredicate(i.result(), passed);
  w.define(i);
}

//===- Decoding --------------------------------------------------------------------------------------===//

static void barrierInstruction(Warp &w, const Instr &i) {
  const BarrierDetail detail = BarrierDetail::unpack(i.detail);
  switch (detail.operation) {
  case Operation::Init:
    return initialise(w, i, detail);
  case Operation::Inval:
    return invalidate(w, i, detail);
  case Operation::Arrive:
  case Operation::ArriveDrop:
    return arrive(w, i, detail);
  case Operation::ExpectTx:
  case Operation::CompleteTx:
    return countBytes(w, i, detail);
  case Operation::TestWait:
  case Operation::TryWait:
    return wait(w, i, detail);
  }
}

static void copyArrive(Warp &w, const Instr &i) { arriveAfterCopies(w, i, BarrierDetail::unpack(i.detail)); }

static bool decodeWait(Decoder &d, BarrierDetail &detail) {
  d.requireCount(3, detail.operation == Operation::TryWait ? 4 : 3);
  d.results({Type::Pred});
  detail.ownBase = d.address(d.operand(1));
  d.source(d.operand(2), detail.parity ? Type::B32 : Type::B64);
  d.out.detail = detail.pack(); // A time limit, if any, is only a hint.
  return d.done(&barrierInstruction, Mix::Barrier);
}

static bool decodeArrive(Decoder &d, BarrierDetail &detail) {
  const bool returns = d.operand(0).kind != Kind::Address;
  d.requireCount(returns ? 2 : 1, returns ? 3 : 2);
  if (returns)
    d.result(d.operand(0), Type::B64);
  detail.ownBase = d.address(d.operand(returns ? 1 : 0));
  detail.hasCount = d.count() == (returns ? 3u : 2u);
  if (detail.expects && !detail.hasCount)
    d.refuse("arrive.expect_tx must have a number of bytes", "none");
  if (detail.hasCount)
    d.source(d.operand(returns ? 2 : 1), Type::B32);
  d.out.detail = detail.pack();
  return d.done(&barrierInstruction, Mix::Barrier);
}

static bool decodeOperation(Decoder &d) {
  BarrierDetail detail;
  const int operation = d.takeOneOf(
      {"init", "inval", "arrive", "arrive_drop", "expect_tx", "complete_tx", "test_wait", "try_wait"});
  if (operation < 0)
    d.refuseModifiers();
  detail.operation = static_cast<Operation>(operation);
  detail.expects = d.take("expect_tx");
  detail.parity = d.take("parity");
  for (int word;
       (word = d.takeOneOf({"relaxed", "release", "acquire", "cta", "cluster", "noComplete"})) >= 0;)
    detail.relaxed = detail.relaxed || word == 0;
  d.takeOneOf({"shared", "shared::cta", "shared::cluster"});
  if (!d.take("b64"))
    d.refuseModifiers();
  if (detail.operation == Operation::Arrive || detail.operation == Operation::ArriveDrop)
    return decodeArrive(d, detail);
  if (detail.operation == Operation::TestWait || detail.operation == Operation::TryWait)
    return decodeWait(d, detail);
  const bool hasCount = detail.operation != Operation::Inval;
  d.requireCount(hasCount ? 2 : 1);
  detail.ownBase = d.address(d.operand(0));
  if (hasCount)
    d.source(d.operand(1), Type::B32);
  d.out.detail = detail.pack();
  return d.done(&barrierInstruction, Mix::Barrier);
}

/// mapa: the same place in the CTA of a rank.
template <class T>
static void mapAddress(Warp &w, const Instr &i) {
  std::byte *result = w.row(i.result());
  overLanes(w.mask, [&](int lane) {
    const uint64_t address = laneAt<T>(w.row(i.source(0)), lane) + uint64_t(i.offset);
    const uint64_t window = address >= sharedWindow ? sharedWindow : 0;
    const uint32_t rank = laneAt<uint32_t>(w.row(i.source(1)), lane);
    if (rank >= w.cluster().ctas().size())
      w.report(FindingKind::OutOfBounds, bit(lane),
               fmt::format("rank {} in a cluster of {} CTAs", rank, w.cluster().ctas().size()));
    setLane<T>(result, lane,
               T(window + sharedWindowAddress(rank & 255, offsetOf(uint32_t(address - window)))));
  });
  w.define(i);
}

static bool decodeMapa(Decoder &d) {
  d.take("shared::cluster");
  const Type type = d.takeType();
  d.requireCount(3);
  d.results({type});
  d.sources(1, {type, Type::U32});
  return d.done(type == Type::U32   ? &mapAddress<uint32_t>
                : type == Type::U64 ? &mapAddress<uint64_t>
                                    : nullptr,
                Mix::Integer);
}

bool lathe::runtime::emulator::decodeMbarrier(Decoder &d) {
  if (d.root() == "mbarrier")
    return decodeOperation(d);
  if (d.root() == "mapa")
    return decodeMapa(d);
  if (!d.startsWith("cp.async.mbarrier.arrive"))
    return false;
  d.take("async"), d.take("mbarrier"), d.take("arrive");
  BarrierDetail detail;
  detail.noinc = d.take("noinc");
  d.takeOneOf({"shared", "shared::cta"});
  if (!d.take("b64"))
    d.refuseModifiers();
  d.requireCount(1);
  detail.ownBase = d.address(d.operand(0));
  d.out.detail = detail.pack();
  return d.done(&copyArrive, Mix::Barrier);
}
