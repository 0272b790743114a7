//===- Kernel.cpp - Lowering of kernels, roles and elected code --------------------------------------===//
//
// A tile.kernel becomes an LLVM function with the launch facts that ptxas needs for setmaxnreg; roles become
// one if/else over the warpgroup index, the only shape under which setmaxnreg takes effect.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Conversion/Lowering.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {
namespace {

struct KernelLowering : OpConversionPattern<KernelOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(KernelOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    Block &entry = op.getBody().front();
    TypeConverter::SignatureConversion signature(entry.getNumArguments());
    if (failed(getTypeConverter()->convertSignatureArgs(entry.getArgumentTypes(), signature)))
      return failure();
    auto type =
        LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(getContext()), signature.getConvertedTypes());
    auto function = LLVM::LLVMFuncOp::create(rewriter, op.getLoc(), op.getSymName(), type);
    for (auto [i, argument] : llvm::enumerate(entry.getArguments()))
      if (isa<TensorMapType>(argument.getType()))
        setTensorMapAttributes(rewriter, function, i);
    setLaunchAttributes(rewriter, function, op);
    rewriter.inlineRegionBefore(op.getBody(), function.getBody(), function.getBody().end());
    if (failed(rewriter.convertRegionTypes(&function.getBody(), *getTypeConverter(), &signature)))
      return failure();
    rewriter.eraseOp(op);
    return success();
  }

  /// Without grid_constant the map would be copied to local memory.
  static void setTensorMapAttributes(OpBuilder &builder, LLVM::LLVMFuncOp function, unsigned index) {
    auto bytes = LLVM::LLVMArrayType::get(builder.getI8Type(), 128);
    function.setArgAttr(index, "llvm.byval", TypeAttr::get(bytes));
    function.setArgAttr(index, "nvvm.grid_constant", builder.getUnitAttr());
    function.setArgAttr(index, "llvm.align", builder.getI64IntegerAttr(64));
  }

  static void setLaunchAttributes(OpBuilder &builder, LLVM::LLVMFuncOp function, KernelOp op) {
    function->setAttr("nvvm.kernel", builder.getUnitAttr());
    function->setAttr("nvvm.reqntid", builder.getDenseI32ArrayAttr({int32_t(op.getThreads())}));
    if (op.getCluster() != 1)
      function->setAttr("nvvm.cluster_dim", builder.getDenseI32ArrayAttr({int32_t(op.getCluster()), 1, 1}));
    if (op.getMaxRegisters() != 0) // ptxas takes one of the two.
      function->setAttr("nvvm.maxnreg", builder.getI32IntegerAttr(op.getMaxRegisters()));
    else
      function->setAttr("nvvm.minctasm", builder.getI32IntegerAttr(1));
  }
};

struct ReturnLowering : OpConversionPattern<ReturnOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(ReturnOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOpWithNewOp<LLVM::ReturnOp>(op, ValueRange{});
    return success();
  }
};

struct RolesLowering : OpConversionPattern<RolesOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(RolesOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    Value warpgroup = e.uniform(e.shr(e.thread(), 7));
    int32_t before = 0;
    for (auto [role, body] : llvm::enumerate(op.getBodies())) {
      bool last = role + 1 == op.getBodies().size();
      int32_t first = before;
      before += op.getWarpgroups()[role];
      Value index = first == 0 ? warpgroup : e.sub(warpgroup, first);
      if (last) {
        enterRole(e, op, role);
        moveBody(rewriter, body, index);
        break;
      }
      auto branch =
          scf::IfOp::create(rewriter, op.getLoc(), e.lt(warpgroup, before), /*withElseRegion=*/true);
      rewriter.setInsertionPoint(branch.thenBlock()->getTerminator());
      enterRole(e, op, role);
      moveBody(rewriter, body, index);
      rewriter.setInsertionPoint(branch.elseBlock()->getTerminator());
    }
    rewriter.eraseOp(op);
    return success();
  }

  /// More than a thread has at launch is an increase.
  static void enterRole(Emit &e, RolesOp op, size_t role) {
    int32_t registers = op.getRegisters()[role];
    if (registers == 0)
      return;
    int32_t threads = 0;
    for (int32_t warpgroups : op.getWarpgroups())
      threads += 128 * warpgroups;
    // The kernel is a function already: conversion goes from the outside in.
    auto function = op->getParentOfType<LLVM::LLVMFuncOp>();
    auto cap = function ? function->getAttrOfType<IntegerAttr>("nvvm.maxnreg") : IntegerAttr();
    const int32_t entry = launchRegisters(threads, cap ? int32_t(cap.getInt()) : 0);
    auto action =
        registers >= entry ? NVVM::SetMaxRegisterAction::increase : NVVM::SetMaxRegisterAction::decrease;
    NVVM::SetMaxRegisterOp::create(e.b, e.loc, registers, action);
  }

  static void moveBody(ConversionPatternRewriter &rewriter, Region &body, Value index) {
    Block *target = rewriter.getInsertionBlock();
    rewriter.inlineBlockBefore(&body.front(), target, rewriter.getInsertionPoint(), {index});
  }
};

struct ElectedLowering : OpConversionPattern<ElectedOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(ElectedOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    Value firstWarp = e.eq(e.uniform(e.warp()), 0);
    auto warp = scf::IfOp::create(rewriter, op.getLoc(), firstWarp, false);
    rewriter.setInsertionPoint(warp.thenBlock()->getTerminator());
    Value elected = NVVM::ElectSyncOp::create(rewriter, op.getLoc(), e.i1(), Value());
    auto lane = scf::IfOp::create(rewriter, op.getLoc(), elected, false);
    rewriter.inlineBlockBefore(&op.getBody().front(), lane.thenBlock()->getTerminator(), {});
    rewriter.eraseOp(op);
    return success();
  }
};

template <class Op, NVVM::GridDepActionKind action>
struct GridLowering : OpConversionPattern<Op> {
  using OpConversionPattern<Op>::OpConversionPattern;
  LogicalResult matchAndRewrite(Op op, typename Op::Adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOpWithNewOp<NVVM::GriddepcontrolOp>(op, action);
    return success();
  }
};

} // namespace

TileTypeConverter::TileTypeConverter(MLIRContext *context) {
  auto structOf = [context](Type element, int64_t count) {
    return LLVM::LLVMStructType::getLiteral(context, SmallVector<Type>(count, element));
  };
  auto shared = LLVM::LLVMPointerType::get(context, 3);
  addConversion([](Type type) { return type; });
  addConversion([=](BufferType) -> Type { return shared; });
  addConversion(
      [=](PipeType) -> Type { return LLVM::LLVMStructType::getLiteral(context, {shared, shared}); });
  addConversion(
      [=](QueueType) -> Type { return LLVM::LLVMStructType::getLiteral(context, {shared, shared}); });
  addConversion(
      [=](FragmentType t) -> Type { return structOf(Float32Type::get(context), t.getRegisters()); });
  addConversion(
      [=](OperandType t) -> Type { return structOf(IntegerType::get(context, 32), t.getRegisters()); });
  addConversion([=](RowsType t) -> Type { return structOf(t.getElementType(), 2); });
  addConversion([=](ColumnsType t) -> Type { return structOf(t.getElementType(), t.getRegisters()); });
  addConversion([=](TensorMapType) -> Type { return LLVM::LLVMPointerType::get(context); });
  auto cast = [](OpBuilder &builder, Type type, ValueRange inputs, Location loc) -> Value {
    return UnrealizedConversionCastOp::create(builder, loc, type, inputs).getResult(0);
  };
  addSourceMaterialization(cast);
  addTargetMaterialization(cast);
}

void populateKernelPatterns(const TileTypeConverter &types, RewritePatternSet &patterns) {
  patterns.add<KernelLowering, ReturnLowering, RolesLowering, ElectedLowering,
               GridLowering<GridWaitOp, NVVM::GridDepActionKind::wait>,
               GridLowering<GridLaunchOp, NVVM::GridDepActionKind::launch_dependents>>(types,
                                                                                       patterns.getContext());
}

} // namespace lathe::codegen
