//===- TileDialect.h - The tile dialect in C++ -------------------------------------------------------===//
//
// Declares the dialect, its types and its operations; TileOps.td is the reference. Schedules build these
// operations, codegen/Conversion lowers them.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/LLVMIR/LLVMTypes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "TileDialect.h.inc"

#define GET_TYPEDEF_CLASSES
#include "TileTypes.h.inc"

#define GET_OP_CLASSES
#include "TileOps.h.inc"

namespace lathe::tile {

/// Registers of a thread when a kernel begins: its cap, or where that is 0 an equal share of a
/// multiprocessor's 65536, in steps of 8.
int32_t launchRegisters(int32_t threads, int32_t cap);

/// Adds the tile dialect and those that its bodies hold (arith, scf, math, llvm, nvvm).
void registerTileDialect(mlir::DialectRegistry &registry);

} // namespace lathe::tile
