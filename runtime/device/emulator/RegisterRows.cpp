//===- RegisterRows.cpp - Live registers and the rows they share -------------------------------------===//
//
// Liveness over blocks, an interval for each register from its first to its last live instruction, and a
// linear scan that gives registers whose intervals do not meet the same row: a warp's file then fits a core's
// cache. Values that are alive together are also held against the budget of setmaxnreg: those that cannot be
// computed again (loads, products, floating results), for the assembler is free to recompute addresses.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/ControlFlow.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <queue>

using namespace lathe;
using namespace lathe::runtime::emulator;
using ptx::RegisterClass;

static constexpr uint64_t livenessLimitBits = uint64_t(1) << 30;

namespace {

using Bits = std::vector<uint64_t>;

struct Interval {
  uint32_t reg = 0, begin = UINT32_MAX, end = 0;
  void hold(uint32_t pc) {
    begin = std::min(begin, pc);
    end = std::max(end, pc + 1);
  }
};

class Liveness {
public:
  Liveness(Program &program, const ControlFlow &flow)
      : program_(program), flow_(flow), words_((program.registers + 63) / 64),
        in_(flow.blocks.size(), Bits(words_)), out_(flow.blocks.size(), Bits(words_)),
        kinds_(program.registers, RegisterClass::Bits32) {
    solve();
  }

  std::vector<Interval> intervals();
  void measurePressure();
  RegisterClass kind(uint32_t reg) const { return kinds_[reg]; }

private:
  static bool has(const Bits &bits, uint32_t reg) { return bits[reg / 64] >> (reg % 64) & 1; }
  static void set(Bits &bits, uint32_t reg) { bits[reg / 64] |= uint64_t(1) << (reg % 64); }
  static void clear(Bits &bits, uint32_t reg) { bits[reg / 64] &= ~(uint64_t(1) << (reg % 64)); }

  /// Goes over one instruction backwards: results die unless a guard may leave them, sources live.
  void stepBack(Bits &live, const Instr &instr) const {
    for (int i = 0; i < instr.results && !instr.guarded; ++i)
      clear(live, instr.result(i).reg);
    for (int i = instr.fresh ? instr.results : 0; i < instr.sources; ++i)
      set(live, instr.source(i).reg);
    if (instr.guarded)
      set(live, instr.guard.reg);
  }
  void solve();
  void findKept();
  uint32_t weight(const Bits &live) const;

  Program &program_;
  const ControlFlow &flow_;
  size_t words_;
  std::vector<Bits> in_, out_;
  std::vector<RegisterClass> kinds_;
  Bits kept_; ///< Registers whose value must be kept.
};

} // namespace

void Liveness::solve() {
  for (const Instr &instr : program_.code)
    for (int i = 0; i < instr.results + instr.sources; ++i)
      kinds_[instr.ops[i].reg] = instr.ops[i].kind;
  for (const Instr &instr : program_.code)
    if (instr.guarded)
      kinds_[instr.guard.reg] = RegisterClass::Predicate;
  // From the last block to the first, as long as there are some behind which something has changed.
  std::vector<std::vector<uint32_t>> before(flow_.blocks.size());
  std::vector<bool> waits(flow_.blocks.size(), true);
  for (uint32_t block = 0; block < flow_.blocks.size(); ++block)
    for (uint32_t next : flow_.blocks[block].next)
      before[next].push_back(block);
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t block = flow_.blocks.size(); block-- > 0;) {
      if (!waits[block])
        continue;
      waits[block] = false;
      Bits live(words_);
      for (uint32_t next : flow_.blocks[block].next)
        for (size_t i = 0; i < words_; ++i)
          live[i] |= in_[next][i];
      out_[block] = live;
      for (uint32_t pc = flow_.blocks[block].end; pc-- > flow_.blocks[block].begin;)
        stepBack(live, program_.code[pc]);
      if (live == in_[block])
        continue;
      in_[block] = std::move(live);
      changed = true;
      for (uint32_t other : before[block])
        waits[other] = true;
    }
  }
}

std::vector<Interval> Liveness::intervals() {
  std::vector<Interval> all(program_.registers);
  for (uint32_t reg = 0; reg < program_.registers; ++reg)
    all[reg].reg = reg;
  for (size_t i = 0; i < flow_.blocks.size(); ++i) {
    const Block &block = flow_.blocks[i];
    for (uint32_t reg = firstRegister; reg < program_.registers; ++reg) {
      if (has(in_[i], reg))
        all[reg].hold(block.begin);
      if (has(out_[i], reg))
        all[reg].hold(block.end - 1), all[reg].hold(std::min(block.end, uint32_t(program_.code.size()) - 1));
    }
    for (uint32_t pc = block.begin; pc < block.end; ++pc) {
      const Instr &instr = program_.code[pc];
      for (int k = 0; k < instr.results + instr.sources; ++k)
        all[instr.ops[k].reg].hold(pc);
      if (instr.guarded)
        all[instr.guard.reg].hold(pc);
    }
  }
  all.erase(all.begin(), all.begin() + firstRegister);
  std::erase_if(all, [](const Interval &entry) { return entry.end == 0; });
  return all;
}

void Liveness::findKept() {
  kept_.assign(words_, 0);
  for (const Instr &instr : program_.code)
    switch (instr.mix) {
    case Mix::Float:
    case Mix::Special:
    case Mix::Shuffle:
    case Mix::GlobalLoad:
    case Mix::SharedLoad:
    case Mix::Atomic:
    case Mix::Wgmma:
      for (int i = 0; i < instr.results; ++i)
        set(kept_, instr.result(i).reg);
      break;
    default:
      break;
    }
}

/// In 32-bit registers.
uint32_t Liveness::weight(const Bits &live) const {
  uint32_t total = 0;
  for (size_t i = 0; i < words_; ++i)
    for (uint64_t bits = live[i] & kept_[i]; bits; bits &= bits - 1) {
      const auto reg = uint32_t(i * 64 + size_t(std::countr_zero(bits)));
      if (reg >= firstRegister && kinds_[reg] != RegisterClass::Predicate)
        total += kinds_[reg] == RegisterClass::Bits64 ? 2 : 1;
    }
  return total;
}

void Liveness::measurePressure() {
  findKept();
  std::vector<uint32_t> weights(program_.code.size());
  for (size_t i = 0; i < flow_.blocks.size(); ++i) {
    Bits live = out_[i];
    for (uint32_t pc = flow_.blocks[i].end; pc-- > flow_.blocks[i].begin;) {
      stepBack(live, program_.code[pc]);
      weights[pc] = weight(live);
    }
  }
  for (uint32_t start = 0; start < program_.code.size(); ++start) {
    if (!isRegisterBudget(program_.code[start]))
      continue;
    Program::Pressure pressure{start, 0, start};
    std::vector<bool> seen(flow_.blocks.size(), false);
    std::vector<uint32_t> toDo{start + 1};
    while (!toDo.empty()) {
      const uint32_t from = toDo.back();
      toDo.pop_back();
      const uint32_t block = flow_.blockOf[std::min(from, uint32_t(program_.code.size()) - 1)];
      uint32_t pc = from;
      for (; pc < flow_.blocks[block].end && !isRegisterBudget(program_.code[pc]); ++pc)
        if (weights[pc] > pressure.registers)
          pressure = {start, weights[pc], pc};
      if (pc < flow_.blocks[block].end)
        continue;
      for (uint32_t next : flow_.blocks[block].next)
        if (!seen[next]) {
          seen[next] = true;
          toDo.push_back(flow_.blocks[next].begin);
        }
    }
    program_.pressures.push_back(pressure);
  }
}

//===- Rows ------------------------------------------------------------------------------------------===//

/// Lowest numbers first, so that the file stays small; numbers of registers that ended are used again.
static uint32_t scan(std::vector<Interval> intervals, std::vector<uint32_t> &numberOf) {
  std::sort(intervals.begin(), intervals.end(),
            [](const Interval &a, const Interval &b) { return a.begin < b.begin; });
  using Ending = std::pair<uint32_t, uint32_t>; // end, number
  std::priority_queue<Ending, std::vector<Ending>, std::greater<>> active;
  std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>> free;
  uint32_t count = 0;
  for (const Interval &interval : intervals) {
    for (; !active.empty() && active.top().first <= interval.begin; active.pop())
      free.push(active.top().second);
    uint32_t number = count;
    if (free.empty()) {
      ++count;
    } else {
      number = free.top();
      free.pop();
    }
    numberOf[interval.reg] = number;
    active.emplace(interval.end, number);
  }
  return count;
}

void lathe::runtime::emulator::assignRows(Program &program, const ControlFlow &flow) {
  if (uint64_t(program.registers) * flow.blocks.size() * 2 > livenessLimitBits)
    throw DeviceError({fmt::format("kernel {}", program.name),
                       "registers times blocks must stay within bounds",
                       fmt::format("{} registers, {} blocks", program.registers, flow.blocks.size()),
                       "the emulator runs kernels of Lathe's size"});
  Liveness liveness(program, flow);
  liveness.measurePressure();
  std::vector<Interval> narrow, wide, predicates;
  for (const Interval &interval : liveness.intervals()) {
    const RegisterClass kind = liveness.kind(interval.reg);
    (kind == RegisterClass::Predicate ? predicates
     : kind == RegisterClass::Bits64  ? wide
                                      : narrow)
        .push_back(interval);
  }
  std::vector<uint32_t> numberOf(program.registers, 0);
  // Rows 0 and 1 and predicate 0 take what nobody wants.
  const uint32_t narrowRows = scan(std::move(narrow), numberOf), wideRows = scan(std::move(wide), numberOf);
  program.predicates = 1 + scan(std::move(predicates), numberOf);
  const uint32_t wideStart = 2 + (narrowRows + 1) / 2 * 2;
  program.rows = wideStart + 2 * wideRows;
  auto place = [&](Value &value) {
    if (value.constant)
      return;
    if (value.reg == sinkRegister)
      value.row = 0;
    else if (value.kind == RegisterClass::Predicate)
      value.row = 1 + numberOf[value.reg];
    else
      value.row =
          value.kind == RegisterClass::Bits64 ? wideStart + 2 * numberOf[value.reg] : 2 + numberOf[value.reg];
  };
  for (Instr &instr : program.code) {
    for (int i = 0; i < instr.results + instr.sources; ++i)
      place(const_cast<Value &>(instr.ops[i])); // The arrays are the program's own.
    if (instr.guarded)
      place(instr.guard);
  }
}
