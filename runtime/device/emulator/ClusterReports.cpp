//===- ClusterReports.cpp - What a cluster says when something is wrong ------------------------------===//
//
// The words of findings: names of agents and addresses, who waits for what in a deadlock, what is left over
// when a CTA ends, and where an undefined value came from.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/Cluster.h"
#include "lathe/runtime/device/emulator/Grid.h"
#include "lathe/runtime/device/emulator/Windows.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

using namespace lathe::runtime::emulator;

static constexpr size_t shownWaits = 16;

//===- Names -----------------------------------------------------------------------------------------===//

std::string Cluster::nameShared(const Cta &cta, uint32_t offset, const Cta *from) const {
  const uint32_t start = program_.dynamicOffset;
  std::string text = offset >= start
                         ? program_.kernelNotes->nameOf(offset - start)
                         : fmt::format("byte {} of static shared memory", offset - reservedSharedBytes);
  if (from && from != &cta)
    text += fmt::format(" of CTA {} of the cluster", cta.rank);
  return text;
}

std::string Cluster::nameGlobal(uint64_t address) const {
  // The argument that points closest before the address, into the same buffer.
  const Allocation *buffer = grid_.memory().nearest(address);
  const auto &parameters = program_.kernel->parameters;
  const auto &names = program_.kernelNotes->arguments;
  uint64_t closest = 0;
  std::string_view name;
  for (size_t i = 0; buffer && i < std::min(parameters.size(), names.size()); ++i) {
    uint64_t pointer = 0;
    if (parameters[i].bytes != sizeof(pointer))
      continue;
    std::memcpy(&pointer, grid_.launch().parameters.data() + parameters[i].offset, sizeof(pointer));
    if (buffer->holds(pointer, 0) && pointer <= address && pointer >= closest) {
      closest = pointer;
      name = names[i];
    }
  }
  const std::string place = grid_.memory().describe(address);
  return name.empty() ? place : fmt::format("{} + {} bytes ({})", name, address - closest, place);
}

std::string Cluster::nameAgent(const Warp &warp, int lane) const {
  const std::string role = program_.kernelNotes->roleOf(warp.index);
  std::string text =
      role.empty() ? fmt::format("warp {}", warp.index) : fmt::format("{} (warp {})", role, warp.index);
  if (lane >= 0)
    text += fmt::format(", lane {}", lane);
  const LaunchShape &shape = grid_.launch().shape;
  if (shape.gridZ > 1)
    return text + fmt::format(", CTA {}, {}, {}", warp.cta.x, warp.cta.y, warp.cta.z);
  if (shape.gridY > 1)
    return text + fmt::format(", CTA {}, {}", warp.cta.x, warp.cta.y);
  return text + fmt::format(", CTA {}", warp.cta.x);
}

void Cluster::report(Report report) {
  const uint64_t time = report.time ? report.time : now();
  if (!grid_.isNew(report.kind, report.pc, time))
    return;
  Finding finding;
  finding.kind = report.kind;
  finding.kernel = program_.name;
  finding.what = std::move(report.what);
  finding.wayOut = std::move(report.wayOut);
  finding.address = std::move(report.address);
  finding.agent = std::move(report.agent);
  finding.place = grid_.placeOf(report.pc);
  if (report.otherPc != UINT32_MAX)
    finding.other = grid_.placeOf(report.otherPc);
  grid_.add(std::move(finding), report.pc, time);
}

//===- Values from nowhere ---------------------------------------------------------------------------===//

uint32_t Cluster::findOrigin(Origin::Kind kind, uint32_t pc) const {
  for (size_t i = 0; i < origins_.size(); ++i)
    if (origins_[i].kind == kind && origins_[i].pc == pc)
      return uint32_t(i + 1);
  return 0;
}

uint32_t Cluster::addOrigin(Origin origin) {
  origin.time = now();
  origins_.push_back(std::move(origin));
  return uint32_t(origins_.size());
}

/// A race or a missing fence is reported as such, at the read that had it: that is what must be repaired.
/// Other values are reported where they are used.
void Cluster::reportUndefined(const Warp &warp, uint32_t lanes, uint32_t origin, const char *use) {
  const Origin *from = origin > 0 && origin <= origins_.size() ? &origins_[origin - 1] : nullptr;
  if (from && !from->what.empty())
    return report({from->kind == Origin::Kind::Race ? FindingKind::DataRace : FindingKind::ProxyUnfenced,
                   from->pc, from->what, from->wayOut, from->address, from->otherPc, from->agent,
                   from->time});
  if (from && from->kind == Origin::Kind::Race)
    return report({FindingKind::DataRace, from->pc,
                   "it reads what another access may still change, and the result is used",
                   "order the two accesses", from->address, from->otherPc, from->agent, from->time});
  if (from && from->kind == Origin::Kind::Unfenced)
    return report(
        {FindingKind::ProxyUnfenced, from->pc,
         "the async proxy reads what ordinary instructions wrote, without fence.proxy.async between, and the "
         "result is used",
         "execute fence.proxy.async after the writes, before the barrier", from->address, from->otherPc,
         from->agent, from->time});
  if (from && from->kind == Origin::Kind::Layout)
    return report({FindingKind::Descriptor, from->pc,
                   "the descriptor does not follow the layout in which TMA brought the operand (swizzle, or "
                   "the order of "
                   "rows and boxes), and the result is used",
                   "compare swizzle, leading and stride offsets with the tensor map's box", from->address,
                   from->otherPc, from->agent, from->time});
  std::string what = fmt::format("a value that comes from no write {}", use);
  std::string address;
  if (from) {
    what += from->kind == Origin::Kind::Register
                ? fmt::format(": register {}, read before anything wrote it", from->address)
                : fmt::format(": read from {}, where nothing was written", from->address);
    address = from->kind == Origin::Kind::Register ? "" : from->address;
  }
  const int lane = lanes == 0 ? -1 : std::countr_zero(lanes);
  report({FindingKind::UndefinedValue, warp.pc, std::move(what), "write it first", std::move(address),
          from ? from->pc : UINT32_MAX, nameAgent(warp, lane)});
}

//===- Deadlock --------------------------------------------------------------------------------------===//

std::string Cluster::describeBarrier(const Cta &cta, const Mbarrier &barrier) const {
  std::string text =
      fmt::format("phase {} of {}", barrier.phase, nameShared(cta, barrier.offset, ctas_[0].get()));
  if (barrier.pending > 0)
    text += fmt::format(", {} of {} arrivals missing", barrier.pending, barrier.expected);
  if (barrier.owedBytes != 0)
    text += fmt::format(", {} of {} announced bytes missing", barrier.owedBytes, barrier.announcedBytes);
  return text;
}

std::string Cluster::describeWait(const Warp &warp, const Group &group) const {
  switch (group.wait.kind) {
  case Wait::Kind::Mbarrier: {
    Cta &cta = *ctas_[group.wait.rank];
    const Mbarrier *barrier = cta.shared.barrierAt(group.wait.place);
    return barrier ? describeBarrier(cta, *barrier) : "an mbarrier that is gone";
  }
  case Wait::Kind::NamedBarrier: {
    const NamedBarrier &barrier = warp.cta.named[group.wait.place];
    return fmt::format("named barrier {}, {} of {} threads there", group.wait.place, barrier.arrived,
                       barrier.expected);
  }
  case Wait::Kind::ClusterBarrier:
    return "the cluster's barrier";
  case Wait::Kind::Warpgroup:
    return "the other warps of its warpgroup at a WGMMA";
  case Wait::Kind::Registers:
    return fmt::format("registers for setmaxnreg, {} are free", warp.cta.freeRegisters);
  case Wait::Kind::Lanes:
    return "lanes of its own warp";
  case Wait::Kind::None:
    break;
  }
  return warp.lastPoll().pc == UINT32_MAX ? "lanes of its own warp" : describeSpin(warp);
}

/// What a warp looks at again and again.
std::string Cluster::describeSpin(const Warp &warp) const {
  const Warp::Poll &poll = warp.lastPoll();
  switch (poll.what) {
  case Warp::Poll::What::Global:
    return fmt::format("a change of {}, which is {:#x}", nameGlobal(poll.address), poll.value);
  case Warp::Poll::What::Shared:
    return fmt::format(
        "a change of {}, which is {:#x}",
        nameShared(*ctas_[rankOf(uint32_t(poll.address))], offsetOf(uint32_t(poll.address)), ctas_[0].get()),
        poll.value);
  case Warp::Poll::What::Time:
    break;
  }
  return "time to pass";
}

/// Bytes that are owed though nothing is on its way are a finding of their own, for they are the cause.
void Cluster::addWaits(Waits &waits) {
  for (auto &cta : ctas_)
    for (auto &warp : cta->warps)
      for (const Group &group : warp->groups()) {
        const bool spins = group.wait.kind == Wait::Kind::None && warp->lastPoll().pc != UINT32_MAX;
        const uint32_t pc = spins ? warp->lastPoll().pc : group.pc;
        if (!waits.first || (spins && waits.address.empty())) {
          waits.first = warp.get();
          waits.pc = pc;
          if (spins && warp->lastPoll().what == Warp::Poll::What::Global)
            waits.address = nameGlobal(warp->lastPoll().address);
        }
        waits.agents[fmt::format("{} (PTX line {})", describeWait(*warp, group), grid_.placeOf(pc).line)]
            .push_back(nameAgent(*warp, -1));
        if (group.wait.kind != Wait::Kind::Mbarrier)
          continue;
        Cta &owner = *ctas_[group.wait.rank];
        const Mbarrier *barrier = owner.shared.barrierAt(group.wait.place);
        if (barrier && barrier->pending == 0 && barrier->owedBytes > 0)
          report({FindingKind::TransactionCount, group.pc,
                  fmt::format("{} bytes were announced in phase {}, {} arrived and nothing is on its way",
                              barrier->announcedBytes, barrier->phase, barrier->arrivedBytes),
                  "announce with expect_tx what the loads of the phase bring",
                  nameShared(owner, barrier->offset), barrier->lastArrivePc, nameAgent(*warp, -1)});
      }
}

std::string Cluster::Waits::text() const {
  std::string what = "everyone waits:";
  size_t lines = 0;
  for (const auto &[wait, who] : agents) {
    if (++lines > shownWaits) {
      what += fmt::format("\n          and {} more for other things", agents.size() - shownWaits);
      break;
    }
    const size_t shown = std::min<size_t>(who.size(), 4);
    what += fmt::format("\n          {}{} for {}", fmt::join(who.begin(), who.begin() + long(shown), "; "),
                        who.size() > shown ? fmt::format(" and {} more", who.size() - shown) : "", wait);
  }
  return what;
}

void Cluster::reportDeadlock() {
  Waits waits;
  addWaits(waits);
  report({FindingKind::Deadlock, waits.pc, waits.text(), "", waits.address, UINT32_MAX,
          waits.first ? nameAgent(*waits.first, -1) : ""});
}

//===- The end of a CTA ------------------------------------------------------------------------------===//

/// What would go on after the CTA's memory is given to the next one.
void Cluster::checkExit(Cta &cta) {
  Clock known;
  for (auto &warp : cta.warps)
    known.join(warp->clock);
  for (const auto &[agent, use] : cta.remoteUses)
    if (known.seen(agent) < use.step)
      report(
          {FindingKind::ExitInFlight, use.pc,
           fmt::format(
               "CTA {} of the cluster may have ended when another CTA uses its shared memory: nothing orders "
               "the two",
               cta.rank),
           "end the kernel with a barrier of the cluster", nameShared(cta, use.offset, ctas_[0].get()),
           UINT32_MAX, use.agent});
  for (auto &barrier : cta.shared.barriers()) {
    if (barrier->loadedPhase == 0)
      continue;
    bool seen = false;
    for (auto &warp : cta.warps)
      seen = seen || warp->clock.seen(barrier->agent) >= barrier->loadedPhase;
    if (!seen)
      report({FindingKind::ExitInFlight, barrier->loadPc,
              "the CTA ends and none of its threads has waited for this load",
              "wait for the load's phase first", nameShared(cta, barrier->offset), UINT32_MAX,
              nameAgent(*cta.warps[0], -1)});
  }
  for (auto &warp : cta.warps)
    if (warp->bulk.done() < warp->bulk.issued() && warp->clock.seen(warp->bulkAgent) < warp->bulk.issued())
      report({FindingKind::ExitInFlight, warp->pc,
              "the CTA ends while a bulk copy still reads its shared memory",
              "wait with cp.async.bulk.wait_group.read before the end", "", UINT32_MAX,
              nameAgent(*warp, -1)});
}
