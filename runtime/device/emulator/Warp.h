//===- Warp.h - Thirty-two threads and their registers -----------------------------------------------===//
//
// The state of one warp: a register file of rows, what is known about each register (defined, held by a
// running WGMMA), and groups of lanes that stand at the same instruction. Lanes that part at a branch wait
// for each other where all ways meet again; until then each group goes on by itself, as on Hopper.
// Instructions (instructions/*.cpp) work on it; its Cluster lets it run.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/emulator/Clock.h"
#include "lathe/runtime/device/emulator/Counters.h"
#include "lathe/runtime/device/emulator/Finding.h"
#include "lathe/runtime/device/emulator/GlobalOrder.h"
#include "lathe/runtime/device/emulator/Lanes.h"
#include "lathe/runtime/device/emulator/Program.h"

#include <string>
#include <unordered_map>
#include <vector>

namespace lathe::runtime::emulator {

struct Cta;
struct Mbarrier;
class Allocation;
class Cluster;

/// What a group of lanes waits for.
struct Wait {
  enum class Kind : uint8_t { None, Mbarrier, NamedBarrier, ClusterBarrier, Warpgroup, Registers, Lanes };
  Kind kind = Kind::None;
  uint32_t rank = 0;  ///< CTA of an mbarrier.
  uint32_t place = 0; ///< Offset of an mbarrier in its window; number of a named barrier.
  uint32_t parity = 0;
};

/// Lanes at one instruction.
struct Group {
  uint32_t pc = 0, mask = 0;
  int split = -1;      ///< Where they parted from others; -1: they did not.
  Wait wait;           ///< Kind None: can run.
  uint32_t spunIn = 0; ///< The warp's turn in which they were last seen to spin.
};

/// A place where lanes that parted meet.
struct Split {
  int parent = -1;
  uint32_t meeting = 0; ///< pc
  uint32_t mask = 0;    ///< Lanes that will come and have not exited.
  uint32_t arrived = 0;
};

class Warp {
public:
  Warp(Cta &cta, uint32_t index, uint32_t threads);

  //===- For instructions -----------------------------------------------------------------------------===//

  uint32_t mask = 0; ///< Lanes that run the current instruction.
  uint32_t pc = 0;   ///< Of the current instruction.

  /// The lanes of a register, or of a constant, which nobody writes.
  std::byte *row(const Value &value) { return rows_[value.constant] + size_t(value.row) * 128; }
  const std::byte *row(const Value &value) const { return rows_[value.constant] + size_t(value.row) * 128; }
  uint32_t predicate(const Value &source) const {
    return source.constant ? program_.constantPredicates[source.row] : predicates_[source.row];
  }
  /// Sets the active lanes of a predicate.
  void setPredicate(const Value &result, uint32_t lanes) {
    uint32_t &old = predicates_[result.row];
    old = (old & ~mask) | (lanes & mask);
  }

  /// Lanes in which a value comes from no write.
  uint32_t undefined(const Value &source) const { return undefined_[source.reg]; }
  uint32_t origin(const Value &source) const { return origins_[source.reg]; }
  /// Results are as defined as all sources together.
  void define(const Instr &instr) {
    uint32_t lanes = 0, old = 0;
    for (int i = 0; i < instr.sources; ++i)
      lanes |= undefined_[instr.source(i).reg];
    for (int i = 0; i < instr.results; ++i)
      old |= undefined_[instr.result(i).reg];
    if (((lanes | old) & mask) != 0) [[unlikely]]
      propagate(instr, lanes);
  }
  /// Says of the active lanes of one result which are not defined, and whence.
  void setUndefined(const Value &result, uint32_t lanes, uint32_t origin = 0);

  /// How the current instruction ends; the default is to go on to the next.
  void jump(uint32_t target) { next_ = target; }
  /// The group waits; it runs the same instruction again when woken, or is sent on by who wakes it.
  void block(Wait wait);
  /// Lanes of `taken` go to the target, the others on.
  void branch(uint32_t taken, uint32_t target, uint32_t meeting);
  void exitLanes();

  /// What an instruction saw that others may change and that it did not change itself.
  struct Poll {
    enum class What : uint8_t { Global, Shared, Time } what = What::Time;
    uint32_t pc = UINT32_MAX;        ///< UINT32_MAX: nothing yet.
    uint64_t seen = 0;               ///< Stands for all lanes' addresses and values.
    uint64_t address = 0, value = 0; ///< Of the first lane.
  };
  /// Who sees the same at the same instruction again, and nothing happened between, spins: its turn is over.
  void poll(Poll poll);
  const Poll &lastPoll() const { return lastPoll_; }

  /// Counts work beyond an ordinary instruction's against the limit of the launch, where it has one.
  void charge(uint64_t instructions);

  /// Reports a finding of the current instruction; the lane is the first of `lanes`.
  void report(FindingKind kind, uint32_t lanes, std::string what, std::string wayOut = "",
              std::string address = "", uint32_t otherPc = UINT32_MAX) const;
  /// True when all of `lanes` that still live are active; else reports that the instruction needs them. Lanes
  /// that were parted so that a spin may end wait for each other there instead.
  bool requireConverged(uint32_t lanes, const char *instruction);
  /// Whether the current instruction will run again.
  bool interrupted() const { return blocked_ || regrouped_; }

  //===- For the cluster ------------------------------------------------------------------------------===//

  /// Runs until every group waits or spins, all lanes have exited, or about `budget` instructions are done.
  void run(uint64_t &budget);
  /// Lets lanes go on that wait for others of their warp to meet them. True: there were some.
  bool partLanes();
  /// Whether groups that spin ended the last run.
  bool spins() const { return spins_; }
  /// Stands for registers and groups.
  uint64_t state() const;
  bool exited() const { return live_ == 0; }
  bool canRun() const;
  std::vector<Group> &groups() { return groups_; }
  uint32_t live() const { return live_; } ///< Lanes that have not exited.
  /// The group that runs.
  Group &current() { return groups_[current_]; }

  Cta &cta;
  const uint32_t index; ///< In the CTA.
  /// Itself; its bulk copies out of shared memory, which read there and write to global memory; its cp.async.
  const Agent agent, bulkAgent, bulkWriteAgent, copyAgent;
  FenceState fences;
  Clock clock;
  /// The warp's own step: what it does now, as others will see it.
  uint32_t step() const { return clock.seen(agent); }
  /// Begins a new step, after a release.
  void advance() { clock.see(agent, step() + 1); }

  Allocation *lastBuffer = nullptr; ///< Of global memory that an access met; most meet it again.
  AsyncQueue wgmma, bulk, copies;
  uint32_t registerBudget = 0;
  std::vector<Mbarrier *> unfenced; ///< mbarriers that it initialised and did not fence.
  bool stalled = false;             ///< The wait that runs has found its phase not complete before.
  /// The latest phase of an mbarrier that the warp passed, and which lanes.
  struct Waited {
    uint32_t phase = UINT32_MAX, lanes = 0, pc = 0;
  };
  Waited &waited(const Mbarrier *barrier) { return waited_[barrier]; }
  uint32_t clusterArrived = 0; ///< Lanes that wait for the cluster's barrier, or will.

  //===- Registers that WGMMA uses --------------------------------------------------------------------===//

  /// Checks and notes the use of tracked registers by an ordinary instruction.
  void checkTracked(const Instr &instr);
  /// The latest WGMMA step that uses a register as accumulator, and as operand; 0: none.
  uint32_t &inFlight(uint32_t reg) { return inFlight_[reg]; }
  uint32_t &operandInFlight(uint32_t reg) { return operandInFlight_[reg]; }
  bool writtenSinceFence(uint32_t reg) const { return lastWrite_[reg] > lastFence_; }
  /// The latest instruction that wrote a register, or the WGMMA that uses it.
  uint32_t &lastWritePc(uint32_t reg) { return lastWritePc_[reg]; }
  void fenceRegisters() { lastFence_ = executed_; }
  bool fencedOnce() const { return lastFence_ != 0; }

  const Program &program() const { return program_; }
  Cluster &cluster() const;
  Counters &counters() const;

private:
  void propagate(const Instr &instr, uint32_t lanes);
  bool selectGroup();
  uint32_t guardLanes(const Instr &instr);
  void arriveAtMeeting();
  void meetIfComplete(int split);
  void joinWaiting(uint32_t missing);

  const Program &program_;
  std::vector<std::byte> file_;
  std::byte *rows_[2]; ///< The file, and the program's constants.
  std::vector<uint32_t> predicates_, undefined_, origins_;
  std::vector<uint32_t> inFlight_, operandInFlight_, lastWritePc_;
  std::vector<uint64_t> lastWrite_;
  uint64_t executed_ = 0, lastFence_ = 0;
  uint64_t charged_ = 0; ///< By the current instruction.

  std::unordered_map<const Mbarrier *, Waited> waited_;
  std::vector<Group> groups_;
  std::vector<Split> splits_;
  size_t current_ = 0;
  uint32_t live_ = 0;
  uint32_t next_ = 0;
  bool blocked_ = false, regrouped_ = false;

  std::vector<Poll> polls_; ///< Since the cluster's last change, some of them.
  Poll lastPoll_;
  uint64_t pollsSince_ = 0; ///< Changes of the cluster.
  uint32_t turn_ = 0;
  bool sawTheSame_ = false, spins_ = false, parted_ = false;
};

} // namespace lathe::runtime::emulator
