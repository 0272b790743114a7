//===- StagingRules.h - Rules of operations whose rows pass through shared memory --------------------===//
//
// What tile.store_pairs and tile.store_transposed have in common, and the rules of named events and of
// products. Included by the verifiers of the tile dialect alone.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/IR/TileDialect.h"

namespace lathe::tile {

inline mlir::LogicalResult verifyEvent(mlir::Operation *op, int64_t event) {
  if (event < 1 || event > 15)
    return op->emitOpError() << "event must be 1 to 15 (0 is the CTA's own barrier), got " << event;
  return mlir::success();
}

/// The result of one WGMMA, not of two halves.
template <class Op>
mlir::LogicalResult verifyOneProduct(Op op) {
  const int64_t columns = op.getResult().getType().getColumns();
  if (columns > 256)
    return op.emitOpError() << "makes 256 columns at most, got " << columns
                            << "; only tile.mma_nt makes more";
  return mlir::success();
}

/// A column's row has `rowBytes` bytes.
template <class Op>
mlir::LogicalResult verifyStaging(Op op, int64_t rowBytes) {
  if (!op.getElement().isBF16() && !op.getElement().isF16())
    return op.emitOpError() << "element must be bf16 or f16, got " << op.getElement();
  if (op.getOffset() % 16 != 0)
    return op.emitOpError() << "offset must be a multiple of 16 bytes, got " << op.getOffset();
  if (int32_t(op.getAtOnce()) < 8 || op.getAtOnce() % 8 != 0)
    return op.emitOpError() << "columns at once must be a multiple of 8, got " << int32_t(op.getAtOnce());
  const auto count = int64_t(int32_t(op.getCount()));
  if (count < 1 || (op.getIndex() == nullptr) != (count == 1))
    return op.emitOpError() << "an index comes with a count above 1, got a count of " << count;
  const int64_t own = int64_t(op.getAtOnce()) * rowBytes;
  if (op.getApart() && (int64_t(*op.getApart()) < own || *op.getApart() % 16 != 0))
    return op.emitOpError() << "warpgroups' rows must be apart by their " << own
                            << " bytes or more, a multiple of 16, got " << *op.getApart();
  if (mlir::failed(verifyEvent(op, int32_t(op.getEvent()))))
    return mlir::failure();
  return verifyEvent(op, int64_t(op.getEvent()) + count - 1);
}

} // namespace lathe::tile
