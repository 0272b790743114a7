//===- LlvmBackend.h - LLVM IR to PTX ----------------------------------------------------------------===//
//
// The part of the compiler that sees LLVM's target machine and passes, kept in one translation unit because
// its headers are slow to compile. Called by Ptx.cpp only.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <memory>
#include <string>

namespace llvm {
class Module;
class TargetMachine;
} // namespace llvm

namespace lathe::codegen {

/// NVPTX for sm_90a with PTX 8.7. Safe to use from one thread at a time; make one for each compilation.
class LlvmBackend {
public:
  /// Initialises LLVM's NVPTX target once a process. Throws CompileError when LLVM was built without it.
  LlvmBackend();
  ~LlvmBackend();

  /// Gives the module the target's triple and data layout; the first step.
  void prepare(llvm::Module &module);

  /// The middle end: simplifycfg, sroa, early-cse, instcombine, simplifycfg, and nothing more. LICM, CSE
  /// across blocks and unrolling would hoist descriptor arithmetic out of loops, which costs registers and
  /// spills the kernel.
  void optimize(llvm::Module &module);

  /// PTX text; consumes the module's contents. Throws CompileError when code generation reports an error.
  std::string emitPtx(llvm::Module &module);

private:
  std::unique_ptr<llvm::TargetMachine> machine;
};

} // namespace lathe::codegen
