//===- AttendProducer.cpp - Who brings queries and KV tiles ------------------------------------------===//
//
// One elected thread walks the worker's items: it waits for an empty stage and issues a TMA box for each 64
// columns, from the page that the table names. What all forms do so, and how pages are read ahead.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/AttendParts.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

void AttendParts::loadQuery(const Item &item, Value count) {
  if (build.config.cacheAhead)
    k.when(k.eq(count, 0), [&] { GridWaitOp::create(k.b, k.loc); });
  AcquireOp::create(k.b, k.loc, queryPipe, count, 0);
  ExpectOp::create(k.b, k.loc, queryPipe, count, 0, Value());
  Value row = k.mul(rowBlock, build.config.rowsPerCta);
  for (int box = 0; box < build.memory.boxes; ++box)
    LoadOp::create(k.b, k.loc, k["q"], ValueRange{k.c(int64_t(boxColumns) * box), row, item.sequence},
                   queryPipe, count, box, 0, build.config.rowsPerCta, /*evict_first=*/false);
}

AttendParts::Value AttendParts::oldUnits(const Item &item) {
  Value older = k.max(k.sub(item.length, problem.queryTokens), k.c(0));
  Value end = k.min(k.divu(older, build.unitTokens()), item.end);
  return k.max(k.sub(end, item.begin), k.c(0));
}

/// The page that holds a token; out of the cache's range (so that zeros arrive) at and past the sequence's
/// end, whose table entries may be garbage. An empty sequence may have no table at all.
AttendParts::Value AttendParts::pageOf(const Item &item, Value token) {
  Value last = k.divu(k.sub(k.max(item.length, k.c(1)), 1), problem.page);
  Value position = k.min(k.divu(token, problem.page), last);
  Value row = k.mul(k.wide(item.sequence), k["block_table_stride"]);
  Value address = k.at(k["block_table"], k.mul(k.add(row, k.wide(position)), k.c64(4)));
  address = k.select(k.lt(k.c(0), item.length), address, k["worker_begin"]);
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
                   pipe, count, box, piece.row, piece.rows, build.config.evictFirst);
}

AttendParts::Value AttendParts::shareOf(Value unit) {
  Value first = k.mul(unit, build.unitTokens());
  if (build.config.cluster == 1)
    return first;
  Value rank = NVVM::BlockInClusterIdXOp::create(k.b, k.loc, k.i32());
  return k.add(first, k.mul(rank, tokens / build.config.cluster));
}

//===- Pages ahead -----------------------------------------------------------------------------------===//

AttendParts::Pages AttendParts::pagesOf(const Item &item, Value unit) {
  Value first = shareOf(unit);
  Pages pages;
  for (int tile = 0; tile < consumers; ++tile)
    pages.append(piecesOf(item, k.add(first, int64_t(tile) * tokens), tokens / build.config.cluster));
  return pages;
}

AttendParts::Values AttendParts::valuesOf(const Pages &pages) const {
  Values values;
  for (const Piece &piece : pages)
    values.push_back(piece.page);
  if (problem.page > tokens / build.config.cluster) // Else a piece is a page.
    for (const Piece &piece : pages)
      values.push_back(piece.inPage);
  return values;
}

AttendParts::Pages AttendParts::withValues(ValueRange values) {
  const int share = tokens / build.config.cluster, rows = std::min(problem.page, share);
  const int pieces = share / rows, count = consumers * pieces;
  Pages pages;
  for (int i = 0; i < count; ++i)
    pages.push_back({values[i], problem.page > share ? values[count + i] : k.c(0), i % pieces * rows, rows});
  return pages;
}

AttendParts::Value AttendParts::overUnits(const Item &item, ValueRange firstPages, Value count,
                                          UnitBody body) {
  Values carried{count};
  carried.append(firstPages.begin(), firstPages.end());
  return loop(item.begin, item.end, carried, [&](Value unit, ValueRange state) {
    Pages next = pagesOf(item, k.add(unit, 1));
    Values after{body(unit, withValues(state.drop_front()), next, state[0])};
    after.append(valuesOf(next));
    return after;
  })[0];
}

/// Each row block of a sequence brings its share of every piece's rows: all of them read the same tiles at
/// nearly the same time. Where rows are contiguous: one request a piece.
void AttendParts::prefetch(const Pages &pages) {
  Value contiguous = k.eq(k["kv_row_bytes"], k.c64(int64_t(problem.keyDim) * 2));
  for (const Piece &piece : pages)
    k.when(k.band(contiguous, k.lt(k.c(-1), piece.page)), [&] {
      const int shares = std::min(build.resources.rowBlocks, 4), rows = piece.rows / shares;
      Value first = k.add(piece.inPage, k.mul(k.remu(rowBlock, shares), rows));
      Value offset =
          k.add(k.mul(k.wide(piece.page), k["kv_page_bytes"]), k.mul(k.wide(first), k["kv_row_bytes"]));
      PrefetchOp::create(k.b, k.loc, k.at(k["kv_base"], offset), k.c(int64_t(rows) * problem.keyDim * 2));
    });
}

AttendParts::Values AttendParts::firstAhead(const Item &item) {
  Values ahead = aheadOf(item);
  if (build.config.swapOperands && build.config.prefetch)
    prefetch(withValues(ahead));
  return ahead;
}

} // namespace lathe::codegen
