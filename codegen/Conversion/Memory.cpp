//===- Memory.cpp - Lowering of buffers, row exchange and stores -------------------------------------===//
//
// Ordinary accesses: swizzled stmatrix for probabilities, shared arrays of row statistics, clearing of rows
// that hold no token, and fragments to global memory by rows.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Conversion/Lowering.h"
#include "lathe/codegen/Layout/Swizzle.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr int64_t groupThreads = 128, chunkElements = 8;
static constexpr int64_t rowArrayBytes = 256; // 64 row values of 4 bytes.

void storeMatrices(Emit &e, Value address, ArrayRef<Value> registers, bool transposed) {
  MLIRContext *context = e.b.getContext();
  auto layout = transposed ? NVVM::MMALayout::col : NVVM::MMALayout::row;
  NVVM::StMatrixOp::create(e.b, e.loc, address, registers, NVVM::MMALayoutAttr::get(context, layout),
                           NVVM::LdStMatrixShapeAttr::get(context, 8, 8),
                           NVVM::LdStMatrixEltTypeAttr::get(context, NVVM::LdStMatrixEltType::B16));
}

void syncWarpgroup(Emit &e, Value event) {
  NVVM::BarrierOp::create(e.b, e.loc, Type(), event, e.c(groupThreads), NVVM::BarrierReductionAttr(),
                          Value());
}

void copyStagedRows(Emit &e, Region &place, Value base, Value staging, int64_t firstRow, int64_t rows,
                    int64_t rowChunks, int64_t rowBytes) {
  const int64_t chunks = rows * rowChunks;
  auto quad = VectorType::get({4}, e.i32());
  Value thread = e.band(e.thread(), groupThreads - 1);
  for (int64_t first = 0; first < chunks; first += groupThreads) {
    Value index = e.add(thread, first);
    Value row = e.divu(index, rowChunks), chunk = e.remu(index, rowChunks);
    auto copy = [&] {
      SmallVector<Value> where = inlineBody(e.b, place, {e.add(row, firstRow)});
      e.when(where[1], [&] {
        Value from = e.at(staging, e.add(e.mul(row, rowBytes), e.mul(chunk, layout::chunkBytes)));
        Value element = e.add(where[0], e.wide(e.mul(chunk, chunkElements)));
        e.store(e.load(quad, from), e.at(base, e.mul(element, e.c64(2))));
      });
    };
    if (first + groupThreads <= chunks)
      copy();
    else
      e.when(e.lt(index, chunks), copy);
  }
}

namespace {

struct BufferLowering : OpConversionPattern<BufferOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(BufferOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    Value first = e.at(e.shared(), op.getOffset());
    if (in.getIndex())
      first = e.at(first, e.mul(in.getIndex(), op.getBuffer().getType().getBytes()));
    rewriter.replaceOp(op, first);
    return success();
  }
};

struct BoxLowering : OpConversionPattern<BoxOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(BoxOp op, OpAdaptor in, ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    rewriter.replaceOp(op, e.at(in.getSource(), op.getBox() * op.getSource().getType().getBoxBytes()));
    return success();
  }
};

struct ZeroRowsLowering : OpConversionPattern<ZeroRowsOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(ZeroRowsOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    BufferType type = op.getBuffer().getType();
    int64_t chunks = type.getSwizzle() / 16;
    Value first = e.max(in.getFirst(), e.c(0));
    Value perBox = e.mul(e.max(e.sub(e.c(type.getRows()), first), e.c(0)), chunks);
    auto quad = VectorType::get({4}, e.i32());
    Value zero = LLVM::ZeroOp::create(rewriter, op.getLoc(), quad);
    for (int64_t box = 0; box < int64_t(op.getBoxes()); ++box) {
      Value start = e.at(in.getBuffer(), e.add(e.mul(first, type.getSwizzle()), box * type.getBoxBytes()));
      e.loop(e.band(e.thread(), 127), perBox, e.c(128),
             [&](Value i) { e.store(zero, e.at(start, e.mul(i, 16))); });
    }
    e.fenceAsyncShared();
    rewriter.eraseOp(op);
    return success();
  }
};

/// The rows of 8 × 8 matrices that lanes name (layout::matrixRow), four matrices a step of 16 columns.
struct MatrixRows {
  Value offset, chunk; ///< Of the lane's row, and of its matrix in it, swizzled.
  MatrixRows(Emit &e, int64_t swizzle) {
    Value matrix = e.shr(e.lane(), 3), inner = e.band(e.lane(), 7);
    Value row = e.add(e.add(e.mul(e.warp(), 16), e.mul(e.band(matrix, 1), 8)), inner);
    layout::ChunkPattern chunks = layout::chunkPattern(swizzle);
    Value pattern = e.band(chunks.shift ? e.shr(row, chunks.shift) : row, chunks.mask);
    chunk = e.bxor(e.shr(matrix, 1), pattern);
    offset = e.mul(row, swizzle);
  }
  Value at(Emit &e, Value start, int64_t step) const {
    return e.at(e.at(start, offset), e.mul(e.bxor(chunk, 2 * step), 16));
  }
};

struct PutOperandLowering : OpConversionPattern<PutOperandOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(PutOperandOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    BufferType type = op.getBuffer().getType();
    int64_t swizzle = type.getSwizzle();
    const MatrixRows rows(e, swizzle);
    Value start = e.rebased(in.getBuffer());
    SmallVector<Value> registers = e.unpack(in.getOperand());
    for (int64_t step = 0; step < type.getColumns() / 16; ++step)
      storeMatrices(e, rows.at(e, start, step), ArrayRef(registers).slice(4 * step, 4), /*transposed=*/false);
    e.fenceAsyncShared();
    rewriter.eraseOp(op);
    return success();
  }
};

struct LoadOperandLowering : OpConversionPattern<LoadOperandOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(LoadOperandOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    BufferType type = op.getBuffer().getType();
    const MatrixRows rows(e, type.getSwizzle());
    Value start = e.at(in.getBuffer(), int64_t(op.getBox()) * type.getBoxBytes());
    auto four = LLVM::LLVMStructType::getLiteral(getContext(), SmallVector<Type>(4, e.i32()));
    SmallVector<Value> registers;
    for (int64_t step = 0; step < op.getOperand().getType().getColumns() / 16; ++step)
      registers.append(
          e.unpack(e.assembly(four, "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {$0,$1,$2,$3}, [$4];",
                              "=r,=r,=r,=r,l", {rows.at(e, start, step)})));
    e.fenceAsyncShared(); // TMA may write over what was read.
    rewriter.replaceOp(op, e.pack(getTypeConverter()->convertType(op.getOperand().getType()), registers));
    return success();
  }
};

} // namespace

/// Address of the lane's first row in shared row array `index` of those at byte `offset`.
static Value rowArray(Emit &e, Value index, int64_t offset) {
  Value bytes = e.add(e.mul(index, rowArrayBytes), e.mul(e.row(), 4));
  return e.at(e.at(e.shared(), offset), bytes);
}

namespace {

struct PutRowsLowering : OpConversionPattern<PutRowsOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(PutRowsOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    SmallVector<Value> values = e.unpack(in.getRows());
    e.when(e.eq(e.quad(), 0), [&] {
      Value address = rowArray(e, in.getIndex(), op.getOffset());
      e.store(values[0], address);
      e.store(values[1], e.at(address, int64_t(8) * 4));
    });
    rewriter.eraseOp(op);
    return success();
  }
};

struct GetRowsLowering : OpConversionPattern<GetRowsOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(GetRowsOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    RowsType type = op.getRows().getType();
    Value address = rowArray(e, in.getIndex(), op.getOffset());
    Value first = e.load(type.getElementType(), address);
    Value second = e.load(type.getElementType(), e.at(address, int64_t(8) * 4));
    rewriter.replaceOp(op, e.pack(getTypeConverter()->convertType(type), {first, second}));
    return success();
  }
};

/// A row lies in four lanes, two columns of every eight in each. Elements of 16 bits are exchanged among
/// them, so that a lane writes eight columns at once and the four 64 bytes.
struct StoreLowering : OpConversionPattern<StoreOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(StoreOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    const int64_t columns = op.getFragment().getType().getColumns();
    const int64_t wide = op.getElement().isF32() ? 0 : columns / exchangedColumns * exchangedColumns;
    SmallVector<Value> values = e.unpack(in.getFragment());
    for (int64_t half = 0; half < 2; ++half) {
      SmallVector<Value> where = inlineBody(rewriter, op.getBody(), {e.add(e.row(), 8 * half)});
      SmallVector<Value> exchanged; // Before the branch: all lanes of a warp take part.
      for (int64_t column = 0; column < wide; column += exchangedColumns)
        exchanged.push_back(exchange(e, op, values, half, column / 8));
      e.when(where[1], [&] {
        Value row = e.at(in.getBase(),
                         arith::MulIOp::create(rewriter, op.getLoc(), e.add(where[0], e.wide(in.getColumn())),
                                               e.c64(elementBytes(op))));
        for (auto [i, data] : llvm::enumerate(exchanged))
          write(e, op, in, row, data, e.add(e.mul(e.quad(), 8), int64_t(i) * exchangedColumns), 0);
        for (int64_t group = wide / 8; group < columns / 8; ++group)
          write(e, op, in, row, pairOf(e, op, values, half, group), e.c(group * 8), 2);
      });
    }
    rewriter.eraseOp(op);
    return success();
  }

private:
  static constexpr int64_t exchangedColumns = 32; // Eight a lane.

  static int64_t elementBytes(StoreOp op) { return op.getElement().isF32() ? 4 : 2; }

  /// Writes data that belong to eight columns from `first` on; each lane's begin `laneColumns` times its
  /// place among the four further on.
  static void write(Emit &e, StoreOp op, OpAdaptor in, Value row, Value data, Value first,
                    int64_t laneColumns) {
    Value column = in.getFrom() || op.getLimit() != 0 ? e.add(in.getColumn(), first) : Value();
    Value above = in.getFrom() ? e.ge(column, in.getFrom()) : Value();
    Value below = op.getLimit() != 0 ? e.lt(column, op.getLimit()) : Value();
    Value inside = above && below ? e.band(above, below) : above ? above : below;
    auto store = [&] {
      Value own = laneColumns == 0 ? first : e.add(first, e.mul(e.quad(), laneColumns));
      e.store(data, e.at(row, e.mul(own, elementBytes(op))));
    };
    if (inside)
      e.when(inside, store);
    else
      store();
  }

  /// The lane's two columns of group `group` of eight.
  static Value pairOf(Emit &e, StoreOp op, ArrayRef<Value> values, int64_t half, int64_t group) {
    Value low = values[4 * group + 2 * half], high = values[4 * group + 2 * half + 1];
    if (!op.getElement().isF32())
      return e.packHalves(op.getElement(), low, high);
    return e.vector({low, high});
  }

  /// Of four groups from `group` on, the one whose number is the lane's place among the four: all its eight
  /// columns. Lanes exchange words with the next one, then pairs of words with the one after.
  static Value exchange(Emit &e, StoreOp op, ArrayRef<Value> values, int64_t half, int64_t group) {
    SmallVector<Value> mine;
    for (int64_t i = 0; i < 4; ++i)
      mine.push_back(pairOf(e, op, values, half, group + i));
    Value odd = e.eq(e.band(e.quad(), 1), 1), upper = e.eq(e.band(e.quad(), 2), 2);
    auto pairWithNext = [&](Value even, Value other) -> std::pair<Value, Value> {
      Value keep = e.select(odd, other, even);
      Value got = e.butterfly(e.select(odd, even, other), 1);
      return {e.select(odd, got, keep), e.select(odd, keep, got)};
    };
    auto [low0, low1] = pairWithNext(mine[0], mine[1]);
    auto [high0, high1] = pairWithNext(mine[2], mine[3]);
    auto words = [&](Value low, Value high) -> std::pair<Value, Value> {
      Value keep = e.select(upper, high, low);
      Value got = e.butterfly(e.select(upper, low, high), 2);
      return {e.select(upper, got, keep), e.select(upper, keep, got)};
    };
    auto [word0, word2] = words(low0, high0);
    auto [word1, word3] = words(low1, high1);
    return e.vector({word0, word1, word2, word3});
  }
};

struct StoreRowsLowering : OpConversionPattern<StoreRowsOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(StoreRowsOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    SmallVector<Value> values = e.unpack(in.getRows());
    e.when(e.eq(e.quad(), 0), [&] {
      for (int64_t half = 0; half < 2; ++half) {
        SmallVector<Value> where = inlineBody(rewriter, op.getBody(), {e.add(e.row(), 8 * half)});
        e.when(where[1], [&] {
          e.store(values[half],
                  e.at(in.getBase(), arith::MulIOp::create(rewriter, op.getLoc(), where[0], e.c64(4))));
        });
      }
    });
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void populateMemoryPatterns(const TileTypeConverter &types, RewritePatternSet &patterns) {
  patterns.add<BufferLowering, BoxLowering, ZeroRowsLowering, PutOperandLowering, LoadOperandLowering,
               PutRowsLowering, GetRowsLowering, StoreLowering, StoreRowsLowering>(types,
                                                                                   patterns.getContext());
}

} // namespace lathe::codegen
