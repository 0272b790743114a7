//===- Cache.cpp - What caches are told --------------------------------------------------------------===//
//
// createpolicy, prefetch, discard and applypriority. There are no caches here, so all of it changes nothing
// but what discard throws away; what can be wrong with addresses and policies is said. A policy is a number
// of the emulator's own, but for its highest four bits, by which one is known.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/Grid.h"
#include "lathe/runtime/device/emulator/MemoryAccess.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>

using namespace lathe::runtime::emulator;
using Kind = ptx::Operand::Kind;

static constexpr uint64_t policyMark = 1, policyMarkShift = 60, priorityShift = 57, fractionShift = 52;
static constexpr uint32_t lineBytes = 128;

//===- Policies --------------------------------------------------------------------------------------===//

void lathe::runtime::emulator::checkPolicy(Warp &w, const Instr &i) {
  const Value &policy = i.source(i.sources - 1);
  if (const uint32_t lanes = w.undefined(policy) & w.mask)
    return w.cluster().reportUndefined(w, lanes, w.origin(policy), "is a cache policy");
  uint32_t wrong = 0;
  overLanes(w.mask, [&](int lane) {
    wrong |= uint32_t(laneAt<uint64_t>(w.row(policy), lane) >> policyMarkShift != policyMark) << lane;
  });
  if (wrong)
    w.report(
        FindingKind::IllegalInstruction, wrong,
        fmt::format("{:#x} is no cache policy", laneAt<uint64_t>(w.row(policy), std::countr_zero(wrong))),
        "make it with createpolicy");
}

static void setPolicy(Warp &w, const Instr &i, uint64_t policy) {
  overLanes(w.mask, [&](int lane) { setLane<uint64_t>(w.row(i.result()), lane, policy); });
  w.define(i);
}

static uint64_t policyOf(uint32_t priority, float fraction) {
  const auto sixteenths = uint64_t(std::ceil(std::clamp(fraction, 0.0625f, 1.0f) * 16));
  return policyMark << policyMarkShift | uint64_t(priority) << priorityShift |
         (sixteenths - 1) << fractionShift;
}

/// Detail: the priority.
static void fractionalPolicy(Warp &w, const Instr &i) {
  const float fraction = laneAt<float>(w.row(i.source(0)), std::countr_zero(w.mask));
  if (!(fraction > 0 && fraction <= 1) && !(w.undefined(i.source(0)) & w.mask))
    w.report(FindingKind::IllegalInstruction, w.mask,
             fmt::format("a policy for {} of the accesses: it must be above 0 and at most 1", fraction));
  setPolicy(w, i, policyOf(i.detail, fraction > 0 ? fraction : 1));
}

static void wholePolicy(Warp &w, const Instr &i) { setPolicy(w, i, policyOf(i.detail, 1)); }

static bool decodePolicyOf(Decoder &d) {
  const int form = d.takeOneOf({"fractional", "range", "cvt"});
  if (form == 1)
    d.take("global");
  if (form == 2 ? !d.take("L2") : form < 0)
    d.refuseModifiers();
  if (form != 2) {
    const int priority =
        d.takeOneOf({"L2::evict_unchanged", "L2::evict_first", "L2::evict_last", "L2::evict_normal"});
    if (priority < 0)
      d.refuseModifiers();
    d.out.detail = uint32_t(priority);
    d.takeOneOf({"L2::evict_first", "L2::evict_unchanged"});
  }
  if (!d.take("b64"))
    d.refuseModifiers();
  d.requireCount(form == 0 ? 1 : form == 1 ? 4 : 2, form == 0 ? 2 : form == 1 ? 4 : 2);
  d.results({Type::B64});
  if (form == 0 && d.count() == 2)
    d.sources(1, {Type::F32});
  else if (form == 0)
    d.constantSource(std::bit_cast<uint32_t>(1.0f), Type::F32);
  else if (form == 2)
    d.sources(1, {Type::B64});
  else if (d.address(d.operand(1)))
    d.refuse("a policy must be for global memory", "shared memory");
  if (form == 1)
    d.sources(2, {Type::U32, Type::U32});
  return d.done(form == 0 ? &fractionalPolicy : &wholePolicy, Mix::Other);
}

//===- Lines -----------------------------------------------------------------------------------------===//

/// An address from nowhere is a mistake; one past an end is none, the hardware leaves it.
static void prefetch(Warp &w, const Instr &i) { laneAddresses(w, i, 0); }
static void nothing(Warp &, const Instr &) {}

static bool decodePrefetch(Decoder &d) {
  d.takeAny(
      {"param", "const", "global", "local", "tensormap", "L1", "L2", "L2::evict_last", "L2::evict_normal"});
  d.requireCount(1);
  const ptx::Operand &address = d.operand(0);
  if (address.kind == Kind::Address && address.parts[0].kind == Kind::Symbol)
    return d.done(d.parameterOffset(address.parts[0].text) ? &nothing : nullptr, Mix::Other);
  if (d.address(address))
    d.refuseModifiers();
  return d.done(&prefetch, Mix::Other);
}

/// Detail 1: the line's bytes hold nothing afterwards; 0: they stay.
static void touchLines(Warp &w, const Instr &i) {
  const LaneAddresses addresses = laneAddresses(w, i, 0);
  overLanes(addresses.mask, [&](int lane) {
    const uint64_t address = addresses.at[lane];
    Allocation *buffer = w.cluster().grid().memory().find(address);
    if (address % lineBytes != 0)
      return w.report(FindingKind::Misaligned, uint32_t(1) << lane,
                      fmt::format("the address {:#x} must be a multiple of {} bytes", address, lineBytes));
    if (!buffer || !buffer->holds(address, lineBytes))
      return w.report(FindingKind::OutOfBounds, uint32_t(1) << lane,
                      fmt::format("{} bytes at a global address that no buffer holds", lineBytes),
                      "check index and extent", w.cluster().nameGlobal(address));
    if (i.detail)
      buffer->markUnwritten(address, lineBytes);
  });
}

static bool decodeLines(Decoder &d) {
  const bool discards = d.root() == "discard";
  d.take("global");
  if (!d.take(discards ? "L2" : "L2::evict_normal"))
    d.refuseModifiers();
  d.requireCount(2);
  d.integer(d.operand(1), lineBytes, lineBytes);
  if (d.address(d.operand(0)))
    d.refuseModifiers();
  d.out.detail = discards ? 1 : 0;
  return d.done(&touchLines, Mix::Other);
}

bool lathe::runtime::emulator::decodeCache(Decoder &d) {
  const std::string_view root = d.root();
  if (root == "createpolicy")
    return decodePolicyOf(d);
  if (root == "prefetch" || root == "prefetchu")
    return decodePrefetch(d);
  if (root == "discard" || root == "applypriority")
    return decodeLines(d);
  return false;
}
