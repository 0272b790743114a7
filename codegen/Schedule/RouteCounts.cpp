//===- RouteCounts.cpp - Counts of all warps and CTAs ------------------------------------------------===//
//
// A count is published together with the number of the launch, as one word of 64 bits, and whoever needs it
// looks until it is of this launch. No barrier of the grid: that would cost a fence, an atomic's way to the
// L2 cache and back, and only then the loads of the counts. The number is counted up by the first CTA when it
// has seen all others' counts, which they mark with the number that they have read.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/MoeKernels.h"
#include "lathe/codegen/Schedule/RouteMap.h"
#include "lathe/codegen/Schedule/RouteWords.h"

using namespace mlir;

namespace lathe::codegen {

using namespace route;

/// CTAs whose counts are on their way at once; divides routeBlocks().
static constexpr int countsInFlight = 16;

/// Of the thread's expert: leaves the choices of the warps before in each warp's count, gives those of all.
Value RouteMap::sumWarps() {
  Value total = k.c(0);
  SmallVector<Value> counts;
  for (int i = 0; i < routeWarps(problem); ++i)
    counts.push_back(read(memory.counts + i * problem.experts, thread));
  for (int i = 0; i < routeWarps(problem); ++i) {
    write(total, memory.counts + i * problem.experts, thread);
    total = k.add(total, counts[size_t(i)]);
  }
  return total;
}

/// Where a CTA publishes the count of the thread's expert.
Value RouteMap::published(Value block) {
  Value word = k.add(k.mul(block, problem.experts), thread);
  return k.at(k["scratch"], k.wide(k.add(k.mul(word, 8), 4 * routeCountsWord)));
}

/// Looks at the counts of some CTAs until all are of this launch. Those behind the last CTA are looked at as
/// well, there is memory for routeBlocks(), and not waited for.
void RouteMap::awaitCounts(Value firstBlock, SmallVectorImpl<Value> &counts) {
  Value mark = k.bor(read(memory.launch, k.c(0)), k.c(1)), first = published(firstBlock);
  SmallVector<Type> types(countsInFlight, k.i32());
  auto loop = scf::WhileOp::create(k.b, k.loc, types, ValueRange{});
  OpBuilder::InsertionGuard guard(k.b);
  k.b.createBlock(&loop.getBefore());
  SmallVector<Value> words;
  for (int64_t i = 0; i < countsInFlight; ++i)
    words.push_back(k.assembly(k.i64(), "ld.relaxed.gpu.global.b64 $0, [$1];", "=l,l,~{memory}",
                               {k.at(first, i * 8 * problem.experts)}));
  Value missing = k.c(0);
  for (auto [i, word] : llvm::enumerate(words)) {
    Value high = LLVM::LShrOp::create(k.b, k.loc, word, k.c64(32));
    Value other = k.bxor(LLVM::TruncOp::create(k.b, k.loc, k.i32(), high), mark);
    Value awaited = k.lt(k.add(firstBlock, int64_t(i)), range.blocks);
    missing = k.bor(missing, k.select(awaited, other, k.c(0)));
    word = LLVM::TruncOp::create(k.b, k.loc, k.i32(), word);
  }
  Value again = differs(k, missing, 0);
  scf::ConditionOp::create(k.b, k.loc, again, words);
  k.b.createBlock(&loop.getAfter(), {}, types, SmallVector<Location>(countsInFlight, k.loc));
  scf::YieldOp::create(k.b, k.loc);
  counts.assign(loop.getResults().begin(), loop.getResults().end());
}

/// Of the thread's expert.
RouteMap::Tally RouteMap::sumBlocks(Value own) {
  Value launch = read(memory.launch, k.c(0));
  Value high = LLVM::ShlOp::create(k.b, k.loc, k.wide(k.bor(launch, k.c(1))), k.c64(32));
  k.assembly({}, "st.relaxed.gpu.global.b64 [$0], $1;", "l,l,~{memory}",
             {published(range.block), LLVM::OrOp::create(k.b, k.loc, high, k.wide(own))});
  auto op =
      scf::ForOp::create(k.b, k.loc, k.c(0), range.blocks, k.c(countsInFlight), ValueRange{k.c(0), k.c(0)});
  {
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(op.getBody());
    SmallVector<Value> counts;
    awaitCounts(op.getInductionVar(), counts);
    Value before = op.getRegionIterArgs()[0], total = op.getRegionIterArgs()[1];
    for (int i = 0; i < countsInFlight; ++i) {
      Value block = k.add(op.getInductionVar(), i);
      Value count = k.select(k.lt(block, range.blocks), counts[size_t(i)], k.c(0));
      before = k.add(before, k.select(k.lt(block, range.block), count, k.c(0)));
      total = k.add(total, count);
    }
    scf::YieldOp::create(k.b, k.loc, ValueRange{before, total});
  }
  // All have read the number of the launch. It grows by 2: marks are odd, so that memory of zeros has none.
  k.when(k.band(k.eq(thread, 0), k.eq(range.block, 0)), [&] {
    k.assembly({}, "st.relaxed.gpu.global.u32 [$0], $1;", "l,r,~{memory}", {k["scratch"], k.add(launch, 2)});
  });
  return {op.getResult(0), op.getResult(1)};
}

/// All threads call it; those without an expert get zeros.
RouteMap::Tally RouteMap::tally() {
  auto either = [&](Value condition, auto then, auto otherwise) {
    auto op = scf::IfOp::create(k.b, k.loc, TypeRange{k.i32(), k.i32()}, condition, true);
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(op.thenBlock());
    Tally first = then();
    scf::YieldOp::create(k.b, k.loc, ValueRange{first.before, first.total});
    k.b.setInsertionPointToStart(op.elseBlock());
    Tally second = otherwise();
    scf::YieldOp::create(k.b, k.loc, ValueRange{second.before, second.total});
    return Tally{op.getResult(0), op.getResult(1)};
  };
  return either(
      isExpert,
      [&] {
        Value own = sumWarps();
        return either(
            k.lt(k.c(1), range.blocks), [&] { return sumBlocks(own); }, [&] { return Tally{k.c(0), own}; });
      },
      [&] { return Tally{k.c(0), k.c(0)}; });
}

} // namespace lathe::codegen
