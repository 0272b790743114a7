//===- Queue.cpp - Lowering of queues ------------------------------------------------------------------===//
//
// An entry is one store and one load of 4 to 16 bytes; slot = count mod slots, phase = parity of count /
// slots, as in Barrier.cpp. A full barrier expects the pusher's arrival, an empty one that of each reader:
// one lane of a warp, when all its lanes have what they read.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Conversion/Lowering.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

/// An entry as one value.
static Type entryType(Emit &e, QueueType type) {
  return type.getWords() == 1 ? e.i32() : Type(VectorType::get({type.getWords()}, e.i32()));
}

namespace {

/// Where an entry and its barriers lie, and the parity that ends its being awaited.
struct Slot {
  Value entry, full, empty, parity;
  Slot(Emit &e, QueueType type, Value queue, Value count) {
    Value index = type.getSlots() == 1 ? e.c(0) : e.remu(count, type.getSlots());
    entry = e.at(e.extract(queue, 0), e.mul(index, type.getEntryBytes()));
    full = e.at(e.extract(queue, 1), e.mul(index, 8));
    empty = e.at(full, 8 * type.getSlots());
    parity = e.band(e.divu(count, type.getSlots()), 1);
  }
};

struct QueueLowering : OpConversionPattern<QueueOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(QueueOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    QueueType type = op.getQueue().getType();
    Value entries = e.at(e.shared(), op.getOffset()), barriers = e.at(e.shared(), op.getBarrierOffset());
    e.when(e.eq(e.thread(), 0), [&] {
      for (int64_t i = 0; i < 2 * type.getSlots(); ++i)
        NVVM::MBarrierInitOp::create(rewriter, op.getLoc(), e.at(barriers, 8 * i),
                                     e.c(i < type.getSlots() ? 1 : op.getReaders()), Value());
    });
    rewriter.replaceOp(op, e.pack(getTypeConverter()->convertType(type), {entries, barriers}));
    return success();
  }
};

struct PushLowering : OpConversionPattern<PushOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(PushOp op, OpAdaptor in, ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    const Slot slot(e, op.getQueue().getType(), in.getQueue(), in.getCount());
    SmallVector<Value> words(in.getWords());
    waitParity(e, slot.empty, e.bxor(slot.parity, 1)); // All slots start empty.
    e.store(words.size() == 1 ? words.front() : e.vector(words), slot.entry);
    NVVM::MBarrierArriveOp::create(rewriter, op.getLoc(), e.i64(), slot.full, Value());
    rewriter.eraseOp(op);
    return success();
  }
};

struct PullLowering : OpConversionPattern<PullOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(PullOp op, OpAdaptor in, ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    QueueType type = op.getQueue().getType();
    const Slot slot(e, type, in.getQueue(), in.getCount());
    waitParity(e, slot.full, slot.parity);
    Value entry = e.load(entryType(e, type), slot.entry);
    SmallVector<Value> words;
    for (int64_t i = 0; i < type.getWords(); ++i) {
      Value word = type.getWords() == 1 ? entry : LLVM::ExtractElementOp::create(e.b, e.loc, entry, e.c(i));
      words.push_back(op.getSingle() ? word : e.uniform(word));
    }
    auto giveBack = [&] {
      NVVM::MBarrierArriveOp::create(rewriter, op.getLoc(), e.i64(), slot.empty, Value());
    };
    if (op.getSingle())
      giveBack();
    else
      e.when(e.eq(e.lane(), 0), giveBack);
    rewriter.replaceOp(op, words);
    return success();
  }
};

} // namespace

void populateQueuePatterns(const TileTypeConverter &types, RewritePatternSet &patterns) {
  patterns.add<QueueLowering, PushLowering, PullLowering>(types, patterns.getContext());
}

} // namespace lathe::codegen
