//===- GroupedKernel.cpp - Products of experts' weights with the rows that chose them ----------------===//
//
// Both projections of a mixture of experts, one form: weights lie on WGMMA's rows, 64 of them a consumer,
// the rows of one expert on its columns, so that 5 or 17 rows are not padded to 64. Items are tiles (an
// expert's rows) × blocks (64 rows of its weights), which CTAs take in one order (GroupedItems.cpp).
//
//   weights   find the next item, tell the others; acquire · TMA boxes of 64 columns
//             (one thread, as far ahead as the ring is deep)
//   rows      up: each row by the thread that found it, 16 bytes at a time, or from where they were copied
//             together; down: TMA boxes
//   consumer  wait · acc += W·rowsᵀ · release the stage before ····· activation · transposed to memory
//
// With a cluster two CTAs take the same rows and neighbouring blocks: each brings half of the rows for both.
//
// `up` has gate and up rows by eights in a tile, as its tensor map brings them, so that both halves of a
// result are in one thread. `down` begins with weights before `up` has ended, for it knows its tiles from
// `route`.
//
// With config.oneLaunch one kernel makes both: each role goes through items of `up` and then through those of
// `down`, whose weights follow in the same ring. A consumer that has written its part of a tile's rows counts
// in ready (tile.publish), and who brings rows of `down` waits for all parts of the tile (tile.await). Items
// of `up` wait for nobody and are given out before all of `down`, so somebody always goes on.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/Grouped.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr int groupEvent = 1;

//===- Frame ------------------------------------------------------------------------------------------===//

void GroupedBuilder::run() {
  makePipes();
  k.syncAll(cluster());
  if (dependent() && mapKnown())
    GridLaunchOp::create(k.b, k.loc);
  writeRoles();
  if (cluster() > 1) // A CTA must not end while the other one still writes to its memory.
    k.syncAll(cluster());
  k.finish();
}

void GroupedBuilder::writeRoles() {
  SmallVector<int32_t> registers(2, 0);
  if (consumers() > 1) // Of 168 each. Who gathers rows needs more than who brings boxes.
    registers = gathered() ? SmallVector<int32_t>{192, 120} : SmallVector<int32_t>{232, 40};
  auto roles =
      RolesOp::create(k.b, k.loc, k.b.getStrArrayAttr({"consumer", "producer"}),
                      k.b.getDenseI32ArrayAttr({consumers(), 1}), k.b.getDenseI32ArrayAttr(registers), 2);
  OpBuilder::InsertionGuard guard(k.b);
  Value index = k.enterRole(roles.getBodies()[0]);
  consumer = consumers() > 1 ? index : Value();
  overProducts([&](const Place &from) {
    return overItems(from, [&](const Item &item, Value count) { return consume(item, count); });
  });
  k.enterRole(roles.getBodies()[1]);
  produce();
}

void GroupedBuilder::makePipes() {
  const MoeMemory &memory = build.memory;
  const MoeConfig &config = build.config;
  MLIRContext *context = k.b.getContext();
  auto weightsType = PipeType::get(context, config.stages, itemRows(), config.depthTile, 1, 1, 1, 0);
  auto rowsType = PipeType::get(context, config.stages, config.tokenTile, config.depthTile, cluster(), 1, 1,
                                gathered() ? gatherers : 0);
  weights = PipeOp::create(k.b, k.loc, weightsType, memory.weights, memory.barriers,
                           /*releases=*/consumers(), k.b.getStringAttr("weights"));
  rows = PipeOp::create(k.b, k.loc, rowsType, memory.rows, memory.barriers + 2 * 8 * config.stages,
                        /*releases=*/consumers(), k.b.getStringAttr("rows"));
  if (products == Products::Both && gathered()) {
    auto type = PipeType::get(context, config.stages, config.tokenTile, config.depthTile, 1, 1, 1, 0);
    together = PipeOp::create(k.b, k.loc, type, memory.rows, memory.togetherBarriers,
                              /*releases=*/consumers(), k.b.getStringAttr("rows_together"));
  }
  makeQueue();
}

void GroupedBuilder::overProducts(llvm::function_ref<Place(const Place &)> body) {
  const Place second = body({k.c(0), k.c(0)});
  if (products != Products::Both)
    return;
  up = false;
  secondStage = second.stage;
  body(second);
  up = true;
}

void GroupedBuilder::forWidth(Item item, llvm::function_ref<void(const Item &, int)> body) {
  const std::vector<int> widths = moeWidths(build.config);
  if (widths.size() == 1)
    return body(item, widths.front());
  for (size_t i = 0; i < widths.size(); ++i) {
    const int next = i + 1 < widths.size() ? widths[i + 1] : -1;
    Value here = k.lt(k.c(next), item.rows);
    if (i > 0)
      here = k.band(here, k.ge(k.c(widths[i]), item.rows));
    k.when(here, [&] { body(item, widths[i]); });
  }
}

//===- Consumer ---------------------------------------------------------------------------------------===//

Value GroupedBuilder::consume(const Item &item, Value count) {
  if (adds())
    findChoices(item);
  forWidth(item, [&](const Item &uniform, int width) { consume(uniform, count, width); });
  return k.add(count, steps());
}

void GroupedBuilder::consume(const Item &item, Value count, int width) {
  Type accumulator = FragmentType::get(k.b.getContext(), width);
  Value zero = SplatOp::create(k.b, k.loc, accumulator, k.cf(0));
  Value firstRow = consumer ? k.mul(consumer, weightRows) : Value();
  Values sums = k.loop(k.c(0), k.c(steps()), k.c(1), {zero, count}, [&](Value step, ValueRange carried) {
    Value stage = carried[1];
    Value w = WaitOp::create(k.b, k.loc, stageOf(itemRows()), weights, stage, 0);
    Value x = WaitOp::create(k.b, k.loc, stageOf(build.config.tokenTile), rowRing(), rowStage(stage), 0);
    MmaFenceOp::create(k.b, k.loc);
    Value sum =
        MmaNtOp::create(k.b, k.loc, accumulator, w, x, build.config.depthTile, 0, carried[0], firstRow);
    MmaCommitOp::create(k.b, k.loc);
    MmaWaitOp::create(k.b, k.loc, TypeRange{}, 1, ValueRange{});
    k.when(k.lt(k.c(0), step), [&] { release(k.sub(stage, 1)); });
    return Values{sum, k.add(stage, 1)};
  });
  Value sum = MmaWaitOp::create(k.b, k.loc, TypeRange{accumulator}, 0, ValueRange{sums[0]}).getResult(0);
  release(k.sub(sums[1], 1));
  store(item, sum);
  if (up && products == Products::Both)
    PublishOp::create(k.b, k.loc, k["ready"], counterOf(item), groupEvent, consumer);
}

void GroupedBuilder::findChoices(const Item &item) {
  choiceRows.clear(), choiceWeights.clear();
  for (int from = 0; from < build.config.tokenTile; from += 32) {
    Value column = k.add(k.lane(), from);
    Value choice = loadI32(k, k["slots"], k.add(item.firstSlot, k.min(column, k.sub(item.rows, 1))));
    Value weight = k.load(k.f32(), k.at(k["weights"], k.wide(k.mul(choice, 4))));
    choiceRows.push_back(k.select(k.lt(column, item.rows), k.divu(choice, problem.topK), k.c(-1)));
    choiceWeights.push_back(k.select(k.lt(item.expert, problem.experts), weight, k.cf(1)));
  }
}

void GroupedBuilder::addToSums(const Item &item, Value sum) {
  const auto told = size_t(cast<FragmentType>(sum.getType()).getColumns() + 31) / 32;
  AddTransposedOp::create(k.b, k.loc, sum, k["sums"], k.mul(blockOf(item), weightRows), outColumns(),
                          ArrayRef(choiceRows).take_front(told), ArrayRef(choiceWeights).take_front(told));
}

void GroupedBuilder::store(const Item &item, Value sum) {
  if (adds())
    return addToSums(item, sum);
  Value base = k[up ? "activated_base" : "expert_out"];
  auto name = k.b.getStringAttr("result_rows");
  auto offset = k.b.getI32IntegerAttr(build.memory.staging), event = k.b.getI32IntegerAttr(groupEvent),
       atOnce = k.b.getI32IntegerAttr(paired() ? build.memory.pairsAtOnce : build.memory.atOnce),
       count = k.b.getI32IntegerAttr(consumers()),
       apart = consumer ? k.b.getI32IntegerAttr(build.memory.stagingBytes) : IntegerAttr();
  auto bf16 = TypeAttr::get(k.b.getBF16Type());
  if (paired()) {
    auto op = StorePairsOp::create(k.b, k.loc, sum, base, consumer, name, offset, event, bf16, apart, atOnce,
                                   count);
    fill(op.getPair(), {k.f32(), k.f32()},
         [&](Block &block) { return Values{activated(block.getArgument(0), block.getArgument(1))}; });
    rowRegion(op.getBody(), item);
    return;
  }
  if (up)
    sum = mapped(sum);
  auto op = StoreTransposedOp::create(k.b, k.loc, ValueRange{sum}, base, consumer, name, offset, event,
                                      k.b.getI32IntegerAttr(weightRows), bf16, apart, atOnce, count);
  rowRegion(op.getBody(), item);
}

void GroupedBuilder::fill(Region &region, ArrayRef<Type> arguments,
                          llvm::function_ref<Values(Block &)> body) {
  OpBuilder::InsertionGuard guard(k.b);
  Block &block = region.emplaceBlock();
  for (Type type : arguments)
    block.addArgument(type, k.loc);
  k.b.setInsertionPointToStart(&block);
  Values values = body(block);
  YieldOp::create(k.b, k.loc, values);
}

void GroupedBuilder::rowRegion(Region &region, const Item &item) {
  fill(region, {k.i32()}, [&](Block &block) {
    Value column = block.getArgument(0);
    Value slot = k.wide(k.add(item.firstSlot, column));
    Value from = k.wide(k.mul(blockOf(item), consumerColumns()));
    return Values{k.add(k.mul(slot, k.c64(outColumns())), from), k.lt(column, item.rows)};
  });
}

//===- Entries ----------------------------------------------------------------------------------------===//

static void add(KernelEntry &entry, std::initializer_list<KernelArgument> arguments) {
  entry.arguments.insert(entry.arguments.end(), arguments);
}

static void describe(const MoeBuild &build, KernelEntry &entry, const char *name) {
  entry.name = name;
  entry.cluster = build.config.cluster;
  entry.threads = GroupedBuilder::threads(build.config);
  entry.sharedBytes = build.memory.sharedBytes;
  entry.arguments = {{"pointer", "tiles"}, {"pointer", "tile_count"}};
}

/// Of `up`, but for the list of tiles.
static void addOfUp(const MoeBuild &build, KernelEntry &entry) {
  add(entry, {{"tensor_map", "w1"}, {"pointer", "activated_base"}});
  if (build.config.permute)
    add(entry, {{"tensor_map", "permuted"}});
  else
    add(entry, {{"pointer", "x"}, {"i64", "x_stride"}, {"pointer", "slots"}});
  if (build.problem().shared > 0)
    add(entry, {{"tensor_map", "shared1"}});
  if (build.config.prefetchUp)
    add(entry, {{"pointer", "w1_base"}});
}

static void addOfDown(const MoeBuild &build, KernelEntry &entry) {
  add(entry, {{"tensor_map", "w2"}, {"tensor_map", "activated"}});
  if (build.config.atomic)
    add(entry, {{"pointer", "slots"}, {"pointer", "weights"}, {"pointer", "sums"}});
  else
    add(entry, {{"pointer", "expert_out"}});
  if (build.problem().shared > 0)
    add(entry, {{"tensor_map", "shared2"}});
  if (build.config.prefetchDown)
    add(entry, {{"pointer", "w2_base"}});
}

void buildUpKernel(OpBuilder &builder, const MoeBuild &build, KernelEntry &entry) {
  describe(build, entry, "up");
  addOfUp(build, entry);
  GroupedBuilder(builder, build, entry, Products::Up).run();
}

void buildDownKernel(OpBuilder &builder, const MoeBuild &build, KernelEntry &entry) {
  describe(build, entry, "down");
  addOfDown(build, entry);
  GroupedBuilder(builder, build, entry, Products::Down).run();
}

void buildExpertsKernel(OpBuilder &builder, const MoeBuild &build, KernelEntry &entry) {
  describe(build, entry, "experts");
  addOfUp(build, entry);
  addOfDown(build, entry);
  add(entry, {{"pointer", "ready"}});
  GroupedBuilder(builder, build, entry, Products::Both).run();
}

} // namespace lathe::codegen
