//===- Ptx.cpp - LLVM dialect to PTX text ------------------------------------------------------------===//
//
// Translates the module to LLVM IR with MLIR's exporter, then hands it to the NVPTX backend, timing each
// step. Every call has its own LLVM context, so concurrent compilations share nothing.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Target/Ptx.h"

#include "lathe/codegen/Target/LlvmBackend.h"
#include "lathe/support/Error.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/NVVMToLLVM/NVVMToLLVM.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>

namespace lathe::codegen {

namespace {

/// Appends the time since its construction or the last call under a name.
class Stopwatch {
public:
  explicit Stopwatch(std::vector<StageTime> &times) : times(times) {}
  void lap(const char *name) {
    auto now = Clock::now();
    times.push_back({name, std::chrono::duration<double, std::milli>(now - start).count()});
    start = now;
  }

private:
  using Clock = std::chrono::steady_clock;
  std::vector<StageTime> &times;
  Clock::time_point start = Clock::now();
};

} // namespace

/// LLVM IR of the module, in the given context. Throws CompileError with MLIR's diagnostics.
static std::unique_ptr<llvm::Module> exportModule(mlir::ModuleOp module, llvm::LLVMContext &context) {
  std::string errors;
  mlir::ScopedDiagnosticHandler handler(module.getContext(), [&](mlir::Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error)
      errors += (errors.empty() ? "" : "; ") + diagnostic.str();
    return mlir::success();
  });
  std::unique_ptr<llvm::Module> exported = mlir::translateModuleToLLVMIR(module, context);
  if (!exported)
    throw CompileError(Fault{"NVVM dialect", "every operation must translate to LLVM IR", errors,
                             "report this with LATHE_STOP_AFTER=nvvm"});
  return exported;
}

std::string translateToLlvm(mlir::ModuleOp module, bool optimized) {
  llvm::LLVMContext context;
  LlvmBackend backend;
  std::unique_ptr<llvm::Module> exported = exportModule(module, context);
  backend.prepare(*exported);
  if (optimized)
    backend.optimize(*exported);
  std::string text;
  llvm::raw_string_ostream stream(text);
  exported->print(stream, nullptr);
  return text;
}

std::string translateToPtx(mlir::ModuleOp module, std::vector<StageTime> &times) {
  Stopwatch watch(times);
  llvm::LLVMContext context;
  LlvmBackend backend;
  std::unique_ptr<llvm::Module> exported = exportModule(module, context);
  backend.prepare(*exported);
  watch.lap("translate");
  backend.optimize(*exported);
  watch.lap("optimize");
  std::string ptx = backend.emitPtx(*exported);
  watch.lap("ptx");
  return ptx;
}

void registerTargetInterfaces(mlir::DialectRegistry &registry) {
  mlir::registerBuiltinDialectTranslation(registry);
  mlir::registerLLVMDialectTranslation(registry);
  mlir::registerNVVMDialectTranslation(registry);
  mlir::registerConvertNVVMToLLVMInterface(registry);
  mlir::arith::registerConvertArithToLLVMInterface(registry);
  mlir::cf::registerConvertControlFlowToLLVMInterface(registry);
}

} // namespace lathe::codegen
