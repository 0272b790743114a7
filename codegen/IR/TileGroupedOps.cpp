//===- TileGroupedOps.cpp - The rules of operations of grouped products --------------------------------===//
//
// Verifiers of what gathers rows, what combines them by pairs, and what tells CTAs of each other. As
// TileOps.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/IR/StagingRules.h"
#include "lathe/codegen/Layout/Fragment.h"

using namespace mlir;
using namespace lathe::tile;

LogicalResult GatherOp::verify() {
  PipeType pipe = getPipe().getType();
  if (pipe.getGatherers() == 0)
    return emitOpError() << "pipe must have gatherers, its stages are loaded by TMA";
  const auto rows = int64_t(int32_t(getRows()));
  if (rows < 8 || rows % 8 != 0 || rows > pipe.getRows())
    return emitOpError() << "rows must be a multiple of 8 from 8 to the pipe's " << pipe.getRows() << ", got "
                         << rows;
  const int64_t each = pipe.getGatherers() / 8, shares = (rows + each - 1) / each;
  if (int64_t(getSources().size()) != shares)
    return emitOpError() << "a thread has up to " << shares << " of " << rows << " rows, got "
                         << getSources().size() << " sources";
  return success();
}

/// A region of one block that yields values of these types.
static LogicalResult verifyYields(Operation *op, Region &region, TypeRange arguments, TypeRange yields,
                                  StringRef rule) {
  Block &block = region.front();
  auto yield = block.empty() ? YieldOp() : dyn_cast<YieldOp>(block.back());
  if (block.getArgumentTypes() != arguments || !yield || yield.getValues().getTypes() != yields)
    return op->emitOpError() << rule;
  return success();
}

LogicalResult StorePairsOp::verify() {
  Builder b(getContext());
  if (failed(verifyStaging(*this, codegen::layout::pairsRowBytes)))
    return failure();
  const Type f32 = b.getF32Type(), i32 = b.getI32Type(), i64 = b.getI64Type(), i1 = b.getI1Type();
  if (failed(verifyYields(*this, getPair(), {f32, f32}, {f32}, "first region makes one f32 of two")))
    return failure();
  return verifyYields(*this, getBody(), {i32}, {i64, i1},
                      "second region maps a column (i32) to an element offset (i64) and a condition (i1)");
}

LogicalResult AddTransposedOp::verify() {
  const int64_t columns = getFragment().getType().getColumns();
  const auto needed = size_t((columns + 31) / 32);
  if (getRows().size() != needed || getFactors().size() != needed)
    return emitOpError() << "needs a row and a factor for every 32 of " << columns << " columns, got "
                         << getRows().size() << " and " << getFactors().size();
  if (getStride() < 64)
    return emitOpError() << "stride must be the 64 rows of a fragment at least, got " << getStride();
  return success();
}

LogicalResult PublishOp::verify() { return verifyEvent(*this, int32_t(getEvent())); }

LogicalResult AwaitOp::verify() {
  if (int32_t(getLeast()) < 1)
    return emitOpError() << "least must be 1 or more, got " << int32_t(getLeast());
  return success();
}
