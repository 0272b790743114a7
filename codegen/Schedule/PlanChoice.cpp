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
// Parts that are dealt: sorted by all threads and dealt by one warp, before it is known whether they will be.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/PlanChoice.h"

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

  Value dealtPart(Value longestPart) {
    NVVM::Barrier0Op::create(k.b, k.loc); // The choice before has read the same words.
    k.store(batch.units, word(planUnitsWord, k.thread()));
    longest = largestOf(batch.units);
    Value part = k.max(ceilDiv(batch.total, k["workers"]), k.c(1));
    auto [items, split] = partsOf(part);
    Value room = k.ge(k.c(planThreads), items);
    auto op = scf::IfOp::create(k.b, k.loc, TypeRange{k.i32()}, room, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(op.elseBlock());
    scf::YieldOp::create(k.b, k.loc, ValueRange{k.c(0)});
    k.b.setInsertionPointToStart(op.thenBlock());
    Value time = dealtTime(part, items, split);
    scf::YieldOp::create(k.b, k.loc, k.select(k.lt(time, undealtTime(longestPart)), part, k.c(0)));
    return op.getResult(0);
  }

private:
  Value word(int first, Value index) { return planWord(k, first, index); }

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

  /// Sorts the parts, equal ones of each sequence, the first ones longer.
  void sortParts(PlanLongest &longestFirst, Value part, Value items) {
    Value units = batch.units, here = k.lt(k.thread(), k["batch"]);
    Value parts = k.select(here, k.max(ceilDiv(units, part), k.c(1)), k.c(0));
    Value first = batch.sumBefore(parts), each = k.divu(units, k.max(parts, k.c(1)));
    Value longer = k.sub(units, k.mul(each, parts));
    k.loop(k.c(0), parts, k.c(1), [&](Value i) {
      Value mine = k.add(each, k.select(k.lt(i, longer), k.c(1), k.c(0)));
      k.store(mine, longestFirst.scratch(k.add(first, i)));
    });
    NVVM::Barrier0Op::create(k.b, k.loc);
    Value inside = k.lt(k.thread(), items);
    Value mine = k.load(k.i32(), longestFirst.scratch(k.select(inside, k.thread(), k.c(0))));
    longestFirst.order.sort(k.select(inside, mine, k.c(0)), items);
  }

  /// Deals the parts; PlanCosts.cpp's formula.
  Value dealtTime(Value part, Value items, Value split) {
    PlanLongest longestFirst(k, costs);
    sortParts(longestFirst, part, items);
    k.when(k.eq(warp, 0), [&] {
      Value most = longestFirst.give(items);
      k.store(most, word(planTimesWord, k.c(0)));
    });
    NVVM::Barrier0Op::create(k.b, k.loc);
    Value busiest = k.shl(k.load(k.i32(), word(planTimesWord, k.c(0))), planLoadShift);
    Value share = k.min(part, k.c(planMaxLongest));
    Value mean = k.add(k.mul(share, costs.unitNs), k.divu(k.mul(items, costs.itemNs), k["workers"]));
    Value late = k.mul(k.shr(k.max(k.sub(busiest, mean), k.c(0)), planLateShift), planLateParts);
    Value memory = k.add(k.add(k.mul(total, batch.memoryNs), costs.startNs), late);
    Value time = k.add(k.max(memory, busiest), k.mul(share, costs.lagNs));
    Value parts = k.max(ceilDiv(longest, part), k.c(1));
    Value combine = k.select(k.lt(k.c(1), parts), k.mul(parts, costs.partNs), k.c(0));
    return k.add(k.add(time, combine), k.mul(split, costs.slotNs));
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

  /// From `least` on, of which `most` is possible: both bounds, nearer.
  SmallVector<Value> narrow(Value least, Value most) {
    Value step = ceilDiv(k.sub(most, least), k.c(planWarps));
    auto tried = [&](Value index) { return k.min(k.add(least, k.mul(step, index)), most); };
    Value possible = k.ge(k["workers"], partsOf(tried(warp)).first);
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
