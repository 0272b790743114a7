//===- RouteTiles.cpp - Experts' rows cut into tiles -------------------------------------------------===//
//
// An entry names its expert's slots and its own number among the expert's tiles; how rows are cut is reckoned
// by whoever takes an item (GroupedItems.cpp). An expert's first entries are written by its thread, from
// registers and without a search; what is more, in large steps, by all CTAs.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/MoeKernels.h"
#include "lathe/codegen/Schedule/RouteMap.h"
#include "lathe/codegen/Schedule/RouteWords.h"

#include <bit>

using namespace mlir;

namespace lathe::codegen {

using namespace route;

void RouteMap::storeTile(const Owner &owner, Value index, Value at) {
  Value words[] = {owner.expert, owner.firstSlot, owner.rows, k.add(k.shl(owner.tiles, 16), index)};
  Value address = k.at(k["tiles"], k.wide(k.mul(at, 4 * moeTileWords)));
  for (int i = 0; i < moeTileWords; ++i) // Whoever passes the array need not align it for one store.
    k.store(words[i], k.at(address, int64_t(4) * i));
}

/// Those behind the first ones of their expert, by all CTAs.
void RouteMap::storeManyTiles(Value routed) {
  const int threads = routeThreads(problem);
  k.loop(k.add(k.mul(range.block, threads), thread), routed, k.mul(range.blocks, threads), [&](Value at) {
    // The last expert whose tiles begin at `at` or before: one without tiles begins where the next one does.
    Value expert = k.c(0);
    for (int step = int(std::bit_ceil(unsigned(problem.experts))) / 2; step > 0; step /= 2) {
      Value tried = k.add(expert, step), safe = k.min(tried, k.c(problem.experts));
      Value before = k.ge(at, read(memory.tiles, safe));
      expert = k.select(k.band(before, k.lt(tried, problem.experts)), tried, expert);
    }
    Value begin = read(memory.tiles, expert), index = k.sub(at, begin);
    k.when(k.ge(index, k.c(ownTiles)), [&] {
      Value tiles = k.sub(read(memory.tiles, k.add(expert, 1)), begin);
      storeTile({expert, read(memory.first, expert), read(memory.rows, expert), tiles}, index, at);
    });
  });
}

void RouteMap::storeTiles() {
  const int threads = routeThreads(problem);
  Value routed = read(memory.tiles, k.c(problem.experts));
  k.when(differs(k, read(memory.many, k.c(0)), 0), [&] { storeManyTiles(routed); });
  // From the last thread on: where rows are few, the first warps still place theirs.
  Value mine = k.add(k.mul(range.block, threads), k.sub(k.c(threads - 1), thread));
  for (int i = 0; i < problem.shared; ++i) {
    Owner one = shared;
    one.expert = k.c(problem.experts + i);
    one.firstSlot = k.add(shared.firstSlot, k.mul(paddedRows, i));
    Value first = k.add(routed, k.mul(shared.tiles, i));
    k.loop(mine, shared.tiles, k.mul(range.blocks, threads),
           [&](Value index) { storeTile(one, index, k.add(first, index)); });
  }
}

} // namespace lathe::codegen
