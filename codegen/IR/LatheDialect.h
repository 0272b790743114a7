//===- LatheDialect.h - The lathe dialect in C++ -----------------------------------------------------===//
//
// Declares the dialect, its array type and its operations; LatheOps.td is the reference. The frontend builds
// these operations, the pattern matcher and the schedules walk them.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include <optional>

#include "LatheDialect.h.inc"

#define GET_TYPEDEF_CLASSES
#include "LatheTypes.h.inc"

#define GET_OP_CLASSES
#include "LatheOps.h.inc"

namespace lathe::ir {

/// Adds the lathe dialect, and the arith and math dialects that its regions hold.
void registerLatheDialect(mlir::DialectRegistry &registry);

/// Element type of an array, or the scalar itself.
mlir::Type elementType(mlir::Type arrayOrScalar);

} // namespace lathe::ir
