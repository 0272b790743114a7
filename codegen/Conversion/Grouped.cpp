//===- Grouped.cpp - Lowering of operations of grouped products --------------------------------------===//
//
// Rows that come from anywhere are copied by threads, 16 bytes each (cp.async), which complete on the pipe's
// full barrier; pairs of rows are combined in registers and leave transposed through stmatrix.trans. CTAs
// tell each other of what they wrote by counters: a release behind a barrier of the writers, an acquire and a
// proxy fence before the loads of the reader.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Conversion/Lowering.h"
#include "lathe/codegen/Layout/Fragment.h"
#include "lathe/codegen/Layout/Swizzle.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr int64_t rowChunks = 8; // Chunks of 16 bytes in a row of a box.

/// Of operands of tile.publish and tile.await.
template <class Operands>
static Value counterOf(Emit &e, Operands &in) {
  return e.at(in.getCounters(), e.mul(e.wide(in.getElement()), e.c64(4)));
}

namespace {

struct GatherLowering : OpConversionPattern<GatherOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(GatherOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    PipeType type = op.getPipe().getType();
    const int64_t step = type.getGatherers() / rowChunks;
    Value first = e.shr(in.getThread(), 3), chunk = e.band(in.getThread(), rowChunks - 1);
    Value stage = e.at(stageAddress(e, type, in.getPipe(), in.getCount()),
                       e.mul(first, type.getStageType().getSwizzle()));
    Value offset = e.wide(e.add(in.getOffset(), e.mul(chunk, layout::chunkBytes)));
    SmallVector<Value> starts(
        rowChunks); // Of the thread's chunk in a row so many rows (mod 8) below its first.
    for (auto [i, source] : llvm::enumerate(in.getSources())) {
      const int64_t below = int64_t(i) * step;
      Value &start = starts[size_t(below % rowChunks)];
      if (!start) {
        Value place = e.bxor(chunk, e.band(e.add(first, below % rowChunks), rowChunks - 1));
        start = e.at(stage, e.mul(place, layout::chunkBytes));
      }
      Value target = e.at(start, below * type.getStageType().getSwizzle()), from = e.at(source, offset);
      Value here = in.getPresent() ? e.lt(first, e.sub(in.getPresent(), below)) : Value();
      auto copy = [&] { copyRow(e, type, target, from, here); };
      if (below + step <= int64_t(op.getRows()))
        copy();
      else
        e.when(e.lt(first, int64_t(op.getRows()) - below), copy);
    }
    NVVM::CpAsyncMBarrierArriveOp::create(
        rewriter, op.getLoc(), fullBarrier(e, type, in.getPipe(), in.getCount(), 0), /*noinc=*/true);
    rewriter.eraseOp(op);
    return success();
  }

  /// The thread's chunk of a row in each box; zeros where the row is not there.
  static void copyRow(Emit &e, PipeType type, Value target, Value source, Value here) {
    BufferType buffer = type.getStageType();
    Value bytes = here ? e.select(here, e.c(layout::chunkBytes), e.c(0)) : Value();
    for (int64_t box = 0; box < buffer.getBoxes(); ++box)
      NVVM::CpAsyncOp::create(e.b, e.loc, e.at(target, box * buffer.getBoxBytes()),
                              e.at(source, box * buffer.getSwizzle()), uint32_t(layout::chunkBytes),
                              NVVM::LoadCacheModifierKind::CG, bytes);
  }
};

struct StorePairsLowering : OpConversionPattern<StorePairsOp> {
  using OpConversionPattern::OpConversionPattern;
  static constexpr int64_t chunks = 4, rowBytes = layout::pairsRowBytes;

  LogicalResult matchAndRewrite(StorePairsOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    const auto [staging, event] = stagingOf(e, op, in.getIndex(), rowBytes);
    SmallVector<Value> words = combined(e, op, e.unpack(in.getFragment()));
    const int64_t columns = op.getFragment().getType().getColumns(), most = int64_t(op.getAtOnce());
    for (int64_t first = 0; first < columns; first += most) {
      const int64_t count = std::min(most, columns - first);
      syncWarpgroup(e, event);
      put(e, ArrayRef(words).slice(first / 8, count / 8), staging);
      syncWarpgroup(e, event);
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

/// One instruction adds eight neighbouring elements of each of four rows: whole sectors of 32 bytes.
struct AddTransposedLowering : OpConversionPattern<AddTransposedOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(AddTransposedOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    const SmallVector<Value> values = e.unpack(in.getFragment());
    Value first = e.wide(e.add(in.getFrom(), e.row()));
    for (size_t pair = 0; pair < values.size() / 2; pair += 2) // Of rows r and r + 8, for eight columns.
      for (size_t half : {size_t(0), size_t(1)}) {
        const size_t group = pair / 2, told = group / 4;
        Value lane = e.add(e.mul(e.quad(), 2), int64_t(8 * (group % 4) + half));
        Value row = e.shuffle(in.getRows()[told], lane, NVVM::ShflKind::idx);
        Value factor = e.shuffle(in.getFactors()[told], lane, NVVM::ShflKind::idx);
        Value element = e.add(e.mul(e.wide(row), e.c64(int64_t(op.getStride()))), first);
        Value address = e.at(in.getBase(), e.mul(element, e.c64(4)));
        e.when(e.ge(row, e.c(0)), [&] {
          for (size_t below : {size_t(0), size_t(1)})
            addTo(e, e.at(address, int64_t(below) * 8 * 4),
                  e.fmul(values[2 * pair + 2 * below + half], factor));
        });
      }
    rewriter.eraseOp(op);
    return success();
  }

private:
  static void addTo(Emit &e, Value address, Value value) {
    e.assembly({}, "red.relaxed.gpu.global.add.f32 [$0], $1;", "l,f", {address, value});
  }
};

struct PublishLowering : OpConversionPattern<PublishOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(PublishOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    Value event = e.c(op.getEvent());
    syncWarpgroup(e, in.getIndex() ? e.add(event, in.getIndex()) : event);
    e.when(e.eq(e.band(e.thread(), 127), 0), [&] {
      e.assembly({}, "red.release.gpu.global.add.u32 [$0], 1;", "l,~{memory}", {counterOf(e, in)});
    });
    rewriter.eraseOp(op);
    return success();
  }
};

struct AwaitLowering : OpConversionPattern<AwaitOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(AwaitOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    Value counter = counterOf(e, in);
    e.loopWhile(
        {}, 0,
        [&](ValueRange) {
          Value seen =
              e.assembly(e.i32(), "ld.acquire.gpu.global.u32 $0, [$1];", "=r,l,~{memory}", {counter});
          return SmallVector<Value>{e.lt(seen, int64_t(op.getLeast()))};
        },
        [](ValueRange) { return SmallVector<Value>{}; });
    e.fenceAsyncGlobal();
    rewriter.eraseOp(op);
    return success();
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
  patterns.add<GatherLowering, StorePairsLowering, AddTransposedLowering, PublishLowering, AwaitLowering,
               TanhLowering>(types, patterns.getContext());
}

} // namespace lathe::codegen
