//===- AttendProducer.cpp - Who brings queries and KV tiles ------------------------------------------===//
//
// One elected thread walks the worker's items: it waits for an empty stage, reads the page from the table,
// and issues a TMA box for each 64 columns. Where a stage has several full barriers, the item's query goes
// behind the first group of its first tile, for the scores need both.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/AttendParts.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

void AttendParts::produce() {
  auto elected = ElectedOp::create(k.b, k.loc);
  OpBuilder::InsertionGuard guard(k.b);
  k.b.setInsertionPointToStart(&elected.getBody().emplaceBlock());
  overItems([&](const Item &item, ValueRange counts) { return produceItem(item, counts[0], counts[1]); });
}

Value AttendParts::produceItem(const Item &item, Value count, Value queryCount) {
  if (build.memory.loadGroups == 1)
    loadQuery(item, queryCount);
  else
    k.when(k.eq(item.begin, item.end), [&] { loadQuery(item, queryCount); });
  return loop(item.begin, item.end, {count}, [&](Value unit, ValueRange carried) {
    return Values{loadUnit(item, unit, carried[0], queryCount)};
  })[0];
}

void AttendParts::loadQuery(const Item &item, Value count) {
  AcquireOp::create(k.b, k.loc, queryPipe, count, 0);
  ExpectOp::create(k.b, k.loc, queryPipe, count);
  Value row = k.mul(rowBlock, build.config.rowsPerCta);
  for (int box = 0; box < build.memory.boxes; ++box)
    LoadOp::create(k.b, k.loc, k["q"], ValueRange{k.c(int64_t(boxColumns) * box), row, item.sequence},
                   queryPipe, count, box, 0, build.config.rowsPerCta);
}

/// The page that holds a token; out of the cache's range (so that zeros arrive) at and past the sequence's
/// end, whose table entries may be garbage.
Value AttendParts::pageOf(const Item &item, Value token) {
  Value last = k.divu(k.sub(item.length, 1), problem.page);
  Value position = k.min(k.divu(token, problem.page), last);
  Value row = k.mul(k.wide(item.sequence), k["block_table_stride"]);
  Value address = k.at(k["block_table"], k.mul(k.add(row, k.wide(position)), k.c64(4)));
  return k.select(k.lt(token, item.length), k.load(k.i32(), address), k.c(-1));
}

SmallVector<AttendParts::Piece> AttendParts::piecesOf(const Item &item, Value first, int rows) {
  int pageRows = std::min(problem.page, rows);
  SmallVector<Piece> pieces;
  for (int row = 0; row < rows; row += pageRows) {
    Value start = k.add(first, row);
    pieces.push_back({pageOf(item, start), k.remu(start, problem.page), row, pageRows});
  }
  return pieces;
}

void AttendParts::loadBoxes(const Piece &piece, Value pipe, Value count, int from, int to) {
  for (int box = from; box < to; ++box)
    LoadOp::create(k.b, k.loc, k["kv"], ValueRange{k.c(int64_t(boxColumns) * box), piece.inPage, piece.page},
                   pipe, count, box, piece.row, piece.rows);
}

/// Loads the unit's tiles; of a tile that a cluster shares, this CTA's share of the rows.
Value AttendParts::loadUnit(const Item &item, Value unit, Value count, Value queryCount) {
  int share = tokens / build.config.cluster;
  int groups = build.memory.loadGroups, groupBoxes = (build.memory.boxes + groups - 1) / groups;
  Value first = k.mul(unit, build.unitTokens());
  if (build.config.cluster > 1)
    first = k.add(first, k.mul(Value(NVVM::BlockInClusterIdXOp::create(k.b, k.loc, k.i32())), share));
  auto readTable = [&](int tile) { return piecesOf(item, k.add(first, tile * tokens), share); };
  // Ahead for all tiles, unless these span pages: the producer has registers for few.
  bool ahead = problem.page >= share;
  SmallVector<SmallVector<Piece>> pieces(consumers);
  for (int tile = 0; ahead && tile < consumers; ++tile)
    pieces[tile] = readTable(tile);
  for (int tile = 0; tile < consumers; ++tile) {
    if (!ahead)
      pieces[tile] = readTable(tile);
    AcquireOp::create(k.b, k.loc, kvPipe, count, 0);
    for (int group = 0; group < groups; ++group) {
      ExpectOp::create(k.b, k.loc, kvPipe, count, group);
      for (const Piece &piece : pieces[tile])
        loadBoxes(piece, kvPipe, count, group * groupBoxes,
                  std::min((group + 1) * groupBoxes, build.memory.boxes));
      if (groups > 1 && tile == 0 && group == 0)
        k.when(k.eq(unit, item.begin), [&] { loadQuery(item, queryCount); });
    }
    count = k.add(count, 1);
  }
  return count;
}

} // namespace lathe::codegen
