//===- TileToNvvm.cpp - The pass that lowers the tile dialect ----------------------------------------===//
//
// Gathers the patterns of all instruction families, declares the shared memory that kernels address, and
// names the pipeline that ends in the LLVM dialect.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Conversion/Passes.h"

#include "lathe/codegen/Conversion/Lowering.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/LLVMIR/Transforms/Passes.h"
#include "mlir/Dialect/SCF/Transforms/Patterns.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr int64_t sharedAlignment = 1024; // A swizzle pattern repeats every 1024 bytes.

/// `extern __shared__`: the kernels' dynamic shared memory, sized at launch.
void declareShared(ModuleOp module) {
  if (module.lookupSymbol("lathe_shared"))
    return;
  OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
  auto type = LLVM::LLVMArrayType::get(builder.getI8Type(), 0);
  LLVM::GlobalOp::create(builder, module.getLoc(), type, /*isConstant=*/false, LLVM::Linkage::External,
                         "lathe_shared", Attribute(), sharedAlignment, /*addrSpace=*/3);
}

namespace {

struct TileToNvvm : PassWrapper<TileToNvvm, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(TileToNvvm)
  StringRef getArgument() const final { return "tile-to-nvvm"; }
  StringRef getDescription() const final { return "Lower the tile dialect to NVVM and the LLVM dialect"; }
  void getDependentDialects(DialectRegistry &registry) const override { registerTileDialect(registry); }

  void runOnOperation() override {
    declareShared(getOperation());
    MLIRContext *context = &getContext();
    TileTypeConverter types(context);
    ConversionTarget target(*context);
    target.addIllegalDialect<TileDialect>();
    target.addLegalDialect<arith::ArithDialect, LLVM::LLVMDialect, NVVM::NVVMDialect, math::MathDialect>();
    target.addLegalOp<ModuleOp, UnrealizedConversionCastOp>();
    RewritePatternSet patterns(context);
    scf::populateSCFStructuralTypeConversionsAndLegality(types, patterns, target);
    populateKernelPatterns(types, patterns);
    populateBarrierPatterns(types, patterns);
    populateTmaPatterns(types, patterns);
    populateWgmmaPatterns(types, patterns);
    populateMathPatterns(types, patterns);
    populateMemoryPatterns(types, patterns);
    populateColumnPatterns(types, patterns);
    populateGroupedPatterns(types, patterns);
    populateQueuePatterns(types, patterns);
    if (failed(applyPartialConversion(getOperation(), target, std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

std::unique_ptr<Pass> createTileToNvvmPass() { return std::make_unique<TileToNvvm>(); }

void buildTileToNvvm(OpPassManager &passes) {
  passes.addPass(createTileToNvvmPass());
  passes.addPass(createReconcileUnrealizedCastsPass());
}

void buildNvvmToLlvm(OpPassManager &passes) {
  passes.addPass(createSCFToControlFlowPass());
  passes.addPass(createConvertNVVMToLLVMPass());
  passes.addPass(createConvertMathToLLVMPass());
  passes.addPass(createArithToLLVMConversionPass());
  passes.addPass(createConvertControlFlowToLLVMPass());
  passes.addPass(createReconcileUnrealizedCastsPass());
  // .loc directives for every location, and no DWARF.
  passes.addPass(LLVM::createDIScopeForLLVMFuncOpPass({LLVM::DIEmissionKind::DebugDirectivesOnly}));
}

void registerLathePasses() {
  PassRegistration<TileToNvvm>();
  PassPipelineRegistration<>("lathe-lower", "Lower tile kernels to the LLVM dialect",
                             [](OpPassManager &passes) {
                               buildTileToNvvm(passes);
                               buildNvvmToLlvm(passes);
                             });
}

} // namespace lathe::codegen
