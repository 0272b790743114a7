//===- RouteKernel.cpp - Logits to choices, choices to the map of rows by expert ---------------------===//
//
// A CTA takes consecutive rows, a warp some of these. It chooses for one row after the other (RouteChoice),
// the next row's logits being on their way, and counts; then all make the map (RouteMap). With few rows there
// is one CTA and nothing to wait for; several exchange their counts once, through `scratch`.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/MoeKernels.h"
#include "lathe/codegen/Schedule/RouteChoice.h"
#include "lathe/codegen/Schedule/RouteMap.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

namespace {

class RouteBuilder {
public:
  RouteBuilder(OpBuilder &builder, const MoeBuild &build, const KernelEntry &entry)
      : k(builder, builder.getUnknownLoc(), entry), build(build), problem(build.problem()) {}

  void run() {
    k.nameScratch("route");
    const bool dependent = build.config.dependentLaunch != DependentLaunch::Off;
    if (dependent)
      GridLaunchOp::create(k.b, k.loc);
    RouteRange range = findRange();
    RouteMap map(k, problem, build.config.tokenTile, range);
    map.clear();
    if (dependent)
      GridWaitOp::create(k.b, k.loc);
    if (problem.router == MoeRouter::Given)
      countGiven(map, range);
    else
      chooseRows(map, range);
    map.finish();
    k.finish();
  }

private:
  RouteRange findRange() {
    RouteRange range;
    range.block = NVVM::BlockIdXOp::create(k.b, k.loc, k.i32());
    range.blocks = NVVM::GridDimXOp::create(k.b, k.loc, k.i32());
    Value each = k.divu(k.add(k["rows"], k.sub(range.blocks, 1)), range.blocks);
    range.blockBegin = k.min(k.mul(range.block, each), k["rows"]);
    range.blockEnd = k.min(k.add(range.blockBegin, each), k["rows"]);
    Value ofWarp =
        k.divu(k.add(k.sub(range.blockEnd, range.blockBegin), routeWarps(problem) - 1), routeWarps(problem));
    range.begin = k.add(range.blockBegin, k.mul(k.uniform(k.shr(k.thread(), 5)), ofWarp));
    range.begin = k.min(range.begin, range.blockEnd);
    range.end = k.min(k.add(range.begin, ofWarp), range.blockEnd);
    return range;
  }

  void countGiven(RouteMap &map, const RouteRange &range) {
    map.begin();
    Value end = k.mul(range.end, problem.topK);
    k.loop(k.mul(range.begin, problem.topK), end, k.c(32), [&](Value first) {
      Value choice = k.add(first, k.lane()), inside = k.lt(choice, end);
      map.count(loadI32(k, k["ids"], k.select(inside, choice, k.c(0))), inside);
    });
  }

  void chooseRows(RouteMap &map, const RouteRange &range) {
    RouteChoice choice(k, problem);
    Value last = k.sub(k["rows"], 1);
    SmallVector<Value> first = choice.load(k.min(range.begin, last));
    map.begin();
    auto op = scf::ForOp::create(k.b, k.loc, range.begin, range.end, k.c(1), first);
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(op.getBody());
    Value row = op.getInductionVar();
    SmallVector<Value> next = choice.load(k.min(k.add(row, 1), last));
    RouteChoice::Chosen chosen = choice.choose(row, op.getRegionIterArgs());
    Value inside = k.lt(k.lane(), problem.topK), at = k.add(k.mul(row, problem.topK), k.lane());
    k.when(inside, [&] {
      storeI32(k, chosen.id, k["ids"], at);
      k.store(chosen.weight, k.at(k["weights"], k.wide(k.mul(at, 4))));
    });
    map.count(chosen.id, inside);
    scf::YieldOp::create(k.b, k.loc, next);
  }

  KernelBuilder k;
  const MoeBuild &build;
  const MoeProblem &problem;
};

} // namespace

void buildRouteKernel(OpBuilder &builder, const MoeBuild &build, KernelEntry &entry) {
  const MoeProblem &problem = build.problem();
  entry.name = "route";
  entry.threads = routeThreads(problem);
  entry.sharedBytes = 4 * routeMemory(problem).sharedWords;
  entry.arguments.clear();
  if (problem.router != MoeRouter::Given) {
    entry.arguments.push_back({"pointer", "logits"});
    if (problem.bias)
      entry.arguments.push_back({"pointer", "bias"});
  }
  for (const auto &[kind, name] : {std::pair{"pointer", "ids"},
                                   {"pointer", "weights"},
                                   {"i32", "rows"},
                                   {"i32", "first_expert"},
                                   {"pointer", "counts"},
                                   {"pointer", "offsets"},
                                   {"pointer", "slots"},
                                   {"pointer", "places"},
                                   {"pointer", "tiles"},
                                   {"pointer", "tile_count"},
                                   {"pointer", "scratch"},
                                   {"i32", "shared_start"}})
    entry.arguments.push_back({kind, name});
  RouteBuilder(builder, build, entry).run();
}

} // namespace lathe::codegen
