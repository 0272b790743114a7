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

static constexpr int64_t rowArrayBytes = 256; // 64 row values of 4 bytes.

void storeMatrices(Emit &e, Value address, ArrayRef<Value> registers, bool transposed) {
  MLIRContext *context = e.b.getContext();
  auto layout = transposed ? NVVM::MMALayout::col : NVVM::MMALayout::row;
  NVVM::StMatrixOp::create(e.b, e.loc, address, registers, NVVM::MMALayoutAttr::get(context, layout),
                           NVVM::LdStMatrixShapeAttr::get(context, 8, 8),
                           NVVM::LdStMatrixEltTypeAttr::get(context, NVVM::LdStMatrixEltType::B16));
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

struct PutOperandLowering : OpConversionPattern<PutOperandOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(PutOperandOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    BufferType type = op.getBuffer().getType();
    int64_t swizzle = type.getSwizzle();
    // The rows that lanes name: layout::matrixRow.
    Value matrix = e.shr(e.lane(), 3), inner = e.band(e.lane(), 7);
    Value row = e.add(e.add(e.mul(e.warp(), 16), e.mul(e.band(matrix, 1), 8)), inner);
    layout::ChunkPattern chunks = layout::chunkPattern(swizzle);
    Value pattern = e.band(chunks.shift ? e.shr(row, chunks.shift) : row, chunks.mask);
    Value chunk = e.bxor(e.shr(matrix, 1), pattern);
    Value rowStart = e.at(e.rebased(in.getBuffer()), e.mul(row, swizzle));
    SmallVector<Value> registers = e.unpack(in.getOperand());
    for (int64_t step = 0; step < type.getColumns() / 16; ++step) {
      Value address = e.at(rowStart, e.mul(e.bxor(chunk, 2 * step), 16));
      storeMatrices(e, address, ArrayRef(registers).slice(4 * step, 4), /*transposed=*/false);
    }
    e.fenceAsyncShared();
    rewriter.eraseOp(op);
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
      e.store(values[1], e.at(address, 8 * 4));
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
    Value second = e.load(type.getElementType(), e.at(address, 8 * 4));
    rewriter.replaceOp(op, e.pack(getTypeConverter()->convertType(type), {first, second}));
    return success();
  }
};

struct StoreLowering : OpConversionPattern<StoreOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(StoreOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    SmallVector<Value> values = e.unpack(in.getFragment());
    for (int64_t half = 0; half < 2; ++half) {
      SmallVector<Value> where = inlineBody(rewriter, op.getBody(), {e.add(e.row(), 8 * half)});
      e.when(where[1], [&] { storeRow(e, op, in, values, half, where[0]); });
    }
    rewriter.eraseOp(op);
    return success();
  }

  static void storeRow(Emit &e, StoreOp op, OpAdaptor in, ArrayRef<Value> values, int64_t half,
                       Value offset) {
    int64_t columns = op.getFragment().getType().getColumns(), elementBytes = op.getElement().isF32() ? 4 : 2;
    Value column = e.add(in.getColumn(), e.mul(e.quad(), 2));
    Value start = e.at(in.getBase(),
                       arith::MulIOp::create(e.b, e.loc, e.add(offset, e.wide(column)), e.c64(elementBytes)));
    auto inside = [&](Value first) {
      Value above = in.getFrom() ? e.ge(first, in.getFrom()) : Value();
      Value below = op.getLimit() != 0 ? e.lt(first, op.getLimit()) : Value();
      return above && below ? e.band(above, below) : above ? above : below;
    };
    bool guard = in.getFrom() || op.getLimit() != 0;
    auto pair = VectorType::get({2}, e.f32());
    for (int64_t group = 0; group < columns / 8; ++group) {
      auto write = [&] {
        Value low = values[4 * group + 2 * half], high = values[4 * group + 2 * half + 1];
        Value data =
            elementBytes == 2 ? e.packHalves(op.getElement(), low, high) : packPair(e, pair, low, high);
        e.store(data, e.at(start, group * 8 * elementBytes));
      };
      if (guard)
        e.when(inside(e.add(in.getColumn(), group * 8)), write);
      else
        write();
    }
  }

  static Value packPair(Emit &e, Type type, Value low, Value high) {
    Value vector = e.undef(type);
    vector = LLVM::InsertElementOp::create(e.b, e.loc, vector, low, e.c(0));
    return LLVM::InsertElementOp::create(e.b, e.loc, vector, high, e.c(1));
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
  patterns.add<BufferLowering, BoxLowering, ZeroRowsLowering, PutOperandLowering, PutRowsLowering,
               GetRowsLowering, StoreLowering, StoreRowsLowering>(types, patterns.getContext());
}

} // namespace lathe::codegen
