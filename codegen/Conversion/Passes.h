//===- Passes.h - From the tile dialect to the LLVM dialect ------------------------------------------===//
//
// The pass that lowers tile operations to NVVM, and the pipeline around it that ends in a module the PTX
// emitter takes. Called by the compiler and by lathe-opt.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Pass/Pass.h"

#include <memory>

namespace mlir {
class OpPassManager;
}

namespace lathe::codegen {

/// tile.kernel → llvm.func with NVVM; scf and arith stay. Module pass.
std::unique_ptr<mlir::Pass> createTileToNvvmPass();

/// tile → NVVM and scf (what `--emit nvvm` shows).
void buildTileToNvvm(mlir::OpPassManager &passes);
/// … and on to the LLVM dialect alone.
void buildNvvmToLlvm(mlir::OpPassManager &passes);

/// Makes both available to lathe-opt: --tile-to-nvvm and --lathe-lower.
void registerLathePasses();

} // namespace lathe::codegen
