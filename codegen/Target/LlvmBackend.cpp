//===- LlvmBackend.cpp - LLVM IR to PTX --------------------------------------------------------------===//
//
// Builds the five middle-end passes by hand: LLVM's PassBuilder would link every pass that LLVM has, which is
// most of the binary. The analyses registered here are those that the five passes ask for.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Target/LlvmBackend.h"

#include "lathe/support/Error.h"

#include "llvm/Analysis/AliasAnalysis.h"
#include "llvm/Analysis/AssumptionCache.h"
#include "llvm/Analysis/BasicAliasAnalysis.h"
#include "llvm/Analysis/BlockFrequencyInfo.h"
#include "llvm/Analysis/BranchProbabilityInfo.h"
#include "llvm/Analysis/LastRunTrackingAnalysis.h"
#include "llvm/Analysis/LoopInfo.h"
#include "llvm/Analysis/OptimizationRemarkEmitter.h"
#include "llvm/Analysis/PostDominators.h"
#include "llvm/Analysis/ProfileSummaryInfo.h"
#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/Analysis/TargetTransformInfo.h"
#include "llvm/IR/DiagnosticInfo.h"
#include "llvm/IR/DiagnosticPrinter.h"
#include "llvm/IR/Dominators.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/PassInstrumentation.h"
#include "llvm/IR/PassManager.h"
#include "llvm/IR/Verifier.h"
#include "llvm/InitializePasses.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/PassRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include "llvm/Transforms/InstCombine/InstCombine.h"
#include "llvm/Transforms/Scalar/EarlyCSE.h"
#include "llvm/Transforms/Scalar/SROA.h"
#include "llvm/Transforms/Scalar/SimplifyCFG.h"

#include <algorithm>
#include <mutex>

namespace lathe::codegen {

static constexpr const char *tripleName = "nvptx64-nvidia-cuda";
static constexpr const char *processor = "sm_90a";
static constexpr const char *features = "+ptx87";

/// With static libraries no constructor registers the passes that code generation looks up by identity. These
/// three cover NVPTX; the other groups (analysis, scalar, vectorisation) would link a megabyte that it never
/// asks for.
static void initializeLlvm() {
  llvm::PassRegistry &registry = *llvm::PassRegistry::getPassRegistry();
  llvm::initializeCore(registry);
  llvm::initializeCodeGen(registry);
  llvm::initializeTarget(registry);
  LLVMInitializeNVPTXTargetInfo();
  LLVMInitializeNVPTXTarget();
  LLVMInitializeNVPTXTargetMC();
  LLVMInitializeNVPTXAsmPrinter();
}

LlvmBackend::LlvmBackend() {
  static std::once_flag once;
  std::call_once(once, initializeLlvm);
  std::string error;
  llvm::Triple triple(tripleName);
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    throw CompileError(Fault{"LLVM", "must be built with the NVPTX target", error, "install llvm-22-dev"});
  // Level 1 or above: level 0 leaves moves between WGMMAs, which serialises them (C7511).
  machine.reset(
      target->createTargetMachine(triple, processor, features, {}, {}, {}, llvm::CodeGenOptLevel::Default));
}

LlvmBackend::~LlvmBackend() = default;

void LlvmBackend::prepare(llvm::Module &module) {
  module.setTargetTriple(llvm::Triple(tripleName));
  module.setDataLayout(machine->createDataLayout());
}

static void registerFunctionAnalyses(llvm::FunctionAnalysisManager &functions, llvm::TargetMachine &machine) {
  functions.registerPass([] { return llvm::PassInstrumentationAnalysis(); });
  functions.registerPass([&] { return machine.getTargetIRAnalysis(); });
  functions.registerPass([] { return llvm::TargetLibraryAnalysis(); });
  functions.registerPass([] { return llvm::AssumptionAnalysis(); });
  functions.registerPass([] { return llvm::DominatorTreeAnalysis(); });
  functions.registerPass([] { return llvm::PostDominatorTreeAnalysis(); });
  functions.registerPass([] { return llvm::LoopAnalysis(); });
  functions.registerPass([] { return llvm::BranchProbabilityAnalysis(); });
  functions.registerPass([] { return llvm::BlockFrequencyAnalysis(); });
  functions.registerPass([] { return llvm::OptimizationRemarkEmitterAnalysis(); });
  functions.registerPass([] { return llvm::LastRunTrackingAnalysis(); });
  functions.registerPass([] { return llvm::BasicAA(); });
  functions.registerPass([] {
    llvm::AAManager aliases;
    aliases.registerFunctionAnalysis<llvm::BasicAA>();
    return aliases;
  });
}

void LlvmBackend::optimize(llvm::Module &module) {
  llvm::FunctionAnalysisManager functions;
  llvm::ModuleAnalysisManager modules;
  registerFunctionAnalyses(functions, *machine);
  modules.registerPass([] { return llvm::PassInstrumentationAnalysis(); });
  modules.registerPass([] { return llvm::ProfileSummaryAnalysis(); });
  modules.registerPass([&] { return llvm::FunctionAnalysisManagerModuleProxy(functions); });
  functions.registerPass([&] { return llvm::ModuleAnalysisManagerFunctionProxy(modules); });
  llvm::FunctionPassManager passes;
  passes.addPass(llvm::SimplifyCFGPass());
  passes.addPass(llvm::SROAPass(llvm::SROAOptions::ModifyCFG));
  passes.addPass(llvm::EarlyCSEPass());
  passes.addPass(llvm::InstCombinePass());
  passes.addPass(llvm::SimplifyCFGPass());
  llvm::createModuleToFunctionPassAdaptor(std::move(passes)).run(module, modules);
}

/// Collects what code generation reports instead of letting LLVM end the process.
static void collectErrors(llvm::LLVMContext &context, std::string &errors) {
  context.setDiagnosticHandlerCallBack(
      [](const llvm::DiagnosticInfo *info, void *sink) {
        if (info->getSeverity() != llvm::DS_Error)
          return;
        llvm::raw_string_ostream stream(*static_cast<std::string *>(sink));
        llvm::DiagnosticPrinterRawOStream printer(stream);
        info->print(printer);
        stream << "\n";
      },
      &errors);
}

/// A line that the printer writes for DWARF sections and that means nothing without them: labels that nothing
/// jumps to, an empty section. Locations need `.loc` and `.file` alone.
static bool servesDwarf(llvm::StringRef line) {
  return line.starts_with("$L__tmp") || line.starts_with("$L__func_") ||
         line.trim().starts_with(".section\t.debug_");
}

static std::string withoutDwarf(llvm::StringRef ptx) {
  std::string text;
  text.reserve(ptx.size());
  while (!ptx.empty()) {
    size_t end = std::min(ptx.find('\n'), ptx.size() - 1) + 1;
    if (!servesDwarf(ptx.take_front(end)))
      text += ptx.take_front(end);
    ptx = ptx.drop_front(end);
  }
  return text;
}

std::string LlvmBackend::emitPtx(llvm::Module &module) {
  std::string errors;
  collectErrors(module.getContext(), errors);
  llvm::raw_string_ostream verdict(errors);
  if (llvm::verifyModule(module, &verdict))
    throw CompileError(Fault{"LLVM IR", "must be well formed", errors, "report this with LATHE_DUMP=ir"});
  llvm::SmallString<0> ptx;
  llvm::raw_svector_ostream stream(ptx);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, stream, nullptr, llvm::CodeGenFileType::AssemblyFile))
    throw CompileError(Fault{"NVPTX", "must be able to print PTX", "it cannot", "check the LLVM build"});
  passes.run(module);
  if (!errors.empty())
    throw CompileError(Fault{"NVPTX", "must generate code", errors, "report this with LATHE_DUMP=ir"});
  return withoutDwarf(ptx);
}

} // namespace lathe::codegen
