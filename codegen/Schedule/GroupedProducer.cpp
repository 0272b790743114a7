//===- GroupedProducer.cpp - Who brings weights and rows to grouped products -------------------------===//
//
// One thread brings weights, as far ahead as the ring is deep; three warps gather the rows of `up` from
// anywhere, or one thread brings rows that lie together.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/Grouped.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr int boxColumns = 64;

void GroupedBuilder::produce() {
  Value thread = k.band(k.thread(), warpgroupThreads - 1);
  auto elected = ElectedOp::create(k.b, k.loc);
  {
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(&elected.getBody().emplaceBlock());
    if (!mapKnown()) {
      if (build.config.prefetchUp)
        prefetchFirst();
      gridWait();
      if (dependent()) // From here on what `route` made is there for whoever starts.
        GridLaunchOp::create(k.b, k.loc);
    }
    giveOut([&](const Item &item, Value count, llvm::function_ref<void()> halfway) {
      loadWeights(item, count, halfway);
    });
  }
  // Warps that gather rows of `up` go through the items of `down`, too, whose rows one thread loads.
  const bool gathers = gathered();
  k.when(gathers ? k.ge(thread, k.c(32)) : k.eq(thread, 32), [&] {
    gridWait();
    overProducts([&](const Place &from) {
      if (gathers && !gathered())
        drain(from);
      return overItems(
          from,
          [&](const Item &item, Value count) {
            if (gathered())
              return gatherRows(item, k.sub(thread, 32), count);
            if (gathers)
              k.when(k.eq(thread, 32), [&] { loadRows(item, count); });
            else
              loadRows(item, count);
            return k.add(count, steps());
          },
          /*single=*/!gathers);
    });
  });
}

void GroupedBuilder::drain(const Place &from) {
  for (int stage = 0; stage < build.config.stages; ++stage)
    AcquireOp::create(k.b, k.loc, rows, k.add(from.stage, stage), 0);
}

void GroupedBuilder::prefetchFirst() {
  const int64_t bytes = int64_t(problem.experts) * problem.halves * problem.intermediate * problem.hidden * 2;
  const auto total = int(std::min<int64_t>(bytes, 1 << 30)); // More than all CTAs bring.
  const int share = moePrefetchBytes(build.config);
  Value from = k.mul(NVVM::BlockIdXOp::create(k.b, k.loc, k.i32()), share);
  k.when(k.lt(from, k.c(total)), [&] {
    Value count = k.min(k.sub(k.c(total), from), k.c(share));
    PrefetchOp::create(k.b, k.loc, k.at(k["w1_base"], k.wide(from)), count);
  });
}

void GroupedBuilder::prefetchItem(const Item &item, Value count) {
  const int64_t rowBytes = int64_t(depth()) * 2;
  const auto bytes = std::min<int64_t>(moePrefetchBytes(build.config), itemRows() * rowBytes);
  k.when(k.band(k.eq(count, 0), k.lt(item.expert, problem.experts)), [&] {
    Value row = k.add(k.mul(k.wide(item.expert), k.c64(outColumns())), k.wide(k.mul(item.block, itemRows())));
    PrefetchOp::create(k.b, k.loc, k.at(k["w2_base"], k.mul(row, k.c64(rowBytes))), k.c(bytes));
  });
}

Value GroupedBuilder::overSteps(Value count, int from, int to, llvm::function_ref<void(Value, Value)> body) {
  return k.loop(k.c(from), k.c(to), k.c(1), {count}, [&](Value step, ValueRange carried) {
    body(k.mul(step, build.config.depthTile), carried[0]);
    return Values{k.add(carried[0], 1)};
  })[0];
}

void GroupedBuilder::loadWeights(const Item &item, Value count, llvm::function_ref<void()> halfway) {
  auto load = [&](Value column, Value stage) {
    AcquireOp::create(k.b, k.loc, weights, stage, 0);
    ExpectOp::create(k.b, k.loc, weights, stage, 0, Value());
    loadExpert(item, column, stage);
  };
  if (!up && build.config.prefetchDown)
    prefetchItem(item, count);
  count = overSteps(count, 0, steps() / 2, load);
  halfway();
  overSteps(count, steps() / 2, steps(), load);
}

void GroupedBuilder::loadExpert(const Item &item, Value column, Value stage) {
  const char *routed = up ? "w1" : "w2", *shared = up ? "shared1" : "shared2";
  if (problem.shared == 0)
    return loadBoxes(routed, item.block, item.expert, column, stage);
  Value local = k.lt(item.expert, problem.experts);
  k.when(local, [&] { loadBoxes(routed, item.block, item.expert, column, stage); });
  k.when(k.bxor(local, k.yes()),
         [&] { loadBoxes(shared, item.block, k.sub(item.expert, problem.experts), column, stage); });
}

void GroupedBuilder::loadBoxes(StringRef map, Value block, Value expert, Value column, Value stage) {
  for (int box = 0; box < build.config.depthTile / boxColumns; ++box) {
    Value from = k.add(column, box * boxColumns);
    // By eights of gate and up rows, four of each for every 64 rows; or as they lie.
    Values at = paired() ? Values{from, k.c(0), k.c(0), k.mul(block, itemRows() / 16), expert}
                         : Values{from, k.mul(block, itemRows()), expert};
    LoadOp::create(k.b, k.loc, k[map], at, weights, stage, box, 0, itemRows(), build.config.evictFirst);
  }
}

Value GroupedBuilder::gatherRows(const Item &item, Value thread, Value count) {
  const int each = gatherers / 8, shares = (build.config.tokenTile + each - 1) / each;
  SmallVector<Value> sources;
  for (int share = 0; share < shares; ++share) {
    Value row = k.add(k.shr(thread, 3), share * each);
    Value slot = k.add(item.firstSlot, k.min(row, k.sub(item.rows, 1)));
    Value token = k.divu(loadI32(k, k["slots"], slot), problem.topK);
    sources.push_back(k.at(k["x"], k.mul(k.mul(k.wide(token), k["x_stride"]), k.c64(2))));
  }
  forWidth(item, [&](const Item &, int width) {
    ArrayRef<Value> mine = ArrayRef(sources).take_front(size_t((width + each - 1) / each));
    overSteps(count, 0, steps(), [&](Value column, Value stage) {
      AcquireOp::create(k.b, k.loc, rows, stage, 0);
      GatherOp::create(k.b, k.loc, mine, rows, stage, k.mul(column, 2), thread, width,
                       build.config.widths > 1 ? Value() : item.rows);
    });
  });
  return k.add(count, steps());
}

void GroupedBuilder::loadRows(const Item &item, Value count) {
  if (follows())
    AwaitOp::create(k.b, k.loc, k["ready"], counterOf(item), upParts());
  overSteps(rowStage(count), 0, steps(), [&](Value column, Value stage) {
    AcquireOp::create(k.b, k.loc, rowRing(), stage, 0);
    loadBoxedRows(item, column, stage);
  });
}

void GroupedBuilder::loadBoxedRows(const Item &item, Value column, Value stage) {
  const int each = moeRowBox(build.config), boxes = build.config.tokenTile / each;
  Value wanted = k.min(k.max(k.divu(k.add(item.rows, each - 1), each), k.c(1)), k.c(boxes));
  ExpectOp::create(k.b, k.loc, rowRing(), stage, 0, boxes > 1 ? k.mul(wanted, each) : Value());
  for (int part = 0; part < boxes; ++part) {
    auto load = [&] {
      for (int box = 0; box < build.config.depthTile / boxColumns; ++box)
        LoadOp::create(k.b, k.loc, k[up ? "permuted" : "activated"],
                       Values{k.add(column, box * boxColumns), k.add(item.firstSlot, part * each)}, rowRing(),
                       stage, box, part * each, each, false, cluster() > 1);
    };
    Value here = k.lt(k.c(part), wanted);
    if (cluster() > 1)
      here = k.band(here, k.eq(rank(), part % cluster()));
    if (boxes == 1 && cluster() == 1)
      load();
    else
      k.when(here, load);
  }
}

} // namespace lathe::codegen
