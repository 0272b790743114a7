//===- GroupedKernel.cpp - Products of experts' weights with the rows that chose them ----------------===//
//
// Both projections of a mixture of experts, one form: weights lie on WGMMA's rows, 64 of them a consumer,
// the rows of one expert on its columns, so that 5 or 17 rows are not padded to 64. Items are tiles (an
// expert's rows) × blocks (64 rows of its weights); all CTAs walk over them in one order, so that neighbours
// read the same rows.
//
//   weights   acquire · TMA boxes of 64 columns       (one thread, as far ahead as the ring is deep)
//   rows      up: each row by the thread that found it, 16 bytes at a time; down: one TMA box a stage
//   consumer  wait · acc += W·rowsᵀ · release the stage before ····· activation · transposed to memory
//
// With a cluster two CTAs take two tiles of one expert and the same block: each brings half of the weights
// for both.
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
    if (dependent() && !up)
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
    SmallVector<StringRef> names{"upper", "lower"};
    names.resize(size_t(consumers()));
    names.push_back("producer");
    SmallVector<int32_t> one(names.size(), 1), registers(names.size(), 0);
    if (consumers() > 1) // Of 168 each.
      registers = {200, 200, 104};
    auto roles = RolesOp::create(k.b, k.loc, k.b.getStrArrayAttr(names), k.b.getDenseI32ArrayAttr(one),
                                 k.b.getDenseI32ArrayAttr(registers), unsigned(names.size()));
    OpBuilder::InsertionGuard guard(k.b);
    for (consumer = 0; consumer < consumers(); ++consumer) {
      k.enterRole(roles.getBodies()[consumer]);
      if (up) // `down` learns from what has come that all is there.
        gridWait();
      overItems([&](const Item &item, Value count) { return consume(item, count); });
    }
    k.enterRole(roles.getBodies()[consumers()]);
    produce();
  }

  int cluster() const { return build.config.cluster; }
  /// Of this CTA in its cluster.
  Value rank() { return k.remu(NVVM::BlockIdXOp::create(k.b, k.loc, k.i32()), cluster()); }
  int consumers() const { return build.config.consumers; }
  bool dependent() const { return build.config.dependentLaunch != DependentLaunch::Off; }
  bool paired() const { return up && problem.halves == 2; }
  /// Columns that are summed over, and steps of a stage's depth in them.
  int depth() const { return up ? problem.hidden : problem.intermediate; }
  int steps() const { return depth() / build.config.depthTile; }
  /// Columns of the result, and those of an item.
  int outColumns() const { return up ? problem.intermediate : problem.hidden; }
  int consumerColumns() const { return paired() ? weightRows / 2 : weightRows; }
  int blocks() const { return outColumns() / (consumerColumns() * consumers()); }
  Type accumulator() { return FragmentType::get(k.b.getContext(), build.config.tokenTile); }
  BufferType stageOf(int rows) {
    return BufferType::get(k.b.getContext(), rows, build.config.depthTile, 128);
  }

  /// The consumer's block of 64 rows of weights.
  Value blockOf(const Item &item) { return k.add(k.mul(item.block, consumers()), consumer); }

  void gridWait() {
    if (dependent())
      GridWaitOp::create(k.b, k.loc);
  }

  void makePipes() {
    const MoeMemory &memory = build.memory;
    const MoeConfig &config = build.config;
    MLIRContext *context = k.b.getContext();
    auto weightsType =
        PipeType::get(context, config.stages, weightRows, config.depthTile, cluster(), 1, 1, 0);
    auto rowsType = PipeType::get(context, config.stages, config.tokenTile, config.depthTile, 1, 1, 1,
                                  up ? gatherers : 0);
    const int ringBytes = config.stages * memory.weightBytes, ringBarriers = 2 * 8 * config.stages;
    for (int i = 0; i < consumers(); ++i)
      weights.push_back(PipeOp::create(k.b, k.loc, weightsType, memory.weights + i * ringBytes,
                                       memory.barriers + i * ringBarriers, /*releases=*/1,
                                       k.b.getStringAttr(i == 0 ? "weights" : "weights_below")));
    rows = PipeOp::create(k.b, k.loc, rowsType, memory.rows, memory.barriers + consumers() * ringBarriers,
                          /*releases=*/consumers(), k.b.getStringAttr("rows"));
  }

  /// body(item, count of stages before it) for this CTA's items; gives the count after it.
  void overItems(ItemBody body) {
    Value total = k.mul(loadI32(k, k["tile_count"], k.c(0)), blocks());
    Value first = k.divu(NVVM::BlockIdXOp::create(k.b, k.loc, k.i32()), cluster());
    Value stride = k.divu(NVVM::GridDimXOp::create(k.b, k.loc, k.i32()), cluster());
    k.loop(first, total, stride, {k.c(0)}, [&](Value index, ValueRange carried) {
      Value tile = k.divu(index, blocks()), block = k.sub(index, k.mul(tile, blocks()));
      auto four = VectorType::get({moeTileWords}, k.i32());
      Value entry = k.load(four, k.at(k["tiles"], k.wide(k.mul(tile, moeTileWords * 4))));
      auto word = [&](int64_t i) -> Value {
        return LLVM::ExtractElementOp::create(k.b, k.loc, entry, k.c(i));
      };
      return Values{body(shareOf({word(0), word(1), word(2), block}), carried[0])};
    });
  }

  /// This CTA's rows of its cluster's tile.
  Item shareOf(Item item) {
    if (cluster() == 1)
      return item;
    const int unit = moeSlotTile * cluster();
    Value each = k.mul(k.divu(k.add(item.rows, unit - 1), unit), moeSlotTile), before = k.mul(rank(), each);
    item.firstSlot = k.add(item.firstSlot, before);
    item.rows = k.max(k.min(k.sub(item.rows, before), each), k.c(0));
    return item;
  }

  //===- Producer -------------------------------------------------------------------------------------===//

  void produce() {
    Value thread = k.band(k.thread(), warpgroupThreads - 1);
    auto elected = ElectedOp::create(k.b, k.loc);
    {
      OpBuilder::InsertionGuard guard(k.b);
      k.b.setInsertionPointToStart(&elected.getBody().emplaceBlock());
      if (up) {
        gridWait();
        if (dependent()) // From here on what `route` made is there for whoever starts.
          GridLaunchOp::create(k.b, k.loc);
      }
      overItems([&](const Item &item, Value count) { return loadWeights(item, count); });
    }
    if (up)
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
      for (consumer = 0; consumer < consumers(); ++consumer) {
        AcquireOp::create(k.b, k.loc, weights[consumer], stage, 0);
        ExpectOp::create(k.b, k.loc, weights[consumer], stage, 0);
        loadExpert(item, column, stage);
      }
    });
  }

  void loadExpert(const Item &item, Value column, Value stage) {
    const char *routed = up ? "w1" : "w2", *shared = up ? "shared1" : "shared2";
    Value block = blockOf(item);
    if (problem.shared == 0)
      return loadBoxes(routed, block, item.expert, column, stage);
    Value local = k.lt(item.expert, problem.experts);
    k.when(local, [&] { loadBoxes(routed, block, item.expert, column, stage); });
    k.when(k.bxor(local, k.yes()),
           [&] { loadBoxes(shared, block, k.sub(item.expert, problem.experts), column, stage); });
  }

  Value ofRank(Value first, int each) { return cluster() == 1 ? first : k.add(first, k.mul(rank(), each)); }

  void loadBoxes(StringRef map, Value block, Value expert, Value column, Value stage) {
    for (int box = 0; box < build.config.depthTile / boxColumns; ++box) {
      Value from = k.add(column, box * boxColumns);
      // By eights of gate and up rows, four of each a tile; or 64 rows.
      const int share = weightRows / cluster();
      Values at = paired() ? Values{from, k.c(0), k.c(0), ofRank(k.mul(block, 4), share / 16), expert}
                           : Values{from, ofRank(k.mul(block, weightRows), share), expert};
      LoadOp::create(k.b, k.loc, k[map], at, weights[consumer], stage, box, 0, share,
                     build.config.evictFirst);
    }
  }

  /// Each thread finds its rows once an item: the row of the choice that has the slot.
  Value gatherRows(const Item &item, Value thread, Value count) {
    const int each = gatherers / 8, shares = (build.config.tokenTile + each - 1) / each;
    SmallVector<Value> sources;
    for (int share = 0; share < shares; ++share) {
      Value row = k.add(k.shr(thread, 3), share * each);
      Value slot = k.add(item.firstSlot, k.max(k.min(row, k.sub(item.rows, 1)), k.c(0)));
      Value token = k.divu(loadI32(k, k["slots"], slot), problem.topK);
      sources.push_back(k.at(k["x"], k.mul(k.mul(k.wide(token), k["x_stride"]), k.c64(2))));
    }
    return overSteps(count, [&](Value column, Value stage) {
      AcquireOp::create(k.b, k.loc, rows, stage, 0);
      GatherOp::create(k.b, k.loc, sources, rows, stage, item.rows, k.mul(column, 2), thread);
    });
  }

  Value loadRows(const Item &item, Value count) {
    return overSteps(count, [&](Value column, Value stage) {
      AcquireOp::create(k.b, k.loc, rows, stage, 0);
      ExpectOp::create(k.b, k.loc, rows, stage, 0);
      for (int box = 0; box < build.config.depthTile / boxColumns; ++box)
        LoadOp::create(k.b, k.loc, k["activated"], Values{k.add(column, box * boxColumns), item.firstSlot},
                       rows, stage, box, 0, build.config.tokenTile, false);
    });
  }

  //===- Consumer -------------------------------------------------------------------------------------===//

  void release(Value stage) {
    ReleaseOp::create(k.b, k.loc, weights[consumer], stage, 0);
    ReleaseOp::create(k.b, k.loc, rows, stage, 0);
  }

  /// A stage is given back when the product of the next one has been begun.
  Value consume(const Item &item, Value count) {
    Value zero = SplatOp::create(k.b, k.loc, accumulator(), k.cf(0));
    Values sums = k.loop(k.c(0), k.c(steps()), k.c(1), {zero, count}, [&](Value step, ValueRange carried) {
      Value stage = carried[1];
      Value w = WaitOp::create(k.b, k.loc, stageOf(weightRows), weights[consumer], stage, 0);
      Value x = WaitOp::create(k.b, k.loc, stageOf(build.config.tokenTile), rows, stage, 0);
      MmaFenceOp::create(k.b, k.loc);
      Value sum = MmaNtOp::create(k.b, k.loc, accumulator(), w, x, build.config.depthTile, 0, carried[0]);
      MmaCommitOp::create(k.b, k.loc);
      MmaWaitOp::create(k.b, k.loc, TypeRange{}, 1, ValueRange{});
      k.when(k.lt(k.c(0), step), [&] { release(k.sub(stage, 1)); });
      return Values{sum, k.add(stage, 1)};
    });
    Value sum = MmaWaitOp::create(k.b, k.loc, TypeRange{accumulator()}, 0, ValueRange{sums[0]}).getResult(0);
    release(k.sub(sums[1], 1));
    store(item, sum);
    return sums[1];
  }

  void store(const Item &item, Value sum) {
    Value base = k[up ? "activated_base" : "expert_out"];
    auto name = k.b.getStringAttr("result_rows");
    auto offset = k.b.getI32IntegerAttr(build.memory.staging + consumer * build.memory.stagingBytes);
    auto event = k.b.getI32IntegerAttr(groupEvent + consumer),
         atOnce = k.b.getI32IntegerAttr(build.memory.atOnce);
    auto bf16 = TypeAttr::get(k.b.getBF16Type());
    if (paired()) {
      auto op = StorePairsOp::create(k.b, k.loc, sum, base, name, offset, event, bf16, atOnce);
      fill(op.getPair(), {k.f32(), k.f32()},
           [&](Block &block) { return Values{activated(block.getArgument(0), block.getArgument(1))}; });
      rowRegion(op.getBody(), item);
      return;
    }
    if (up)
      sum = mapped(sum);
    auto op = StoreTransposedOp::create(k.b, k.loc, ValueRange{sum}, base, name, offset, event,
                                        k.b.getI32IntegerAttr(weightRows), bf16, atOnce);
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
  SmallVector<Value> weights; ///< A ring for each consumer.
  Value rows;
  int consumer = 0; ///< Whose code is being written.
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
  entry.arguments = {{"tensor_map", "w1"},         {"pointer", "x"},     {"i64", "x_stride"},
                     {"pointer", "slots"},         {"pointer", "tiles"}, {"pointer", "tile_count"},
                     {"pointer", "activated_base"}};
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
