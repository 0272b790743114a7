#include "lathe/runtime/device/emulator/Turns.h"

#include <algorithm>
#include <bit>

using namespace lathe::runtime::emulator;

/// Warp instructions without a change after which none is expected: in all, and for each cluster that waits.
static constexpr uint64_t quietLimit = 128'000'000, quietLimitEach = 8'000'000;

Turn Turns::pop(std::deque<Turn> &queue, std::deque<Turn>::iterator at) {
  Turn turn = std::move(*at);
  queue.erase(at);
  turn.isTrial = false;
  if (turn.lookedAt < changes_) {
    turn.trials = 0;
    turn.stuck = false;
  }
  turn.lookedAt = changes_;
  ++running_;
  return turn;
}

/// First those that may find something new, then those that get somewhere, then new ones, then those that
/// work and change nothing. Where all of the rest spin and none runs, they are tried: what a trial finds may
/// be that a loop counts and ends by itself.
std::optional<Turn> Turns::take() {
  auto find = [this](auto wanted) { return std::find_if(waiting_.begin(), waiting_.end(), wanted); };
  auto at = find([this](const Turn &turn) { return turn.lookedAt < changes_; });
  if (at != waiting_.end())
    return pop(waiting_, at);
  if (!busy_.empty())
    return pop(busy_, busy_.begin());
  if (canBegin()) {
    ++unfinished_;
    ++running_;
    Turn turn;
    turn.number = begun_++;
    turn.lookedAt = changes_;
    return turn;
  }
  at = find([](const Turn &turn) { return !turn.spins; });
  if (at != waiting_.end())
    return pop(waiting_, at);
  if (running_ > 0 || waiting_.empty())
    return std::nullopt;
  Turn turn = pop(waiting_, waiting_.begin());
  if (turn.stuck)
    --stuck_;
  turn.isTrial = true;
  return turn;
}

void Turns::change() {
  ++changes_;
  stuck_ = 0;
  quietInstructions_ = 0;
}

void Turns::giveBack(Turn turn, Cluster::Ended ended, bool changed, uint64_t instructions, uint64_t state) {
  --running_;
  if (changed) {
    change();
  } else {
    quietInstructions_ += instructions;
  }
  if (ended == Cluster::Ended::Exited) {
    --unfinished_;
    return;
  }
  turn.spins = ended == Cluster::Ended::Spins;
  if (changed && !turn.spins) {
    busy_.push_back(std::move(turn));
    return;
  }
  // A state that comes back (Brent's way of finding a cycle) comes back for ever: memory is the same.
  if (turn.isTrial && !turn.patient() && turn.spins && !changed) {
    ++turn.trials;
    turn.stuck = turn.trials > 1 && turn.state == state && turn.lookedAt == changes_;
    stuck_ += turn.stuck ? 1 : 0;
    if (std::has_single_bit(turn.trials))
      turn.state = state;
  }
  waiting_.push_back(std::move(turn));
}

bool Turns::livelocked() const {
  return busy_.empty() && !canBegin() && quietInstructions_ >= quietLimit + quietLimitEach * waiting_.size();
}

std::vector<Cluster *> Turns::waiting() const {
  std::vector<Cluster *> clusters;
  for (const Turn &turn : waiting_)
    clusters.push_back(turn.cluster.get());
  std::sort(clusters.begin(), clusters.end(),
            [](const Cluster *a, const Cluster *b) { return a->number() < b->number(); });
  return clusters;
}
