//===- Barrier.cpp - Lowering of pipes and events ----------------------------------------------------===//
//
// A pipe position is a count; stage = count mod stages, phase = parity of count / stages. Full barriers, one
// a group of boxes, expect one arrival (the producer's, with the byte count) or those of all gatherers; empty
// barriers, one a part, four a release, one a warp.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Conversion/Lowering.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr int64_t waitTicks =
    10'000'000; // How long try_wait may suspend a thread before it looks again.
static constexpr int64_t warpsPerWarpgroup = 4;

/// Of the only stage 0, in a form that LLVM does not know to be 0: from constant addresses ptxas computes the
/// descriptors of a loop's products once, which takes a thread's registers for each (docs/schedules/
/// exchanged.md).
static Value stageIndex(Emit &e, PipeType type, Value count) {
  return type.getStages() == 1 ? e.min(count, e.c(0)) : e.remu(count, type.getStages());
}

static Value phaseOf(Emit &e, PipeType type, Value count) {
  return e.band(e.divu(count, type.getStages()), 1);
}

Value stageAddress(Emit &e, PipeType type, Value pipe, Value count) {
  return e.at(e.extract(pipe, 0), e.mul(stageIndex(e, type, count), type.getStageBytes()));
}

Value fullBarrier(Emit &e, PipeType type, Value pipe, Value count, int64_t group) {
  Value first = e.at(e.extract(pipe, 1), e.mul(stageIndex(e, type, count), 8 * type.getGroups()));
  return e.at(first, 8 * group);
}

static Value emptyBarrier(Emit &e, PipeType type, Value pipe, Value count, int64_t part) {
  Value first = e.at(e.extract(pipe, 1), e.mul(stageIndex(e, type, count), 8 * type.getParts()));
  return e.at(first, 8 * (type.getFullBarriers() + part));
}

void waitParity(Emit &e, Value barrier, Value parity) {
  NVVM::MBarrierTryWaitParityOp::create(e.b, e.loc, barrier, parity, e.c(waitTicks));
}

/// Arrives on the barrier at the same place in the CTA of rank `rank`. Without a scope: `.release.cluster`
/// would be a fence of the whole GPU before each arrival (MEMBAR.ALL.GPU in the machine code; docs/schedules/
/// seesaw.md has what it costs), and there is nothing to release: what was read was read by WGMMA, which has
/// been waited for.
static void arriveRemotely(Emit &e, Value barrier, Value rank) {
  Value address = LLVM::PtrToIntOp::create(e.b, e.loc, e.i32(), barrier);
  e.assembly(Type(),
             "{ .reg .b32 remote; mapa.shared::cluster.u32 remote, $0, $1; "
             "mbarrier.arrive.shared::cluster.b64 _, [remote]; }",
             "r,r", {address, rank});
}

namespace {

struct PipeLowering : OpConversionPattern<PipeOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(PipeOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    PipeType type = op.getPipe().getType();
    Value base = e.at(e.shared(), op.getOffset()), barriers = e.at(e.shared(), op.getBarrierOffset());
    e.when(e.eq(e.thread(), 0), [&] {
      for (int64_t full = 0; full < type.getFullBarriers(); ++full)
        NVVM::MBarrierInitOp::create(rewriter, op.getLoc(), e.at(barriers, 8 * full),
                                     e.c(std::max<int64_t>(1, type.getGatherers())), Value());
      for (int64_t empty = 0; empty < type.getEmptyBarriers(); ++empty)
        NVVM::MBarrierInitOp::create(rewriter, op.getLoc(),
                                     e.at(barriers, 8 * (type.getFullBarriers() + empty)),
                                     e.c(op.getReleases() * warpsPerWarpgroup * type.getCluster()), Value());
    });
    rewriter.replaceOp(op, e.pack(getTypeConverter()->convertType(type), {base, barriers}));
    return success();
  }
};

struct SyncCtaLowering : OpConversionPattern<SyncCtaOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(SyncCtaOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    e.when(e.eq(e.thread(), 0), [&] {
      NVVM::FenceMbarrierInitOp::create(rewriter, op.getLoc());
      e.fenceAsyncShared();
    });
    NVVM::Barrier0Op::create(rewriter, op.getLoc());
    rewriter.eraseOp(op);
    return success();
  }
};

struct SyncClusterLowering : OpConversionPattern<SyncClusterOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(SyncClusterOp op, OpAdaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    e.when(e.eq(e.thread(), 0), [&] {
      NVVM::FenceMbarrierInitOp::create(rewriter, op.getLoc());
      e.fenceAsyncShared();
    });
    // Not the aligned forms: roles end at different places.
    NVVM::ClusterArriveOp::create(rewriter, op.getLoc(), UnitAttr());
    NVVM::ClusterWaitOp::create(rewriter, op.getLoc(), UnitAttr());
    rewriter.eraseOp(op);
    return success();
  }
};

struct SyncEventLowering : OpConversionPattern<SyncEventOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(SyncEventOp op, OpAdaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    NVVM::BarrierOp::create(rewriter, op.getLoc(), Type(), e.c(op.getEvent()), e.c(op.getThreads()),
                            NVVM::BarrierReductionAttr(), Value());
    rewriter.eraseOp(op);
    return success();
  }
};

struct ArriveEventLowering : OpConversionPattern<ArriveEventOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(ArriveEventOp op, OpAdaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    NVVM::BarrierArriveOp::create(rewriter, op.getLoc(), e.c(op.getEvent()), e.c(op.getThreads()));
    rewriter.eraseOp(op);
    return success();
  }
};

struct AcquireLowering : OpConversionPattern<AcquireOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(AcquireOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    PipeType type = op.getPipe().getType();
    // A fresh barrier passes the wait for the phase before its first: all stages start empty.
    waitParity(e, emptyBarrier(e, type, in.getPipe(), in.getCount(), op.getPart()),
               e.bxor(phaseOf(e, type, in.getCount()), 1));
    rewriter.eraseOp(op);
    return success();
  }
};

struct ExpectLowering : OpConversionPattern<ExpectOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(ExpectOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    PipeType type = op.getPipe().getType();
    const int64_t bytes = type.getGroupBytes(op.getGroup());
    NVVM::MBarrierArriveExpectTxOp::create(
        rewriter, op.getLoc(), Type(), fullBarrier(e, type, in.getPipe(), in.getCount(), op.getGroup()),
        in.getRows() ? e.mul(in.getRows(), bytes / type.getRows()) : e.c(bytes), NVVM::MemScopeKind::CTA,
        false, Value());
    rewriter.eraseOp(op);
    return success();
  }
};

struct WaitLowering : OpConversionPattern<WaitOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(WaitOp op, OpAdaptor in, ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    PipeType type = op.getPipe().getType();
    waitParity(e, fullBarrier(e, type, in.getPipe(), in.getCount(), op.getGroup()),
               phaseOf(e, type, in.getCount()));
    if (type.getGatherers() > 0) // Copied by threads; what reads it next may be WGMMA.
      e.fenceAsyncShared();
    rewriter.replaceOp(op, stageAddress(e, type, in.getPipe(), in.getCount()));
    return success();
  }
};

struct ReleaseLowering : OpConversionPattern<ReleaseOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(ReleaseOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    PipeType type = op.getPipe().getType();
    Value barrier = emptyBarrier(e, type, in.getPipe(), in.getCount(), op.getPart());
    if (type.getCluster() == 1)
      e.when(e.eq(e.lane(), 0),
             [&] { NVVM::MBarrierArriveOp::create(rewriter, op.getLoc(), e.i64(), barrier, Value()); });
    else
      e.when(e.lt(e.lane(), type.getCluster()), [&] { arriveRemotely(e, barrier, e.lane()); });
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void populateBarrierPatterns(const TileTypeConverter &types, RewritePatternSet &patterns) {
  patterns.add<PipeLowering, SyncCtaLowering, SyncClusterLowering, SyncEventLowering, ArriveEventLowering,
               AcquireLowering, ExpectLowering, WaitLowering, ReleaseLowering>(types, patterns.getContext());
}

} // namespace lathe::codegen
