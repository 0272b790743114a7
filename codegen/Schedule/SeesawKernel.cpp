//===- SeesawKernel.cpp - Two consumers in turns ------------------------------------------------------===//
//
// See Seesaw.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/Seesaw.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr float maximaSlack = 8; // Base-2 logarithm of the largest probability before maxima move.

//===- Items -----------------------------------------------------------------------------------------===//

void SeesawBuilder::awaitQuery(Value count) {
  auto type = BufferType::get(k.b.getContext(), build.config.rowsPerCta, problem.keyDim, 128);
  query = WaitOp::create(k.b, k.loc, type, queryPipe, count, 0);
  if (build.config.prefetch) // Its products then read half as much shared memory.
    lastQuery =
        LoadOperandOp::create(k.b, k.loc, OperandType::get(k.b.getContext(), depthOf(build.memory.boxes - 1)),
                              query, build.memory.boxes - 1);
}

SeesawBuilder::Values SeesawBuilder::firstScores(Value count, Value queryCount) {
  awaitQuery(queryCount);
  Values ahead{scoresOf(count)};
  if (lastQuery)
    ahead.push_back(lastQuery);
  return ahead;
}

SeesawBuilder::Values SeesawBuilder::beginConsumer() {
  return carriesScores() ? firstScores(k.c(0), k.c(0)) : Values();
}

SeesawBuilder::Values SeesawBuilder::consumeItem(const Turn &turn) {
  const Item &item = turn.item;
  State state{turn.count, splat(fragment(columns()), k.cf(0)), splat(floatRows(), k.cf(lowestScore)),
              splat(floatRows(), k.cf(0)), Value()};
  if (carriesScores()) {
    state.scores = turn.carried[0];
    lastQuery = turn.carried.size() > 1 ? turn.carried[1] : Value();
  } else {
    awaitQuery(turn.queryCount);
  }
  state = State::of(loop(item.begin, item.end, state.values(), [&](Value unit, ValueRange values) {
    const State before = State::of(values);
    Value scores = carriesScores() ? before.scores : scoresOf(before.count);
    k.when(k.eq(k.add(unit, 1), item.end),
           [&] { ReleaseOp::create(k.b, k.loc, queryPipe, turn.queryCount, 0); });
    scores = maskTail(item, unit, scores);
    return endUnit(item, unit, isLeft() ? left(scores, before) : right(scores, before)).values();
  }));
  launchLate();
  turn.next(); // Arrives under the stores.
  storeItem(item, state.output, state.maxima, totalSums(state.sums));
  Values after{state.count};
  if (carriesScores()) {
    Values none{noScores()};
    if (lastQuery)
      none.push_back(lastQuery);
    after.append(
        choose(turn.more, none, [&] { return firstScores(state.count, k.add(turn.queryCount, 1)); }));
  }
  return after;
}

//===- Scores ----------------------------------------------------------------------------------------===//

SeesawBuilder::Value SeesawBuilder::scoresOf(Value count) {
  return product(waitAll(multiplyKeys(Value(), partsOf(role), count))[0], factor);
}

SeesawBuilder::Value SeesawBuilder::multiplyKeys(Value raw, ArrayRef<Part> parts, Value count) {
  for (Part part : parts)
    for (int box = boxesOf(part).from; box < boxesOf(part).to; ++box) {
      Value keys = WaitOp::create(k.b, k.loc, tileType(), pipeOf(role), count, box);
      MmaFenceOp::create(k.b, k.loc);
      Value rows = lastQuery && box == build.memory.boxes - 1 ? lastQuery : query;
      raw = MmaNtOp::create(k.b, k.loc, fragment(tokens), rows, keys, depthOf(box), box * boxColumns, raw,
                            Value());
    }
  MmaCommitOp::create(k.b, k.loc);
  return raw;
}

SeesawBuilder::Value SeesawBuilder::maskTail(const Item &item, Value unit, Value scores) {
  Value firstToken = k.add(k.mul(unit, build.unitTokens()), int64_t(role) * tokens);
  return mask(item, scores, firstToken, unmaskedTokens(item), [&] {
    k.when(k.lt(item.length, k.add(firstToken, tokens)), [&] {
      sync(Own + role, 1); // Other warps may still be reading the rows as keys.
      ZeroRowsOp::create(k.b, k.loc, tileOf(role), k.sub(item.length, firstToken), build.memory.valueBoxes);
      sync(Own + role, 1);
    });
  });
}

SeesawBuilder::Value SeesawBuilder::moved(Value before, Value found) {
  return map2(before, found, [&](Value old, Value tile) {
    Value grows =
        arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OGT, k.fsub(tile, old), k.cf(maximaSlack));
    return k.select(grows, tile, old);
  });
}

SeesawBuilder::Value SeesawBuilder::addedSums(Value sums, Value by, Value p) {
  Value partial = ReduceOp::create(k.b, k.loc, floatRows(), "add", p, true);
  return map(floatRows(), {sums, by, partial},
             [&](Block *b) { return k.fma(b->getArgument(0), b->getArgument(1), b->getArgument(2)); });
}

SeesawBuilder::Value SeesawBuilder::totalSums(Value sums) {
  Value mine = ReduceOp::create(k.b, k.loc, floatRows(), "add", sums, false);
  putStatistics(mine, k.c(FirstSums + role));
  sync(Sums, 2);
  // Whoever writes the next item's sums has been told its probabilities by all who read these.
  Value theirs = getStatistics(k.c(FirstSums + 1 - role));
  return map2(mine, theirs, [&](Value x, Value y) { return k.fadd(x, y); });
}

//===- Products --------------------------------------------------------------------------------------===//

SeesawBuilder::Value SeesawBuilder::tileOf(int tile) {
  return BufferOp::create(k.b, k.loc, tileType(),
                          k.b.getI32IntegerAttr(build.memory.ring + tile * build.memory.stageBytes), Value(),
                          k.b.getStringAttr(tile == 0 ? "kv0" : "kv1"), IntegerAttr());
}

SeesawBuilder::Value SeesawBuilder::scaled(Value output, Value by) {
  Value moves = AnyRowOp::create(k.b, k.loc, k.b.getI1Type(), by, k.b.getF32FloatAttr(1));
  return choose(moves, output, [&] { return product(output, by); });
}

SeesawBuilder::Value SeesawBuilder::pack(Value p) {
  return PackOp::create(k.b, k.loc, OperandType::get(k.b.getContext(), tokens), p);
}

/// The second tile's probabilities lie in its last box, where that holds keys only.
SeesawBuilder::Value SeesawBuilder::probabilityBuffer(int tile) {
  auto type = BufferType::get(k.b.getContext(), build.config.rowsPerCta, tokens, int64_t(2) * tokens);
  if (tile == 1 && build.memory.probabilitiesInStage)
    return BoxOp::create(k.b, k.loc, type, tileOf(1), build.memory.boxes - 1);
  return BufferOp::create(
      k.b, k.loc, type,
      k.b.getI32IntegerAttr(build.memory.probabilities + tile * build.memory.probabilityBytes), Value(),
      k.b.getStringAttr("probabilities"), IntegerAttr());
}

SeesawBuilder::Value SeesawBuilder::multiply(Value output, Value p, int tile) {
  MmaFenceOp::create(k.b, k.loc);
  Value box = k.mul(consumer, columnBoxes());
  output = MmaNnOp::create(k.b, k.loc, output.getType(), output, p, tileOf(tile), box);
  MmaCommitOp::create(k.b, k.loc);
  return output;
}

void SeesawBuilder::release(int tile, Part part, Value count) {
  if (part != KeysOnly || hasKeysOnly())
    ReleaseOp::create(k.b, k.loc, pipeOf(tile), count, part);
}

void buildSeesawKernel(OpBuilder &builder, const AttentionBuild &build, const KernelEntry &entry) {
  SeesawBuilder(builder, build, entry).run();
}

} // namespace lathe::codegen
