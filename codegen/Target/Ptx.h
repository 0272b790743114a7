//===- Ptx.h - LLVM dialect to PTX text --------------------------------------------------------------===//
//
// Translates a module of the LLVM and NVVM dialects to LLVM IR, runs the short middle-end pipeline that keeps
// WGMMA registers in place, and prints PTX for sm_90a. Called by the compiler; no CUDA toolkit is needed.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Compiler.h"

#include "mlir/IR/BuiltinOps.h"

#include <string>
#include <vector>

namespace lathe::codegen {

/// Text of the LLVM IR (after the middle end when `optimized`).
std::string translateToLlvm(mlir::ModuleOp module, bool optimized);

/// PTX of all kernels in the module; appends "translate", "optimize", "ptx" to times. Throws CompileError.
std::string translateToPtx(mlir::ModuleOp module, std::vector<StageTime> &times);

/// Registers the translations and conversion interfaces that the functions above need.
void registerTargetInterfaces(mlir::DialectRegistry &registry);

} // namespace lathe::codegen
