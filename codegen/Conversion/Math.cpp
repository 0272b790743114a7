//===- Math.cpp - Lowering of element-wise code and reductions over fragments ------------------------===//
//
// A fragment is a struct of the thread's registers; a map clones its region for each of them, a reduction is
// a tree over them followed by two shuffles among the four lanes of a row.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Conversion/Lowering.h"
#include "lathe/codegen/Layout/Fragment.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

SmallVector<Value> inlineBody(OpBuilder &builder, Region &region, ValueRange arguments, Value column) {
  IRMapping mapping;
  mapping.map(region.front().getArguments(), arguments);
  for (Operation &op : region.front().without_terminator()) {
    if (auto columnOp = dyn_cast<ColumnOp>(op)) {
      mapping.map(columnOp.getResult(), column);
      continue;
    }
    builder.clone(op, mapping);
  }
  SmallVector<Value> results;
  for (Value value : region.front().getTerminator()->getOperands())
    results.push_back(mapping.lookupOrDefault(value));
  return results;
}

static Value tree(SmallVector<Value> values, llvm::function_ref<Value(Value, Value)> combine) {
  while (values.size() > 1) {
    SmallVector<Value> half;
    for (size_t i = 0; i + 1 < values.size(); i += 2)
      half.push_back(combine(values[i], values[i + 1]));
    if (values.size() % 2)
      half.push_back(values.back());
    values = std::move(half);
  }
  return values.front();
}

namespace {

struct SplatLowering : OpConversionPattern<SplatOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(SplatOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    auto type = cast<LLVM::LLVMStructType>(getTypeConverter()->convertType(op.getResult().getType()));
    rewriter.replaceOp(op, e.pack(type, SmallVector<Value>(type.getBody().size(), in.getValue())));
    return success();
  }
};

struct RowLowering : OpConversionPattern<RowOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(RowOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    Value row = e.row();
    rewriter.replaceOp(
        op, e.pack(getTypeConverter()->convertType(op.getResult().getType()), {row, e.add(row, 8)}));
    return success();
  }
};

struct AnyRowLowering : OpConversionPattern<AnyRowOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(AnyRowOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    Value from = e.cf(op.getFrom().convertToFloat()), some;
    for (Value value : e.unpack(in.getRows())) {
      Value differs = arith::CmpFOp::create(rewriter, op.getLoc(), arith::CmpFPredicate::UNE, value, from);
      some = some ? e.bor(some, differs) : differs;
    }
    Value all = arith::ConstantIntOp::create(rewriter, op.getLoc(), e.i32(), -1);
    rewriter.replaceOpWithNewOp<NVVM::VoteSyncOp>(op, e.i1(), all, some, NVVM::VoteSyncKind::any);
    return success();
  }
};

struct MapLowering : OpConversionPattern<MapOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(MapOp op, OpAdaptor in, ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    Type type = op.getResult().getType();
    bool fragment = isa<FragmentType>(type), columns = isa<ColumnsType>(type);
    auto converted = cast<LLVM::LLVMStructType>(getTypeConverter()->convertType(type));
    SmallVector<SmallVector<Value>> inputs;
    for (auto [original, value] : llvm::zip(op.getInputs(), in.getInputs()))
      inputs.push_back(isa<FragmentType, RowsType, ColumnsType>(original.getType())
                           ? e.unpack(value)
                           : SmallVector<Value>{value});
    Value laneColumn = fragment || columns ? e.mul(e.quad(), 2) : Value();
    SmallVector<Value> results;
    for (int64_t i = 0, n = converted.getBody().size(); i < n; ++i) {
      SmallVector<Value> arguments;
      for (auto [original, values] : llvm::zip(op.getInputs(), inputs)) {
        int64_t at = !fragment                              ? i
                     : isa<RowsType>(original.getType())    ? layout::rowHalf(i)
                     : isa<ColumnsType>(original.getType()) ? layout::columnPlace(i)
                                                            : i;
        arguments.push_back(values[values.size() == 1 ? 0 : at]);
      }
      Value column = fragment  ? e.add(laneColumn, layout::firstColumn(i))
                     : columns ? e.add(laneColumn, layout::firstColumn(layout::ofColumn(i)))
                               : Value();
      results.push_back(inlineBody(rewriter, op.getBody(), arguments, column)[0]);
    }
    rewriter.replaceOp(op, e.pack(converted, results));
    return success();
  }
};

struct ReduceLowering : OpConversionPattern<ReduceOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(ReduceOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    auto combine = [&](Value x, Value y) { return op.getKind() == "max" ? e.fmax(x, y) : e.fadd(x, y); };
    SmallVector<Value> values = e.unpack(in.getInput()), results;
    for (int64_t row = 0; row < 2; ++row) {
      SmallVector<Value> mine;
      for (auto [i, value] : llvm::enumerate(values))
        if ((isa<RowsType>(op.getInput().getType()) ? int64_t(i) : layout::rowHalf(i)) == row)
          mine.push_back(value);
      Value result = tree(mine, combine);
      if (!op.getPartial())
        for (int64_t distance : {1, 2})
          result = combine(result, e.butterfly(result, distance));
      results.push_back(result);
    }
    rewriter.replaceOp(op, e.pack(getTypeConverter()->convertType(op.getResult().getType()), results));
    return success();
  }
};

struct PackLowering : OpConversionPattern<PackOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(PackOp op, OpAdaptor in, ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    SmallVector<Value> values = e.unpack(in.getFragment()), packed;
    for (size_t i = 0; i < values.size(); i += 2)
      packed.push_back(e.packBf16(values[i], values[i + 1]));
    rewriter.replaceOp(op, e.pack(getTypeConverter()->convertType(op.getResult().getType()), packed));
    return success();
  }
};

/// A scalar special function by its NVVM intrinsic.
template <class Op>
struct SpecialFunctionLowering : OpConversionPattern<Op> {
  SpecialFunctionLowering(const TypeConverter &types, MLIRContext *context, StringRef intrinsic)
      : OpConversionPattern<Op>(types, context), intrinsic(intrinsic) {}
  LogicalResult matchAndRewrite(Op op, typename Op::Adaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOpWithNewOp<LLVM::CallIntrinsicOp>(
        op, rewriter.getF32Type(), rewriter.getStringAttr(intrinsic), ValueRange{in.getX()});
    return success();
  }
  std::string intrinsic;
};

} // namespace

void populateMathPatterns(const TileTypeConverter &types, RewritePatternSet &patterns) {
  MLIRContext *context = patterns.getContext();
  patterns.add<SplatLowering, RowLowering, AnyRowLowering, MapLowering, ReduceLowering, PackLowering>(
      types, context);
  patterns.add<SpecialFunctionLowering<Exp2Op>>(types, context, "llvm.nvvm.ex2.approx.ftz.f");
  patterns.add<SpecialFunctionLowering<RcpOp>>(types, context, "llvm.nvvm.rcp.approx.ftz.f");
  patterns.add<SpecialFunctionLowering<Log2Op>>(types, context, "llvm.nvvm.lg2.approx.ftz.f");
}

} // namespace lathe::codegen
