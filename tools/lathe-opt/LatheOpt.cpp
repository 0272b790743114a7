//===- LatheOpt.cpp - The dialects and passes of Lathe on the command line ---------------------------===//
//
// mlir-opt with the dialects that Lathe uses and its own: reads a module, runs passes, prints it. The lit
// tests of tests/ir and people who look into a lowering call it.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Conversion/Passes.h"
#include "lathe/codegen/IR/LatheDialect.h"
#include "lathe/codegen/IR/TileDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry.insert<mlir::arith::ArithDialect, mlir::func::FuncDialect, mlir::LLVM::LLVMDialect,
                  mlir::math::MathDialect, mlir::NVVM::NVVMDialect, mlir::scf::SCFDialect>();
  lathe::ir::registerLatheDialect(registry);
  lathe::tile::registerTileDialect(registry);
  mlir::registerTransformsPasses();
  lathe::codegen::registerLathePasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "Lathe optimizer driver\n", registry));
}
