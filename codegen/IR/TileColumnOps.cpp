//===- TileColumnOps.cpp - The rules of operations on columns ----------------------------------------===//
//
// Verifiers of the operations whose accumulators hold a query row in a column: products with both operands
// transposed, reductions over rows, and what is written transposed. As TileOps.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/IR/StagingRules.h"
#include "lathe/codegen/Layout/Fragment.h"

using namespace mlir;
using namespace lathe::tile;

LogicalResult MmaTtOp::verify() {
  if (failed(verifyOneProduct(*this)))
    return failure();
  BufferType a = getA().getType(), b = getB().getType();
  if (getAcc().getType() != getResult().getType())
    return emitOpError() << "accumulates into " << getAcc().getType() << ", result is "
                         << getResult().getType();
  if (a.getSwizzle() != 128)
    return emitOpError() << "first operand must have 128-byte swizzle";
  if (int64_t(getBox()) >= a.getBoxes())
    return emitOpError() << "box " << getBox() << " is past the last of " << a.getBoxes();
  if (b.getBoxes() != 1 || b.getRows() != getResult().getType().getColumns())
    return emitOpError() << "second operand must be one box with a row for each of the result's "
                         << getResult().getType().getColumns() << " columns, got " << b;
  if (b.getColumns() != a.getRows() || a.getRows() % 16 != 0)
    return emitOpError() << "first operand has " << a.getRows() << " rows, the second " << b.getColumns()
                         << " columns; they must be the same multiple of 16";
  return success();
}

/// "max" or "add".
static LogicalResult verifyKind(Operation *op, StringRef kind) {
  if (kind != "max" && kind != "add")
    return op->emitOpError() << "kind must be \"max\" or \"add\", got \"" << kind << "\"";
  return success();
}

LogicalResult ReduceRowsOp::verify() {
  ColumnsType result = getResult().getType();
  if (result.getColumns() != getInput().getType().getColumns() || !result.getElementType().isF32())
    return emitOpError() << "result must be f32 for each of " << getInput().getType().getColumns()
                         << " columns, got " << result;
  return verifyKind(*this, getKind());
}

LogicalResult CompleteColumnsOp::verify() {
  if (!getResult().getType().getElementType().isF32())
    return emitOpError() << "completes f32 columns, got " << getResult().getType();
  if (getOffset() % 16 != 0)
    return emitOpError() << "offset must be a multiple of 16 bytes, got " << getOffset();
  if (failed(verifyEvent(*this, int32_t(getEvent()))))
    return failure();
  return verifyKind(*this, getKind());
}

LogicalResult PutTransposedOp::verify() {
  BufferType buffer = getBuffer().getType();
  if (buffer.getRows() != getFragment().getType().getColumns() || buffer.getColumns() != 64 ||
      buffer.getSwizzle() != 128)
    return emitOpError() << "buffer must be one box of " << getFragment().getType().getColumns()
                         << " rows and 64 columns, got " << buffer;
  return success();
}

/// A region from a column (i32) to its row's element offset (i64) and whether it is written (i1).
static LogicalResult verifyColumnRegion(Operation *op, Region &region) {
  if (region.getNumArguments() != 1 || !region.getArgument(0).getType().isInteger(32))
    return op->emitOpError() << "region takes one argument, the column (i32)";
  Block &block = region.front();
  auto yield = block.empty() ? YieldOp() : dyn_cast<YieldOp>(block.back());
  if (!yield || yield.getValues().size() != 2 || !yield.getValues()[0].getType().isInteger(64) ||
      !yield.getValues()[1].getType().isInteger(1))
    return op->emitOpError() << "region must yield an element offset (i64) and a condition (i1)";
  return success();
}

LogicalResult StoreTransposedOp::verify() {
  if (getFragments().empty() || !llvm::all_equal(getFragments().getTypes()))
    return emitOpError() << "needs fragments of one type";
  if (failed(verifyStaging(*this, codegen::layout::transposedRowBytes(int64_t(getFragments().size())))))
    return failure();
  int64_t rows = int64_t(64) * int64_t(getFragments().size());
  if (getLimit() % 8 != 0 || int64_t(getLimit()) > rows || getLimit() < 8)
    return emitOpError() << "limit must be a multiple of 8 from 8 to the fragments' " << rows << " rows, got "
                         << getLimit();
  return verifyColumnRegion(*this, getBody());
}

LogicalResult StoreColumnsOp::verify() {
  if (!getColumns().getType().getElementType().isF32())
    return emitOpError() << "writes f32 columns, got " << getColumns().getType();
  return verifyColumnRegion(*this, getBody());
}
