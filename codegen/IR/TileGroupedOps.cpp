//===- TileGroupedOps.cpp - The rules of operations of grouped products --------------------------------===//
//
// Verifiers of what gathers rows and what combines them by pairs. As TileOps.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/IR/TileDialect.h"

using namespace mlir;
using namespace lathe::tile;

LogicalResult GatherOp::verify() {
  PipeType pipe = getPipe().getType();
  if (pipe.getGatherers() == 0)
    return emitOpError() << "pipe must have gatherers, its stages are loaded by TMA";
  const int64_t each = pipe.getGatherers() / 8, shares = (pipe.getRows() + each - 1) / each;
  if (int64_t(getSources().size()) != shares)
    return emitOpError() << "a thread has up to " << shares << " of " << pipe.getRows() << " rows, got "
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
  if (!getElement().isBF16() && !getElement().isF16())
    return emitOpError() << "element must be bf16 or f16, got " << getElement();
  if (getOffset() % 16 != 0)
    return emitOpError() << "offset must be a multiple of 16 bytes, got " << getOffset();
  if (int32_t(getAtOnce()) < 8 || getAtOnce() % 8 != 0)
    return emitOpError() << "columns at once must be a multiple of 8, got " << int32_t(getAtOnce());
  if (int32_t(getEvent()) < 1 || int32_t(getEvent()) > 15)
    return emitOpError() << "event must be 1 to 15 (0 is the CTA's own barrier), got " << int32_t(getEvent());
  const Type f32 = b.getF32Type(), i32 = b.getI32Type(), i64 = b.getI64Type(), i1 = b.getI1Type();
  if (failed(verifyYields(*this, getPair(), {f32, f32}, {f32}, "first region makes one f32 of two")))
    return failure();
  return verifyYields(*this, getBody(), {i32}, {i64, i1},
                      "second region maps a column (i32) to an element offset (i64) and a condition (i1)");
}
