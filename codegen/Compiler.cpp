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
#include "lathe/codegen/Frontend/MoePattern.h"
#include "lathe/codegen/IR/LatheDialect.h"
#include "lathe/codegen/IR/TileDialect.h"
#include "lathe/codegen/Notes.h"
#include "lathe/codegen/Schedule/Moe.h"
#include "lathe/codegen/Schedule/PagedAttention.h"
#include "lathe/codegen/Target/Assemble.h"
#include "lathe/codegen/Target/Ptx.h"
#include "lathe/dsl/Print.h"
#include "lathe/support/Error.h"

#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/raw_ostream.h"

#include <fmt/format.h>

#include <array>
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

  ir::KernelOp importIt() {
    described = importKernel(description, *context);
    lap("import");
    return *described->getOps<ir::KernelOp>().begin();
  }
  /// `build` makes the module of a family's schedule from the imported description.
  void schedule(llvm::function_ref<OwningOpRef<ModuleOp>(ir::KernelOp)> build) {
    module = build(importIt());
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

//===- Families of schedules -------------------------------------------------------------------------===//

struct Attention {
  using Config = codegen::Config;
  using Manifest = lathe::Manifest;

  static AttentionPattern match(ir::KernelOp kernel) {
    if (hasRouting(kernel))
      throw UserError({"kernel " + kernel.getSymName().str(), "attention has no routing of rows to experts",
                       "a mixture of experts", "call analyzeMoe(), and compile() with a MoeConfig"});
    return matchAttention(kernel);
  }
  static OwningOpRef<ModuleOp> build(ir::KernelOp kernel, const Config &config, const Target &target,
                                     Manifest &manifest) {
    return buildPagedAttention(match(kernel), config, target, manifest);
  }
  static std::array<KernelEntry *, 3> entries(Manifest &manifest) {
    return {&manifest.plan, &manifest.attend, &manifest.combine};
  }
};

struct Experts {
  using Config = MoeConfig;
  using Manifest = MoeManifest;

  static MoePattern match(ir::KernelOp kernel) {
    if (!hasRouting(kernel))
      throw UserError(
          {"kernel " + kernel.getSymName().str(), "a mixture of experts needs a routing of rows to experts",
           "none",
           "describe it with topK() or givenRouting(); for attention call analyze(), and compile() with "
           "a Config"});
    return matchMoe(kernel);
  }
  static OwningOpRef<ModuleOp> build(ir::KernelOp kernel, const Config &config, const Target &target,
                                     Manifest &manifest) {
    return buildMoe(match(kernel), config, target, manifest);
  }
  static std::array<KernelEntry *, 7> entries(Manifest &manifest) {
    return {&manifest.gateKernel, &manifest.route,         &manifest.permuteKernel, &manifest.up,
            &manifest.down,       &manifest.expertsKernel, &manifest.combine};
  }
};

} // namespace

bool isMoe(const dsl::Kernel &kernel) { return hasRouting(Lowering(kernel).importIt()); }
AttentionProblem analyze(const dsl::Kernel &kernel) {
  Lowering lowering(kernel);
  return Attention::match(lowering.importIt()).problem;
}
MoeProblem analyzeMoe(const dsl::Kernel &kernel) {
  Lowering lowering(kernel);
  return Experts::match(lowering.importIt()).problem;
}

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

template <class Family>
static ArtifactOf<typename Family::Manifest>
compileAs(const dsl::Kernel &kernel, const typename Family::Config &config, const CompileOptions &options) {
  Lowering lowering(kernel);
  ArtifactOf<typename Family::Manifest> artifact;
  lowering.schedule(
      [&](ir::KernelOp op) { return Family::build(op, config, options.target, artifact.manifest); });
  auto ir = [&] { return lowering.text(*lowering.module); };
  show(kernel, "tile", "tile.mlir", [&] { return lowering.tileText; });
  lowering.lowerToNvvm();
  show(kernel, "nvvm", "nvvm.mlir", ir);
  lowering.lowerToLlvm();
  artifact.ptx = lowering.toPtx();
  show(kernel, "ptx", "ptx", [&] { return artifact.ptx; });
  artifact.times = std::move(lowering.times);
  if (!options.assemble)
    return artifact;
  Clock::time_point start = Clock::now();
  Assembled assembled = assemble(artifact.ptx, options.target.arch);
  artifact.times.push_back(
      {"assemble", std::chrono::duration<double, std::milli>(Clock::now() - start).count()});
  artifact.cubin = std::move(assembled.cubin);
  artifact.manifest.assembler = assembled.assembler;
  for (KernelEntry *entry : Family::entries(artifact.manifest))
    fillResources(*entry, assembled);
  if (!artifact.cubin.empty())
    dump(kernel.name(), "sass", [&] { return disassemble(artifact.cubin); });
  return artifact;
}

template <class Family>
static std::string emitAs(const dsl::Kernel &kernel, const typename Family::Config &config, Stage stage,
                          const CompileOptions &options) {
  if (stage == Stage::Dsl)
    return dsl::print(kernel);
  if (stage == Stage::Sass)
    return disassemble(compileAs<Family>(kernel, config, options).cubin);
  Lowering lowering(kernel);
  if (stage == Stage::Lathe) {
    Family::match(lowering.importIt());
    return lowering.text(*lowering.described);
  }
  typename Family::Manifest manifest;
  lowering.schedule([&](ir::KernelOp op) { return Family::build(op, config, options.target, manifest); });
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

Artifact compile(const dsl::Kernel &kernel, const Config &config, const CompileOptions &options) {
  return compileAs<Attention>(kernel, config, options);
}
template <std::same_as<MoeConfig> C>
MoeArtifact compile(const dsl::Kernel &kernel, const C &config, const CompileOptions &options) {
  return compileAs<Experts>(kernel, config, options);
}
template MoeArtifact compile(const dsl::Kernel &, const MoeConfig &, const CompileOptions &);

std::string emit(const dsl::Kernel &kernel, const Config &config, Stage stage,
                 const CompileOptions &options) {
  return emitAs<Attention>(kernel, config, stage, options);
}
template <std::same_as<MoeConfig> C>
std::string emit(const dsl::Kernel &kernel, const C &config, Stage stage, const CompileOptions &options) {
  return emitAs<Experts>(kernel, config, stage, options);
}
template std::string emit(const dsl::Kernel &, const MoeConfig &, Stage, const CompileOptions &);

} // namespace lathe::codegen
