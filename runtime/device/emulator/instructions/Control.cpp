//===- Control.cpp - Branches, ends, register budgets ------------------------------------------------===//
//
// bra, ret, exit, trap, setmaxnreg, griddepcontrol and instructions that only pass time. Registers of
// setmaxnreg come from the CTA's share of the SM and go back to it, so a budget that cannot be met waits, as
// on the hardware, and a deadlock tells.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/Cluster.h"
#include "lathe/runtime/device/emulator/ControlFlow.h"
#include "lathe/runtime/device/emulator/Decoder.h"
#include "lathe/runtime/device/emulator/Grid.h"

#include <fmt/format.h>

using namespace lathe::runtime::emulator;

//===- Branches --------------------------------------------------------------------------------------===//

static void branchTo(Warp &w, const Instr &i) {
  if (i.detail && w.mask != w.current().mask)
    w.report(FindingKind::Divergence, w.current().mask & ~w.mask, "a branch marked .uni parts the lanes",
             "give all lanes the same condition");
  w.branch(w.mask, i.target, i.meeting);
}

static void exitThreads(Warp &w, const Instr &) { w.exitLanes(); }

static void trap(Warp &w, const Instr &) {
  w.report(FindingKind::IllegalInstruction, w.mask, "the kernel traps");
  w.exitLanes();
}

bool lathe::runtime::emulator::isBranch(const Instr &instr) { return instr.run == &branchTo; }
bool lathe::runtime::emulator::isExit(const Instr &instr) {
  return instr.run == &exitThreads || instr.run == &trap;
}

static bool decodeBranch(Decoder &d) {
  d.out.detail = d.take("uni") ? 1 : 0;
  d.requireCount(1);
  if (d.operand(0).kind != ptx::Operand::Kind::Symbol)
    d.refuse("a branch must be to a label", "something else");
  d.out.target = d.kernel().labels[d.in().branchLabel];
  return d.done(&branchTo, Mix::Branch);
}

//===- Register budgets ------------------------------------------------------------------------------===//

static void checkPressure(Warp &w, const Instr &i) {
  for (const Program::Pressure &pressure : w.program().pressures)
    if (pressure.pc == w.pc && pressure.registers > i.detail)
      w.report(
          FindingKind::RegisterBudget, w.mask,
          fmt::format("the budget is {} registers a thread, {} values that must be kept are alive together",
                      i.detail, pressure.registers),
          "raise the budget of this role or keep fewer values", "", pressure.peakPc);
}

template <bool increase>
static void setBudget(Warp &w, const Instr &i) {
  if (!w.requireConverged(allLanes, "setmaxnreg"))
    return;
  const uint32_t now = w.registerBudget;
  if (increase ? i.detail < now : i.detail > now)
    w.report(FindingKind::RegisterBudget, w.mask,
             fmt::format("setmaxnreg.{} to {} registers from {}", increase ? "inc" : "dec", i.detail, now),
             "increase above, decrease below what the warp has");
  checkPressure(w, i);
  Cta &cta = w.cta;
  const int64_t more = (int64_t(i.detail) - int64_t(now)) * laneCount;
  if (more > int64_t(cta.freeRegisters))
    return w.block({Wait::Kind::Registers, 0, 0, 0});
  cta.freeRegisters = uint32_t(int64_t(cta.freeRegisters) - more);
  w.registerBudget = i.detail;
  w.cluster().progress();
  if (more < 0)
    w.cluster().wakeRegisterWaits(cta);
}

bool lathe::runtime::emulator::isRegisterBudget(const Instr &instr) {
  return instr.run == &setBudget<true> || instr.run == &setBudget<false>;
}

static bool decodeSetmaxnreg(Decoder &d) {
  const int direction = d.takeOneOf({"inc", "dec"});
  if (!d.take("sync") || !d.take("aligned") || !d.take("u32") || direction < 0)
    d.refuseModifiers();
  d.requireCount(1);
  d.out.detail = uint32_t(d.integer(d.operand(0), 24, 256));
  if (d.out.detail % 8 != 0)
    d.refuse("a register budget must be a multiple of 8", fmt::format("{}", d.out.detail));
  return d.done(direction == 0 ? &setBudget<true> : &setBudget<false>, Mix::Other);
}

//===- The rest --------------------------------------------------------------------------------------===//

/// Kernels run one after the other here, so their dependencies are met before they begin.
static void nothing(Warp &, const Instr &) {}

/// No time passes here; who sleeps waits for something.
static void sleep(Warp &w, const Instr &) { w.poll({}); }

bool lathe::runtime::emulator::decodeControl(Decoder &d) {
  const std::string_view root = d.root();
  if (root == "bra")
    return decodeBranch(d);
  if (root == "ret" || root == "exit") {
    d.take("uni");
    d.requireCount(0);
    return d.done(&exitThreads, Mix::Branch);
  }
  if (root == "trap") {
    d.requireCount(0);
    return d.done(&trap, Mix::Other);
  }
  if (root == "setmaxnreg")
    return decodeSetmaxnreg(d);
  if (root == "griddepcontrol") {
    if (d.takeOneOf({"wait", "launch_dependents"}) < 0)
      d.refuseModifiers();
    return d.done(&nothing, Mix::Other);
  }
  if (root == "nanosleep") {
    d.take("u32");
    d.requireCount(1);
    d.sources(0, {Type::U32});
    return d.done(&sleep, Mix::Other);
  }
  return false;
}
