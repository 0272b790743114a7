//===- Finding.h - A mistake that the emulator saw ---------------------------------------------------===//
//
// What rule a kernel broke, where in its PTX and its tile module, by whom, and at which place of which
// buffer. Findings are collected while a grid runs and reported together; the same mistake at the same
// instruction is one finding with a count. Made by the interpreter, read by tools, tests and error messages.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lathe::runtime::emulator {

enum class FindingKind : uint8_t {
  OutOfBounds,       ///< An access outside every buffer, or outside shared memory.
  Misaligned,        ///< An address that its access cannot have.
  UnwrittenRead,     ///< A read of shared or global memory that nothing wrote.
  UndefinedValue,    ///< A value that comes from no write reaches memory, an address or a branch.
  MmaInFlight,       ///< A register of a running WGMMA is read or written before the wait.
  MmaUnfenced,       ///< A register written without wgmma.fence before the WGMMA that takes it.
  ProxyUnfenced,     ///< Generic and async accesses to the same bytes without fence.proxy.async between.
  DataRace,          ///< Two accesses to shared memory that nothing orders.
  TransactionCount,  ///< Bytes announced to an mbarrier and bytes that arrive differ.
  PhaseWaitedTwice,  ///< A phase of an mbarrier is waited for again by who has passed it.
  Deadlock,          ///< Everyone waits.
  Livelock,          ///< Instructions run and nothing changes.
  RegisterBudget,    ///< setmaxnreg against the rules, or more live registers than the budget.
  SharedLimit,       ///< More shared memory than the launch or the GPU gives.
  BarrierMisuse,     ///< An mbarrier or a named barrier used against its rules.
  Divergence,        ///< An instruction of a whole warp or warpgroup reached by a part of it.
  Descriptor,        ///< A WGMMA descriptor that names nothing possible.
  TensorMap,         ///< A TMA operation against its tensor map.
  ExitInFlight,      ///< A CTA ends while something still writes to its memory, or waits on it.
  IllegalInstruction ///< trap, a division the hardware has no answer for, an operand out of its range.
};
inline constexpr int findingKinds = int(FindingKind::IllegalInstruction) + 1;

/// "data_race", "proxy_unfenced", …: stable, for --json and tests.
std::string_view name(FindingKind kind);

/// An instruction, in the words of the PTX and of the tile module.
struct CodePlace {
  int line = 0;            ///< Of the PTX; 0: none.
  std::string instruction; ///< Its text, shortened.
  int tileLine = 0;        ///< Of `lathe inspect --emit tile`; 0: not known.
  std::string operation;   ///< That line's text.
};

struct Finding {
  FindingKind kind = FindingKind::OutOfBounds;
  std::string kernel;
  std::string what;    ///< One sentence: the rule that was broken and the values.
  std::string wayOut;  ///< What to do; may be empty.
  std::string address; ///< "kv stage 2, row 17, column 40", "out + 4096 bytes"; empty where there is none.
  CodePlace place;
  CodePlace other;   ///< The other access of a race, the write of an undefined value; line 0: none.
  std::string agent; ///< "consumer 1 (warp 5), lane 3, CTA 0, 7".
  uint64_t count = 1;

  /// Several lines: what, where, who, the other side, the way out.
  std::string text() const;
  /// One line for an error message.
  std::string summary() const;
};

/// All findings of a run, the first of each place first.
struct FindingList {
  std::vector<Finding> findings;
  uint64_t dropped = 0; ///< Further places that were not kept.

  bool empty() const { return findings.empty(); }
  std::string text() const;
};

} // namespace lathe::runtime::emulator
