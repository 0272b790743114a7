//===- ResourceReportTest.cpp - Logs and PTX as numbers ------------------------------------------------===//
//
// Logs as ptxas 13.0 and the PTX compiler library 13.0 wrote them, and PTX with every spelling that counts
// and many that must not. Pure text; runs everywhere.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Target/ResourceReport.h"

#include "PtxSamples.h"
#include "lathe/codegen/Target/Assemble.h"

#include <gtest/gtest.h>

namespace lathe::codegen {

static const char *const ptxasLog = R"(ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'plan' for 'sm_90a'
ptxas info    : Function properties for plan
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 32 registers, used 1 barriers, 1024 bytes smem, 384 bytes cmem[0]
ptxas info    : Compile time = 40.650 ms
ptxas info    : Compiling entry function 'attend' for 'sm_90a'
ptxas info    : Function properties for attend
    480 bytes stack frame, 476 bytes spill stores, 468 bytes spill loads
ptxas info    : Used 168 registers, used 5 barriers, 480 bytes cumulative stack size
ptxas info    : Compile time = 818.160 ms
)";

TEST(AssemblerLog, ReadsEveryKernel) {
  LogReport report = readAssemblerLog(ptxasLog);
  ASSERT_EQ(report.resources.size(), 2u);
  EXPECT_EQ(report.resources["plan"].registers, 32);
  EXPECT_EQ(report.resources["plan"].staticSharedBytes, 1024);
  EXPECT_EQ(report.resources["plan"].spillBytes, 0);
  EXPECT_EQ(report.resources["attend"].registers, 168);
  EXPECT_EQ(report.resources["attend"].spillBytes, 476 + 468);
  EXPECT_EQ(report.resources["attend"].stackBytes, 480);
  ASSERT_EQ(report.findings.size(), 2u);
  EXPECT_EQ(report.findings[0].kernel, "attend");
  EXPECT_EQ(report.findings[0].value, "476 bytes spill stores, 468 bytes spill loads (168 registers)");
  EXPECT_EQ(report.findings[1].value, "480 bytes (168 registers)");
}

TEST(AssemblerLog, ReadsTheLibrarysSpelling) {
  LogReport report = readAssemblerLog(
      "ptxas info    : Compiling entry function 'a' for 'sm_90a'\nptxas info    : Function properties for a\n"
      "ptxas         .     8 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
      "ptxas info    : Used 24 registers, used 1 barriers, 480 bytes cumulative stack size\n");
  EXPECT_EQ(report.resources["a"].registers, 24);
  EXPECT_EQ(report.resources["a"].stackBytes, 8);
  EXPECT_EQ(report.findings.size(), 1u);
}

struct Warning {
  const char *line;
  const char *kernel;
  const char *rule;
};

class PerformanceLoss : public testing::TestWithParam<Warning> {};

TEST_P(PerformanceLoss, IsAFinding) {
  std::string log = std::string(GetParam().line) +
                    "\nptxas info    : Compiling entry function 'only' for 'sm_90a'\n"
                    "ptxas info    : Function properties for only\n"
                    "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
                    "ptxas info    : Used 30 registers, used 0 barriers\n";
  LogReport report = readAssemblerLog(log);
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].kernel, GetParam().kernel);
  EXPECT_EQ(report.findings[0].rule, GetParam().rule);
  EXPECT_NE(report.findings[0].value.find(GetParam().line), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Lines, PerformanceLoss,
    testing::Values(
        Warning{
            "ptxas info    : (C7504) Potential Performance Loss: 'setmaxnreg' ignored to maintain minimum "
            "register requirements.",
            "only", "setmaxnreg must not be ignored"},
        Warning{
            "ptxas info    : (C7508) Potential Performance Loss: 'setmaxnreg' ignored; unable to determine "
            "register count at entry.",
            "only", "setmaxnreg must not be ignored"},
        Warning{
            "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized "
            "due to the presence of Extern calls in the function 'mm'",
            "mm", "WGMMA must not be serialised"},
        Warning{
            "ptxas info    : (C7511) Potential Performance Loss: wgmma.mma_async instructions are serialized "
            "due to insufficient register resources for the wgmma pipeline in the function 'mm'",
            "mm", "WGMMA must not be serialised"},
        Warning{"ptxas info    : (C7512) wgmma.mma_async instructions are slow in the function 'mm'", "mm",
                "WGMMA must not be serialised"},
        Warning{"ptxas info    : (C7599) Potential Performance Loss: something new", "only",
                "the assembler must not warn of lost performance"},
        Warning{"ptxas warning : wgmma serialization in function 'mm'", "mm",
                "WGMMA must not be serialised"}));

TEST(AssemblerLog, InjectedWaitsAreNoFailure) {
  LogReport report = readAssemblerLog("ptxas info    : (C7519) warpgroup.arrive is injected in around line "
                                      "14 by compiler to allow use of registers "
                                      "in GMMA in function 'mm'\nptxas info    : (C7517) warpgroup.wait is "
                                      "injected in around line 13 by compiler to "
                                      "allow use of registers defined by GMMA in function 'mm'\n");
  EXPECT_TRUE(report.findings.empty());
}

TEST(AssemblerLog, NamesAllKernelsWhereTheLineNamesNone) {
  LogReport report = readAssemblerLog(
      std::string("ptxas info    : (C7508) Potential Performance Loss: 'setmaxnreg' ignored\n") + ptxasLog);
  ASSERT_EQ(report.findings.size(), 3u);
  EXPECT_EQ(report.findings[0].kernel, "attend or plan");
}

TEST(AssemblerLog, GarbageIsIgnored) {
  EXPECT_TRUE(readAssemblerLog("").findings.empty());
  EXPECT_TRUE(readAssemblerLog("no newline, no kernel").resources.empty());
}

TEST(InstructionCounts, CountEachSpellingOnce) {
  std::string ptx = samples::header() + R"(
.func helper() { wgmma.fence.sync.aligned; ret; }
.visible .entry first(
	.param .align 64 .b8 map[128]
)
.reqntid 384
{
  // wgmma.mma_async in a comment, and a brace }
  /* setmaxnreg.dec { */
  setmaxnreg.inc.sync.aligned.u32 232;
	.loc	1 7 3
$L__try_wait: mov.b32 %wgmma.mma_async, 1;
  { .reg .pred p; wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0,%f1,%f2,%f3}, %a, %b, p, 1, 1, 0, 0; wgmma.mma_async.sp.sync.aligned.m64n8k32.f32.bf16.bf16 {%f0,%f1,%f2,%f3}, %a, %b, %m, 0, p, 1, 1, 0, 0; }
  cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd1, {%r2, %r3}], [%r4];
  @%p1 cp.async.bulk.tensor.3d.shared::cta.global.tile.mbarrier::complete_tx::bytes [%r1], [%rd1, {%r2, %r3, %r3}], [%r4];
  cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%rd1, {%r2, %r3}], [%r1];
  cp.async.bulk.prefetch.tensor.2d.L2.global [%rd1, {%r2, %r3}];
  cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.bulk_group [%rd1, {%r2, %r3}], [%r1];
  mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r1], %r2;
  mbarrier.test_wait.shared.b64 %p2, [%r1], %rd2;
  mbarrier.arrive.shared.b64 %rd2, [%r1];
  ret;
}
.entry second() { ret; }
	.file	1 "tile"
// lathe:op {"line":7,"text":".entry third() { wgmma.mma_async }"}
)";
  std::map<std::string, KernelResources> kernels = countInstructions(ptx);
  ASSERT_EQ(kernels.size(), 2u);
  EXPECT_EQ(kernels["first"].wgmmaCount, 2);
  EXPECT_EQ(kernels["first"].tmaLoadCount, 2);
  EXPECT_EQ(kernels["first"].mbarrierWaitCount, 2);
  EXPECT_TRUE(kernels["first"].usesSetmaxnreg);
  EXPECT_EQ(kernels["second"].wgmmaCount, 0);
  EXPECT_FALSE(kernels["second"].usesSetmaxnreg);
}

TEST(InstructionCounts, SurviveCutOffText) {
  EXPECT_TRUE(countInstructions("").empty());
  EXPECT_EQ(countInstructions(".entry cut() { wgmma.mma_async.sync").at("cut").wgmmaCount, 1);
  EXPECT_EQ(countInstructions(".entry cut() /* never closed").at("cut").wgmmaCount, 0);
}

} // namespace lathe::codegen
