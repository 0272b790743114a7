//===- SeesawProducer.cpp - Who brings queries and KV tiles to two consumers in turns -----------------===//
//
// Parts are loaded in the order in which they are given back and asked for: keys and values of the first
// tile, values and keys of the second. An item's query goes before them where its first scores follow the
// last item at once, whose last unit does not read its query any more; else behind what these need first. The
// pages of the next unit are read from the table, and brought to the L2 cache where that is asked for, while
// those of this one are on their way.
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

SmallVector<SeesawBuilder::Part> SeesawBuilder::partsOf(int tile) const {
  SmallVector<Part> parts{LeftValues, RightValues};
  if (tile == 1)
    parts = {RightValues, LeftValues};
  if (hasKeysOnly())
    parts.insert(tile == 0 ? parts.begin() : parts.end(), KeysOnly);
  return parts;
}

void SeesawBuilder::makePipes() {
  const MemoryPlan &memory = build.memory;
  MLIRContext *context = k.b.getContext();
  auto queryType = PipeType::get(context, 1, build.config.rowsPerCta, problem.keyDim, 1, 1, 1, 0);
  auto tileType = PipeType::get(context, 1, tokens, problem.keyDim, build.config.cluster, memory.loadGroups,
                                memory.stageParts, 0);
  queryPipe =
      PipeOp::create(k.b, k.loc, queryType, memory.query, memory.barriers, consumers, k.b.getStringAttr("q"));
  int barriers = memory.barriers + 2 * 8, each = (memory.loadGroups + memory.stageParts) * 8;
  kvPipe =
      PipeOp::create(k.b, k.loc, tileType, memory.ring, barriers, /*releases=*/1, k.b.getStringAttr("kv0"));
  oddPipe = PipeOp::create(k.b, k.loc, tileType, memory.ring + memory.stageBytes, barriers + each,
                           /*releases=*/1, k.b.getStringAttr("kv1"));
}

SeesawBuilder::Value SeesawBuilder::produceItem(const Item &item, ValueRange ahead, Value count,
                                                Value queryCount) {
  return overUnits(item, ahead, count,
                   [&](Value unit, const Pages &pages, const Pages &next, Value unitCount) {
                     loadUnit(item, unit, pages, unitCount, queryCount);
                     if (build.config.prefetch)
                       k.when(k.lt(k.add(unit, 1), item.end), [&] {
                         k.when(k.eq(unit, item.begin), [&] { awaitUnit(unitCount); });
                         prefetch(next);
                       });
                     return k.add(unitCount, 1);
                   });
}

void SeesawBuilder::loadPart(int tile, Part part, const Pages &pages, Value count) {
  const Range boxes = boxesOf(part);
  AcquireOp::create(k.b, k.loc, pipeOf(tile), count, part);
  const size_t pieces = pages.size() / 2;
  for (int box = boxes.from; box < boxes.to; ++box) {
    ExpectOp::create(k.b, k.loc, pipeOf(tile), count, box, Value());
    for (size_t i = 0; i < pieces; ++i)
      loadBoxes(pages[tile * pieces + i], pipeOf(tile), count, box, box + 1);
  }
}

void SeesawBuilder::loadUnit(const Item &item, Value unit, const Pages &pages, Value count,
                             Value queryCount) {
  const int usual = carriesScores() ? 0 : hasKeysOnly() ? 2 : 1; // Parts before the query.
  Value place = k.c(usual), begins = k.eq(unit, item.begin);
  if (build.config.cacheAhead) // What the first query waits for may be newer than these.
    place = k.select(k.bor(k.lt(k.c(0), queryCount), k.lt(k.c(0), oldUnits(item))), place, k.c(0));
  int index = 0;
  for (int tile : {0, 1})
    for (Part part : partsOf(tile)) {
      if (index == usual || (index == 0 && build.config.cacheAhead))
        k.when(k.band(begins, k.eq(place, index)), [&] { loadQuery(item, queryCount); });
      loadPart(tile, part, pages, count);
      ++index;
    }
}

/// An item's first unit is not slowed down by the prefetch of its second.
void SeesawBuilder::awaitUnit(Value count) {
  WaitOp::create(k.b, k.loc, tileType(), oddPipe, count, build.memory.boxes - 1);
}

} // namespace lathe::codegen
