//===- AttendKernel.cpp - The main kernel with query rows on the scores' rows ------------------------===//
//
// Builds the consumers as PagedAttention.cpp draws them. Every consumer runs the same code with its index: it
// owns every W-th KV tile for the scores and one block of columns for the output.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/RowParts.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr int maximaEvent = 1;
static constexpr int probabilityEvent = 2;

namespace {

class AttendBuilder final : public RowParts {
public:
  using RowParts::RowParts;

private:
  void syncConsumers(int event) {
    if (consumers > 1)
      sync(event, consumers);
  }
  Value other() { return k.sub(k.c(1), consumer); }

  Values consumeItem(const Turn &turn) override {
    const Item &item = turn.item;
    auto queryBuffer = BufferType::get(k.b.getContext(), build.config.rowsPerCta, problem.keyDim, 128);
    query = WaitOp::create(k.b, k.loc, queryBuffer, queryPipe, turn.queryCount);
    Value unmasked = unmaskedTokens(item);
    Value zero = k.cf(0);
    SmallVector<Value> state =
        loop(item.begin, item.end,
             {turn.count, splat(fragment(columns()), zero), splat(floatRows(), k.cf(lowestScore)),
              splat(floatRows(), zero)},
             [&](Value unit, ValueRange carried) { return consumeUnit(item, unit, carried, unmasked); });
    ReleaseOp::create(k.b, k.loc, queryPipe, turn.queryCount, 0);
    launchLate();
    storeItem(item, state[1], state[2], totalSums(state[3]));
    return {state[0]};
  }

  SmallVector<Value> consumeUnit(const Item &item, Value unit, ValueRange carried, Value unmasked) {
    Value count = carried[0], output = carried[1], maxima = carried[2], sums = carried[3];
    Value own = k.add(count, consumer);
    Value tile = WaitOp::create(k.b, k.loc, tileType(), kvPipe, own);
    Value firstToken = k.mul(k.add(k.mul(unit, consumers), consumer), tokens);
    Value scores = scoresOf(tile);
    scores = maskTail(item, tile, scores, firstToken, unmasked);

    Value found = ReduceOp::create(k.b, k.loc, floatRows(), "max", scores, false);
    Value newMaxima = exchangedMaxima(maxima, product(found, factor));
    Value shrink = shrinkOf(maxima, newMaxima), p = probabilitiesOf(scores, newMaxima);
    Value partial = ReduceOp::create(k.b, k.loc, floatRows(), "add", p, true);
    sums = map(floatRows(), {sums, shrink, partial},
               [&](Block *b) { return k.fma(b->getArgument(0), b->getArgument(1), b->getArgument(2)); });
    output = accumulate(product(output, shrink), p, tile, count);
    for (int i = 0; i < consumers; ++i)
      ReleaseOp::create(k.b, k.loc, kvPipe, k.add(count, i), 0);
    return {k.add(count, consumers), output, newMaxima, sums};
  }

  BufferType probabilityType() {
    return BufferType::get(k.b.getContext(), build.config.rowsPerCta, tokens, int64_t(2) * tokens);
  }

  /// Q·Kᵀ of the consumer's own tile.
  Value scoresOf(Value tile) {
    MmaFenceOp::create(k.b, k.loc);
    Value raw =
        MmaNtOp::create(k.b, k.loc, fragment(tokens), query, tile, problem.keyDim, 0, Value(), Value());
    MmaCommitOp::create(k.b, k.loc);
    return waitAll(raw)[0];
  }

  /// Only the tiles at a row's limit pay for masks, only the tile at the sequence's end for clearing.
  Value maskTail(const Item &item, Value tile, Value scores, Value firstToken, Value unmasked) {
    Value end = k.add(firstToken, tokens);
    k.when(k.lt(item.length, end), [&] {
      ZeroRowsOp::create(k.b, k.loc, tile, k.sub(item.length, firstToken), build.memory.valueBoxes);
      if (consumers == 1)
        sync(maximaEvent, 1);
    });
    return mask(item, scores, firstToken, unmasked);
  }

  /// Maxima over the tiles of all consumers and all tiles before.
  Value exchangedMaxima(Value maxima, Value mine) {
    auto larger = [&](Value x, Value y) {
      return map(floatRows(), {x, y}, [&](Block *b) { return k.fmax(b->getArgument(0), b->getArgument(1)); });
    };
    if (consumers > 1) {
      putStatistics(mine, consumer);
      syncConsumers(maximaEvent);
      mine = larger(mine, getStatistics(other()));
    }
    return larger(maxima, mine);
  }

  /// Where consumer `owner`'s probabilities lie: in the box of its tile that holds no values, or in a buffer
  /// of their own.
  Value probabilityBuffer(Value tile, Value owner) {
    if (build.memory.probabilitiesInStage)
      return BoxOp::create(k.b, k.loc, probabilityType(), tile, build.memory.boxes - 1);
    return BufferOp::create(k.b, k.loc, probabilityType(), k.b.getI32IntegerAttr(build.memory.probabilities),
                            owner, k.b.getStringAttr("probabilities"), k.b.getI32IntegerAttr(consumers));
  }

  /// O += P·V over the unit's tiles, for this consumer's columns: its own tile from registers, the other
  /// one's from shared memory.
  Value accumulate(Value output, Value p, Value tile, Value count) {
    Value operand = PackOp::create(k.b, k.loc, OperandType::get(k.b.getContext(), tokens), p);
    Value box = firstBox();
    if (consumers > 1)
      PutOperandOp::create(k.b, k.loc, operand, probabilityBuffer(tile, consumer));
    MmaFenceOp::create(k.b, k.loc);
    output = MmaNnOp::create(k.b, k.loc, output.getType(), output, operand, tile, box);
    MmaCommitOp::create(k.b, k.loc);
    if (consumers > 1) {
      syncConsumers(probabilityEvent);
      Value otherTile = WaitOp::create(k.b, k.loc, tileType(), kvPipe, k.add(count, other()));
      MmaFenceOp::create(k.b, k.loc);
      output = MmaNnOp::create(k.b, k.loc, output.getType(), output, probabilityBuffer(otherTile, other()),
                               otherTile, box);
      MmaCommitOp::create(k.b, k.loc);
    }
    return waitAll(output)[0];
  }

  //===- Producer -------------------------------------------------------------------------------------===//

  Value produceItem(const Item &item, ValueRange, Value count, Value queryCount) override {
    loadQuery(item, queryCount);
    return loop(item.begin, item.end, {count},
                [&](Value unit, ValueRange carried) { return Values{loadUnit(item, unit, carried[0])}; })[0];
  }

  /// Loads the unit's tiles; of a tile that a cluster shares, this CTA's share of the rows.
  Value loadUnit(const Item &item, Value unit, Value count) {
    int share = tokens / build.config.cluster;
    Value first = shareOf(unit);
    auto readTable = [&](int tile) { return piecesOf(item, k.add(first, int64_t(tile) * tokens), share); };
    // Ahead for all tiles, unless these span pages: the producer has registers for few.
    bool ahead = problem.page >= share;
    SmallVector<Pages> pieces(consumers);
    for (int tile = 0; ahead && tile < consumers; ++tile)
      pieces[tile] = readTable(tile);
    for (int tile = 0; tile < consumers; ++tile) {
      if (!ahead)
        pieces[tile] = readTable(tile);
      AcquireOp::create(k.b, k.loc, kvPipe, count, 0);
      ExpectOp::create(k.b, k.loc, kvPipe, count, 0, Value());
      for (const Piece &piece : pieces[tile])
        loadBoxes(piece, kvPipe, count, 0, build.memory.boxes);
      count = k.add(count, 1);
    }
    return count;
  }

  //===- Results --------------------------------------------------------------------------------------===//

  Value totalSums(Value sums) {
    Value mine = ReduceOp::create(k.b, k.loc, floatRows(), "add", sums, false);
    if (consumers == 1)
      return mine;
    putStatistics(mine, k.add(consumer, consumers));
    syncConsumers(maximaEvent);
    Value theirs = getStatistics(k.add(other(), consumers));
    Value total = map(floatRows(), {mine, theirs},
                      [&](Block *b) { return k.fadd(b->getArgument(0), b->getArgument(1)); });
    syncConsumers(probabilityEvent); // The next item may write the sums before a slow warp has read them.
    return total;
  }

  Value query;
};

} // namespace

void buildAttendKernel(OpBuilder &builder, const AttentionBuild &build, KernelEntry &entry) {
  entry.name = "attend";
  entry.threads = build.resources.threads;
  entry.sharedBytes = build.memory.sharedBytes;
  entry.cluster = build.config.cluster;
  entry.arguments = {{"tensor_map", "q"},           {"tensor_map", "kv"},   {"pointer", "block_table"},
                     {"i64", "block_table_stride"}, {"pointer", "lengths"}, {"pointer", "items"},
                     {"pointer", "worker_begin"},   {"f32", "scale"}};
  for (KernelArgument &argument : outputArguments())
    entry.arguments.push_back(argument);
  if (build.config.prefetch)
    entry.arguments.insert(entry.arguments.end(),
                           {{"pointer", "kv_base"}, {"i64", "kv_page_bytes"}, {"i64", "kv_row_bytes"}});
  if (build.config.seesaw)
    buildSeesawKernel(builder, build, entry);
  else if (build.config.swapOperands)
    buildSwappedKernel(builder, build, entry);
  else
    AttendBuilder(builder, build, entry).run();
}

} // namespace lathe::codegen
