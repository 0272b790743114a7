//===- GroupedKernel.cpp - Products of experts' weights with the rows that chose them ----------------===//
//
// Both projections of a mixture of experts, one form: weights lie on WGMMA's rows, 64 of them a consumer,
// the rows of one expert on its columns, so that 5 or 17 rows are not padded to 64. Items are tiles (an
// expert's rows) × blocks (64 rows of its weights); all CTAs walk over them in one order, so that neighbours
// read the same rows.
//
//   weights   acquire · TMA boxes of 64 columns       (one thread, as far ahead as the ring is deep)
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
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/KernelBuilder.h"
#include "lathe/codegen/Schedule/MoeKernels.h"

#include <cmath>

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr int warpgroupThreads = 128, gatherers = 96, groupEvent = 1;
static constexpr int boxColumns = 64, weightRows = 64;

namespace {

class GroupedBuilder {
public:
  GroupedBuilder(OpBuilder &builder, const MoeBuild &build, const KernelEntry &entry, bool up)
      : k(builder, builder.getUnknownLoc(), entry), build(build), problem(build.problem()), up(up) {}

  void run() {
    makePipes();
    k.syncAll(cluster());
    if (dependent() && mapKnown())
      GridLaunchOp::create(k.b, k.loc);
    writeRoles();
    if (cluster() > 1) // A CTA must not end while the other one still writes to its memory.
      k.syncAll(cluster());
    k.finish();
  }

private:
  struct Item {
    Value expert, firstSlot, rows, block;
  };
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;
  using Values = llvm::SmallVector<Value>;
  using ItemBody = llvm::function_ref<Value(const Item &, Value)>;

  //===- Frame ----------------------------------------------------------------------------------------===//

  void writeRoles() {
    SmallVector<int32_t> registers(2, 0);
    if (consumers() > 1) // Of 168 each.
      registers = {200, 104};
    auto roles =
        RolesOp::create(k.b, k.loc, k.b.getStrArrayAttr({"consumer", "producer"}),
                        k.b.getDenseI32ArrayAttr({consumers(), 1}), k.b.getDenseI32ArrayAttr(registers), 2);
    OpBuilder::InsertionGuard guard(k.b);
    Value index = k.enterRole(roles.getBodies()[0]);
    consumer = consumers() > 1 ? index : Value();
    if (!mapKnown()) // Else they learn from what has come that all is there.
      gridWait();
    overItems([&](const Item &item, Value count) { return consume(item, count); });
    k.enterRole(roles.getBodies()[1]);
    produce();
  }

  int cluster() const { return build.config.cluster; }
  /// Of this CTA in its cluster.
  Value rank() { return k.remu(NVVM::BlockIdXOp::create(k.b, k.loc, k.i32()), cluster()); }
  int consumers() const { return build.config.consumers; }
  bool dependent() const { return build.config.dependentLaunch != DependentLaunch::Off; }
  /// Rows of `up` that come from anywhere; all others lie together.
  bool gathered() const { return up && !build.config.permute; }
  /// The launch before has waited for `route`, so that tiles are known from the beginning.
  bool mapKnown() const { return !gathered(); }
  bool paired() const { return up && problem.halves == 2; }
  /// Columns that are summed over, and steps of a stage's depth in them.
  int depth() const { return up ? problem.hidden : problem.intermediate; }
  int steps() const { return depth() / build.config.depthTile; }
  /// Columns of the result, and those of an item.
  int outColumns() const { return up ? problem.intermediate : problem.hidden; }
  int consumerColumns() const { return paired() ? weightRows / 2 : weightRows; }
  /// Of an item: what the CTAs of a cluster take at once.
  int blocks() const { return outColumns() / (consumerColumns() * consumers() * cluster()); }
  /// Rows of weights of a CTA's item.
  int itemRows() const { return weightRows * consumers(); }
  BufferType stageOf(int rows) {
    return BufferType::get(k.b.getContext(), rows, build.config.depthTile, 128);
  }

  /// The consumer's block of 64 rows of weights.
  Value blockOf(const Item &item) {
    return consumer ? k.add(k.mul(item.block, consumers()), consumer) : item.block;
  }

  void gridWait() {
    if (dependent())
      GridWaitOp::create(k.b, k.loc);
  }

  void makePipes() {
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
  }

  /// body(item, count of stages before it) for this CTA's items; gives the count after it.
  void overItems(ItemBody body) {
    Value total = k.mul(loadI32(k, k["tile_count"], k.c(0)), blocks());
    Value first = k.divu(NVVM::BlockIdXOp::create(k.b, k.loc, k.i32()), cluster());
    Value stride = k.divu(NVVM::GridDimXOp::create(k.b, k.loc, k.i32()), cluster());
    k.loop(first, total, stride, {k.c(0)},
           [&](Value index, ValueRange carried) { return Values{body(itemAt(index), carried[0])}; });
  }

  Values tileAt(Value tile) {
    auto four = VectorType::get({moeTileWords}, k.i32());
    Value entry = k.load(four, k.at(k["tiles"], k.wide(k.mul(tile, moeTileWords * 4))));
    Values words;
    for (int i = 0; i < moeTileWords; ++i)
      words.push_back(LLVM::ExtractElementOp::create(k.b, k.loc, entry, k.c(i)));
    return words;
  }

  /// Block by block through the tiles of an expert, so that those that read the same weights do so at the
  /// same time.
  Item itemAt(Value index) {
    Value some = k.divu(index, blocks());
    Values words = tileAt(some); // Any of the expert: all know how many there are, and which one they are.
    Value tiles = k.shr(words[3], 16), first = k.sub(some, k.band(words[3], 0xFFFF));
    Value inside = k.sub(index, k.mul(first, blocks())), block = inside;
    auto several =
        scf::IfOp::create(k.b, k.loc, TypeRange(SmallVector<Type>(5, k.i32())), k.lt(k.c(1), tiles), true);
    {
      OpBuilder::InsertionGuard guard(k.b);
      k.b.setInsertionPointToStart(several.thenBlock());
      Value blockOfAll = k.divu(inside, tiles);
      Values found = tileAt(k.add(first, k.sub(inside, k.mul(blockOfAll, tiles))));
      found.push_back(blockOfAll);
      scf::YieldOp::create(k.b, k.loc, found);
      k.b.setInsertionPointToStart(several.elseBlock());
      words.push_back(inside);
      scf::YieldOp::create(k.b, k.loc, words);
    }
    block = several.getResult(4);
    if (cluster() > 1)
      block = k.add(k.mul(block, cluster()), rank());
    return {several.getResult(0), several.getResult(1), several.getResult(2), block};
  }

  /// body for the narrowest of the widths that holds the tile's rows.
  void forWidth(Item item, llvm::function_ref<void(const Item &, int)> body) {
    const std::vector<int> widths = moeWidths(build.config);
    if (widths.size() == 1)
      return body(item, widths.front());
    item.rows = k.uniform(item.rows);
    for (size_t i = 0; i < widths.size(); ++i) {
      const int next = i + 1 < widths.size() ? widths[i + 1] : -1;
      Value here = k.lt(k.c(next), item.rows);
      if (i > 0)
        here = k.band(here, k.ge(k.c(widths[i]), item.rows));
      k.when(here, [&] { body(item, widths[i]); });
    }
  }

  //===- Producer -------------------------------------------------------------------------------------===//

  void produce() {
    Value thread = k.band(k.thread(), warpgroupThreads - 1);
    auto elected = ElectedOp::create(k.b, k.loc);
    {
      OpBuilder::InsertionGuard guard(k.b);
      k.b.setInsertionPointToStart(&elected.getBody().emplaceBlock());
      if (!mapKnown()) {
        gridWait();
        if (dependent()) // From here on what `route` made is there for whoever starts.
          GridLaunchOp::create(k.b, k.loc);
      }
      overItems([&](const Item &item, Value count) { return loadWeights(item, count); });
    }
    if (gathered())
      k.when(k.ge(thread, k.c(32)), [&] {
        gridWait();
        overItems([&](const Item &item, Value count) { return gatherRows(item, k.sub(thread, 32), count); });
      });
    else
      k.when(k.eq(thread, 32), [&] {
        gridWait();
        overItems([&](const Item &item, Value count) { return loadRows(item, count); });
      });
  }

  Value overSteps(Value count, llvm::function_ref<void(Value, Value)> body) {
    return k.loop(k.c(0), k.c(steps()), k.c(1), {count}, [&](Value step, ValueRange carried) {
      body(k.mul(step, build.config.depthTile), carried[0]);
      return Values{k.add(carried[0], 1)};
    })[0];
  }

  Value loadWeights(const Item &item, Value count) {
    return overSteps(count, [&](Value column, Value stage) {
      AcquireOp::create(k.b, k.loc, weights, stage, 0);
      ExpectOp::create(k.b, k.loc, weights, stage, 0, Value());
      loadExpert(item, column, stage);
    });
  }

  void loadExpert(const Item &item, Value column, Value stage) {
    const char *routed = up ? "w1" : "w2", *shared = up ? "shared1" : "shared2";
    if (problem.shared == 0)
      return loadBoxes(routed, item.block, item.expert, column, stage);
    Value local = k.lt(item.expert, problem.experts);
    k.when(local, [&] { loadBoxes(routed, item.block, item.expert, column, stage); });
    k.when(k.bxor(local, k.yes()),
           [&] { loadBoxes(shared, item.block, k.sub(item.expert, problem.experts), column, stage); });
  }

  void loadBoxes(StringRef map, Value block, Value expert, Value column, Value stage) {
    for (int box = 0; box < build.config.depthTile / boxColumns; ++box) {
      Value from = k.add(column, box * boxColumns);
      // By eights of gate and up rows, four of each for every 64 rows; or as they lie.
      Values at = paired() ? Values{from, k.c(0), k.c(0), k.mul(block, itemRows() / 16), expert}
                           : Values{from, k.mul(block, itemRows()), expert};
      LoadOp::create(k.b, k.loc, k[map], at, weights, stage, box, 0, itemRows(), build.config.evictFirst);
    }
  }

  /// Each thread finds its rows once an item: the row of the choice that has the slot.
  Value gatherRows(const Item &item, Value thread, Value count) {
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
      overSteps(count, [&](Value column, Value stage) {
        AcquireOp::create(k.b, k.loc, rows, stage, 0);
        GatherOp::create(k.b, k.loc, mine, rows, stage, k.mul(column, 2), thread, width,
                         build.config.widths > 1 ? Value() : item.rows);
      });
    });
    return k.add(count, steps());
  }

  Value loadRows(const Item &item, Value count) {
    return overSteps(count, [&](Value column, Value stage) {
      AcquireOp::create(k.b, k.loc, rows, stage, 0);
      loadBoxedRows(item, column, stage);
    });
  }

  /// All rows of the tile at once; with several widths by boxes of fewer, as many as there are rows for,
  /// which the CTAs of a cluster bring in turns for all.
  void loadBoxedRows(const Item &item, Value column, Value stage) {
    const int each = moeRowBox(build.config), boxes = build.config.tokenTile / each;
    Value wanted = k.min(k.max(k.divu(k.add(item.rows, each - 1), each), k.c(1)), k.c(boxes));
    ExpectOp::create(k.b, k.loc, rows, stage, 0, boxes > 1 ? k.mul(wanted, each) : Value());
    for (int part = 0; part < boxes; ++part) {
      auto load = [&] {
        for (int box = 0; box < build.config.depthTile / boxColumns; ++box)
          LoadOp::create(k.b, k.loc, k[up ? "permuted" : "activated"],
                         Values{k.add(column, box * boxColumns), k.add(item.firstSlot, part * each)}, rows,
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

  //===- Consumer -------------------------------------------------------------------------------------===//

  void release(Value stage) {
    ReleaseOp::create(k.b, k.loc, weights, stage, 0);
    ReleaseOp::create(k.b, k.loc, rows, stage, 0);
  }

  Value consume(const Item &item, Value count) {
    forWidth(item, [&](const Item &uniform, int width) { consume(uniform, count, width); });
    return k.add(count, steps());
  }

  /// A stage is given back when the product of the next one has been begun.
  void consume(const Item &item, Value count, int width) {
    Type accumulator = FragmentType::get(k.b.getContext(), width);
    Value zero = SplatOp::create(k.b, k.loc, accumulator, k.cf(0));
    Value firstRow = consumer ? k.mul(consumer, weightRows) : Value();
    Values sums = k.loop(k.c(0), k.c(steps()), k.c(1), {zero, count}, [&](Value step, ValueRange carried) {
      Value stage = carried[1];
      Value w = WaitOp::create(k.b, k.loc, stageOf(itemRows()), weights, stage, 0);
      Value x = WaitOp::create(k.b, k.loc, stageOf(build.config.tokenTile), rows, stage, 0);
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
  }

  void store(const Item &item, Value sum) {
    Value base = k[up ? "activated_base" : "expert_out"];
    auto name = k.b.getStringAttr("result_rows");
    auto offset = k.b.getI32IntegerAttr(build.memory.staging), event = k.b.getI32IntegerAttr(groupEvent),
         atOnce = k.b.getI32IntegerAttr(build.memory.atOnce), count = k.b.getI32IntegerAttr(consumers());
    auto bf16 = TypeAttr::get(k.b.getBF16Type());
    if (paired()) {
      auto op =
          StorePairsOp::create(k.b, k.loc, sum, base, consumer, name, offset, event, bf16, atOnce, count);
      fill(op.getPair(), {k.f32(), k.f32()},
           [&](Block &block) { return Values{activated(block.getArgument(0), block.getArgument(1))}; });
      rowRegion(op.getBody(), item);
      return;
    }
    if (up)
      sum = mapped(sum);
    auto op = StoreTransposedOp::create(k.b, k.loc, ValueRange{sum}, base, consumer, name, offset, event,
                                        k.b.getI32IntegerAttr(weightRows), bf16, atOnce, count);
    rowRegion(op.getBody(), item);
  }

  void fill(Region &region, ArrayRef<Type> arguments, llvm::function_ref<Values(Block &)> body) {
    OpBuilder::InsertionGuard guard(k.b);
    Block &block = region.emplaceBlock();
    for (Type type : arguments)
      block.addArgument(type, k.loc);
    k.b.setInsertionPointToStart(&block);
    Values values = body(block);
    YieldOp::create(k.b, k.loc, values);
  }

  /// From a column of the accumulator to its slot's place in the result.
  void rowRegion(Region &region, const Item &item) {
    fill(region, {k.i32()}, [&](Block &block) {
      Value column = block.getArgument(0);
      Value slot = k.wide(k.add(item.firstSlot, column));
      Value from = k.wide(k.mul(blockOf(item), consumerColumns()));
      return Values{k.add(k.mul(slot, k.c64(outColumns())), from), k.lt(column, item.rows)};
    });
  }

  //===- Activation -----------------------------------------------------------------------------------===//

  Value mapped(Value sum) {
    auto op = MapOp::create(k.b, k.loc, sum.getType(), ValueRange{sum});
    fill(op.getBody(), {k.f32()}, [&](Block &block) {
      Value x = block.getArgument(0);
      return Values{problem.activation == MoeActivation::Gelu ? gelu(x) : siluTimes(x, Value())};
    });
    return op.getResult();
  }
  Value activated(Value gate, Value other) {
    return problem.activation == MoeActivation::SwiGlu ? siluTimes(gate, other) : gate;
  }

  /// x · sigmoid(x) · y = h·y·tanh(h) + h·y, h = x / 2.
  Value siluTimes(Value x, Value y) {
    Value half = k.fmul(x, k.cf(0.5f)), both = y ? k.fmul(half, y) : half;
    return k.fma(both, TanhOp::create(k.b, k.loc, k.f32(), half), both);
  }

  /// x / 2 · (1 + erf(x / √2)); erf by 7.1.26 of Abramowitz and Stegun, Handbook of Mathematical Functions
  /// (absolute error 1.5e-7).
  Value gelu(Value x) {
    Value z = k.fmul(x, k.cf(float(M_SQRT1_2))), size = magnitude(z);
    Value t = RcpOp::create(k.b, k.loc, k.f32(), k.fma(size, k.cf(0.3275911f), k.cf(1)));
    Value sum = k.cf(1.061405429f);
    for (float next : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f})
      sum = k.fma(sum, t, k.cf(next));
    Value square = k.fmul(k.fmul(z, z), k.cf(float(-M_LOG2E)));
    Value tail = k.fmul(k.fmul(sum, t), Exp2Op::create(k.b, k.loc, k.f32(), square));
    Value half = k.fmul(x, k.cf(0.5f)), kept = k.fsub(k.cf(1), tail); // erf of |z|.
    return k.fma(magnitude(half), kept, half);
  }
  Value magnitude(Value x) { return k.fmax(x, k.fsub(k.cf(0), x)); } ///< |x|.

  KernelBuilder k;
  const MoeBuild &build;
  const MoeProblem &problem;
  const bool up;
  Value weights, rows; ///< Pipes.
  Value consumer;      ///< Number of the warpgroup among several consumers.
};

} // namespace

static void describe(const MoeBuild &build, KernelEntry &entry, const char *name) {
  entry.name = name;
  entry.cluster = build.config.cluster;
  entry.threads = (build.config.consumers + 1) * warpgroupThreads;
  entry.sharedBytes = build.memory.sharedBytes;
}

void buildUpKernel(OpBuilder &builder, const MoeBuild &build, KernelEntry &entry) {
  describe(build, entry, "up");
  entry.arguments = {
      {"tensor_map", "w1"}, {"pointer", "tiles"}, {"pointer", "tile_count"}, {"pointer", "activated_base"}};
  if (build.config.permute)
    entry.arguments.push_back({"tensor_map", "permuted"});
  else
    for (const KernelArgument &argument :
         std::initializer_list<KernelArgument>{{"pointer", "x"}, {"i64", "x_stride"}, {"pointer", "slots"}})
      entry.arguments.push_back(argument);
  if (build.problem().shared > 0)
    entry.arguments.push_back({"tensor_map", "shared1"});
  GroupedBuilder(builder, build, entry, /*up=*/true).run();
}

void buildDownKernel(OpBuilder &builder, const MoeBuild &build, KernelEntry &entry) {
  describe(build, entry, "down");
  entry.arguments = {{"tensor_map", "w2"},
                     {"tensor_map", "activated"},
                     {"pointer", "tiles"},
                     {"pointer", "tile_count"},
                     {"pointer", "expert_out"}};
  if (build.problem().shared > 0)
    entry.arguments.push_back({"tensor_map", "shared2"});
  GroupedBuilder(builder, build, entry, /*up=*/false).run();
}

} // namespace lathe::codegen
