//===- Tma.cpp - Lowering of tensor-memory loads and prefetches --------------------------------------===//
//
// One cp.async.bulk.tensor an operation, completing on the full barrier of the pipe's stage; in a pipe that a
// cluster shares, multicast to the same place of every CTA.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Conversion/Lowering.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

/// The policy that createpolicy.fractional.L2::evict_first gives for all of the data.
static constexpr int64_t evictFirst = 0x12F0000000000000;

namespace {

struct LoadLowering : OpConversionPattern<LoadOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(LoadOp op, OpAdaptor in, ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    PipeType type = op.getPipe().getType();
    BufferType stage = type.getStageType();
    int64_t offset = op.getBox() * stage.getBoxBytes() + op.getRow() * stage.getSwizzle();
    Value target = e.at(stageAddress(e, type, in.getPipe(), in.getCount()), offset);
    Value barrier =
        fullBarrier(e, type, in.getPipe(), in.getCount(), int64_t(op.getBox()) / type.getGroupBoxes());
    bool shared = type.getCluster() > 1;
    Value mask, hint = op.getEvictFirst() ? e.c64(evictFirst) : Value();
    if (shared) {
      if (!op.getWhole()) {
        Value rank = NVVM::BlockInClusterIdXOp::create(rewriter, op.getLoc(), e.i32());
        target = e.at(target, e.mul(rank, type.getRows() / type.getCluster() * stage.getSwizzle()));
      }
      target = LLVM::AddrSpaceCastOp::create(rewriter, op.getLoc(), e.pointer(7), target);
      mask = arith::ConstantIntOp::create(rewriter, op.getLoc(), rewriter.getI16Type(),
                                          (1 << type.getCluster()) - 1);
    }
    NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp::create(
        rewriter, op.getLoc(), target, in.getMap(), in.getCoordinates(), barrier, ValueRange{}, mask, hint,
        NVVM::TMALoadMode::TILE, /*isCTAOnly=*/!shared, NVVM::CTAGroupKindAttr(), Value());
    rewriter.eraseOp(op);
    return success();
  }
};

struct PrefetchLowering : OpConversionPattern<PrefetchOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(PrefetchOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    NVVM::CpAsyncBulkPrefetchOp::create(rewriter, op.getLoc(), in.getAddress(), in.getBytes(), Value());
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void populateTmaPatterns(const TileTypeConverter &types, RewritePatternSet &patterns) {
  patterns.add<LoadLowering, PrefetchLowering>(types, patterns.getContext());
}

} // namespace lathe::codegen
