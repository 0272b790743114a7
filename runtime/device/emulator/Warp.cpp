#include "lathe/runtime/device/emulator/Warp.h"

#include "lathe/runtime/device/emulator/Cluster.h"
#include "lathe/runtime/device/emulator/Grid.h"
#include "lathe/runtime/device/emulator/Mixed.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

using namespace lathe::runtime::emulator;

static constexpr std::byte poison{0xff}; ///< Registers that nobody wrote.
static constexpr size_t keptPolls = 64;  ///< Of a loop that looks at several things.

static uint32_t lanesOf(uint32_t index, uint32_t threads) {
  const uint32_t left = threads - index * laneCount;
  return left >= laneCount ? allLanes : (uint32_t(1) << left) - 1;
}

Warp::Warp(Cta &cta, uint32_t index, uint32_t threads)
    : cta(cta), index(index), agent(cta.cluster.newAgent()), bulkAgent(cta.cluster.newAgent()),
      bulkWriteAgent(cta.cluster.newAgent()), copyAgent(cta.cluster.newAgent()),
      program_(cta.cluster.program()), file_(size_t(program_.rows) * 128, poison),
      rows_{file_.data(), const_cast<std::byte *>(program_.constants.data())},
      predicates_(program_.predicates), undefined_(program_.registers, allLanes),
      origins_(program_.registers), inFlight_(program_.registers), operandInFlight_(program_.registers),
      lastWritePc_(program_.registers, UINT32_MAX), lastWrite_(program_.registers),
      live_(lanesOf(index, threads)) {
  undefined_[constantRegister] = 0;
  groups_.push_back({0, live_, -1, {}});
  advance();
}

Cluster &Warp::cluster() const { return cta.cluster; }
Counters &Warp::counters() const { return cta.cluster.counters; }

//===- Values from nowhere ---------------------------------------------------------------------------===//

void Warp::propagate(const Instr &instr, uint32_t lanes) {
  uint32_t origin = 0;
  for (int i = 0; i < instr.sources && origin == 0; ++i)
    if (const uint32_t reg = instr.source(i).reg; (undefined_[reg] & mask) != 0) {
      if (origins_[reg] == 0) {
        origins_[reg] = cluster().findOrigin(Origin::Kind::Register, pc);
        if (origins_[reg] == 0)
          origins_[reg] = cluster().addOrigin({Origin::Kind::Register, pc, UINT32_MAX,
                                               program_.registerName(reg), cluster().nameAgent(*this, -1)});
      }
      origin = origins_[reg];
    }
  for (int i = 0; i < instr.results; ++i)
    setUndefined(instr.result(i), lanes, origin);
}

void Warp::setUndefined(const Value &result, uint32_t lanes, uint32_t origin) {
  uint32_t &old = undefined_[result.reg];
  old = (old & ~mask) | (lanes & mask);
  if (lanes & mask)
    origins_[result.reg] = origin;
}

//===- Registers that WGMMA uses ---------------------------------------------------------------------===//

void Warp::checkTracked(const Instr &instr) {
  for (int i = 0; i < instr.results + instr.sources; ++i) {
    const uint32_t reg = instr.ops[i].reg;
    if (!program_.ofWgmma[reg])
      continue;
    if (std::max(inFlight_[reg], operandInFlight_[reg]) > wgmma.done())
      report(FindingKind::MmaInFlight, mask,
             fmt::format("{} is {} while a WGMMA still {} it", program_.registerName(reg),
                         i < instr.results ? "written" : "read", "uses"),
             "wait for the group of that WGMMA first (wgmma.wait_group)", "", lastWritePc_[reg]);
    if (i < instr.results) {
      lastWrite_[reg] = executed_;
      lastWritePc_[reg] = pc;
    }
  }
}

//===- Lanes that part and meet ----------------------------------------------------------------------===//

void Warp::block(Wait wait) {
  current().wait = wait;
  blocked_ = true;
}

void Warp::branch(uint32_t taken, uint32_t target, uint32_t meeting) {
  Group &group = current();
  if (taken == group.mask)
    return jump(target);
  if (taken == 0)
    return;
  int split = group.split;
  if (split < 0 || splits_[size_t(split)].meeting != meeting) {
    size_t free = 0;
    while (free < splits_.size() && splits_[free].mask != 0)
      ++free;
    if (free == splits_.size())
      splits_.emplace_back();
    splits_[free] = {group.split, meeting, group.mask, 0};
    split = int(free);
  }
  const uint32_t rest = group.mask & ~taken;
  group = {pc + 1, rest, split, {}};
  groups_.push_back({target, taken, split, {}});
  regrouped_ = true;
}

void Warp::arriveAtMeeting() {
  const int split = current().split;
  splits_[size_t(split)].arrived |= current().mask;
  groups_.erase(groups_.begin() + long(current_));
  meetIfComplete(split);
}

void Warp::meetIfComplete(int split) {
  Split &place = splits_[size_t(split)];
  if (place.mask == 0 || place.arrived != place.mask)
    return;
  groups_.push_back({place.meeting, place.mask, place.parent, {}});
  place = {};
}

/// Hopper promises that lanes get on which others spin for, but not where lanes meet.
bool Warp::partLanes() {
  bool some = false;
  for (Split &place : splits_) {
    if (place.arrived == 0)
      continue;
    groups_.push_back({place.meeting, place.arrived, place.parent, {}});
    place.mask &= ~place.arrived;
    place.arrived = 0;
    some = parted_ = true;
  }
  return some;
}

void Warp::exitLanes() {
  const uint32_t lanes = mask;
  live_ &= ~lanes;
  regrouped_ = true;
  Group &group = current();
  group.mask &= ~lanes;
  group.pc = pc + 1;
  int split = group.split;
  if (group.mask == 0)
    groups_.erase(groups_.begin() + long(current_));
  while (split >= 0) {
    const int parent = splits_[size_t(split)].parent;
    splits_[size_t(split)].mask &= ~lanes;
    meetIfComplete(split);
    split = parent;
  }
  for (Group &other : groups_) // Whom they waited for may be gone.
    if (other.wait.kind == Wait::Kind::Lanes)
      other.wait = {};
  cluster().exited(*this, lanes);
}

/// Lanes whose guard lets them run.
uint32_t Warp::guardLanes(const Instr &instr) {
  if (const uint32_t lanes = undefined_[instr.guard.reg] & mask; lanes != 0) [[unlikely]] {
    cluster().reportUndefined(*this, lanes, origins_[instr.guard.reg], "decides whether it runs");
    undefined_[instr.guard.reg] &= ~lanes;
  }
  const uint32_t guard = predicate(instr.guard);
  return instr.guardNegated ? ~guard : guard;
}

void Warp::charge(uint64_t instructions) {
  if (cluster().grid().limited())
    charged_ += instructions;
}

//===- Running ---------------------------------------------------------------------------------------===//

bool Warp::canRun() const {
  for (const Group &group : groups_)
    if (group.wait.kind == Wait::Kind::None)
      return true;
  return false;
}

/// The group that is furthest behind, of those that can run and were not seen to spin in this turn.
bool Warp::selectGroup() {
  size_t best = groups_.size();
  for (size_t i = 0; i < groups_.size(); ++i)
    if (groups_[i].wait.kind == Wait::Kind::None && groups_[i].spunIn != turn_ &&
        (best == groups_.size() || groups_[i].pc < groups_[best].pc))
      best = i;
  current_ = best;
  return best < groups_.size();
}

void Warp::poll(Poll poll) {
  poll.pc = pc;
  lastPoll_ = poll;
  if (const uint64_t changes = cluster().changes(); changes != pollsSince_) {
    polls_.clear();
    pollsSince_ = changes;
  }
  auto same = [&poll](const Poll &other) { return other.pc == poll.pc && other.seen == poll.seen; };
  if (std::any_of(polls_.begin(), polls_.end(), same))
    sawTheSame_ = !cluster().patient();
  else if (polls_.size() < keptPolls)
    polls_.push_back(poll);
  else
    polls_[poll.seen % keptPolls] = poll;
}

uint64_t Warp::state() const {
  uint64_t state = mixed(mixed(0, file_.data(), file_.size()), predicates_.data(), predicates_.size() * 4);
  for (const Group &group : groups_)
    state = mixed(state, uint64_t(group.pc) << 32 | group.mask);
  return state;
}

void Warp::run(uint64_t &budget) {
  ++turn_;
  spins_ = false;
  while (budget > 0) {
    if (!selectGroup()) {
      spins_ = canRun();
      return;
    }
    regrouped_ = false;
    const int split = current().split;
    const uint32_t meeting = split < 0 ? UINT32_MAX : splits_[size_t(split)].meeting;
    while (budget > 0) {
      Group &group = current();
      pc = group.pc;
      if (pc == meeting) {
        arriveAtMeeting();
        break;
      }
      const Instr &instr = program_.code[pc];
      --budget;
      ++executed_;
      ++counters().instructions[size_t(instr.mix)];
      mask = group.mask;
      if (instr.guarded)
        mask &= guardLanes(instr);
      next_ = pc + 1;
      if (mask != 0) {
        blocked_ = false;
        if (instr.tracked) [[unlikely]]
          checkTracked(instr);
        instr.run(*this, instr);
        if (charged_ != 0) [[unlikely]] {
          budget -= std::min(budget, charged_);
          charged_ = 0;
        }
        if (regrouped_)
          break;
        if (blocked_)
          break;
      }
      current().pc = next_;
      if (sawTheSame_) [[unlikely]] {
        sawTheSame_ = false;
        current().spunIn = turn_;
        break;
      }
    }
    if (cluster().grid().stopped())
      return;
  }
}

//===- Reports ---------------------------------------------------------------------------------------===//

void Warp::report(FindingKind kind, uint32_t lanes, std::string what, std::string wayOut, std::string address,
                  uint32_t otherPc) const {
  const int lane = lanes == 0 ? -1 : std::countr_zero(lanes);
  cluster().report({kind, pc, std::move(what), std::move(wayOut), std::move(address), otherPc,
                    cluster().nameAgent(*this, lane)});
}

/// Takes in the lanes that wait here, and waits where some are still missing.
void Warp::joinWaiting(uint32_t missing) {
  for (size_t i = 0; i < groups_.size(); ++i) {
    Group &other = groups_[i];
    if (i == current_ || other.wait.kind != Wait::Kind::Lanes || other.pc != pc ||
        other.split != current().split)
      continue;
    current().mask |= other.mask;
    missing &= ~other.mask;
    groups_.erase(groups_.begin() + long(i));
    current_ -= i < current_ ? 1 : 0;
    --i;
    regrouped_ = true; // The instruction runs again, with more lanes.
  }
  if (missing == 0)
    return;
  regrouped_ = false;
  block({Wait::Kind::Lanes, 0, 0, 0});
}

bool Warp::requireConverged(uint32_t lanes, const char *instruction) {
  const uint32_t missing = lanes & live_ & ~mask;
  if (missing == 0)
    return true;
  if (parted_) {
    joinWaiting(missing);
    return false;
  }
  report(FindingKind::Divergence, missing,
         fmt::format("{} needs lanes {:#010x} together, lanes {:#010x} are elsewhere", instruction,
                     lanes & live_, missing),
         "let the lanes meet first, or move the instruction out of the branch");
  return false;
}
