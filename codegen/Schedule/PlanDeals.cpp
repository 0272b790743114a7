//===- PlanDeals.cpp - Work to workers by length, on the device --------------------------------------===//
//
// A bitonic sort of keys that hold length and number, in as many steps as there are items for (28 for 128,
// 55 for 1024). Whole sequences then lie in closed form. Parts go one by one to whoever has least: a warp
// holds the loads of all workers, a reduction an item; the first item of each worker needs none. Where each
// lies in its worker's list is counted afterwards, by all threads.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/PlanDeals.h"

using namespace mlir;

namespace lathe::codegen {

//===- Order -----------------------------------------------------------------------------------------===//

static constexpr int indexBits = 10;
static_assert(planThreads == 1 << indexBits && int64_t(planMaxLongest) << indexBits < int64_t(1) << 31);

/// Largest first. Past the last one lie the least keys.
Value PlanOrder::key(Value rank) { return k.load(k.i32(), planWord(k, word, rank)); }
Value PlanOrder::index(Value rank) { return k.sub(k.c(planThreads - 1), k.band(key(rank), planThreads - 1)); }
Value PlanOrder::units(Value rank) { return k.shr(key(rank), indexBits); }

/// A step of the sort: a thread a pair.
void PlanOrder::exchange(Value size, Value distance, Value count) {
  Value inside = k.band(k.thread(), k.sub(distance, 1));
  Value low = k.sub(k.mul(k.thread(), 2), inside), high = k.add(low, distance);
  k.when(k.lt(low, k.min(k.mul(count, 2), k.c(planThreads))), [&] {
    Value first = key(low), second = key(high), falls = k.eq(k.band(low, size), 0);
    Value larger = k.max(first, second), smaller = k.min(first, second);
    k.store(k.select(falls, larger, smaller), planWord(k, word, low));
    k.store(k.select(falls, smaller, larger), planWord(k, word, high));
  });
  NVVM::Barrier0Op::create(k.b, k.loc);
}

void PlanOrder::sort(Value units, Value count) {
  Value length = k.shl(k.min(units, k.c(planMaxLongest)), indexBits);
  k.store(k.add(length, k.sub(k.c(planThreads - 1), k.thread())), planWord(k, word, k.thread()));
  NVVM::Barrier0Op::create(k.b, k.loc);
  k.loop(k.c(1), k.c(indexBits + 1), k.c(1), [&](Value bits) {
    Value size = k.shl(k.c(1), bits), half = k.shr(size, 1);
    k.when(k.lt(half, count), [&] {
      k.loop(k.c(0), bits, k.c(1), [&](Value step) { exchange(size, k.shr(half, step), count); });
    });
  });
}

//===- Deal ------------------------------------------------------------------------------------------===//

PlanDeal::PlanDeal(KernelBuilder &k) : order(k, planUnitsWord), k(k) {
  rounds = k.divu(k["batch"], k["workers"]);
  rest = k.sub(k["batch"], k.mul(rounds, k["workers"]));
}

/// The worker at a place of a round: odd rounds go back.
Value PlanDeal::worker(Value place, Value round) {
  return k.select(k.eq(k.band(round, 1), 0), place, k.sub(k.sub(k["workers"], 1), place));
}
Value PlanDeal::count(Value worker) {
  Value place = this->worker(worker, rounds); // Of the last round: to and back are the same.
  return k.add(rounds, k.select(k.lt(place, rest), k.c(1), k.c(0)));
}
Value PlanDeal::begin(Value worker) {
  Value idle = k.sub(k["workers"], rest); // In the last round.
  Value back = k.max(k.sub(worker, idle), k.c(0));
  Value more = k.select(k.eq(k.band(rounds, 1), 0), k.min(worker, rest), back);
  return k.add(k.mul(worker, rounds), more);
}
Value PlanDeal::rank(Value worker, Value nth) {
  return k.add(k.mul(nth, k["workers"]), this->worker(worker, nth));
}
Value PlanDeal::item(Value rank) {
  Value round = k.divu(rank, k["workers"]);
  return k.add(begin(worker(k.sub(rank, k.mul(round, k["workers"])), round)), round);
}

//===- Longest first ----------------------------------------------------------------------------------===//

static constexpr int64_t lanes = 32;
static constexpr int laneWorkers = planDealtWorkers / lanes, workerBits = 8;
static_assert(planDealtWorkers == 1 << workerBits);

Value PlanLongest::scratch(Value item) { return planWord(k, planGivenWord, item); }

/// Of an item of so many units, before the bits of a worker's number.
Value PlanLongest::cost(Value units) {
  Value ns = k.add(k.mul(units, costs.unitNs), costs.itemNs);
  return k.shl(k.min(k.shr(ns, planLoadShift), k.c(planMostLoad)), workerBits);
}

/// A lane has the loads of every 32nd worker, each with the worker's number behind it, so that the least
/// names the first of those with the least. The first items go to one worker each.
Value PlanLongest::give(Value items) {
  Values state;
  Value first = k.min(items, k["workers"]), last = k.sub(items, 1);
  for (int i = 0; i < laneWorkers; ++i) { // Workers that are not there are full.
    Value worker = k.add(k.lane(), i * lanes), some = k.lt(worker, first);
    Value load = k.select(some, cost(order.units(k.min(worker, last))), k.c(0));
    load = k.select(k.lt(worker, k["workers"]), load, k.c((planMostLoad + 1) << workerBits));
    state.push_back(k.add(load, worker));
    k.when(some, [&] { k.store(worker, planWord(k, planGivenWord, worker)); });
  }
  state.push_back(order.units(k.min(first, last)));
  state = k.loop(first, items, k.c(1), state, [&](Value rank, ValueRange carried) {
    Value ahead = order.units(k.min(k.add(rank, 1), last)); // Asked for while this one is given.
    Values next = giveNext(rank, carried.drop_back(), cost(carried.back()));
    next.push_back(ahead);
    return next;
  });
  Value most = k.c(0);
  for (int i = 0; i < laneWorkers; ++i) { // Asked of loads, so that the loop has all predicates for itself.
    Value load = k.shr(state[size_t(i)], workerBits);
    most = k.max(most, k.select(k.lt(k.c(planMostLoad), load), k.c(0), load));
  }
  return NVVM::ReduxOp::create(k.b, k.loc, k.i32(), most, NVVM::ReduxKind::MAX, k.c(-1));
}

PlanLongest::Values PlanLongest::giveNext(Value rank, ValueRange loads, Value cost) {
  Values least(loads);
  for (int count = laneWorkers / 2; count > 0; count /= 2)
    for (int i = 0; i < count; ++i)
      least[size_t(i)] = k.min(least[size_t(i)], least[size_t(i) + size_t(count)]);
  Value taken = NVVM::ReduxOp::create(k.b, k.loc, k.i32(), least[0], NVVM::ReduxKind::MIN, k.c(-1));
  Value worker = k.band(taken, planDealtWorkers - 1);
  k.store(worker, planWord(k, planGivenWord, rank));
  Value now = k.min(k.add(taken, cost), k.add(k.c(planMostLoad << workerBits), worker));
  Values next;
  for (Value load : loads)
    next.push_back(k.select(k.eq(load, taken), now, load));
  return next;
}

Value PlanLongest::worker(Value rank) { return k.load(k.i32(), planWord(k, planGivenWord, rank)); }

std::pair<Value, Value> PlanLongest::tally(Value items) {
  Value thread = k.thread(), mine = worker(k.min(thread, k.sub(items, 1)));
  Value some = k.lt(thread, k.max(items, k["workers"])); // Other warps have nothing to count.
  Values counts = k.loop(k.c(0), k.select(some, items, k.c(0)), k.c(1), {k.c(0), k.c(0)},
                         [&](Value rank, ValueRange carried) {
                           Value other = worker(rank), before = k.band(k.eq(other, mine), k.lt(rank, thread));
                           return Values{k.add(carried[0], k.select(k.eq(other, thread), k.c(1), k.c(0))),
                                         k.add(carried[1], k.select(before, k.c(1), k.c(0)))};
                         });
  return {counts[0], counts[1]};
}

void PlanLongest::setBegin(Value worker, Value begin) {
  k.when(k.lt(worker, k.c(planDealtWorkers)), [&] { k.store(begin, planWord(k, planBeginsWord, worker)); });
}
Value PlanLongest::place(Value rank, Value before) {
  return k.add(k.load(k.i32(), planWord(k, planBeginsWord, worker(rank))), before);
}

} // namespace lathe::codegen
