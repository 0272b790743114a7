//===- PtxTest.cpp - NVVM text to PTX, as facts ---------------------------------------------------------===//
//
// A kernel with every instruction family goes through the translation and the assembler; what the PTX must
// contain is stated as facts, never as a whole text. Nothing here needs a GPU.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Target/Ptx.h"
#include "lathe/codegen/Target/Assemble.h"
#include "lathe/support/Error.h"

#include "mlir/Conversion/NVVMToLLVM/NVVMToLLVM.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

#include <gtest/gtest.h>

#include <regex>
#include <thread>

namespace lathe::codegen {

/// Everything a translation needs, with the lifetime of a test.
class NvvmModule {
public:
  explicit NvvmModule(const std::string &file)
      : context(makeRegistry(), mlir::MLIRContext::Threading::DISABLED) {
    context.loadAllAvailableDialects();
    module = mlir::parseSourceFile<mlir::ModuleOp>(std::string(LATHE_GOLDEN_DIR "/") + file, &context);
    if (!module)
      throw std::runtime_error(file + " does not parse");
    mlir::PassManager passes(&context);
    passes.addPass(mlir::createConvertNVVMToLLVMPass());
    if (mlir::failed(passes.run(*module)))
      throw std::runtime_error(file + " does not convert");
  }
  mlir::ModuleOp get() { return *module; }
  mlir::MLIRContext context;

private:
  static mlir::DialectRegistry makeRegistry() {
    mlir::DialectRegistry registry;
    registry.insert<mlir::LLVM::LLVMDialect, mlir::NVVM::NVVMDialect, mlir::func::FuncDialect>();
    registerTargetInterfaces(registry);
    return registry;
  }
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

static std::string ptxOf(const std::string &file) {
  NvvmModule module(file);
  std::vector<StageTime> times;
  return translateToPtx(module.get(), times);
}

TEST(Ptx, ContainsWhatTheKernelSays) {
  std::string ptx = ptxOf("wgmma.mlir");
  for (const char *fact :
       {".version 8.7", ".target sm_90a", ".visible .entry product(", ".visible .entry clear(",
        ".reqntid 128", ".minnctapersm 1", ".align 64 .b8 product_param_0[128]",
        ".extern .shared .align 1024 .b8 smem[]", "setmaxnreg.inc.sync.aligned.u32", "mbarrier.init.shared",
        "fence.mbarrier_init.release.cluster", "wgmma.fence.sync.aligned", "wgmma.commit_group.sync.aligned"})
    EXPECT_NE(ptx.find(fact), std::string::npos) << fact << " is not in\n" << ptx;
  for (const char *absent : {".local", "call.uni", "__local_depot"})
    EXPECT_EQ(ptx.find(absent), std::string::npos) << absent << " is in\n" << ptx;
}

TEST(Ptx, CountsByKernel) {
  std::map<std::string, KernelResources> kernels = countInstructions(ptxOf("wgmma.mlir"));
  ASSERT_EQ(kernels.size(), 2u);
  EXPECT_EQ(kernels["product"].wgmmaCount, 2);
  EXPECT_EQ(kernels["product"].tmaLoadCount, 1);
  EXPECT_EQ(kernels["product"].mbarrierWaitCount, 1);
  EXPECT_TRUE(kernels["product"].usesSetmaxnreg);
  EXPECT_EQ(kernels["clear"].wgmmaCount, 0);
  EXPECT_FALSE(kernels["clear"].usesSetmaxnreg);
}

TEST(Ptx, Assembles) {
  if (chosenAssembler() == "driver")
    GTEST_SKIP() << "neither the PTX compiler library nor ptxas of CUDA 12.8 or newer is here";
  Assembled result = assemble(ptxOf("wgmma.mlir"), "sm_90a");
  EXPECT_FALSE(result.cubin.empty());
  EXPECT_GT(result.resources["product"].registers, result.resources["clear"].registers);
}

TEST(Ptx, NamesItsStages) {
  NvvmModule module("wgmma.mlir");
  std::vector<StageTime> times{{"lower", 1.0}};
  translateToPtx(module.get(), times);
  ASSERT_EQ(times.size(), 4u);
  EXPECT_EQ(times[1].name, "translate");
  EXPECT_EQ(times[2].name, "optimize");
  EXPECT_EQ(times[3].name, "ptx");
  EXPECT_GT(times[3].milliseconds, 0);
}

TEST(Ptx, IsTheSameFromEveryThread) {
  std::string expected = ptxOf("wgmma.mlir");
  std::vector<std::string> texts(4);
  std::vector<std::thread> threads;
  for (std::string &text : texts)
    threads.emplace_back([&] { text = ptxOf("wgmma.mlir"); });
  for (std::thread &thread : threads)
    thread.join();
  for (const std::string &text : texts)
    EXPECT_EQ(text, expected);
}

TEST(LlvmIr, OptimisedHasNoUselessArithmetic) {
  NvvmModule module("wgmma.mlir");
  std::string plain = translateToLlvm(module.get(), false);
  std::string optimised = translateToLlvm(module.get(), true);
  for (const std::string &text : {plain, optimised})
    EXPECT_NE(text.find("target triple = \"nvptx64-nvidia-cuda\""), std::string::npos);
  EXPECT_NE(plain.find("define ptx_kernel void @product"), std::string::npos);
  std::regex useless("add i32 %[0-9]+, 0");
  EXPECT_TRUE(std::regex_search(plain, useless)) << plain;
  EXPECT_FALSE(std::regex_search(optimised, useless)) << optimised;
}

TEST(Ptx, UntranslatableOperationsAreNamed) {
  NvvmModule module("wgmma.mlir");
  mlir::OpBuilder builder(module.get().getBodyRegion());
  auto location = builder.getUnknownLoc();
  mlir::func::FuncOp::create(builder, location, "left_over", builder.getFunctionType({}, {})).setPrivate();
  std::vector<StageTime> times;
  try {
    translateToPtx(module.get(), times);
    FAIL() << "func.func has no translation";
  } catch (const CompileError &error) {
    EXPECT_NE(std::string(error.what()).find("func.func"), std::string::npos) << error.what();
  }
}

} // namespace lathe::codegen
