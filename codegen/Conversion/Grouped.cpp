//===- Grouped.cpp - Lowering of operations of grouped products --------------------------------------===//
//
// Rows that come from anywhere are copied by threads, 16 bytes each (cp.async), which complete on the pipe's
// full barrier; pairs of rows are combined in registers and leave transposed through stmatrix.trans.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Conversion/Lowering.h"
#include "lathe/codegen/Layout/Fragment.h"
#include "lathe/codegen/Layout/Swizzle.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr int64_t rowChunks = 8; // Chunks of 16 bytes in a row of a box.

namespace {

struct GatherLowering : OpConversionPattern<GatherOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(GatherOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    PipeType type = op.getPipe().getType();
    const int64_t step = type.getGatherers() / rowChunks;
    Value first = e.shr(in.getThread(), 3), chunk = e.band(in.getThread(), rowChunks - 1);
    Value stage = stageAddress(e, type, in.getPipe(), in.getCount());
    Value offset = e.wide(e.add(in.getOffset(), e.mul(chunk, layout::chunkBytes)));
    for (auto [i, source] : llvm::enumerate(in.getSources())) {
      Value row = e.add(first, int64_t(i) * step), present = e.lt(row, in.getRows());
      auto copy = [&] { copyRow(e, type, stage, row, chunk, e.at(source, offset), present); };
      if ((int64_t(i) + 1) * step <= type.getRows())
        copy();
      else
        e.when(e.lt(row, type.getRows()), copy);
    }
    NVVM::CpAsyncMBarrierArriveOp::create(
        rewriter, op.getLoc(), fullBarrier(e, type, in.getPipe(), in.getCount(), 0), /*noinc=*/true);
    rewriter.eraseOp(op);
    return success();
  }

  /// The thread's chunk of the row in each box.
  static void copyRow(Emit &e, PipeType type, Value stage, Value row, Value chunk, Value source,
                      Value present) {
    BufferType buffer = type.getStageType();
    Value place = e.bxor(chunk, e.band(row, 7));
    Value target = e.at(stage, e.add(e.mul(row, buffer.getSwizzle()), e.mul(place, layout::chunkBytes)));
    Value bytes = e.select(present, e.c(layout::chunkBytes), e.c(0));
    for (int64_t box = 0; box < buffer.getBoxes(); ++box)
      NVVM::CpAsyncOp::create(e.b, e.loc, e.at(target, box * buffer.getBoxBytes()),
                              e.at(source, box * buffer.getSwizzle()), uint32_t(layout::chunkBytes),
                              NVVM::LoadCacheModifierKind::CG, bytes);
  }
};

struct StorePairsLowering : OpConversionPattern<StorePairsOp> {
  using OpConversionPattern::OpConversionPattern;
  static constexpr int64_t chunks = 4, rowBytes = chunks * layout::chunkBytes + 16;

  LogicalResult matchAndRewrite(StorePairsOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    Value staging = e.at(e.shared(), op.getOffset());
    SmallVector<Value> words = combined(e, op, e.unpack(in.getFragment()));
    const int64_t columns = op.getFragment().getType().getColumns(), most = int64_t(op.getAtOnce());
    for (int64_t first = 0; first < columns; first += most) {
      const int64_t count = std::min(most, columns - first);
      syncWarpgroup(e, op.getEvent());
      put(e, ArrayRef(words).slice(first / 8, count / 8), staging);
      syncWarpgroup(e, op.getEvent());
      copyStagedRows(e, op.getBody(), in.getBase(), staging, first, count, chunks, rowBytes);
    }
    rewriter.eraseOp(op);
    return success();
  }

private:
  /// Two results of 16 bits a word: of both columns that a lane has of every eight.
  static SmallVector<Value> combined(Emit &e, StorePairsOp op, const SmallVector<Value> &values) {
    SmallVector<Value> words;
    for (size_t first = 0; first < values.size(); first += 4) {
      Value low = inlineBody(e.b, op.getPair(), {values[first], values[first + 2]})[0];
      Value high = inlineBody(e.b, op.getPair(), {values[first + 1], values[first + 3]})[0];
      words.push_back(e.packHalves(op.getElement(), low, high));
    }
    return words;
  }

  /// A matrix of 8 × 8 for every eight columns: the warp's eight results of each. Lanes name the matrices'
  /// rows, which are columns of the fragment; four matrices at a time.
  static void put(Emit &e, ArrayRef<Value> words, Value staging) {
    const auto count = int64_t(words.size());
    for (int64_t first = 0; first < count;) {
      const int64_t matrices = count - first >= 4 ? 4 : count - first >= 2 ? 2 : 1;
      // Lanes beyond the matrices' rows name rows, too, which are not used.
      Value row = e.add(e.band(e.lane(), 8 * matrices - 1), 8 * first);
      Value address = e.at(staging, e.add(e.mul(row, rowBytes), e.mul(e.warp(), layout::chunkBytes)));
      storeMatrices(e, address, words.slice(first, matrices), /*transposed=*/true);
      first += matrices;
    }
  }
};

struct TanhLowering : OpConversionPattern<TanhOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(TanhOp op, OpAdaptor in, ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    rewriter.replaceOp(op, e.assembly(e.f32(), "tanh.approx.f32 $0, $1;", "=f,f", {in.getX()}));
    return success();
  }
};

} // namespace

void populateGroupedPatterns(const TileTypeConverter &types, RewritePatternSet &patterns) {
  patterns.add<GatherLowering, StorePairsLowering, TanhLowering>(types, patterns.getContext());
}

} // namespace lathe::codegen
