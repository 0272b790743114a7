//===- AttendKernel.cpp - The main kernel of the paged-attention schedule ----------------------------===//
//
// Builds producer and consumers as PagedAttention.cpp draws them. Every consumer runs the same code with its
// index: it owns every W-th KV tile for the scores and one block of columns for the output.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/AttentionKernels.h"
#include "lathe/codegen/Schedule/KernelBuilder.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr float lowest = -1e30f; // Below any score; finite, so that differences of maxima are numbers.
static constexpr int boxColumns = 64;   // bf16 elements of a 128-byte swizzle row.
static constexpr int maximaEvent = 1;
static constexpr int probabilityEvent = 2;

namespace {

/// One entry of the work list, loaded.
struct Item {
  Value sequence, begin, end, slot, length;
};

class AttendBuilder {
public:
  AttendBuilder(OpBuilder &builder, const AttentionBuild &build, const KernelEntry &entry)
      : k(builder, builder.getUnknownLoc(), entry), build(build), problem(build.pattern.problem),
        consumers(build.config.consumers), tokens(build.config.kvTile) {}

  void run() {
    makePipes();
    syncAll();
    rowBlock = NVVM::BlockIdXOp::create(k.b, k.loc, k.i32());
    worker = NVVM::BlockIdYOp::create(k.b, k.loc, k.i32());
    firstItem = loadI32(k, k["worker_begin"], worker);
    lastItem = loadI32(k, k["worker_begin"], k.add(worker, 1));
    auto roles = RolesOp::create(
        k.b, k.loc, k.b.getStrArrayAttr({"consumer", "producer"}), k.b.getDenseI32ArrayAttr({consumers, 1}),
        k.b.getDenseI32ArrayAttr({build.resources.consumerRegisters, build.resources.producerRegisters}), 2);
    {
      OpBuilder::InsertionGuard guard(k.b);
      consumer = enter(roles.getBodies()[0]);
      consume();
      enter(roles.getBodies()[1]);
      produce();
    }
    if (build.config.cluster > 1)
      syncAll();
    k.finish();
  }

private:
  //===- Parts that both roles use --------------------------------------------------------------------===//

  Value enter(Region &region) {
    Block &block = region.emplaceBlock();
    Value index = block.addArgument(k.i32(), k.loc);
    k.b.setInsertionPointToStart(&block);
    return index;
  }

  void syncAll() {
    if (build.config.cluster > 1)
      SyncClusterOp::create(k.b, k.loc);
    else
      SyncCtaOp::create(k.b, k.loc);
  }

  void makePipes() {
    const MemoryPlan &memory = build.memory;
    int rows = build.config.rowsPerCta, stages = build.config.stages;
    auto queryType = PipeType::get(k.b.getContext(), 1, rows, problem.keyDim, 1);
    auto ringType = PipeType::get(k.b.getContext(), stages, tokens, problem.keyDim, build.config.cluster);
    queryPipe = PipeOp::create(k.b, k.loc, queryType, memory.query, memory.barriers, consumers,
                               k.b.getStringAttr("q"));
    kvPipe = PipeOp::create(k.b, k.loc, ringType, memory.ring, memory.barriers + 2 * 8, consumers,
                            k.b.getStringAttr("kv"));
  }

  Item loadItem(Value index) {
    auto four = VectorType::get({4}, k.i32());
    Value entry = k.load(four, k.at(k["items"], k.wide(k.mul(index, 16))));
    auto part = [&](int64_t i) -> Value { return LLVM::ExtractElementOp::create(k.b, k.loc, entry, k.c(i)); };
    Item item{part(0), part(1), part(2), part(3), {}};
    item.length = loadI32(k, k["lengths"], item.sequence);
    return item;
  }

  /// for (i = from; i < to; ++i) carried = body(i, carried).
  SmallVector<Value> loop(Value from, Value to, ValueRange carried,
                          llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body) {
    auto op = scf::ForOp::create(k.b, k.loc, from, to, k.c(1), carried);
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(op.getBody());
    SmallVector<Value> next = body(op.getInductionVar(), op.getRegionIterArgs());
    scf::YieldOp::create(k.b, k.loc, next);
    return SmallVector<Value>(op.getResults());
  }

  //===- Producer -------------------------------------------------------------------------------------===//

  void produce() {
    auto elected = ElectedOp::create(k.b, k.loc);
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(&elected.getBody().emplaceBlock());
    loop(firstItem, lastItem, {k.c(0), k.c(0)}, [&](Value index, ValueRange counts) -> SmallVector<Value> {
      Item item = loadItem(index);
      loadQuery(item, counts[1]);
      SmallVector<Value> count = loop(item.begin, item.end, {counts[0]}, [&](Value unit, ValueRange count) {
        return SmallVector<Value>{loadUnit(item, unit, count[0])};
      });
      return {count[0], k.add(counts[1], 1)};
    });
  }

  void loadQuery(const Item &item, Value count) {
    AcquireOp::create(k.b, k.loc, queryPipe, count);
    ExpectOp::create(k.b, k.loc, queryPipe, count);
    Value row = k.mul(rowBlock, build.config.rowsPerCta);
    for (int box = 0; box < build.memory.boxes; ++box)
      LoadOp::create(k.b, k.loc, k["q"], ValueRange{k.c(int64_t(64) * box), row, item.sequence}, queryPipe,
                     count, box, 0, build.config.rowsPerCta);
  }

  /// The page that holds a token; out of the cache's range (so that zeros arrive) at and past the sequence's
  /// end, whose table entries may be garbage.
  Value pageOf(const Item &item, Value token) {
    Value last = k.divu(k.sub(item.length, 1), problem.page);
    Value position = k.min(k.divu(token, problem.page), last);
    Value row = k.mul(k.wide(item.sequence), k["block_table_stride"]);
    Value address = k.at(k["block_table"], k.mul(k.add(row, k.wide(position)), k.c64(4)));
    return k.select(k.lt(token, item.length), k.load(k.i32(), address), k.c(-1));
  }

  /// Loads the unit's tiles; of a tile that a cluster shares, this CTA's share of the rows.
  Value loadUnit(const Item &item, Value unit, Value count) {
    int share = tokens / build.config.cluster, pageRows = std::min(problem.page, share);
    Value first = k.mul(unit, build.unitTokens());
    if (build.config.cluster > 1)
      first = k.add(first, k.mul(Value(NVVM::BlockInClusterIdXOp::create(k.b, k.loc, k.i32())), share));
    SmallVector<Value> starts, pages;
    auto readTable = [&](int tile) {
      for (int row = 0; row < share; row += pageRows) {
        starts.push_back(k.add(first, tile * tokens + row));
        pages.push_back(pageOf(item, starts.back()));
      }
    };
    // Ahead for all tiles, unless these span pages: the producer has registers for few.
    bool ahead = pageRows == share;
    for (int tile = 0; ahead && tile < consumers; ++tile)
      readTable(tile);
    for (int tile = 0; tile < consumers; ++tile) {
      if (!ahead)
        readTable(tile);
      AcquireOp::create(k.b, k.loc, kvPipe, count);
      ExpectOp::create(k.b, k.loc, kvPipe, count);
      for (int row = 0; row < share; row += pageRows) {
        int piece = (tile * share + row) / pageRows;
        Value inPage = k.remu(starts[piece], problem.page);
        for (int box = 0; box < build.memory.boxes; ++box)
          LoadOp::create(k.b, k.loc, k["kv"], ValueRange{k.c(int64_t(64) * box), inPage, pages[piece]},
                         kvPipe, count, box, row, pageRows);
      }
      count = k.add(count, 1);
    }
    return count;
  }

  //===- Consumers ------------------------------------------------------------------------------------===//

  Type fragment(int columns) { return FragmentType::get(k.b.getContext(), columns); }
  Type rows(Type element) { return RowsType::get(k.b.getContext(), element); }
  Type floatRows() { return rows(k.f32()); }

  Value map(Type result, ValueRange inputs, llvm::function_ref<Value(Block *)> body) {
    auto op = MapOp::create(k.b, k.loc, result, inputs);
    OpBuilder::InsertionGuard guard(k.b);
    Block &block = op.getBody().emplaceBlock();
    for (Value input : inputs) {
      Type type = input.getType();
      if (isa<FragmentType>(type))
        type = k.f32();
      else if (auto rowsType = dyn_cast<RowsType>(type))
        type = rowsType.getElementType();
      block.addArgument(type, k.loc);
    }
    k.b.setInsertionPointToStart(&block);
    Value value = body(&block);
    YieldOp::create(k.b, k.loc, value);
    return op.getResult();
  }

  Value exp2(Value x) { return Exp2Op::create(k.b, k.loc, k.f32(), x); }
  Value splat(Type type, Value value) { return SplatOp::create(k.b, k.loc, type, value); }
  void sync(int event) {
    if (consumers > 1)
      SyncEventOp::create(k.b, k.loc, event, 128 * consumers);
  }
  Value other() { return k.sub(k.c(1), consumer); }

  int columns() const { return valueColumns(problem, build.config); }
  int columnBoxes() const { return (columns() + boxColumns - 1) / boxColumns; }
  /// Whether the last consumer's columns would reach past the values; it then begins earlier, and computes
  /// some that another one writes.
  bool overlaps() const { return consumers * columnBoxes() > build.memory.valueBoxes; }
  /// First box that a consumer multiplies.
  Value firstBox() {
    Value box = k.mul(consumer, columnBoxes());
    return overlaps() ? k.min(box, k.c(build.memory.valueBoxes - columnBoxes())) : box;
  }

  void consume() {
    // Scores in base 2: 2^(s·scale·log2 e).
    factor = k.fmul(k["scale"], k.cf(float(M_LOG2E)));
    row = map(rows(k.i32()), {Value(RowOp::create(k.b, k.loc, rows(k.i32())))},
              [&](Block *b) { return k.add(b->getArgument(0), k.mul(rowBlock, build.config.rowsPerCta)); });
    loop(firstItem, lastItem, {k.c(0), k.c(0)}, [&](Value index, ValueRange counts) -> SmallVector<Value> {
      Value count = consumeItem(loadItem(index), counts[0], counts[1]);
      return {count, k.add(counts[1], 1)};
    });
  }

  Value consumeItem(const Item &item, Value count, Value queryCount) {
    auto queryBuffer = BufferType::get(k.b.getContext(), build.config.rowsPerCta, problem.keyDim, 128);
    query = WaitOp::create(k.b, k.loc, queryBuffer, queryPipe, queryCount);
    Value limit = rowLimits(item), unmasked = unmaskedTokens(item);
    Value zero = k.cf(0);
    SmallVector<Value> state = loop(
        item.begin, item.end,
        {count, splat(fragment(columns()), zero), splat(floatRows(), k.cf(lowest)), splat(floatRows(), zero)},
        [&](Value unit, ValueRange carried) { return consumeUnit(item, unit, carried, limit, unmasked); });
    ReleaseOp::create(k.b, k.loc, queryPipe, queryCount);
    storeItem(item, state[1], state[2], state[3]);
    return state[0];
  }

  /// Tokens that each row attends to: the description's bound, never past the length.
  Value rowLimits(const Item &item) {
    const AttentionPattern &pattern = build.pattern;
    if (!pattern.masked)
      return splat(rows(k.i32()), item.length);
    return map(rows(k.i32()), {row, item.length},
               [&](Block *b) { return limitOf(b->getArgument(0), b->getArgument(1)); });
  }
  Value limitOf(Value rowIndex, Value length) {
    Value token = k.min(k.divu(rowIndex, problem.heads), k.c(problem.queryTokens - 1));
    Value bound =
        k.add(k.add(length, build.pattern.boundOffset), k.mul(token, build.pattern.boundQueryFactor));
    return k.min(length, bound);
  }
  /// Tokens that every row of this CTA attends to: tiles below need no mask.
  Value unmaskedTokens(const Item &item) {
    if (!build.pattern.masked)
      return item.length;
    Value first = k.mul(rowBlock, build.config.rowsPerCta);
    return k.min(limitOf(first, item.length),
                 limitOf(k.add(first, build.config.rowsPerCta - 1), item.length));
  }

  SmallVector<Value> consumeUnit(const Item &item, Value unit, ValueRange carried, Value limit,
                                 Value unmasked) {
    Value count = carried[0], output = carried[1], maxima = carried[2], sums = carried[3];
    Value own = k.add(count, consumer);
    Value tile = WaitOp::create(k.b, k.loc, tileType(), kvPipe, own);
    Value firstToken = k.mul(k.add(k.mul(unit, consumers), consumer), tokens);
    Value scores = scoresOf(tile);
    scores = maskTail(item, tile, scores, firstToken, limit, unmasked);

    Value newMaxima =
        exchangedMaxima(maxima, ReduceOp::create(k.b, k.loc, floatRows(), "max", scores, false));
    Value shrink = map(floatRows(), {maxima, newMaxima},
                       [&](Block *b) { return exp2(k.fsub(b->getArgument(0), b->getArgument(1))); });
    Value p = map(fragment(tokens), {scores, newMaxima},
                  [&](Block *b) { return exp2(k.fsub(b->getArgument(0), b->getArgument(1))); });
    Value partial = ReduceOp::create(k.b, k.loc, floatRows(), "add", p, true);
    sums = map(floatRows(), {sums, shrink, partial},
               [&](Block *b) { return k.fma(b->getArgument(0), b->getArgument(1), b->getArgument(2)); });
    output = map(fragment(columns()), {output, shrink},
                 [&](Block *b) { return k.fmul(b->getArgument(0), b->getArgument(1)); });
    output = accumulate(output, p, tile, count);
    for (int i = 0; i < consumers; ++i)
      ReleaseOp::create(k.b, k.loc, kvPipe, k.add(count, i));
    return {k.add(count, consumers), output, newMaxima, sums};
  }

  BufferType tileType() { return BufferType::get(k.b.getContext(), tokens, problem.keyDim, 128); }
  BufferType probabilityType() {
    return BufferType::get(k.b.getContext(), build.config.rowsPerCta, tokens, int64_t(2) * tokens);
  }

  /// Q·Kᵀ of the consumer's own tile, in base-2 units.
  Value scoresOf(Value tile) {
    MmaFenceOp::create(k.b, k.loc);
    Value raw = MmaNtOp::create(k.b, k.loc, fragment(tokens), query, tile, problem.keyDim);
    MmaCommitOp::create(k.b, k.loc);
    raw = waitAll(raw);
    return map(fragment(tokens), {raw, factor},
               [&](Block *b) { return k.fmul(b->getArgument(0), b->getArgument(1)); });
  }

  Value waitAll(Value accumulator) {
    return MmaWaitOp::create(k.b, k.loc, TypeRange{accumulator.getType()}, 0, ValueRange{accumulator})
        .getResult(0);
  }

  /// Only the tiles at a row's limit pay for masks, only the tile at the sequence's end for clearing.
  Value maskTail(const Item &item, Value tile, Value scores, Value firstToken, Value limit, Value unmasked) {
    Value end = k.add(firstToken, tokens);
    k.when(k.lt(item.length, end), [&] {
      ZeroRowsOp::create(k.b, k.loc, tile, k.sub(item.length, firstToken), build.memory.valueBoxes);
      if (consumers == 1)
        SyncEventOp::create(k.b, k.loc, maximaEvent, 128);
    });
    auto masked = scf::IfOp::create(k.b, k.loc, scores.getType(), k.lt(unmasked, end), true);
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(masked.thenBlock());
    Value cut = map(scores.getType(), {scores, limit, firstToken}, [&](Block *b) {
      Value token = k.add(b->getArgument(2), Value(ColumnOp::create(k.b, k.loc, k.i32())));
      return k.select(k.lt(token, b->getArgument(1)), b->getArgument(0),
                      k.cf(-std::numeric_limits<float>::infinity()));
    });
    scf::YieldOp::create(k.b, k.loc, cut);
    k.b.setInsertionPointToStart(masked.elseBlock());
    scf::YieldOp::create(k.b, k.loc, scores);
    k.b.setInsertionPointAfter(masked);
    return masked.getResult(0);
  }

  /// Row statistics that consumers exchange: the maxima of each, then the sums of each.
  void putStatistics(Value mine, Value index) {
    PutRowsOp::create(k.b, k.loc, mine, index, k.b.getI32IntegerAttr(build.memory.statistics),
                      k.b.getStringAttr("row_statistics"), k.b.getI32IntegerAttr(2 * consumers));
  }
  Value getStatistics(Value index) {
    return GetRowsOp::create(k.b, k.loc, floatRows(), index, k.b.getI32IntegerAttr(build.memory.statistics),
                             k.b.getStringAttr("row_statistics"), k.b.getI32IntegerAttr(2 * consumers));
  }

  /// Maxima over the tiles of all consumers and all tiles before.
  Value exchangedMaxima(Value maxima, Value mine) {
    auto larger = [&](Value x, Value y) {
      return map(floatRows(), {x, y}, [&](Block *b) { return k.fmax(b->getArgument(0), b->getArgument(1)); });
    };
    if (consumers > 1) {
      putStatistics(mine, consumer);
      sync(maximaEvent);
      mine = larger(mine, getStatistics(other()));
    }
    return larger(maxima, mine);
  }

  /// Where consumer `owner`'s probabilities lie: in the box of its tile that holds no values, or in a buffer
  /// of their own.
  Value probabilityBuffer(Value tile, Value owner) {
    if (build.memory.probabilitiesInStage)
      return BoxOp::create(k.b, k.loc, probabilityType(), tile, build.memory.boxes - 1);
    return BufferOp::create(k.b, k.loc, probabilityType(), k.b.getI32IntegerAttr(build.memory.probabilities),
                            owner, k.b.getStringAttr("probabilities"), k.b.getI32IntegerAttr(consumers));
  }

  /// O += P·V over the unit's tiles, for this consumer's columns: its own tile from registers, the other
  /// one's from shared memory.
  Value accumulate(Value output, Value p, Value tile, Value count) {
    Value operand = PackOp::create(k.b, k.loc, OperandType::get(k.b.getContext(), tokens), p);
    Value box = firstBox();
    if (consumers > 1)
      PutOperandOp::create(k.b, k.loc, operand, probabilityBuffer(tile, consumer));
    MmaFenceOp::create(k.b, k.loc);
    output = MmaNnOp::create(k.b, k.loc, output.getType(), output, operand, tile, box);
    MmaCommitOp::create(k.b, k.loc);
    if (consumers > 1) {
      sync(probabilityEvent);
      Value otherTile = WaitOp::create(k.b, k.loc, tileType(), kvPipe, k.add(count, other()));
      MmaFenceOp::create(k.b, k.loc);
      output = MmaNnOp::create(k.b, k.loc, output.getType(), output, probabilityBuffer(otherTile, other()),
                               otherTile, box);
      MmaCommitOp::create(k.b, k.loc);
    }
    return waitAll(output);
  }

  //===- Results --------------------------------------------------------------------------------------===//

  Value totalSums(Value sums) {
    Value mine = ReduceOp::create(k.b, k.loc, floatRows(), "add", sums, false);
    if (consumers == 1)
      return mine;
    putStatistics(mine, k.add(consumer, consumers));
    sync(maximaEvent);
    Value theirs = getStatistics(k.add(other(), consumers));
    Value total = map(floatRows(), {mine, theirs},
                      [&](Block *b) { return k.fadd(b->getArgument(0), b->getArgument(1)); });
    sync(probabilityEvent); // The next item may write the sums before a slow warp has read them.
    return total;
  }

  void storeItem(const Item &item, Value output, Value maxima, Value sums) {
    sums = totalSums(sums);
    Value inverse = map(floatRows(), {sums}, [&](Block *b) {
      Value sum = b->getArgument(0);
      Value some = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OGT, sum, k.cf(0));
      return k.select(some, RcpOp::create(k.b, k.loc, k.f32(), sum), k.cf(0));
    });
    output = map(output.getType(), {output, inverse},
                 [&](Block *b) { return k.fmul(b->getArgument(0), b->getArgument(1)); });
    auto split = scf::IfOp::create(k.b, k.loc, k.lt(item.slot, 0), /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(split.thenBlock());
    storeFinal(item, output, maxima, sums);
    k.b.setInsertionPointToStart(split.elseBlock());
    storePartial(item, output, maxima, sums);
  }

  /// Row logarithm in base 2 times `unit`; `empty` for rows that attend to nothing.
  Value logarithm(Value maxima, Value sums, float unit, float empty) {
    return map(floatRows(), {maxima, sums}, [&](Block *b) {
      Value sum = b->getArgument(1);
      Value log = k.fadd(b->getArgument(0), Log2Op::create(k.b, k.loc, k.f32(), sum));
      Value some = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OGT, sum, k.cf(0));
      return k.select(some, k.fmul(log, k.cf(unit)), k.cf(empty));
    });
  }

  void storeFinal(const Item &item, Value output, Value maxima, Value sums) {
    float infinity = std::numeric_limits<float>::infinity();
    storeOutput(output, k["out"], k.b.getBF16Type(),
                [&](Value r) { return outOffset(k, item.sequence, r, problem.heads); });
    Value lse = logarithm(maxima, sums, float(M_LN2), infinity);
    storeLse(lse, k["lse"], [&](Value r) { return lseOffset(k, item.sequence, r, problem.heads); });
  }

  void storePartial(const Item &item, Value output, Value maxima, Value sums) {
    float infinity = std::numeric_limits<float>::infinity();
    int rows = build.resources.rowBlocks * build.config.rowsPerCta;
    auto partialRow = [&](Value r) { return k.wide(k.add(k.mul(item.slot, rows), r)); };
    storeOutput(output, k["partial_out"], k.b.getF32Type(),
                [&](Value r) { return k.mul(partialRow(r), k.c64(problem.valueDim)); });
    storeLse(logarithm(maxima, sums, 1, -infinity), k["partial_lse"], partialRow);
  }

  /// Fills a region from a CTA row to the offset of its global row, and whether there is such a row.
  void rowRegion(Region &region, llvm::function_ref<Value(Value)> offset) {
    OpBuilder::InsertionGuard guard(k.b);
    Block &block = region.emplaceBlock();
    Value local = block.addArgument(k.i32(), k.loc);
    k.b.setInsertionPointToStart(&block);
    Value global = k.add(k.mul(rowBlock, build.config.rowsPerCta), local);
    Value where = offset(global);
    YieldOp::create(k.b, k.loc, ValueRange{where, k.lt(global, problem.rows())});
  }

  void storeOutput(Value output, Value base, Type element, llvm::function_ref<Value(Value)> offset) {
    int limit = consumers * columns() == problem.valueDim ? 0 : problem.valueDim;
    Value from = k.mul(consumer, columns());
    Value column = overlaps() ? k.mul(firstBox(), boxColumns) : from;
    auto op = StoreOp::create(k.b, k.loc, output, base, column, overlaps() ? from : Value(), limit, element);
    rowRegion(op.getBody(), offset);
  }

  void storeLse(Value lse, Value base, llvm::function_ref<Value(Value)> offset) {
    k.when(k.eq(consumer, 0), [&] {
      auto op = StoreRowsOp::create(k.b, k.loc, lse, base);
      rowRegion(op.getBody(), offset);
    });
  }

  KernelBuilder k;
  const AttentionBuild &build;
  const AttentionProblem &problem;
  int consumers, tokens;
  Value queryPipe, kvPipe, rowBlock, worker, firstItem, lastItem;
  Value consumer, factor, row, query;
};

} // namespace

void buildAttendKernel(OpBuilder &builder, const AttentionBuild &build, KernelEntry &entry) {
  entry.name = "attend";
  entry.threads = build.resources.threads;
  entry.sharedBytes = build.memory.sharedBytes;
  entry.cluster = build.config.cluster;
  entry.arguments = {{"tensor_map", "q"},           {"tensor_map", "kv"},   {"pointer", "block_table"},
                     {"i64", "block_table_stride"}, {"pointer", "lengths"}, {"pointer", "items"},
                     {"pointer", "worker_begin"},   {"f32", "scale"}};
  for (KernelArgument &argument : outputArguments())
    entry.arguments.push_back(argument);
  AttendBuilder(builder, build, entry).run();
}

} // namespace lathe::codegen
