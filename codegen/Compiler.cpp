//===- Compiler.cpp - The whole lowering on one screen -----------------------------------------------===//
//
// import → match → schedule → lower → PTX → assemble, each stage timed and open to inspection. The public
// functions of Compiler.h are here; everything else in codegen/ is called from this file.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Compiler.h"

#include "lathe/codegen/Conversion/Passes.h"
#include "lathe/codegen/Dump.h"
#include "lathe/codegen/Frontend/Import.h"
#include "lathe/codegen/IR/LatheDialect.h"
#include "lathe/codegen/IR/TileDialect.h"
#include "lathe/codegen/Notes.h"
#include "lathe/codegen/Schedule/PagedAttention.h"
#include "lathe/codegen/Target/Assemble.h"
#include "lathe/codegen/Target/Ptx.h"
#include "lathe/dsl/Print.h"
#include "lathe/support/Error.h"

#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>

using namespace mlir;

namespace lathe::codegen {
namespace {

using Clock = std::chrono::steady_clock;

/// One compilation: its context, the diagnostics it caused, the time of each stage.
class Lowering {
public:
  explicit Lowering(const dsl::Kernel &description) : description(description), start(Clock::now()) {
    DialectRegistry registry;
    ir::registerLatheDialect(registry);
    tile::registerTileDialect(registry);
    registerTargetInterfaces(registry);
    context = std::make_unique<MLIRContext>(registry, MLIRContext::Threading::DISABLED);
    context->loadAllAvailableDialects();
    context->getDiagEngine().registerHandler(
        [this](Diagnostic &diagnostic) { diagnostics += diagnostic.str() + "\n"; });
    lap("context");
  }

  AttentionPattern match() {
    described = importKernel(description, *context);
    AttentionPattern pattern = matchAttention(*described->getOps<ir::KernelOp>().begin());
    lap("import");
    return pattern;
  }
  void schedule(const Config &config, const Target &target) {
    module = buildPagedAttention(match(), config, target, manifest);
    if (failed(verify(*module)))
      fail("schedule");
    tileText = printWithLocations(*module);
    kernelNotes = describeKernels(*module);
    lap("schedule");
  }
  void lowerToNvvm() { runPasses("lower", buildTileToNvvm); }
  void lowerToLlvm() { runPasses("convert", buildNvvmToLlvm); }
  std::string toPtx() {
    std::string ptx = translateToPtx(*module, times);
    return ptx + notesFor(ptx, tileText, kernelNotes);
  }

  std::string text(Operation *op) {
    std::string result;
    llvm::raw_string_ostream(result) << *op;
    return result + "\n";
  }

  std::unique_ptr<MLIRContext> context;
  OwningOpRef<ModuleOp> described, module;
  std::string tileText; ///< The module as it was scheduled; its lines are the locations in the PTX.
  Manifest manifest;
  std::vector<StageTime> times;

private:
  void runPasses(const char *stage, void (*build)(OpPassManager &)) {
    PassManager passes(context.get());
    passes.enableVerifier(false);
    build(passes);
    if (failed(passes.run(*module)))
      fail(stage);
    lap(stage);
  }
  void lap(const char *stage) {
    Clock::time_point now = Clock::now();
    times.push_back({stage, std::chrono::duration<double, std::milli>(now - start).count()});
    start = now;
  }
  [[noreturn]] void fail(const char *stage) {
    std::string path = module ? writeReproducer(description.name(), "mlir", text(*module)) : std::string();
    throw CompileError({description.name() + ", stage " + stage, "the module must stay valid", diagnostics,
                        "this is a mistake of the compiler; reproducer: " + path});
  }

  const dsl::Kernel &description;
  Clock::time_point start;
  std::string diagnostics, kernelNotes;
};

} // namespace

AttentionProblem analyze(const dsl::Kernel &kernel) { return Lowering(kernel).match().problem; }

static void fillResources(KernelEntry &entry, const Assembled &assembled) {
  auto found = assembled.resources.find(entry.name);
  if (found != assembled.resources.end())
    entry.resources = found->second;
}

/// What LATHE_DUMP and LATHE_STOP_AFTER ask for at a stage.
static void show(const dsl::Kernel &kernel, const std::string &stage, const std::string &suffix,
                 const std::function<std::string()> &text) {
  dump(kernel.name(), suffix, text);
  stopAfter(stage, kernel.name(), suffix, text);
}

Artifact compile(const dsl::Kernel &kernel, const Config &config, const CompileOptions &options) {
  Lowering lowering(kernel);
  Artifact artifact;
  lowering.schedule(config, options.target);
  auto ir = [&] { return lowering.text(*lowering.module); };
  show(kernel, "tile", "tile.mlir", [&] { return lowering.tileText; });
  lowering.lowerToNvvm();
  show(kernel, "nvvm", "nvvm.mlir", ir);
  lowering.lowerToLlvm();
  artifact.ptx = lowering.toPtx();
  show(kernel, "ptx", "ptx", [&] { return artifact.ptx; });
  artifact.manifest = lowering.manifest;
  artifact.times = std::move(lowering.times);
  if (!options.assemble)
    return artifact;
  Clock::time_point start = Clock::now();
  Assembled assembled = assemble(artifact.ptx, options.target.arch);
  artifact.times.push_back(
      {"assemble", std::chrono::duration<double, std::milli>(Clock::now() - start).count()});
  artifact.cubin = std::move(assembled.cubin);
  artifact.manifest.assembler = assembled.assembler;
  for (KernelEntry *entry : {&artifact.manifest.plan, &artifact.manifest.attend, &artifact.manifest.combine})
    fillResources(*entry, assembled);
  if (!artifact.cubin.empty())
    dump(kernel.name(), "sass", [&] { return disassemble(artifact.cubin); });
  return artifact;
}

std::string emit(const dsl::Kernel &kernel, const Config &config, Stage stage,
                 const CompileOptions &options) {
  if (stage == Stage::Dsl)
    return dsl::print(kernel);
  if (stage == Stage::Sass)
    return disassemble(compile(kernel, config, options).cubin);
  Lowering lowering(kernel);
  if (stage == Stage::Lathe) {
    lowering.match();
    return lowering.text(*lowering.described);
  }
  lowering.schedule(config, options.target);
  if (stage == Stage::Tile)
    return lowering.tileText;
  lowering.lowerToNvvm();
  if (stage == Stage::Nvvm)
    return lowering.text(*lowering.module);
  lowering.lowerToLlvm();
  if (stage == Stage::Llvm)
    return translateToLlvm(*lowering.module, /*optimized=*/true);
  return lowering.toPtx();
}

std::string compilerVersion() {
  // With the version of artifacts: cached ones of another are not found, rather than refused.
  return std::string("lathe ") + LATHE_VERSION + " (artifacts " + std::to_string(Manifest::currentVersion) +
         "), llvm " + LLVM_VERSION_STRING + ", " + chosenAssembler();
}

} // namespace lathe::codegen
