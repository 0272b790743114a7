//===- SeesawProducer.cpp - Who brings queries and KV tiles to two consumers in turns -----------------===//
//
// Parts are loaded in the order in which they are given back and asked for: keys, left and right values of
// the first tile, right and left values and keys of the second. An item's query goes behind what its first
// scores need first. Pages are read from the table a unit ahead (two where these are brought to the L2
// cache): in time, not when a part is free already.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/Seesaw.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

SeesawBuilder::Range SeesawBuilder::boxesOf(Part part) const {
  const int half = build.memory.valueBoxes / 2;
  switch (part) {
  case LeftValues:
    return {0, half};
  case RightValues:
    return {half, 2 * half};
  case KeysOnly:
    return {2 * half, build.memory.boxes};
  }
  return {0, 0};
}

void SeesawBuilder::makePipes() {
  const MemoryPlan &memory = build.memory;
  MLIRContext *context = k.b.getContext();
  auto queryType = PipeType::get(context, 1, build.config.rowsPerCta, problem.keyDim, 1, 1, 1);
  auto tileType = PipeType::get(context, 1, tokens, problem.keyDim, 1, memory.loadGroups, memory.stageParts);
  queryPipe =
      PipeOp::create(k.b, k.loc, queryType, memory.query, memory.barriers, consumers, k.b.getStringAttr("q"));
  int barriers = memory.barriers + 2 * 8, each = (memory.loadGroups + memory.stageParts) * 8;
  kvPipe =
      PipeOp::create(k.b, k.loc, tileType, memory.ring, barriers, /*releases=*/1, k.b.getStringAttr("kv0"));
  oddPipe = PipeOp::create(k.b, k.loc, tileType, memory.ring + memory.stageBytes, barriers + each,
                           /*releases=*/1, k.b.getStringAttr("kv1"));
}

/// The pieces of the unit's tiles, one tile's behind the other's.
SeesawBuilder::Pages SeesawBuilder::pagesOf(const Item &item, Value unit) {
  Value first = k.mul(unit, build.unitTokens());
  Pages pages = piecesOf(item, first, tokens);
  pages.append(piecesOf(item, k.add(first, tokens), tokens));
  return pages;
}

SeesawBuilder::Values SeesawBuilder::valuesOf(const Pages &pages) const {
  Values values;
  for (const Piece &piece : pages)
    values.push_back(piece.page);
  if (problem.page > tokens) // Else a piece is a whole page, or begins with one.
    for (const Piece &piece : pages)
      values.push_back(piece.inPage);
  return values;
}

SeesawBuilder::Pages SeesawBuilder::withValues(const Pages &like, ValueRange values) {
  Pages pages = like;
  for (size_t i = 0; i < pages.size(); ++i) {
    pages[i].page = values[i];
    pages[i].inPage = problem.page > tokens ? values[pages.size() + i] : k.c(0);
  }
  return pages;
}

SeesawBuilder::Value SeesawBuilder::produceItem(const Item &item, Value count, Value queryCount) {
  k.when(k.eq(item.begin, item.end), [&] { loadQuery(item, queryCount); });
  Pages like;
  Values carried{count};
  for (int ahead = 0; ahead < pagesAhead(); ++ahead) {
    like = pagesOf(item, k.add(item.begin, ahead));
    carried.append(valuesOf(like));
  }
  const size_t each = valuesOf(like).size();
  return loop(item.begin, item.end, carried, [&](Value unit, ValueRange state) {
    Values next{k.add(state[0], 1)};
    next.append(state.begin() + 1 + each, state.end());
    next.append(valuesOf(pagesOf(item, k.add(unit, pagesAhead()))));
    loadUnit(item, unit, withValues(like, state.slice(1, each)), state[0], queryCount);
    if (build.config.prefetch)
      k.when(k.lt(k.add(unit, 1), item.end),
             [&] { prefetch(item, unit, withValues(like, state.slice(1 + each, each))); });
    return next;
  })[0];
}

void SeesawBuilder::loadPart(int tile, Part part, const Pages &pages, Value count) {
  const Range boxes = boxesOf(part);
  AcquireOp::create(k.b, k.loc, pipeOf(tile), count, part);
  const size_t pieces = pages.size() / 2;
  for (int box = boxes.from; box < boxes.to; ++box) {
    ExpectOp::create(k.b, k.loc, pipeOf(tile), count, box);
    for (size_t i = 0; i < pieces; ++i)
      loadBoxes(pages[tile * pieces + i], pipeOf(tile), count, box, box + 1);
  }
}

void SeesawBuilder::loadUnit(const Item &item, Value unit, const Pages &pages, Value count,
                             Value queryCount) {
  for (int tile : {0, 1})
    for (Part part : partsOf(tile)) {
      loadPart(tile, part, pages, count);
      if (tile == 0 && part == LeftValues)
        k.when(k.eq(unit, item.begin), [&] { loadQuery(item, queryCount); });
    }
}

/// Each row block of a sequence brings its share of the boxes: all of them read the same tiles at nearly the
/// same time.
void SeesawBuilder::prefetch(const Item &, Value, const Pages &pages) {
  const int shares = std::min(build.resources.rowBlocks, 2);
  for (int share = 0; share < shares; ++share)
    k.when(k.eq(k.remu(rowBlock, shares), share), [&] {
      const int from = build.memory.boxes * share / shares, to = build.memory.boxes * (share + 1) / shares;
      for (const Piece &piece : pages)
        for (int box = from; box < to; ++box)
          PrefetchOp::create(k.b, k.loc, k["kv"],
                             ValueRange{k.c(int64_t(boxColumns) * box), piece.inPage, piece.page});
    });
}

} // namespace lathe::codegen
