//===- RouteGroups.cpp - Experts of the best groups only ---------------------------------------------===//
//
// Groups are judged through shared memory, by neighbouring lanes a group, from which the lanes then take the
// experts of the chosen groups only: half of DeepSeek-V3's.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/RouteChoice.h"
#include "lathe/codegen/Schedule/RouteWords.h"

using namespace mlir;

namespace lathe::codegen {

using namespace route;

/// Of the lane's group: its best value, or the sum of its two best, as an integer of that order.
Value RouteChoice::groupScore(const Values &values) {
  syncWarp(k); // The row before is read.
  for (size_t i = 0; i < values.size(); ++i) {
    auto put = [&] { k.store(values[i], sharedFloat(keyWord[i])); };
    inside[i] ? k.when(inside[i], put) : put();
  }
  syncWarp(k);
  Value group = k.min(k.divu(lane, groups.lanes), k.c(problem.groups - 1));
  Value member = k.remu(lane, groups.lanes), base = k.add(warpKeys, k.mul(group, groups.stride));
  Value best = k.cf(-infinity), second = k.cf(-infinity);
  for (int from = 0; from < groups.size; from += groups.lanes) {
    Value at = k.add(member, from);
    bool some = from + groups.lanes > groups.size;
    Value safe = some ? k.min(at, k.c(groups.size - 1)) : at;
    Value value = k.load(k.f32(), sharedFloat(k.add(base, safe)));
    if (some)
      value = k.select(k.eq(safe, at), value, k.cf(-infinity));
    second = k.fmax(second, fmin(k, best, value));
    best = k.fmax(best, value);
  }
  for (int distance = groups.lanes / 2; distance > 0; distance /= 2) {
    Value otherBest = k.butterfly(best, distance), otherSecond = k.butterfly(second, distance);
    second = k.fmax(fmin(k, best, otherBest), k.fmax(second, otherSecond));
    best = k.fmax(best, otherBest);
  }
  return orderOf(k, sumsTwoBest() ? k.fmax(k.fadd(best, second), k.cf(-infinity)) : best);
}

/// A bit a lane, set where the lane's group is one of the topGroups best. Each group counts those before it:
/// all comparisons are independent.
Value RouteChoice::chosenGroups(const Values &values) {
  Value score = groupScore(values), group = k.divu(lane, groups.lanes);
  Value above = k.add(score, 1), rank = k.c(0); // No order is the largest integer.
  for (int other = 0; other < problem.groups; ++other) {
    Value theirs = k.shuffle(score, k.c(int64_t(other) * groups.lanes), NVVM::ShflKind::idx);
    // Lower groups go before it at the same score.
    Value before = k.ge(theirs, k.select(k.lt(k.c(other), group), score, above));
    rank = k.add(rank, k.select(before, k.c(1), k.c(0)));
  }
  Value chosen = k.lt(rank, problem.topGroups);
  return NVVM::VoteSyncOp::create(k.b, k.loc, k.i32(), k.c(-1), chosen, NVVM::VoteSyncKind::ballot);
}

/// The keys of the chosen groups' experts, from where groupScore() has left them.
RouteChoice::Candidates RouteChoice::ofGroups(Value stays) {
  // The first lane of each group writes it to its place among the chosen.
  uint32_t leaders = 0;
  for (int group = 0; group < problem.groups; ++group)
    leaders |= 1u << (group * groups.lanes);
  Value first = k.shl(k.c(1), lane), chosen = k.band(stays, int32_t(leaders));
  k.when(differs(k, k.band(chosen, first), 0), [&] {
    Value place = bits(k, k.band(chosen, k.sub(first, 1)));
    k.store(k.divu(lane, groups.lanes), sharedFloat(k.add(warpChosen, place)));
  });
  syncWarp(k);
  const int count = problem.topGroups * groups.size;
  Candidates candidates;
  for (int from = 0; from < count; from += 32) {
    bool some = from + 32 > count;
    Value at = k.add(lane, from), safe = some ? k.min(at, k.c(count - 1)) : at;
    Value place = k.divu(safe, groups.size), member = k.sub(safe, k.mul(place, groups.size));
    Value group = k.load(k.i32(), sharedFloat(k.add(warpChosen, place)));
    Value word = k.add(k.add(warpKeys, k.mul(group, groups.stride)), member);
    Value key = orderOf(k, k.load(k.f32(), sharedFloat(word)));
    candidates.keys.push_back(some ? k.select(k.eq(safe, at), key, k.c(noKey)) : key);
    candidates.ids.push_back(k.add(k.mul(group, groups.size), member));
  }
  return candidates;
}

/// All experts, those of other groups without a key.
RouteChoice::Candidates RouteChoice::masked(const Values &keys, Value stays) {
  Candidates candidates = ofAll(keys);
  for (auto [key, leader] : llvm::zip(candidates.keys, groupLane))
    key = k.select(k.eq(k.band(k.shr(stays, leader), 1), 0), k.c(noKey), key);
  return candidates;
}

} // namespace lathe::codegen
