//===- Lowering.h - What the lowering of each instruction family shares ------------------------------===//
//
// How tile types look in the LLVM dialect, and one populate function a family. Called by TileToNvvm.cpp
// alone.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Conversion/Emit.h"
#include "lathe/codegen/IR/TileDialect.h"

#include "mlir/Transforms/DialectConversion.h"

namespace lathe::codegen {

/// Buffer: ptr<3>. Pipe and queue: {stages or entries, barriers}, both ptr<3>. Fragment, operand, rows,
/// columns: a struct of the thread's registers.
class TileTypeConverter : public mlir::TypeConverter {
public:
  explicit TileTypeConverter(mlir::MLIRContext *context);
};

void populateKernelPatterns(const TileTypeConverter &types, mlir::RewritePatternSet &patterns);
void populateBarrierPatterns(const TileTypeConverter &types, mlir::RewritePatternSet &patterns);
void populateTmaPatterns(const TileTypeConverter &types, mlir::RewritePatternSet &patterns);
void populateWgmmaPatterns(const TileTypeConverter &types, mlir::RewritePatternSet &patterns);
void populateMathPatterns(const TileTypeConverter &types, mlir::RewritePatternSet &patterns);
void populateMemoryPatterns(const TileTypeConverter &types, mlir::RewritePatternSet &patterns);
void populateGroupedPatterns(const TileTypeConverter &types, mlir::RewritePatternSet &patterns);
void populateColumnPatterns(const TileTypeConverter &types, mlir::RewritePatternSet &patterns);
void populateQueuePatterns(const TileTypeConverter &types, mlir::RewritePatternSet &patterns);

/// Address of a pipe's stage number `count`, and of the barrier of one of its groups.
mlir::Value stageAddress(Emit &e, tile::PipeType type, mlir::Value pipe, mlir::Value count);
mlir::Value fullBarrier(Emit &e, tile::PipeType type, mlir::Value pipe, mlir::Value count, int64_t group);

/// Waits for the end of the barrier's phase of this parity.
void waitParity(Emit &e, mlir::Value barrier, mlir::Value parity);

/// stmatrix of 1, 2 or 4 matrices of 8×8 elements of 16 bits, each transposed where that is asked for.
void storeMatrices(Emit &e, mlir::Value address, llvm::ArrayRef<mlir::Value> registers, bool transposed);

/// Waits for the warpgroup's 128 threads at the named barrier `event` (i32).
void syncWarpgroup(Emit &e, mlir::Value event);

/// Where the rows of an operation that stores through shared memory lie, and its event: those of warpgroup
/// `index`, where the code is that of several. A column's row has `rowBytes` bytes.
template <class StagedOp>
std::pair<mlir::Value, mlir::Value> stagingOf(Emit &e, StagedOp op, mlir::Value index, int64_t rowBytes) {
  mlir::Value first = e.at(e.shared(), op.getOffset()), event = e.c(op.getEvent());
  if (!index)
    return {first, event};
  const int64_t apart = op.getApart() ? int64_t(*op.getApart()) : int64_t(op.getAtOnce()) * rowBytes;
  return {e.at(first, e.mul(index, apart)), e.add(event, index)};
}

/// Copies `rows` rows of `rowChunks` chunks of 16 bytes, `rowBytes` apart in `staging` (shared), to `base`
/// (global, elements of 16 bits), a chunk a thread of the warpgroup at a time, neighbours beside each other.
/// `place` gives, for the row's number + `firstRow`, the offset of its first element and whether it is
/// wanted.
void copyStagedRows(Emit &e, mlir::Region &place, mlir::Value base, mlir::Value staging, int64_t firstRow,
                    int64_t rows, int64_t rowChunks, int64_t rowBytes);

/// Copies a single-block region's operations for one element and returns what it yields.
llvm::SmallVector<mlir::Value> inlineBody(mlir::OpBuilder &builder, mlir::Region &region,
                                          mlir::ValueRange arguments, mlir::Value column = {});

} // namespace lathe::codegen
