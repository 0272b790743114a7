//===- SwappedKernel.cpp - The main kernel with query rows on the scores' columns --------------------===//
//
// For few query rows: KV tokens lie on the rows of WGMMA, which must be 64, query rows on its columns, which
// are any multiple of 8, so that nothing is padded to 64. One consumer warpgroup computes for each tile of 64
// tokens
//
//   1 S^T = K·Q^T          box group by box group as they arrive
//   2 mask, column maxima  halving shuffles, then through shared memory
//   3 P^T = 2^(S^T·scale·log2 e - m), its sums; as bf16 to shared memory, transposed
//   4 O^T += V^T·P^T       a product for each 64 value columns; V is the tile itself, read along its tokens
//
// The output stays in registers (valueDim × rows f32) with a query row in a column, so rescaling needs no
// shuffle. It leaves through shared memory, transposed, in rows of 16-byte chunks. The producer is a single
// warp; from 24 rows on a warpgroup, which gives its registers away.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/AttendParts.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr int groupEvent = 1, groupThreads = 128; // Of the consumer warpgroup.

namespace {

class SwappedBuilder final : public AttendParts {
public:
  using AttendParts::AttendParts;

private:
  int columns() const { return build.config.rowsPerCta; }
  Type columnsOf(Type element) { return ColumnsType::get(k.b.getContext(), columns(), element); }
  Type floatColumns() { return columnsOf(k.f32()); }
  void sync() { SyncEventOp::create(k.b, k.loc, groupEvent, groupThreads); }

  Values beginConsumer() override {
    row = map(columnsOf(k.i32()), {}, [&](Block *) {
      Value column = ColumnOp::create(k.b, k.loc, k.i32());
      return k.add(column, k.mul(rowBlock, columns()));
    });
    token = RowOp::create(k.b, k.loc, rows(k.i32()));
    auto type = BufferType::get(k.b.getContext(), columns(), tokens, 128);
    probabilities = BufferOp::create(k.b, k.loc, type, k.b.getI32IntegerAttr(build.memory.probabilities),
                                     Value(), k.b.getStringAttr("probabilities"), IntegerAttr());
    return {};
  }

  /// Loop-carried: count, maxima, sums, and the output's fragments.
  Values consumeItem(const Turn &turn) override {
    const Item &item = turn.item;
    auto queryBuffer = BufferType::get(k.b.getContext(), columns(), problem.keyDim, 128);
    query = WaitOp::create(k.b, k.loc, queryBuffer, queryPipe, turn.queryCount, 0);
    Value limit = map(columnsOf(k.i32()), {row, item.length},
                      [&](Block *b) { return limitOf(b->getArgument(0), b->getArgument(1)); });
    Value unmasked = unmaskedTokens(item), zero = k.cf(0);
    Values state{turn.count, splat(floatColumns(), k.cf(lowestScore)), splat(floatColumns(), zero)};
    state.append(size_t(build.memory.valueBoxes), splat(fragment(columns()), zero));
    state = loop(item.begin, item.end, state, [&](Value unit, ValueRange carried) {
      return consumeTile(item, unit, carried, limit, unmasked);
    });
    ReleaseOp::create(k.b, k.loc, queryPipe, turn.queryCount, 0);
    launchLate();
    storeItem(item, ValueRange(state).drop_front(3), state[1], complete("add", state[2], "column_sums", 1));
    return {state[0]};
  }

  Values consumeTile(const Item &item, Value unit, ValueRange carried, Value limit, Value unmasked) {
    Value count = carried[0], maxima = carried[1], sums = carried[2], firstToken = k.mul(unit, tokens);
    auto [tile, scores] = scoresOf(count);
    scores = maskTail(item, tile, scores, firstToken, limit, unmasked);
    Value mine = product(ReduceRowsOp::create(k.b, k.loc, floatColumns(), "max", scores), factor);
    Value newMaxima = map2(maxima, complete("max", mine, "column_maxima", 0),
                           [&](Value x, Value y) { return k.fmax(x, y); });
    Value shrink = shrinkOf(maxima, newMaxima), p = probabilitiesOf(scores, newMaxima);
    PutTransposedOp::create(k.b, k.loc, p, probabilities);
    Value partial = ReduceRowsOp::create(k.b, k.loc, floatColumns(), "add", p);
    sums = map(floatColumns(), {sums, shrink, partial},
               [&](Block *b) { return k.fma(b->getArgument(0), b->getArgument(1), b->getArgument(2)); });
    Values next{k.add(count, 1), newMaxima, sums};
    next.append(accumulate(carried.drop_front(3), shrink, tile));
    ReleaseOp::create(k.b, k.loc, kvPipe, count, 0);
    return next;
  }

  /// K·Q^T of tile number `count`, and the tile.
  std::pair<Value, Value> scoresOf(Value count) {
    int groups = build.memory.loadGroups, groupBoxes = (build.memory.boxes + groups - 1) / groups;
    Value tile, raw;
    for (int group = 0; group < groups; ++group) {
      int from = group * groupBoxes * boxColumns;
      int depth = std::min(problem.keyDim - from, groupBoxes * boxColumns);
      tile = WaitOp::create(k.b, k.loc, tileType(), kvPipe, count, group);
      MmaFenceOp::create(k.b, k.loc);
      raw = MmaNtOp::create(k.b, k.loc, fragment(columns()), tile, query, depth, from, raw, Value());
    }
    MmaCommitOp::create(k.b, k.loc);
    return {tile, waitAll(raw)[0]};
  }

  /// Only the tiles at a row's limit pay for masks, only the tile at the sequence's end for clearing, which
  /// the event of the maxima makes visible.
  Value maskTail(const Item &item, Value tile, Value scores, Value firstToken, Value limit, Value unmasked) {
    Value end = k.add(firstToken, tokens);
    k.when(k.lt(item.length, end), [&] {
      sync(); // Other warps may still be reading the rows as keys.
      ZeroRowsOp::create(k.b, k.loc, tile, k.sub(item.length, firstToken), build.memory.valueBoxes);
    });
    return choose(k.lt(unmasked, end), scores, [&] {
      return map(scores.getType(), {scores, token, limit, firstToken}, [&](Block *b) {
        Value here = k.add(b->getArgument(3), b->getArgument(1));
        return k.select(k.lt(here, b->getArgument(2)), b->getArgument(0),
                        k.cf(-std::numeric_limits<float>::infinity()));
      });
    });
  }

  /// Over all lanes; `array` 0 or 1 of the memory for exchanges.
  Value complete(StringRef kind, Value partial, StringRef name, int array) {
    int offset = build.memory.statistics + array * 4 * columns() * 4;
    return CompleteColumnsOp::create(k.b, k.loc, floatColumns(), k.b.getStringAttr(kind), partial,
                                     k.b.getStringAttr(name), k.b.getI32IntegerAttr(offset),
                                     k.b.getI32IntegerAttr(groupEvent));
  }

  /// O^T · shrink + V^T·P^T, once all warps have written P.
  Values accumulate(ValueRange output, Value shrink, Value tile) {
    Values next;
    for (Value part : output)
      next.push_back(product(part, shrink));
    sync();
    MmaFenceOp::create(k.b, k.loc);
    for (auto [box, part] : llvm::enumerate(next))
      part = MmaTtOp::create(k.b, k.loc, part.getType(), part, tile, box, probabilities);
    MmaCommitOp::create(k.b, k.loc);
    return waitAll(next);
  }

  //===- Producer -------------------------------------------------------------------------------------===//

  Values aheadOf(const Item &item) override { return valuesOf(pagesOf(item, item.begin)); }

  /// Groups of the first tile before an item's query: the scores need both.
  int usualPlace() const { return build.memory.loadGroups > 1 ? 1 : 0; }

  /// With cacheAhead the first query, which waits for the launch before, goes behind two groups if their
  /// tokens are old. More would hold it up in a CTA that began late (docs/schedules/exchanged.md).
  Value queryPlace(const Item &item, Value queryCount) {
    const int groups = build.memory.loadGroups;
    Value usual = k.c(usualPlace());
    if (!build.config.cacheAhead)
      return usual;
    Value ahead = k.min(k.mul(oldUnits(item), groups), k.c(std::min(groups, 2)));
    return k.select(k.eq(queryCount, 0), ahead, usual);
  }

  Value produceItem(const Item &item, ValueRange ahead, Value count, Value queryCount) override {
    const int groups = build.memory.loadGroups, groupBoxes = (build.memory.boxes + groups - 1) / groups;
    Value place = queryPlace(item, queryCount), end = k.mul(k.sub(item.end, item.begin), groups);
    Value next =
        overUnits(item, ahead, count, [&](Value unit, const Pages &pages, const Pages &, Value tile) {
          Value first = k.mul(k.sub(unit, item.begin), groups);
          for (int group = 0; group < groups; ++group) {
            if (build.config.cacheAhead || group == usualPlace())
              k.when(k.eq(k.add(first, group), place), [&] { loadQuery(item, queryCount); });
            if (group == 0)
              AcquireOp::create(k.b, k.loc, kvPipe, tile, 0);
            ExpectOp::create(k.b, k.loc, kvPipe, tile, group, Value());
            for (const Piece &piece : pages)
              loadBoxes(piece, kvPipe, tile, group * groupBoxes,
                        std::min((group + 1) * groupBoxes, build.memory.boxes));
          }
          return k.add(tile, 1);
        });
    k.when(k.lt(end, k.add(place, 1)), [&] { loadQuery(item, queryCount); });
    return next;
  }

  //===- Results --------------------------------------------------------------------------------------===//

  void storeOutput(ValueRange output, Value base, Type element,
                   llvm::function_ref<Value(Value)> offset) override {
    auto op = StoreTransposedOp::create(k.b, k.loc, output, base, Value(), k.b.getStringAttr("output_rows"),
                                        k.b.getI32IntegerAttr(build.memory.staging),
                                        k.b.getI32IntegerAttr(groupEvent),
                                        k.b.getI32IntegerAttr(problem.valueDim), TypeAttr::get(element),
                                        /*apart=*/IntegerAttr());
    rowRegion(op.getBody(), offset);
  }

  void storeLse(Value lse, Value base, llvm::function_ref<Value(Value)> offset) override {
    auto op = StoreColumnsOp::create(k.b, k.loc, lse, base);
    rowRegion(op.getBody(), offset);
  }

  Value row, token, query, probabilities;
};

} // namespace

void buildSwappedKernel(OpBuilder &builder, const AttentionBuild &build, const KernelEntry &entry) {
  SwappedBuilder(builder, build, entry).run();
}

} // namespace lathe::codegen
