//===- SeesawTurns.cpp - A unit of work of two consumers in turns -------------------------------------===//
//
// What the consumers do with a unit, from its scores to those of the next one. See Seesaw.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/Seesaw.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

SeesawBuilder::Value SeesawBuilder::exponentials(Value scores, Value maxima) {
  return map(scores.getType(), {scores, maxima},
             [&](Block *b) { return exp2(k.fsub(b->getArgument(0), b->getArgument(1))); });
}

SeesawBuilder::State SeesawBuilder::left(Value scores, State state) {
  release(0, KeysOnly, state.count);
  Value found = ReduceOp::create(k.b, k.loc, floatRows(), "max", scores, false);
  Value maxima = moved(state.maxima, found), shrink = shrinkOf(state.maxima, maxima);
  putStatistics(maxima, k.c(LeftMaximum));
  putStatistics(shrink, k.c(LeftShrink));
  Value p = exponentials(scores, maxima), operand = pack(p);
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
  state.output = multiply(scaled(state.output, shrink), probabilityBuffer(1), 1);
  return state;
}

SeesawBuilder::State SeesawBuilder::right(Value scores, State state) {
  sync(LeftProbabilities, 2);
  Value before = getStatistics(k.c(LeftMaximum)), shrinkBefore = getStatistics(k.c(LeftShrink));
  // Before anything else: it is what the tensor cores have to do under this softmax.
  state.output = multiply(scaled(state.output, shrinkBefore), probabilityBuffer(0), 0);

  Value found = ReduceOp::create(k.b, k.loc, floatRows(), "max", scores, false);
  state.maxima = moved(before, found);
  Value shrink = shrinkOf(before, state.maxima);
  putStatistics(state.maxima, k.c(RightMaximum));
  putStatistics(shrink, k.c(RightShrink));
  Value p = exponentials(scores, state.maxima), operand = pack(p);
  PutOperandOp::create(k.b, k.loc, operand, probabilityBuffer(1));
  arrive(RightProbabilities, 2);
  state.sums = addedSums(state.sums, product(shrink, shrinkBefore), p);
  state.output = waitAll(state.output)[0];
  release(0, RightValues, state.count);
  state.output = multiply(scaled(state.output, shrink), operand, 1);
  return state;
}

//===- From unit to unit ------------------------------------------------------------------------------===//

void SeesawBuilder::giveBack(Value count) {
  release(1, isLeft() ? LeftValues : RightValues, count);
  if (isLeft())
    release(1, KeysOnly, count);
}

void SeesawBuilder::waitAndGiveBack(State &state) {
  state.output = waitAll(state.output)[0];
  giveBack(state.count);
}

SeesawBuilder::Value SeesawBuilder::nextScores(State &state, Value count) {
  if (!isLeft() || !build.config.prefetch) {
    waitAndGiveBack(state);
    return scoresOf(count);
  }
  // What this consumer gave back before is there again; the rest the right one gives back at this time.
  const SmallVector<Part> parts = partsOf(0);
  Value raw = multiplyKeys(Value(), ArrayRef(parts).drop_back(), count);
  waitBut(1);
  giveBack(state.count);
  raw = multiplyKeys(raw, parts.back(), count);
  const Values done = waitAll({state.output, raw});
  state.output = done[0];
  return product(done[1], factor);
}

SeesawBuilder::State SeesawBuilder::endUnit(const Item &item, Value unit, State state) {
  const Value next = k.add(state.count, 1);
  if (!carriesScores()) {
    waitAndGiveBack(state);
    return {next, state.output, state.maxima, state.sums, Value()};
  }
  auto more = scf::IfOp::create(k.b, k.loc, TypeRange{state.output.getType(), fragment(tokens)},
                                k.lt(k.add(unit, 1), item.end), /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(k.b);
  State last = state;
  k.b.setInsertionPointToStart(more.thenBlock());
  Value scores = nextScores(state, next);
  scf::YieldOp::create(k.b, k.loc, Values{state.output, scores});
  k.b.setInsertionPointToStart(more.elseBlock());
  waitAndGiveBack(last);
  scf::YieldOp::create(k.b, k.loc, Values{last.output, noScores()});
  return {next, more.getResult(0), state.maxima, state.sums, more.getResult(1)};
}

} // namespace lathe::codegen
