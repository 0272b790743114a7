//===- SeesawTurns.cpp - The two orders of a unit of work ---------------------------------------------===//
//
// What the consumers do from their scores to the end of a unit: both with the same tile, or each with its own
// tile first. See Seesaw.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/Seesaw.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

//===- Both with the same tile ------------------------------------------------------------------------===//

SeesawBuilder::State SeesawBuilder::left(Value scores, State state) {
  release(0, KeysOnly, state.count);
  Value found = ReduceOp::create(k.b, k.loc, floatRows(), "max", scores, false);
  Value maxima = moved(state.maxima, found), shrink = shrinkOf(state.maxima, maxima);
  putStatistics(maxima, k.c(LeftMaximum));
  putStatistics(shrink, k.c(LeftShrink));
  Value p = probabilitiesOf(scores, maxima), operand = pack(p);
  PutOperandOp::create(k.b, k.loc, operand, probabilityBuffer(0));
  arrive(LeftProbabilities, 2);
  state.output = multiply(scaled(state.output, shrink), operand, 0);
  state.sums = addedSums(state.sums, shrink, p);
  state.output = waitAll(state.output)[0];
  release(0, LeftValues, state.count);

  sync(RightProbabilities, 2);
  state.maxima = getStatistics(k.c(RightMaximum));
  shrink = getStatistics(k.c(RightShrink));
  state.sums = product(state.sums, shrink);
  state.output = waitAll(multiply(scaled(state.output, shrink), probabilityBuffer(1), 1))[0];
  release(1, LeftValues, state.count);
  release(1, KeysOnly, state.count);
  return state;
}

SeesawBuilder::State SeesawBuilder::right(Value scores, State state) {
  Value found = ReduceOp::create(k.b, k.loc, floatRows(), "max", scores, false);
  sync(LeftProbabilities, 2);
  Value before = getStatistics(k.c(LeftMaximum)), shrinkBefore = getStatistics(k.c(LeftShrink));
  state.output = multiply(scaled(state.output, shrinkBefore), probabilityBuffer(0), 0);

  state.maxima = moved(before, found);
  Value shrink = shrinkOf(before, state.maxima);
  putStatistics(state.maxima, k.c(RightMaximum));
  putStatistics(shrink, k.c(RightShrink));
  Value p = probabilitiesOf(scores, state.maxima), operand = pack(p);
  PutOperandOp::create(k.b, k.loc, operand, probabilityBuffer(1));
  arrive(RightProbabilities, 2);
  state.sums = addedSums(state.sums, product(shrink, shrinkBefore), p);
  state.output = waitAll(state.output)[0];
  release(0, RightValues, state.count);
  state.output = waitAll(multiply(scaled(state.output, shrink), operand, 1))[0];
  release(1, RightValues, state.count);
  return state;
}

//===- Own tiles first --------------------------------------------------------------------------------===//

SeesawBuilder::Value SeesawBuilder::firstScores(const Item &item, Value count) {
  return choose(k.lt(item.begin, item.end), splat(fragment(tokens), k.cf(0)),
                [&] { return scoresOf(count); });
}

SeesawBuilder::State SeesawBuilder::leftOwnFirst(const Item &item, Value unit, Value scores, State state) {
  release(0, KeysOnly, state.count);
  Value found = ReduceOp::create(k.b, k.loc, floatRows(), "max", scores, false);
  Value maxima = moved(state.maxima, found), shrink = shrinkOf(state.maxima, maxima);
  putStatistics(maxima, k.c(LeftMaximum));
  putStatistics(shrink, k.c(LeftShrink));
  arrive(LeftMaxima, 2);
  Value p = probabilitiesOf(scores, maxima), operand = pack(p);
  state.sums = addedSums(state.sums, shrink, p);
  PutOperandOp::create(k.b, k.loc, operand, probabilityBuffer(0));
  state.output = waitAll(multiply(scaled(state.output, shrink), operand, 0))[0];
  release(0, LeftValues, state.count);

  sync(RightMaxima, 2);
  state.maxima = getStatistics(k.c(RightMaximum));
  shrink = getStatistics(k.c(RightShrink));
  Value moves = AnyRowOp::create(k.b, k.loc, k.b.getI1Type(), shrink, k.b.getF32FloatAttr(1));
  k.when(moves, [&] {
    Value less = ScaleOperandOp::create(k.b, k.loc, operand.getType(), operand, shrink);
    PutOperandOp::create(k.b, k.loc, less, probabilityBuffer(0));
  });
  arrive(LeftProbabilities, 2);
  state.sums = product(state.sums, shrink);
  Value output = scaled(state.output, shrink);
  sync(RightProbabilities, 2);
  state.output = multiply(output, probabilityBuffer(1), 1);
  auto giveBack = [&] {
    release(1, LeftValues, state.count);
    release(1, KeysOnly, state.count);
  };
  // What this consumer gave back early is there again; the rest the right one gives back at this time.
  const auto early = hasKeysOnly() ? SmallVector<Part>{KeysOnly, LeftValues} : SmallVector<Part>{LeftValues};
  return endUnit(
      item, unit, state,
      [&](Value next) {
        Value raw = multiplyKeys(Value(), early, next);
        waitBut(1);
        giveBack();
        raw = multiplyKeys(raw, RightValues, next);
        return waitAll({state.output, raw});
      },
      giveBack);
}

SeesawBuilder::State SeesawBuilder::rightOwnFirst(const Item &item, Value unit, Value scores, State state) {
  Value found = ReduceOp::create(k.b, k.loc, floatRows(), "max", scores, false);
  sync(LeftMaxima, 2);
  Value before = getStatistics(k.c(LeftMaximum)), shrinkBefore = getStatistics(k.c(LeftShrink));
  state.maxima = moved(before, found);
  Value shrink = shrinkOf(before, state.maxima);
  putStatistics(state.maxima, k.c(RightMaximum));
  putStatistics(shrink, k.c(RightShrink));
  arrive(RightMaxima, 2);
  Value p = probabilitiesOf(scores, state.maxima), operand = pack(p);
  PutOperandOp::create(k.b, k.loc, operand, probabilityBuffer(1));
  shrink = product(shrink, shrinkBefore);
  state.output = multiply(scaled(state.output, shrink), operand, 1);
  state.sums = addedSums(state.sums, shrink, p);

  sync(LeftProbabilities, 2);
  state.output = multiply(state.output, probabilityBuffer(0), 0);
  arrive(RightProbabilities, 2); // Behind this product, for the first tile is asked for first.
  waitBut(1);
  release(1, RightValues, state.count);
  state.output = waitAll(state.output)[0];
  release(0, RightValues, state.count);
  return endUnit(
      item, unit, state,
      [&](Value next) {
        Value raw = multiplyKeys(Value(), partsOf(1), next);
        return Values{state.output, waitAll(raw)[0]};
      },
      [] {});
}

SeesawBuilder::State SeesawBuilder::endUnit(const Item &item, Value unit, State state,
                                            llvm::function_ref<Values(Value)> goOn,
                                            llvm::function_ref<void()> end) {
  Value none = splat(fragment(tokens), k.cf(0));
  auto more = scf::IfOp::create(k.b, k.loc, TypeRange{state.output.getType(), none.getType()},
                                k.lt(k.add(unit, 1), item.end), /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(k.b);
  k.b.setInsertionPointToStart(more.thenBlock());
  const Values next = goOn(k.add(state.count, 1)); // Output and raw scores.
  scf::YieldOp::create(k.b, k.loc, Values{next[0], product(next[1], factor)});
  k.b.setInsertionPointToStart(more.elseBlock());
  Value output = waitAll(state.output)[0];
  end();
  scf::YieldOp::create(k.b, k.loc, Values{output, none});
  state.output = more.getResult(0);
  state.scores = more.getResult(1);
  return state;
}

} // namespace lathe::codegen
