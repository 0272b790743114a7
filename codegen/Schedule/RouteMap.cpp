//===- RouteMap.cpp - Choices to the map of rows by expert -------------------------------------------===//
//
//   1 each warp counts the choices of each expert in a row of shared memory of its own
//   2 a thread an expert: sums over warps; of several CTAs, published and summed over CTAs
//   3 a scan over experts of slots and tiles, by shuffles and one exchange between warps; then each thread
//     writes what is its expert's, the first tiles too
//   4 each warp goes over its choices again, 32 at a time: match.any tells a lane how many before it have its
//     expert, the sums tell how many before its warp and its CTA do. So the order in which anything happens
//     does not matter
//   5 where an expert has many tiles: a thread a tile, its expert by bisection of the prefix sums
//
// Nothing is serial in the rows but 4, by the rows of a warp, and nothing in the experts or an expert's
// tiles.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/RouteMap.h"

#include "lathe/codegen/Schedule/MoeKernels.h"
#include "lathe/codegen/Schedule/RouteWords.h"

using namespace mlir;

namespace lathe::codegen {

using namespace route;

RouteMap::RouteMap(KernelBuilder &k, const MoeProblem &problem, int tokenTile, const RouteRange &range)
    : k(k), problem(problem), memory(routeMemory(problem)), tokenTile(tokenTile), range(range),
      thread(k.thread()), lane(k.lane()), warp(k.shr(thread, 5)),
      paddedRows(roundUp(k, k["rows"], moeSlotTile)), isExpert(k.lt(thread, problem.experts)) {
  if (problem.shared > 0)
    shared = {k.c(problem.experts), k["shared_start"], k["rows"], ceilDiv(k, k["rows"], tokenTile)};
}

void RouteMap::clear() {
  const int threads = routeThreads(problem);
  k.loop(thread, k.c(int64_t(routeWarps(problem)) * problem.experts), k.c(threads),
         [&](Value at) { write(k.c(0), memory.counts, at); });
  k.when(k.eq(thread, threads - 1), [&] { write(k.c(0), memory.many, k.c(0)); });
}

void RouteMap::begin() {
  storeShared();
  k.when(k.band(k.eq(thread, 0), k.lt(k.c(1), range.blocks)), [&] {
    Value launch = k.assembly(k.i32(), "ld.relaxed.gpu.global.u32 $0, [$1];", "=r,l", {k["scratch"]});
    write(launch, memory.launch, k.c(0));
  });
  barrier(k); // The counts are zero.
}

/// The slots of shared experts.
void RouteMap::storeShared() {
  if (problem.shared == 0)
    return;
  // The last CTA also pads.
  Value last = k.eq(range.block, k.sub(range.blocks, 1));
  Value end = k.select(last, paddedRows, range.blockEnd);
  k.loop(k.add(range.blockBegin, thread), end, k.c(routeThreads(problem)), [&](Value row) {
    Value choice = k.select(k.lt(row, k["rows"]), k.mul(row, problem.topK), k.c(-1));
    for (int expert = 0; expert < problem.shared; ++expert)
      storeI32(k, choice, k["slots"], k.add(k.add(k["shared_start"], k.mul(paddedRows, expert)), row));
  });
}

//===- Counts ----------------------------------------------------------------------------------------===//

/// In [0, experts), or -1.
Value RouteMap::localExpert(Value id) {
  Value expert = id, local = k.yes();
  if (problem.offset) {
    expert = k.sub(id, k["first_expert"]);
    local = k.ge(id, k["first_expert"]); // Wild ids may wrap around.
  }
  Value below = k.cmp(Emit::Int::ult, expert, k.c(problem.experts));
  return k.select(k.band(local, below), expert, k.c(-1));
}

void RouteMap::count(Value id, Value inside) {
  Value expert = localExpert(id);
  k.when(k.band(inside, k.ge(expert, k.c(0))), [&] {
    LLVM::AtomicRMWOp::create(k.b, k.loc, LLVM::AtomicBinOp::add, word(memory.counts, warpCount(expert)),
                              k.c(1), LLVM::AtomicOrdering::monotonic, "block");
  });
}

//===- Slots -----------------------------------------------------------------------------------------===//

/// The offset of each expert's slots and tiles. Ends with a barrier, after which shared memory holds them.
void RouteMap::scanExperts(const Tally &expert) {
  const int warps = (problem.experts + 31) / 32;
  Value own[] = {roundUp(k, expert.total, moeSlotTile), ceilDiv(k, expert.total, tokenTile)};
  Value inclusive[] = {own[0], own[1]};
  for (int distance = 1; distance < 32; distance *= 2)
    for (Value &sum : inclusive) {
      Value below = k.shuffle(sum, k.c(distance), NVVM::ShflKind::up);
      sum = k.add(sum, k.select(k.lt(lane, distance), k.c(0), below));
    }
  Value before[] = {k.sub(inclusive[0], own[0]), k.sub(inclusive[1], own[1])};
  if (warps > 1) {
    k.when(k.band(k.eq(lane, 31), k.lt(warp, warps - 1)), [&] {
      for (int i = 0; i < 2; ++i)
        write(inclusive[i], memory.sums + i * routeWarps(problem), warp);
    });
    barrier(k);
    for (int i = 0; i < 2; ++i)
      for (int other = 0; other < warps - 1; ++other)
        before[i] =
            k.add(before[i], k.select(k.lt(k.c(other), warp),
                                      read(memory.sums + i * routeWarps(problem), k.c(other)), k.c(0)));
  }
  k.when(isExpert, [&] {
    write(k.add(before[0], expert.before), memory.base, thread);
    write(before[0], memory.first, thread);
    write(expert.total, memory.rows, thread);
    write(before[1], memory.tiles, thread);
    k.when(k.eq(thread, problem.experts - 1),
           [&] { write(k.add(before[1], own[1]), memory.tiles, k.c(problem.experts)); });
    storeExpert(expert, before[0], before[1], own[1]);
  });
  barrier(k);
}

/// The thread's expert in global memory: the first CTA its slots, the last one its first tiles.
void RouteMap::storeExpert(const Tally &expert, Value first, Value tilesBefore, Value tiles) {
  Value last = k.eq(thread, problem.experts - 1);
  k.when(k.eq(range.block, 0), [&] {
    Value end = k.add(first, roundUp(k, expert.total, moeSlotTile));
    storeI32(k, expert.total, k["counts"], thread);
    storeI32(k, first, k["offsets"], thread);
    k.loop(k.add(first, expert.total), end, k.c(1),
           [&](Value slot) { storeI32(k, k.c(-1), k["slots"], slot); });
    k.when(last, [&] { storeI32(k, end, k["offsets"], k.c(problem.experts)); });
  });
  k.when(k.lt(k.c(ownTiles), tiles), [&] {
    LLVM::AtomicRMWOp::create(k.b, k.loc, LLVM::AtomicBinOp::_or, word(memory.many, k.c(0)), k.c(1),
                              LLVM::AtomicOrdering::monotonic, "block");
  });
  k.when(k.eq(range.block, k.sub(range.blocks, 1)), [&] {
    k.loop(k.c(0), k.min(tiles, k.c(ownTiles)), k.c(1), [&](Value index) {
      storeTile({thread, first, expert.total, tiles}, index, k.add(tilesBefore, index));
    });
    k.when(last, [&] {
      Value count = k.add(tilesBefore, tiles);
      if (problem.shared > 0)
        count = k.add(count, k.mul(shared.tiles, problem.shared));
      storeI32(k, count, k["tile_count"], k.c(0));
    });
  });
}

/// The expert of a choice, -1 where it takes no part or is not `inside`. Only what this warp wrote is read.
Value RouteMap::expertOf(Value choice, Value inside) {
  auto op = scf::IfOp::create(k.b, k.loc, TypeRange{k.i32()}, inside, true);
  OpBuilder::InsertionGuard guard(k.b);
  k.b.setInsertionPointToStart(op.thenBlock());
  scf::YieldOp::create(k.b, k.loc, ValueRange{localExpert(loadI32(k, k["ids"], choice))});
  k.b.setInsertionPointToStart(op.elseBlock());
  scf::YieldOp::create(k.b, k.loc, ValueRange{k.c(-1)});
  return op.getResult(0);
}

/// The slots of the warp's choices. `firstExperts` are those of its first 32, read before they are needed.
void RouteMap::place(Value firstExperts) {
  Value end = k.mul(range.end, problem.topK);
  auto op = scf::ForOp::create(k.b, k.loc, k.mul(range.begin, problem.topK), end, k.c(32),
                               ValueRange{firstExperts});
  OpBuilder::InsertionGuard guard(k.b);
  k.b.setInsertionPointToStart(op.getBody());
  Value expert = op.getRegionIterArgs()[0], choice = k.add(op.getInductionVar(), lane);
  Value nextChoice = k.add(choice, 32), more = k.lt(k.add(op.getInductionVar(), 32), end);
  Value next = expertOf(nextChoice, k.lt(nextChoice, end));
  Value same = NVVM::MatchSyncOp::create(k.b, k.loc, k.i32(), k.c(-1), expert, NVVM::MatchSyncKind::any);
  Value rank = bits(k, k.band(same, k.sub(k.shl(k.c(1), lane), 1)));
  Value takesPart = k.ge(expert, k.c(0)), safe = k.max(expert, k.c(0));
  Value before = read(memory.counts, warpCount(safe));
  Value slot = k.add(k.add(read(memory.base, safe), before), rank);
  k.when(takesPart, [&] { storeI32(k, choice, k["slots"], slot); });
  k.when(k.lt(choice, end), [&] { storeI32(k, k.select(takesPart, slot, k.c(-1)), k["places"], choice); });
  k.when(more, [&] {
    syncWarp(k);
    k.when(k.band(takesPart, k.eq(rank, 0)),
           [&] { write(k.add(before, bits(k, same)), memory.counts, warpCount(expert)); });
    syncWarp(k);
  });
  scf::YieldOp::create(k.b, k.loc, ValueRange{next});
}

void RouteMap::finish() {
  barrier(k); // Counts are complete, and ids of this warp's lanes visible to each other.
  Value choice = k.add(k.mul(range.begin, problem.topK), lane);
  Value firstExperts = expertOf(choice, k.lt(choice, k.mul(range.end, problem.topK)));
  scanExperts(tally());
  place(firstExperts);
  storeTiles();
}

} // namespace lathe::codegen
