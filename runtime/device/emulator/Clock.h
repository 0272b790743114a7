//===- Clock.h - What has happened before what -------------------------------------------------------===//
//
// Vector clocks over the agents of one cluster: its warps, and whatever works beside them (the tensor cores
// of a warpgroup, the bulk copies of a warp, the loads that complete a phase of an mbarrier). A second vector
// says which accesses have also passed a fence between the generic and the async proxy. Used by the race
// detection (Shadow.h) and carried by everything that synchronises. What other clusters did is carried along
// where it came through global memory (GlobalOrder.h).
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace lathe::runtime::emulator {

/// An agent's number within its cluster.
using Agent = uint32_t;

class Clock;
/// What some clusters had done, by their numbers. Never changed once it is made.
struct OtherCluster {
  uint32_t cluster = 0;
  std::shared_ptr<const Clock> clock;
};
using Others = std::vector<OtherCluster>;
using OthersPtr = std::shared_ptr<const Others>; ///< Null: of none.
OthersPtr joined(const OthersPtr &a, const OthersPtr &b);
/// Null where nothing is known of the cluster.
const Clock *clockOf(const OthersPtr &others, uint32_t cluster);

class Clock {
public:
  /// Latest step of an agent that happened before the owner's present.
  uint32_t seen(Agent agent) const { return agent < seen_.size() ? seen_[agent] : 0; }
  /// The same, with a proxy fence on the way.
  uint32_t fenced(Agent agent) const { return agent < fenced_.size() ? fenced_[agent] : 0; }

  void see(Agent agent, uint32_t step) {
    grow(agent + 1);
    seen_[agent] = std::max(seen_[agent], step);
  }
  /// What an agent did up to `step` has passed a proxy fence.
  void fence(Agent agent, uint32_t step) {
    grow(agent + 1);
    fenced_[agent] = std::max(fenced_[agent], step);
  }
  /// All that was seen is now fenced.
  void fenceAll() {
    for (size_t i = 0; i < seen_.size(); ++i)
      fenced_[i] = std::max(fenced_[i], seen_[i]);
    othersFenced_ = others_;
  }
  /// Everything that happened before `other` happened before this.
  void join(const Clock &other) {
    grow(other.seen_.size());
    for (size_t i = 0; i < other.seen_.size(); ++i) {
      seen_[i] = std::max(seen_[i], other.seen_[i]);
      fenced_[i] = std::max(fenced_[i], other.fenced_[i]);
    }
    if (other.others_ && other.others_ != others_) [[unlikely]]
      others_ = joined(others_, other.others_);
    if (other.othersFenced_ && other.othersFenced_ != othersFenced_) [[unlikely]]
      othersFenced_ = joined(othersFenced_, other.othersFenced_);
  }
  /// Keeps only what both have seen.
  void meet(const Clock &other) {
    for (size_t i = 0; i < seen_.size(); ++i) {
      seen_[i] = std::min(seen_[i], other.seen(Agent(i)));
      fenced_[i] = std::min(fenced_[i], other.fenced(Agent(i)));
    }
  }
  void clear() {
    seen_.clear();
    fenced_.clear();
    others_.reset();
    othersFenced_.reset();
  }

  //===- Other clusters -------------------------------------------------------------------------------===//

  const OthersPtr &others() const { return others_; }
  /// Of these, what a proxy fence follows.
  const OthersPtr &othersFenced() const { return othersFenced_; }
  /// What is known of the own cluster.
  Clock alone() const {
    Clock clock;
    clock.seen_ = seen_;
    clock.fenced_ = fenced_;
    return clock;
  }
  /// What somebody released in global memory happened before; what it tells of the owner's cluster too.
  void learn(const OthersPtr &seen, const OthersPtr &fenced, uint32_t ownCluster) {
    others_ = joined(others_, seen);
    othersFenced_ = joined(othersFenced_, fenced);
    if (const Clock *own = clockOf(seen, ownCluster))
      join(*own);
  }

private:
  void grow(size_t agents) {
    if (seen_.size() < agents) {
      seen_.resize(agents);
      fenced_.resize(agents);
    }
  }
  std::vector<uint32_t> seen_, fenced_;
  OthersPtr others_, othersFenced_;
};

/// Asynchronous work of one agent that completes in order and is waited for by groups: WGMMA, bulk copies out
/// of shared memory, cp.async. A step is the number of an operation, from 1.
class AsyncQueue {
public:
  uint32_t issue() { return ++issued_; }
  void commit() { commits_.push_back(issued_); }
  /// Waits until at most `pending` groups run; returns the last step that is complete.
  uint32_t wait(uint32_t pending) {
    if (commits_.size() > pending)
      done_ = std::max(done_, commits_[commits_.size() - 1 - pending]);
    return done_;
  }
  /// The last step of the groups before the latest `pending`.
  uint32_t before(uint32_t pending) const {
    return commits_.size() > pending ? commits_[commits_.size() - 1 - pending] : 0;
  }
  uint32_t issued() const { return issued_; }
  uint32_t done() const { return done_; }

private:
  uint32_t issued_ = 0, done_ = 0;
  std::vector<uint32_t> commits_; ///< Last step of each group.
};

} // namespace lathe::runtime::emulator
