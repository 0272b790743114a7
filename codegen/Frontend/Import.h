//===- Import.h - dsl::Kernel to the lathe dialect ---------------------------------------------------===//
//
// Writes a description as a module of the lathe dialect, one lathe.kernel, each sub-expression once. Called
// by the compiler's first stage and by `lathe inspect --emit lathe`.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/dsl/Kernel.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace lathe::codegen {

/// The context must have the lathe and arith dialects loaded. Throws UserError for an expression that has no
/// operation.
mlir::OwningOpRef<mlir::ModuleOp> importKernel(const dsl::Kernel &kernel, mlir::MLIRContext &context);

} // namespace lathe::codegen
