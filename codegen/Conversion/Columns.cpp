//===- Columns.cpp - Lowering of operations on a fragment's columns ----------------------------------===//
//
// A lane has two rows of eight lanes' columns, so what a column has in common is spread over eight lanes of
// each of four warps: shuffles halve the values with the lanes that hold them, shared memory joins the warps.
// Fragments leave transposed through stmatrix.trans.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Conversion/Lowering.h"
#include "lathe/codegen/Layout/Fragment.h"
#include "lathe/codegen/Layout/Swizzle.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr int64_t warps = 4, groupThreads = 128, chunkElements = 8;

static Value combine(Emit &e, StringRef kind, Value x, Value y) {
  return kind == "max" ? e.fmax(x, y) : e.fadd(x, y);
}

/// Column of the lane's value number `place`.
static Value columnOf(Emit &e, int64_t place) {
  return e.add(e.mul(e.quad(), 2), layout::firstColumn(layout::ofColumn(place)));
}

namespace {

struct ReduceRowsLowering : OpConversionPattern<ReduceRowsOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(ReduceRowsOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    ColumnsType type = op.getResult().getType();
    SmallVector<Value> values = e.unpack(in.getInput()), results;
    for (int64_t place = 0; place < type.getRegisters(); ++place) {
      int64_t first = layout::ofColumn(place);
      results.push_back(combine(e, op.getKind(), values[first], values[first + 2]));
    }
    rewriter.replaceOp(op, e.pack(getTypeConverter()->convertType(type), results));
    return success();
  }
};

struct CompleteColumnsLowering : OpConversionPattern<CompleteColumnsOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(CompleteColumnsOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    ColumnsType type = op.getResult().getType();
    Value scratch = e.at(e.shared(), op.getOffset());
    Value first = e.c(0);
    SmallVector<Value> values = overLanes(e, op.getKind(), e.unpack(in.getPartial()), first);
    Value mine = e.at(scratch, e.mul(e.warp(), 4 * type.getColumns()));
    for (auto [i, value] : llvm::enumerate(values))
      e.store(value, e.at(mine, e.mul(dynamicColumn(e, e.add(first, int64_t(i))), 4)));
    syncWarpgroup(e, e.c(op.getEvent()));
    rewriter.replaceOp(
        op, e.pack(getTypeConverter()->convertType(type), overWarps(e, op.getKind(), scratch, type)));
    return success();
  }

  /// Halves the values with the eight lanes of a column: of two lanes each keeps one half and gives the other
  /// away. `first` becomes the number of the lane's first value. Odd counts are kept whole by both.
  static SmallVector<Value> overLanes(Emit &e, StringRef kind, SmallVector<Value> values, Value &first) {
    for (int64_t distance : {4, 8, 16}) {
      if (values.size() % 2) {
        for (Value &value : values)
          value = combine(e, kind, value, e.butterfly(value, distance));
        continue;
      }
      auto half = int64_t(values.size() / 2);
      Value upper = e.eq(e.band(e.lane(), distance), distance);
      SmallVector<Value> kept;
      for (int64_t i = 0; i < half; ++i) {
        Value keep = e.select(upper, values[i + half], values[i]);
        Value give = e.select(upper, values[i], values[i + half]);
        kept.push_back(combine(e, kind, keep, e.butterfly(give, distance)));
      }
      first = e.add(first, e.select(upper, e.c(half), e.c(0)));
      values = std::move(kept);
    }
    return values;
  }

  static Value dynamicColumn(Emit &e, Value place) {
    Value group = e.shl(e.shr(place, 1), 3);
    return e.add(e.add(group, e.mul(e.quad(), 2)), e.band(place, 1));
  }

  static SmallVector<Value> overWarps(Emit &e, StringRef kind, Value scratch, ColumnsType type) {
    auto pair = VectorType::get({2}, e.f32());
    Value start = e.at(scratch, e.mul(e.quad(), 8));
    SmallVector<Value> results;
    for (int64_t group = 0; group < type.getColumns() / 8; ++group) {
      Value low, high;
      for (int64_t warp = 0; warp < warps; ++warp) {
        Value both = e.load(pair, e.at(start, 4 * (warp * type.getColumns() + group * 8)));
        Value x = LLVM::ExtractElementOp::create(e.b, e.loc, both, e.c(0));
        Value y = LLVM::ExtractElementOp::create(e.b, e.loc, both, e.c(1));
        low = warp ? combine(e, kind, low, x) : x;
        high = warp ? combine(e, kind, high, y) : y;
      }
      results.append({low, high});
    }
    return results;
  }
};

} // namespace

/// stmatrix.trans of all columns of a fragment. `address` is that of the row that the lane names for the
/// first 16 columns, `pairBytes` the distance to the next 16.
static void putTransposed(Emit &e, ArrayRef<Value> values, Type element, Value address, int64_t pairBytes) {
  auto count = int64_t(values.size());
  for (int64_t first = 0; first < count; first += 8) {
    SmallVector<Value> packed;
    for (int64_t i = first; i < std::min(first + 8, count); i += 2)
      packed.push_back(e.packHalves(element, values[i], values[i + 1]));
    storeMatrices(e, e.at(address, first / 8 * pairBytes), packed, /*transposed=*/true);
  }
}

/// The row (a column of the fragment) and the chunk of 16 bytes in it that the lane names:
/// layout::transposedRow.
static std::pair<Value, Value> transposedPlace(Emit &e) {
  Value row = e.add(e.shl(e.shr(e.lane(), 4), 3), e.band(e.lane(), 7));
  Value chunk = e.add(e.mul(e.warp(), 2), e.band(e.shr(e.lane(), 3), 1));
  return {row, chunk};
}

namespace {

struct PutTransposedLowering : OpConversionPattern<PutTransposedOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(PutTransposedOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    int64_t swizzle = op.getBuffer().getType().getSwizzle();
    auto [row, chunk] = transposedPlace(e);
    Value swizzled = e.bxor(chunk, e.band(e.lane(), 7)); // Rows 8 further have the same pattern.
    Value address = e.at(in.getBuffer(), e.add(e.mul(row, swizzle), e.mul(swizzled, layout::chunkBytes)));
    putTransposed(e, e.unpack(in.getFragment()), rewriter.getBF16Type(), address, 16 * swizzle);
    e.fenceAsyncShared();
    rewriter.eraseOp(op);
    return success();
  }
};

struct StoreTransposedLowering : OpConversionPattern<StoreTransposedOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(StoreTransposedOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    int64_t rowBytes = layout::transposedRowBytes(int64_t(op.getFragments().size()));
    const auto [staging, event] = stagingOf(e, op, in.getIndex(), rowBytes);
    SmallVector<SmallVector<Value>> values;
    for (Value fragment : in.getFragments())
      values.push_back(e.unpack(fragment));
    const int64_t columns = cast<FragmentType>(op.getFragments().front().getType()).getColumns();
    const int64_t most = int64_t(op.getAtOnce());
    for (int64_t first = 0; first < columns; first += most) {
      const int64_t count = std::min(most, columns - first);
      syncWarpgroup(e, event);
      auto [row, chunk] = transposedPlace(e);
      Value address = e.at(staging, e.add(e.mul(row, rowBytes), e.mul(chunk, layout::chunkBytes)));
      for (auto [i, all] : llvm::enumerate(values))
        putTransposed(e, ArrayRef(all).slice(first / 2, count / 2), op.getElement(),
                      e.at(address, int64_t(i) * 128), 16 * rowBytes);
      syncWarpgroup(e, event);
      copyStagedRows(e, op.getBody(), in.getBase(), staging, first, count, op.getLimit() / chunkElements,
                     rowBytes);
    }
    rewriter.eraseOp(op);
    return success();
  }
};

struct StoreColumnsLowering : OpConversionPattern<StoreColumnsOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(StoreColumnsOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    SmallVector<Value> values = e.unpack(in.getColumns());
    // All lanes with the same remainder by four have the same values.
    e.when(e.lt(e.band(e.thread(), groupThreads - 1), 4), [&] {
      for (auto [place, value] : llvm::enumerate(values)) {
        SmallVector<Value> where = inlineBody(rewriter, op.getBody(), {columnOf(e, int64_t(place))});
        e.when(where[1], [&] { e.store(value, e.at(in.getBase(), e.mul(where[0], e.c64(4)))); });
      }
    });
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void populateColumnPatterns(const TileTypeConverter &types, RewritePatternSet &patterns) {
  patterns.add<ReduceRowsLowering, CompleteColumnsLowering, PutTransposedLowering, StoreTransposedLowering,
               StoreColumnsLowering>(types, patterns.getContext());
}

} // namespace lathe::codegen
