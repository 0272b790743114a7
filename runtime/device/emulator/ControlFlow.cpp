#include "lathe/runtime/device/emulator/ControlFlow.h"

#include <algorithm>

using namespace lathe::runtime::emulator;

ControlFlow lathe::runtime::emulator::buildControlFlow(const Program &program) {
  const auto size = uint32_t(program.code.size());
  std::vector<bool> leads(size + 1, false);
  leads[0] = leads[size] = true;
  for (uint32_t pc = 0; pc < size; ++pc) {
    if (isBranch(program.code[pc]))
      leads[program.code[pc].target] = true;
    if (isBranch(program.code[pc]) || isExit(program.code[pc]))
      leads[pc + 1] = true;
  }
  ControlFlow flow;
  flow.blockOf.resize(size);
  for (uint32_t pc = 0; pc < size; ++pc) {
    if (leads[pc])
      flow.blocks.push_back({pc, pc, {}});
    flow.blocks.back().end = pc + 1;
    flow.blockOf[pc] = uint32_t(flow.blocks.size() - 1);
  }
  for (Block &block : flow.blocks) {
    const Instr &last = program.code[block.end - 1];
    if (isBranch(last))
      block.next.push_back(flow.blockOf[last.target]);
    const bool always = !last.guarded && (isBranch(last) || isExit(last));
    if (!always && block.end < size && (block.next.empty() || block.next[0] != flow.blockOf[block.end]))
      block.next.push_back(flow.blockOf[block.end]);
  }
  return flow;
}

//===- Meetings --------------------------------------------------------------------------------------===//

namespace {

/// Immediate post-dominators: the algorithm of Cooper, Harvey and Kennedy, "A Simple, Fast Dominance
/// Algorithm", on the reversed graph with one added end node.
class PostDominators {
public:
  explicit PostDominators(const ControlFlow &flow)
      : flow_(flow), end_(uint32_t(flow.blocks.size())), before_(end_ + 1), order_(end_ + 1, none),
        immediate_(end_ + 1, none) {
    for (uint32_t block = 0; block < end_; ++block) {
      for (uint32_t next : flow.blocks[block].next)
        before_[next].push_back(block);
      if (flow.blocks[block].next.empty())
        before_[end_].push_back(block);
    }
    number();
    solve();
  }
  /// The block where all ways from `block` meet; the number of blocks where that is the end.
  uint32_t of(uint32_t block) const { return immediate_[block] == none ? end_ : immediate_[block]; }

private:
  static constexpr uint32_t none = UINT32_MAX;

  /// Post-order of a walk from the end against the arrows.
  void number() {
    std::vector<std::pair<uint32_t, size_t>> stack{{end_, 0}};
    std::vector<bool> seen(end_ + 1, false);
    seen[end_] = true;
    while (!stack.empty()) {
      auto &[block, at] = stack.back();
      if (at < before_[block].size()) {
        const uint32_t other = before_[block][at++];
        if (!seen[other]) {
          seen[other] = true;
          stack.emplace_back(other, 0);
        }
        continue;
      }
      order_[block] = uint32_t(sequence_.size());
      sequence_.push_back(block);
      stack.pop_back();
    }
  }

  uint32_t meet(uint32_t a, uint32_t b) const {
    while (a != b) {
      while (order_[a] < order_[b])
        a = immediate_[a];
      while (order_[b] < order_[a])
        b = immediate_[b];
    }
    return a;
  }

  uint32_t settle(uint32_t block) const {
    if (flow_.blocks[block].next.empty())
      return end_;
    uint32_t result = none;
    for (uint32_t next : flow_.blocks[block].next)
      if (immediate_[next] != none)
        result = result == none ? next : meet(result, next);
    return result;
  }

  void solve() {
    immediate_[end_] = end_;
    for (bool changed = true; changed;) {
      changed = false;
      for (size_t i = sequence_.size(); i-- > 0;) {
        const uint32_t block = sequence_[i];
        if (block == end_)
          continue;
        if (const uint32_t found = settle(block); found != immediate_[block]) {
          immediate_[block] = found;
          changed = true;
        }
      }
    }
  }

  const ControlFlow &flow_;
  uint32_t end_;
  std::vector<std::vector<uint32_t>> before_;
  std::vector<uint32_t> order_, immediate_, sequence_;
};

} // namespace

void lathe::runtime::emulator::setMeetings(Program &program, const ControlFlow &flow) {
  const PostDominators post(flow);
  for (uint32_t pc = 0; pc < program.code.size(); ++pc) {
    Instr &instr = program.code[pc];
    if (!isBranch(instr))
      continue;
    const uint32_t block = post.of(flow.blockOf[pc]);
    instr.meeting = block < flow.blocks.size() ? flow.blocks[block].begin : uint32_t(program.code.size());
  }
}
