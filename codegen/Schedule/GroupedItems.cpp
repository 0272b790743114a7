//===- GroupedItems.cpp - How the work of grouped products is given out ------------------------------===//
//
// Item = tile × block of weights; its number names both. The thread that brings weights finds the CTA's next
// item while it brings those of the one before, so that neither the counter nor the map's entry is waited
// for, and passes it on by a queue in shared memory: expert, slots, rows, block.
//
//   static    CTA c takes items c, c + CTAs, c + 2·CTAs, …
//   dynamic   CTA c takes item c, then what is next when it begins an item, by a counter in global memory:
//             CTAs that share an expert's weights stay together, and none has much left when others are idle
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/Grouped.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr int warpsPerWarpgroup = 4;

void GroupedBuilder::makeQueue() {
  const MoeMemory &memory = build.memory;
  const int loaders = gathered() ? gatherers / 32 : 1; // Of rows: warps, or one thread.
  items = QueueOp::create(k.b, k.loc, QueueType::get(k.b.getContext(), moeQueueSlots, itemWords),
                          memory.items, memory.itemBarriers, consumers() * warpsPerWarpgroup + loaders,
                          k.b.getStringAttr("items"));
}

Value GroupedBuilder::allItems() {
  return k.mul(tiles, products == Products::Both ? upBlocks() + problem.hidden / itemRows() : blocks());
}

void GroupedBuilder::giveOut(llvm::function_ref<void(const Item &, Value, llvm::function_ref<void()>)> body) {
  tiles = loadI32(k, k["tile_count"], k.c(0));
  Value first = k.divu(NVVM::BlockIdXOp::create(k.b, k.loc, k.i32()), cluster());
  overProducts([&](const Place &from) {
    const Item begin = itemOf(first, entryOf(first));
    Values values{first, from.entry, begin.expert, begin.firstSlot, begin.rows, begin.block};
    auto push = [&](ValueRange carried) {
      PushOp::create(k.b, k.loc, items, carried[1], carried.drop_front(2));
      Values known{k.ge(carried[2], k.c(0))};
      known.append(carried.begin(), carried.end());
      return known;
    };
    auto stageOf = [&](Value entry) { return k.add(from.stage, k.mul(k.sub(entry, from.entry), steps())); };
    const Values last = k.loopWhile(values, values.size(), push, [&](ValueRange known) {
      Value next = nextIndex(known[0]);
      Values entry;
      body({known[2], known[3], known[4], known[5]}, stageOf(known[1]), [&] { entry = entryOf(next); });
      const Item item = itemOf(next, entry);
      return Values{next, k.add(known[1], 1), item.expert, item.firstSlot, item.rows, item.block};
    });
    first = last[0];
    return Place{k.add(last[1], 1), stageOf(last[1])};
  });
}

GroupedBuilder::Place GroupedBuilder::overItems(const Place &from, ItemBody body, bool single) {
  const SmallVector<Type> words(itemWords, k.i32());
  auto pull = [&](ValueRange carried) {
    auto item = PullOp::create(k.b, k.loc, words, items, carried[0], single);
    Values known{k.ge(item.getResult(0), k.c(0)), carried[0], carried[1]};
    known.append(item.getResults().begin(), item.getResults().end());
    return known;
  };
  const Values last = k.loopWhile({from.entry, from.stage}, 2 + itemWords, pull, [&](ValueRange known) {
    Value count = body({known[2], known[3], known[4], known[5]}, known[1]);
    return Values{k.add(known[0], 1), count};
  });
  return {k.add(last[0], 1), last[1]};
}

Value GroupedBuilder::nextIndex(Value index) {
  Value stride = k.divu(NVVM::GridDimXOp::create(k.b, k.loc, k.i32()), cluster());
  if (!build.config.dynamic)
    return k.add(index, stride);
  // Where each CTA has one item at most, none asks for another.
  Value total = allItems();
  auto given =
      scf::IfOp::create(k.b, k.loc, TypeRange{k.i32()}, k.lt(stride, total), /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(k.b);
  k.b.setInsertionPointToStart(given.thenBlock());
  Value before = LLVM::AtomicRMWOp::create(k.b, k.loc, LLVM::AtomicBinOp::add,
                                           k.at(k["tile_count"], products == Products::Down ? 8 : 4), k.c(1),
                                           LLVM::AtomicOrdering::monotonic, "device");
  scf::YieldOp::create(k.b, k.loc, ValueRange{k.add(stride, before)});
  k.b.setInsertionPointToStart(given.elseBlock());
  scf::YieldOp::create(k.b, k.loc, ValueRange{total});
  return given.getResult(0);
}

GroupedBuilder::Values GroupedBuilder::entryOf(Value index) {
  index = ownIndex(index);
  Value total = k.mul(tiles, blocks());
  auto found = scf::IfOp::create(k.b, k.loc, SmallVector<Type>(moeTileWords, k.i32()), k.lt(index, total),
                                 /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(k.b);
  k.b.setInsertionPointToStart(found.thenBlock());
  auto four = VectorType::get({moeTileWords}, k.i32());
  Value tile = k.divu(index, blocks());
  Value entry = k.load(four, k.at(k["tiles"], k.wide(k.mul(tile, moeTileWords * 4))));
  Values words;
  for (int i = 0; i < moeTileWords; ++i)
    words.push_back(LLVM::ExtractElementOp::create(k.b, k.loc, entry, k.c(i)));
  scf::YieldOp::create(k.b, k.loc, words);
  k.b.setInsertionPointToStart(found.elseBlock());
  scf::YieldOp::create(k.b, k.loc, Values{k.c(-1), k.c(0), k.c(0), k.c(0)});
  return Values(found.getResults());
}

GroupedBuilder::Item GroupedBuilder::itemOf(Value index, ValueRange entry) {
  index = ownIndex(index);
  Value parts = k.shr(entry[3], 16), number = k.band(entry[3], 0xFFFF);
  Value first = k.sub(k.divu(index, blocks()), number), inside = k.sub(index, k.mul(first, blocks()));
  auto several = scf::IfOp::create(k.b, k.loc, SmallVector<Type>(itemWords, k.i32()), k.lt(k.c(1), parts),
                                   /*withElseRegion=*/true);
  {
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(several.thenBlock());
    const Item part = partOf(entry, parts, inside);
    scf::YieldOp::create(k.b, k.loc, Values{part.expert, part.firstSlot, part.rows, part.block});
    k.b.setInsertionPointToStart(several.elseBlock());
    scf::YieldOp::create(k.b, k.loc, Values{entry[0], entry[1], entry[2], inside});
  }
  Value block = several.getResult(3);
  if (cluster() > 1)
    block = k.add(k.mul(block, cluster()), rank());
  return {several.getResult(0), several.getResult(1), several.getResult(2), block};
}

/// Parts in equal groups of moeTileGroup at most, block by block through each group. Parts are whole units,
/// the first ones one more than the last ones: with several widths as many rows as they differ by, so that
/// all parts but the last fill theirs. tokenTile is a multiple of the unit, so that ceil(rows / tokenTile)
/// parts suffice.
GroupedBuilder::Item GroupedBuilder::partOf(ValueRange entry, Value parts, Value item) {
  const int most = moeTileGroup(build.config, depth());
  Value groups = k.divu(k.add(parts, most - 1), most);
  Value size = k.divu(k.sub(k.add(parts, groups), 1), groups), items = k.mul(size, blocks());
  Value group = k.divu(item, items), before = k.mul(group, size), inside = k.sub(item, k.mul(group, items));
  size = k.min(size, k.sub(parts, before));
  Value block = k.divu(inside, size), number = k.add(before, k.sub(inside, k.mul(block, size)));

  const int unit = moeTileUnit(build.config);
  Value units = k.divu(k.add(entry[2], unit - 1), unit);
  Value each = k.divu(units, parts), longer = k.sub(units, k.mul(each, parts));
  auto begin = [&](Value part) { return k.mul(k.add(k.mul(part, each), k.min(part, longer)), unit); };
  Value from = begin(number), to = k.min(begin(k.add(number, 1)), entry[2]);
  return {entry[0], k.add(entry[1], from), k.sub(to, from), block};
}

} // namespace lathe::codegen
