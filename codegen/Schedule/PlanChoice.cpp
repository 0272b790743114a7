//===- PlanChoice.cpp - Which plan, on the device ----------------------------------------------------===//
//
// Closed forms but for one search, and that by all warps at once; and one sort.
//
// One item a worker:
//
//   1 the longest sequence
//   2 the shortest part with which the parts of all sequences are no more than the workers. It lies between
//     units / workers and units / (workers - sequences); each warp tries one of 32 lengths between, which
//     leaves a 32nd for the next turn: mostly one turn or two
//   3 any longer part is possible too. Thread n weighs the shortest that cuts the longest sequence into
//     n + 1; the best of all against the cut line
//
// Whole sequences: a bitonic sort of keys that hold length and sequence, in as many steps as the batch needs
// (28 for 128 sequences, 55 for 1024). The order gives the list in closed form; a thread a worker adds up
// what it has, and the slowest is weighed against the cut line.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/PlanChoice.h"

#include <limits>

using namespace mlir;

namespace lathe::codegen {

static Value sharedWord(KernelBuilder &k, int first, Value index) {
  return k.at(k.shared(), k.mul(k.add(index, first), 4));
}

//===- Deal ------------------------------------------------------------------------------------------===//

static constexpr int sequenceBits = 10;
static_assert(planThreads == 1 << sequenceBits && int64_t(planMaxLongest) << sequenceBits < int64_t(1) << 31);

PlanDeal::PlanDeal(KernelBuilder &k, Value sequences) : k(k), sequences(sequences) {
  rounds = k.divu(sequences, k["workers"]);
  rest = k.sub(sequences, k.mul(rounds, k["workers"]));
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

/// Largest first; of equal lengths the first sequence. Past the batch lie the least keys.
Value PlanDeal::key(Value rank) { return k.load(k.i32(), sharedWord(k, planUnitsWord, rank)); }
Value PlanDeal::sequence(Value rank) {
  return k.sub(k.c(planThreads - 1), k.band(key(rank), planThreads - 1));
}
Value PlanDeal::units(Value rank) { return k.shr(key(rank), sequenceBits); }

/// A step of the sort: a thread a pair.
void PlanDeal::exchange(Value size, Value distance) {
  Value inside = k.band(k.thread(), k.sub(distance, 1));
  Value low = k.sub(k.mul(k.thread(), 2), inside), high = k.add(low, distance);
  k.when(k.lt(low, k.min(k.mul(sequences, 2), k.c(planThreads))), [&] {
    Value first = key(low), second = key(high), falls = k.eq(k.band(low, size), 0);
    Value larger = k.max(first, second), smaller = k.min(first, second);
    k.store(k.select(falls, larger, smaller), sharedWord(k, planUnitsWord, low));
    k.store(k.select(falls, smaller, larger), sharedWord(k, planUnitsWord, high));
  });
  NVVM::Barrier0Op::create(k.b, k.loc);
}

void PlanDeal::sort(Value units) {
  Value length = k.shl(k.min(units, k.c(planMaxLongest)), sequenceBits);
  k.store(k.add(length, k.sub(k.c(planThreads - 1), k.thread())), sharedWord(k, planUnitsWord, k.thread()));
  NVVM::Barrier0Op::create(k.b, k.loc);
  k.loop(k.c(1), k.c(sequenceBits + 1), k.c(1), [&](Value bits) {
    Value size = k.shl(k.c(1), bits), half = k.shr(size, 1);
    k.when(k.lt(half, sequences),
           [&] { k.loop(k.c(0), bits, k.c(1), [&](Value step) { exchange(size, k.shr(half, step)); }); });
  });
}

//===- Longest first ----------------------------------------------------------------------------------===//

static constexpr int lanes = 32, laneWorkers = planDealtWorkers / lanes, workerBits = 8;
static_assert(planDealtWorkers == 1 << workerBits);

Value PlanLongest::deal(Value units) {
  PlanDeal(k, items).sort(units);
  k.when(k.lt(k.thread(), k.c(lanes)), [&] {
    SmallVector<Value> state;
    for (int i = 0; i < laneWorkers; ++i) // Those that are not there are full.
      state.push_back(
          k.select(k.lt(k.add(k.lane(), i * lanes), k["workers"]), k.c(0), k.c(planMostLoad + 1)));
    state.append(laneWorkers, k.c(0));
    state = k.loop(k.c(0), items, k.c(1), state,
                   [&](Value rank, ValueRange carried) { return give(rank, carried); });
    Value most = k.c(0);
    for (int i = 0; i < laneWorkers; ++i) {
      Value worker = k.add(k.lane(), i * lanes);
      k.store(state[size_t(laneWorkers + i)], sharedWord(k, planCountsWord, worker));
      most = k.max(most, k.select(k.lt(worker, k["workers"]), state[size_t(i)], k.c(0)));
    }
    most = NVVM::ReduxOp::create(k.b, k.loc, k.i32(), most, NVVM::ReduxKind::MAX, k.c(-1));
    k.store(most, sharedWord(k, planTimesWord, k.c(0)));
  });
  NVVM::Barrier0Op::create(k.b, k.loc);
  return k.load(k.i32(), sharedWord(k, planTimesWord, k.c(0)));
}

/// The item of a rank to the worker with the least; leaves that and its number among the worker's items.
SmallVector<Value> PlanLongest::give(Value rank, ValueRange state) {
  Value key = k.load(k.i32(), sharedWord(k, planUnitsWord, rank));
  Value cost = k.shr(k.add(k.mul(k.shr(key, sequenceBits), costs.unitNs), costs.itemNs), planLoadShift);
  Value least = k.c(std::numeric_limits<int32_t>::max());
  for (int i = 0; i < laneWorkers; ++i)
    least = k.min(least, k.add(k.shl(state[size_t(i)], workerBits), k.add(k.lane(), i * lanes)));
  least = NVVM::ReduxOp::create(k.b, k.loc, k.i32(), least, NVVM::ReduxKind::MIN, k.c(-1));
  Value worker = k.band(least, planDealtWorkers - 1);
  SmallVector<Value> next(state.begin(), state.end());
  for (int i = 0; i < laneWorkers; ++i) {
    Value mine = k.eq(worker, k.add(k.lane(), i * lanes));
    Value &load = next[size_t(i)], &count = next[size_t(laneWorkers + i)];
    k.when(mine,
           [&] { k.store(k.add(k.shl(count, workerBits), worker), sharedWord(k, planGivenWord, rank)); });
    load = k.select(mine, k.min(k.add(load, cost), k.c(planMostLoad)), load);
    count = k.select(mine, k.add(count, 1), count);
  }
  return next;
}

Value PlanLongest::source(Value rank) {
  return k.sub(k.c(planThreads - 1),
               k.band(k.load(k.i32(), sharedWord(k, planUnitsWord, rank)), planThreads - 1));
}
Value PlanLongest::count(Value worker) {
  Value inside = k.lt(worker, k["workers"]);
  Value count = k.load(k.i32(), sharedWord(k, planCountsWord, k.min(worker, k.c(planDealtWorkers - 1))));
  return k.select(inside, count, k.c(0));
}
void PlanLongest::setBegin(Value worker, Value begin) {
  k.when(k.lt(worker, k.c(planDealtWorkers)), [&] { k.store(begin, sharedWord(k, planCountsWord, worker)); });
  NVVM::Barrier0Op::create(k.b, k.loc);
}
Value PlanLongest::place(Value rank) {
  Value given = k.load(k.i32(), sharedWord(k, planGivenWord, rank));
  Value worker = k.band(given, planDealtWorkers - 1);
  return k.add(k.load(k.i32(), sharedWord(k, planCountsWord, worker)), k.shr(given, workerBits));
}

//===- Choice ----------------------------------------------------------------------------------------===//

namespace {

class ChoiceBuilder {
public:
  ChoiceBuilder(KernelBuilder &k, const PlanCosts &costs, const PlanBatch &batch)
      : k(k), costs(costs), batch(batch), total(k.min(batch.total, k.c(planMaxTotal))), lane(k.lane()),
        warp(k.shr(k.thread(), 5)) {}

  Value longestPart() {
    k.store(batch.units, word(planUnitsWord, k.thread()));
    longest = largestOf(batch.units);
    Value shortest = shortestPart();
    Value part = k.max(shortest, ceilDiv(longest, k.add(k.thread(), 1)));
    auto [best, bestPart] = leastOf(timeOf(part, k.c(1), ceilDiv(longest, part)), part);
    return k.select(k.lt(lineTime(), best), k.c(0), bestPart);
  }

  Value whole() {
    PlanDeal deal(k, k["batch"]);
    deal.sort(batch.units);
    longest = deal.units(k.c(0));
    Value worker = k.min(k.thread(), k.sub(k["workers"], 1)), count = deal.count(worker);
    auto op = scf::ForOp::create(k.b, k.loc, k.c(0), count, k.c(1), ValueRange{k.c(0)});
    {
      OpBuilder::InsertionGuard guard(k.b);
      k.b.setInsertionPointToStart(op.getBody());
      Value units = deal.units(deal.rank(worker, op.getInductionVar()));
      scf::YieldOp::create(k.b, k.loc, ValueRange{k.add(op.getRegionIterArgs()[0], units)});
    }
    return k.ge(lineTime(), largestOf(timeOf(op.getResult(0), count, k.c(1))));
  }

  Value dealtPart(Value longestPart) {
    NVVM::Barrier0Op::create(k.b, k.loc); // The choice before has read the same words.
    k.store(batch.units, word(planUnitsWord, k.thread()));
    longest = largestOf(batch.units);
    Value one = k.lt(k.c(0), longestPart), part = k.max(longestPart, k.c(1));
    Value cuts = k.sub(k["workers"], 1);
    Value lineSlots = k.mul(k.add(cuts, k.min(k["batch"], cuts)), costs.slotNs);
    Value oneTime =
        k.add(timeOf(part, k.c(1), ceilDiv(longest, part)), k.mul(partsOf(part).second, costs.slotNs));
    Value least = k.select(one, oneTime, k.add(lineTime(), lineSlots)), best = k.c(0);
    Value share = k.max(ceilDiv(batch.total, k["workers"]), k.c(1));
    for (Value tried : {share, ceilDiv(share, k.c(2))}) {
      Value time = dealtTime(tried, share), less = k.lt(time, least);
      best = k.select(less, tried, best);
      least = k.select(less, time, least);
    }
    return best;
  }

private:
  Value word(int first, Value index) { return sharedWord(k, first, index); }

  /// Parts of all sequences and of those that are split.
  std::pair<Value, Value> partsOf(Value part) {
    auto op = scf::ForOp::create(k.b, k.loc, lane, k["batch"], k.c(32), ValueRange{k.c(0), k.c(0)});
    {
      OpBuilder::InsertionGuard guard(k.b);
      k.b.setInsertionPointToStart(op.getBody());
      Value units = k.load(k.i32(), word(planUnitsWord, op.getInductionVar()));
      Value parts = k.max(ceilDiv(units, part), k.c(1));
      Value split = k.select(k.lt(k.c(1), parts), parts, k.c(0));
      scf::YieldOp::create(
          k.b, k.loc,
          ValueRange{k.add(op.getRegionIterArgs()[0], parts), k.add(op.getRegionIterArgs()[1], split)});
    }
    return {reduce(op.getResult(0), NVVM::ReduxKind::ADD), reduce(op.getResult(1), NVVM::ReduxKind::ADD)};
  }

  /// Of parts that are dealt; the most there is where there is no room for them.
  Value dealtTime(Value part, Value share) {
    NVVM::Barrier0Op::create(k.b, k.loc); // The deal before has read the same words.
    k.store(batch.units, word(planUnitsWord, k.thread()));
    NVVM::Barrier0Op::create(k.b, k.loc);
    auto [items, split] = partsOf(part);
    Value fits = k.band(k.ge(k.min(k.c(planThreads), k.add(k["batch"], k["workers"])), items),
                        k.ge(k.mul(k["workers"], 2), split));
    auto op = scf::IfOp::create(k.b, k.loc, TypeRange{k.i32()}, fits, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(op.elseBlock());
    scf::YieldOp::create(k.b, k.loc, ValueRange{k.c(std::numeric_limits<int32_t>::max())});
    k.b.setInsertionPointToStart(op.thenBlock());
    Value busiest = k.shl(PlanLongest(k, costs, items).deal(unitsOfItem(part, items)), planLoadShift);
    Value parts = k.max(ceilDiv(longest, part), k.c(1)), most = ceilDiv(longest, parts);
    Value memory = k.add(k.mul(total, batch.memoryNs), costs.startNs);
    Value time =
        k.add(k.max(memory, busiest), k.mul(k.min(k.max(share, most), k.c(planMaxLongest)), costs.lagNs));
    Value combine = k.select(k.lt(k.c(1), parts), k.mul(parts, costs.partNs), k.c(0));
    scf::YieldOp::create(k.b, k.loc, ValueRange{k.add(k.add(time, combine), k.mul(split, costs.slotNs))});
    return op.getResult(0);
  }

  /// Units of the thread's item, 0 past the last one; equal parts of each sequence, the first ones longer.
  Value unitsOfItem(Value part, Value items) {
    Value units = batch.units;
    Value parts = k.select(k.lt(k.thread(), k["batch"]), k.max(ceilDiv(units, part), k.c(1)), k.c(0));
    Value first = batch.sumBefore(parts), each = k.divu(units, k.max(parts, k.c(1)));
    Value longer = k.sub(units, k.mul(each, parts));
    k.loop(k.c(0), parts, k.c(1), [&](Value i) {
      k.store(k.add(each, k.select(k.lt(i, longer), k.c(1), k.c(0))), word(planGivenWord, k.add(first, i)));
    });
    NVVM::Barrier0Op::create(k.b, k.loc);
    Value mine = k.load(k.i32(), word(planGivenWord, k.min(k.thread(), k.sub(items, 1))));
    return k.select(k.lt(k.thread(), items), mine, k.c(0));
  }
  Value reduce(Value value, NVVM::ReduxKind kind) {
    return NVVM::ReduxOp::create(k.b, k.loc, k.i32(), value, kind, k.c(-1));
  }
  Value ceilDiv(Value x, Value y) { return k.divu(k.sub(k.add(x, y), 1), y); }

  /// Of the values of all threads; what was stored before is visible to all.
  Value largestOf(Value value) {
    Value largest = reduce(value, NVVM::ReduxKind::MAX);
    k.when(k.eq(lane, 0), [&] { k.store(largest, word(planLargestWord, warp)); });
    NVVM::Barrier0Op::create(k.b, k.loc);
    return reduce(k.load(k.i32(), word(planLargestWord, lane)), NVVM::ReduxKind::MAX);
  }

  /// The least time of all threads and the longest part of those that take it.
  std::pair<Value, Value> leastOf(Value time, Value part) {
    auto ofWarp = [&](Value time, Value part) -> std::pair<Value, Value> {
      Value least = reduce(time, NVVM::ReduxKind::MIN);
      return {least, reduce(k.select(k.eq(time, least), part, k.c(0)), NVVM::ReduxKind::MAX)};
    };
    auto [least, longestOfWarp] = ofWarp(time, part);
    Value warpTime = least, warpPart = longestOfWarp;
    k.when(k.eq(lane, 0), [&] {
      k.store(warpTime, word(planTimesWord, warp));
      k.store(warpPart, word(planPartsWord, warp));
    });
    NVVM::Barrier0Op::create(k.b, k.loc);
    Value times = k.load(k.i32(), word(planTimesWord, lane));
    return ofWarp(times, k.load(k.i32(), word(planPartsWord, lane)));
  }

  /// PlanCosts.h's formula for a worker of `units` in `items` items.
  Value timeOf(Value units, Value items, Value parts) {
    units = k.min(units, k.c(planMaxLongest));
    Value memory = k.add(k.mul(total, batch.memoryNs), costs.startNs);
    Value worker = k.add(k.mul(units, costs.unitNs), costs.itemNs);
    Value time = k.add(k.max(memory, worker), k.mul(units, costs.lagNs));
    Value combine = k.select(k.lt(k.c(1), parts), k.mul(parts, costs.partNs), k.c(0));
    return k.add(k.add(time, combine), k.mul(k.sub(items, 1), costs.itemNs));
  }
  Value lineTime() {
    Value parts = k.min(k.add(ceilDiv(longest, batch.share), 1), k["workers"]);
    return timeOf(batch.share, k.add(ceilDiv(k["batch"], k["workers"]), 1), parts);
  }

  /// Parts of all sequences, of at most `part` units each.
  Value partsOfAll(Value part) {
    auto op = scf::ForOp::create(k.b, k.loc, lane, k["batch"], k.c(32), ValueRange{k.c(0)});
    {
      OpBuilder::InsertionGuard guard(k.b);
      k.b.setInsertionPointToStart(op.getBody());
      Value units = k.load(k.i32(), word(planUnitsWord, op.getInductionVar()));
      Value parts = k.max(ceilDiv(units, part), k.c(1));
      scf::YieldOp::create(k.b, k.loc, ValueRange{k.add(op.getRegionIterArgs()[0], parts)});
    }
    return reduce(op.getResult(0), NVVM::ReduxKind::ADD);
  }

  /// From `least` on, of which `most` is possible: both bounds, nearer.
  SmallVector<Value> narrow(Value least, Value most) {
    Value step = ceilDiv(k.sub(most, least), k.c(planWarps));
    auto tried = [&](Value index) { return k.min(k.add(least, k.mul(step, index)), most); };
    Value possible = k.ge(k["workers"], partsOfAll(tried(warp)));
    NVVM::Barrier0Op::create(k.b, k.loc); // The turn before has read the same words.
    k.when(k.eq(lane, 0),
           [&] { k.store(k.select(possible, warp, k.c(planWarps)), word(planPossibleWord, warp)); });
    NVVM::Barrier0Op::create(k.b, k.loc);
    Value first = reduce(k.load(k.i32(), word(planPossibleWord, lane)), NVVM::ReduxKind::MIN);
    Value above = k.add(tried(k.sub(first, 1)), 1); // Of what is not possible.
    return {k.select(k.eq(first, 0), least, above), tried(first)};
  }

  /// The least length of parts with which no worker has two.
  Value shortestPart() {
    Value units = batch.total, free = k.max(k.sub(k["workers"], k["batch"]), k.c(1));
    Value least = k.max(ceilDiv(units, k["workers"]), k.c(1));
    Value most = k.max(k.min(longest, ceilDiv(units, free)), k.c(1));
    SmallVector<Type> types(2, k.i32());
    auto op = scf::WhileOp::create(k.b, k.loc, types, ValueRange{least, most});
    OpBuilder::InsertionGuard guard(k.b);
    Block *before = k.b.createBlock(&op.getBefore(), {}, types, {k.loc, k.loc});
    scf::ConditionOp::create(k.b, k.loc, k.lt(before->getArgument(0), before->getArgument(1)),
                             before->getArguments());
    Block *after = k.b.createBlock(&op.getAfter(), {}, types, {k.loc, k.loc});
    scf::YieldOp::create(k.b, k.loc, narrow(after->getArgument(0), after->getArgument(1)));
    return op.getResult(0);
  }

  KernelBuilder &k;
  const PlanCosts &costs;
  const PlanBatch &batch;
  Value total, lane, warp, longest;
};

} // namespace

Value chooseLongestPart(KernelBuilder &k, const PlanCosts &costs, const PlanBatch &batch) {
  return ChoiceBuilder(k, costs, batch).longestPart();
}

Value chooseDealtPart(KernelBuilder &k, const PlanCosts &costs, const PlanBatch &batch, Value longestPart) {
  return ChoiceBuilder(k, costs, batch).dealtPart(longestPart);
}

Value chooseWhole(KernelBuilder &k, const PlanCosts &costs, const PlanBatch &batch) {
  return ChoiceBuilder(k, costs, batch).whole();
}

} // namespace lathe::codegen
