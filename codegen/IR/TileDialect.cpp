//===- TileDialect.cpp - Types of the tile dialect, and its registration -----------------------------===//
//
// The rules that the types keep, and what a context must load to hold tile kernels. Operations are verified
// in TileOps.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/IR/TileDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace lathe::tile;

#include "TileDialect.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "TileTypes.cpp.inc"

void TileDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "TileTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "TileOps.cpp.inc"
      >();
}

void lathe::tile::registerTileDialect(DialectRegistry &registry) {
  registry.insert<TileDialect, arith::ArithDialect, scf::SCFDialect, math::MathDialect, LLVM::LLVMDialect,
                  NVVM::NVVMDialect>();
}

using EmitError = llvm::function_ref<InFlightDiagnostic()>;

LogicalResult BufferType::verify(EmitError emitError, int64_t rows, int64_t columns, int64_t swizzle) {
  if (swizzle != 128 && swizzle != 64 && swizzle != 32)
    return emitError() << "swizzle must be 32, 64 or 128 bytes, got " << swizzle;
  if (rows < 8 || rows % 8 != 0)
    return emitError() << "rows must be a positive multiple of 8, got " << rows;
  if (columns < 8 || columns % 8 != 0)
    return emitError() << "columns must be a positive multiple of 8, got " << columns;
  return success();
}

LogicalResult PipeType::verify(EmitError emitError, int64_t stages, int64_t rows, int64_t columns,
                               int64_t cluster, int64_t groups, int64_t parts, int64_t gatherers) {
  if (stages < 1)
    return emitError() << "a pipe needs at least one stage, got " << stages;
  if (cluster < 1 || cluster > 16 || rows % (8 * cluster) != 0)
    return emitError() << "each of a cluster's 1 to 16 CTAs loads a multiple of 8 rows, got " << rows
                       << " rows for " << cluster << " CTAs";
  if (failed(BufferType::verify(emitError, rows, columns, 128)))
    return failure();
  const int64_t boxes = (columns + 63) / 64, groupBoxes = groups < 1 ? 0 : (boxes + groups - 1) / groups;
  if (groups < 1 || groupBoxes * (groups - 1) >= boxes)
    return emitError() << "each group of a stage's " << boxes << " boxes has at least one, got " << groups
                       << " groups";
  if (parts < 1 || parts > boxes)
    return emitError() << "each part of a stage's " << boxes << " boxes has at least one, got " << parts
                       << " parts";
  if (gatherers < 0 || gatherers % 8 != 0 || (gatherers > 0 && (cluster > 1 || groups > 1)))
    return emitError() << "gatherers are a multiple of 8 and fill whole stages of their own CTA, got "
                       << gatherers << " with clusters of " << cluster << " and " << groups << " groups";
  return success();
}

LogicalResult QueueType::verify(EmitError emitError, int64_t slots, int64_t words) {
  if (slots < 1)
    return emitError() << "a queue needs at least one slot, got " << slots;
  if (words != 1 && words != 2 && words != 4)
    return emitError() << "a queue's entries have 1, 2 or 4 words, got " << words;
  return success();
}

LogicalResult ColumnsType::verify(EmitError emitError, int64_t columns, Type elementType) {
  if (!elementType.isF32() && !elementType.isInteger(32))
    return emitError() << "column values are f32 or i32, got " << elementType;
  return FragmentType::verify(emitError, columns);
}

LogicalResult FragmentType::verify(EmitError emitError, int64_t columns) {
  const bool narrow = columns <= 256 && columns % 8 == 0, halves = columns <= 288 && columns % 16 == 0;
  if (columns < 8 || (!narrow && !halves))
    return emitError() << "a fragment has 8 to 256 columns in steps of 8, 272 or 288, got " << columns;
  return success();
}

LogicalResult OperandType::verify(EmitError emitError, int64_t columns) {
  if (columns < 16 || columns > 256 || columns % 16 != 0)
    return emitError() << "an operand has 16 to 256 columns in steps of 16, got " << columns;
  return success();
}

LogicalResult RowsType::verify(EmitError emitError, Type elementType) {
  if (!elementType.isF32() && !elementType.isInteger(32))
    return emitError() << "row values are f32 or i32, got " << elementType;
  return success();
}
