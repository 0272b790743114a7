//===- PlanChoice.cpp - Which plan, on the device ----------------------------------------------------===//
//
// Closed forms but for one search, and that by all warps at once; sorts; and the deal of parts.
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
// Whole sequences, sorted: a thread a worker adds up what it has, and the slowest is weighed against the cut
// line.
//
// Parts that are dealt: of a share of all units and of half a one, each sorted by all threads and dealt by a
// warp of its own, at the same time. The deal that is chosen is not made again.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/PlanChoice.h"

#include <limits>
#include <tuple>

using namespace mlir;

namespace lathe::codegen {

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
    PlanDeal deal(k);
    deal.order.sort(batch.units, k["batch"]);
    longest = deal.order.units(k.c(0));
    Value worker = k.min(k.thread(), k.sub(k["workers"], 1)), count = deal.count(worker);
    auto op = scf::ForOp::create(k.b, k.loc, k.c(0), count, k.c(1), ValueRange{k.c(0)});
    {
      OpBuilder::InsertionGuard guard(k.b);
      k.b.setInsertionPointToStart(op.getBody());
      Value units = deal.order.units(deal.rank(worker, op.getInductionVar()));
      scf::YieldOp::create(k.b, k.loc, ValueRange{k.add(op.getRegionIterArgs()[0], units)});
    }
    return k.ge(lineTime(), largestOf(timeOf(op.getResult(0), count, k.c(1))));
  }

  std::pair<Value, Value> dealtPart(Value longestPart) {
    NVVM::Barrier0Op::create(k.b, k.loc); // The choice before has read the same words.
    k.store(batch.units, word(planUnitsWord, k.thread()));
    longest = largestOf(batch.units);
    Value share = k.max(ceilDiv(batch.total, k["workers"]), k.c(1));
    auto partOf = [&](Value deal) { return k.select(k.eq(deal, 0), share, ceilDiv(share, k.c(2))); };
    k.loop(k.c(0), k.c(planDeals), k.c(1), [&](Value deal) { sortParts(deal, partOf(deal)); });
    k.when(k.lt(warp, k.c(planDeals)), [&] {
      Value time = dealtTime(warp, partOf(warp), share);
      k.when(k.eq(lane, 0), [&] { k.store(time, word(planTimesWord, warp)); });
    });
    NVVM::Barrier0Op::create(k.b, k.loc);
    Value least = undealtTime(longestPart), best = k.c(0), bestDeal = k.c(0);
    for (int deal = 0; deal < planDeals; ++deal) {
      Value time = k.load(k.i32(), word(planTimesWord, k.c(deal))), less = k.lt(time, least);
      best = k.select(less, partOf(k.c(deal)), best);
      bestDeal = k.select(less, k.c(deal), bestDeal);
      least = k.select(less, time, least);
    }
    return {best, bestDeal};
  }

private:
  Value word(int first, Value index) { return planWord(k, k.c(first), index); }

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

  /// Of what was chosen before.
  Value undealtTime(Value longestPart) {
    Value one = k.lt(k.c(0), longestPart), part = k.max(longestPart, k.c(1));
    Value cuts = k.sub(k["workers"], 1);
    Value lineSlots = k.mul(k.add(cuts, k.min(k["batch"], cuts)), costs.slotNs);
    Value oneTime =
        k.add(timeOf(part, k.c(1), ceilDiv(longest, part)), k.mul(partsOf(part).second, costs.slotNs));
    return k.select(one, oneTime, k.add(lineTime(), lineSlots));
  }

  /// Whether there is room for such parts, and how many there are of all and of split sequences.
  std::tuple<Value, Value, Value> room(Value part) {
    auto [items, split] = partsOf(part);
    Value fits = k.band(k.ge(k.min(k.c(planThreads), k.add(k["batch"], k["workers"])), items),
                        k.ge(k.mul(k["workers"], 2), split));
    return {fits, items, split};
  }

  /// Equal parts of each sequence, the first ones longer, in the order of a deal; all threads.
  void sortParts(Value deal, Value part) {
    PlanLongest longestFirst(k, costs, deal);
    auto [fits, items, split] = room(part);
    Value units = batch.units, here = k.band(fits, k.lt(k.thread(), k["batch"]));
    Value parts = k.select(here, k.max(ceilDiv(units, part), k.c(1)), k.c(0));
    Value first = batch.sumBefore(parts), each = k.divu(units, k.max(parts, k.c(1)));
    Value longer = k.sub(units, k.mul(each, parts));
    k.loop(k.c(0), parts, k.c(1), [&](Value i) {
      Value mine = k.add(each, k.select(k.lt(i, longer), k.c(1), k.c(0)));
      k.store(mine, longestFirst.scratch(k.add(first, i)));
    });
    NVVM::Barrier0Op::create(k.b, k.loc);
    Value inside = k.band(fits, k.lt(k.thread(), items));
    Value mine = k.load(k.i32(), longestFirst.scratch(k.select(inside, k.thread(), k.c(0))));
    longestFirst.order.sort(k.select(inside, mine, k.c(0)), k.select(fits, items, k.c(0)));
  }

  /// Of parts that are dealt, by one warp; the most there is where there is no room for them.
  Value dealtTime(Value deal, Value part, Value share) {
    auto [fits, items, split] = room(part);
    auto op = scf::IfOp::create(k.b, k.loc, TypeRange{k.i32()}, fits, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(op.elseBlock());
    scf::YieldOp::create(k.b, k.loc, ValueRange{k.c(std::numeric_limits<int32_t>::max())});
    k.b.setInsertionPointToStart(op.thenBlock());
    Value busiest = k.shl(PlanLongest(k, costs, deal).give(items), planLoadShift);
    Value parts = k.max(ceilDiv(longest, part), k.c(1)), most = ceilDiv(longest, parts);
    Value memory = k.add(k.mul(total, batch.memoryNs), costs.startNs);
    Value time =
        k.add(k.max(memory, busiest), k.mul(k.min(k.max(share, most), k.c(planMaxLongest)), costs.lagNs));
    Value combine = k.select(k.lt(k.c(1), parts), k.mul(parts, costs.partNs), k.c(0));
    scf::YieldOp::create(k.b, k.loc, ValueRange{k.add(k.add(time, combine), k.mul(split, costs.slotNs))});
    return op.getResult(0);
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

std::pair<Value, Value> chooseDealtPart(KernelBuilder &k, const PlanCosts &costs, const PlanBatch &batch,
                                        Value longestPart) {
  return ChoiceBuilder(k, costs, batch).dealtPart(longestPart);
}

Value chooseWhole(KernelBuilder &k, const PlanCosts &costs, const PlanBatch &batch) {
  return ChoiceBuilder(k, costs, batch).whole();
}

} // namespace lathe::codegen
