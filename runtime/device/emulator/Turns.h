//===- Turns.h - Which cluster of a grid runs next ---------------------------------------------------===//
//
// Clusters take turns, so that CTAs that wait for each other in global memory come to an end on however few
// host threads. One that only looks at memory and finds nothing new is asked again when something has
// changed, and where nothing can change any more, that is known and not waited for. Used by Grid, under its
// lock.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/emulator/Cluster.h"

#include <deque>
#include <optional>

namespace lathe::runtime::emulator {

/// A cluster and what is known of it between its turns.
struct Turn {
  std::unique_ptr<Cluster> cluster; ///< Null: one that must be made, `number`.
  uint32_t number = 0;
  uint64_t lookedAt = 0; ///< Changes of the launch that it knew when the turn began.
  /// Turns since anything changed that were taken to find out whether it can go on by itself; beyond some its
  /// state is not compared any more, and its turns are long.
  uint32_t trials = 0;
  uint64_t state = 0;   ///< Cluster::state() after one of these.
  bool isTrial = false; ///< This turn is one.
  bool spins = false;   ///< All its warps wait or spin.
  bool stuck = false;   ///< It comes back to the same state without a change: it never goes on by itself.
  bool patient() const { return isTrial && trials >= comparedTrials; }
  static constexpr uint32_t comparedTrials = 64;
};

class Turns {
public:
  /// `resident`: clusters that the GPU holds at a time.
  Turns(uint32_t clusters, uint32_t resident) : clusters_(clusters), resident_(resident) {}

  /// The next to run; nothing where all run elsewhere or are done.
  std::optional<Turn> take();
  bool done() const { return unfinished_ == 0 && begun_ == clusters_; }
  /// After a turn of `instructions` warp instructions; `changed`: others can see what it did. Trials come
  /// with the state that the cluster is in.
  void giveBack(Turn turn, Cluster::Ended ended, bool changed, uint64_t instructions, uint64_t state);

  /// No cluster can ever go on.
  bool deadlocked() const { return running_ == 0 && unfinished_ > 0 && stuck_ == unfinished_; }
  /// All that wait are to be asked again.
  void change();
  /// Instructions run and nothing has changed for so long that nothing will.
  bool livelocked() const;
  uint64_t quietInstructions() const { return quietInstructions_; }

  uint32_t resident() const { return resident_; }
  uint32_t notBegun() const { return clusters_ - begun_; }
  /// Those that wait for a change, in the order of their numbers.
  std::vector<Cluster *> waiting() const;

private:
  Turn pop(std::deque<Turn> &queue, std::deque<Turn>::iterator at);
  bool canBegin() const { return begun_ < clusters_ && unfinished_ < resident_; }

  uint32_t clusters_, resident_;
  uint32_t begun_ = 0, unfinished_ = 0, running_ = 0;
  std::deque<Turn> busy_, ///< Those whose last turn changed something.
      waiting_;           ///< Others.
  uint64_t changes_ = 1;  ///< Turns that changed something.
  uint32_t stuck_ = 0;    ///< Of waiting_, since the last change.
  uint64_t quietInstructions_ = 0;
};

} // namespace lathe::runtime::emulator
