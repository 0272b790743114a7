//===- ArtifactTest.cpp - What a compiled description is made of -------------------------------------===//
//
// PTX as facts (instructions, counts that follow from shape and config, parameter lists), and the manifest
// against both. Needs no GPU.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Artifacts.h"

#include <algorithm>

using namespace lathe;
using namespace lathe::codegen;
using namespace lathe::test;

TEST(Artifact, UsesTheHardwareOfHopper) {
  const Artifact artifact = compile(liteDecode(), {}, ptxOnly());
  EXPECT_NE(artifact.ptx.find(".target sm_90a"), std::string::npos);
  const PtxEntry attend = entryOf(artifact.ptx, "attend");
  for (const char *instruction :
       {"cp.async.bulk.tensor.3d.", "mbarrier.init.", "mbarrier.try_wait.parity.", "mbarrier.arrive.",
        "fence.mbarrier_init.", "fence.proxy.async", "wgmma.fence.",
        "wgmma.mma_async.sync.aligned.m64n256k16.", "wgmma.mma_async.sync.aligned.m64n32k16.",
        "wgmma.commit_group.", "wgmma.wait_group.", "setmaxnreg.inc.", "setmaxnreg.dec.", "elect.sync",
        "stmatrix.", "ex2.approx.ftz.f32", "lg2.approx.ftz.f32"})
    EXPECT_GT(attend.count(instruction), 0) << instruction;
  EXPECT_TRUE(artifact.cubin.empty());
}

TEST(Artifact, CountsFollowFromShapeAndConfig) {
  const dsl::Kernel kernel = liteDecode();
  const AttentionProblem problem = analyze(kernel);
  for (const Config &config :
       {Config{}, Config{.kvTile = 16, .stages = 6}, Config{.kvTile = 32, .stages = 2}}) {
    SCOPED_TRACE(config.str());
    ASSERT_TRUE(check(problem, config, {}));
    const Artifact artifact = compile(kernel, config);
    expectCounts(artifact, problem, config);
  }
}

TEST(Artifact, TwoConsumersStartWith168Registers) {
  const Artifact artifact = compile(liteDecode(), {});
  if (artifact.cubin.empty())
    GTEST_SKIP() << "no assembler here: " << artifact.manifest.assembler;
  EXPECT_EQ(artifact.manifest.attend.resources.registers, 168);
  expectNoSpill(artifact);
}

TEST(Artifact, ManifestTellsShapeConfigAndLaunch) {
  const Config config{.kvTile = 16, .stages = 5, .split = SplitPolicy::Fixed, .fixedSplits = 4};
  const dsl::Kernel kernel = dsl::mlaDecode(shapeOf(40, 2, 288, 256, 32));
  const Manifest manifest = compile(kernel, config, ptxOnly()).manifest;
  EXPECT_EQ(manifest.family, "paged_attention");
  EXPECT_EQ(manifest.description, "mla_decode");
  EXPECT_EQ(manifest.arch, "sm_90a");
  EXPECT_EQ(manifest.heads, 40);
  EXPECT_EQ(manifest.queryTokens, 2);
  EXPECT_EQ(manifest.keyDim, 288);
  EXPECT_EQ(manifest.valueDim, 256);
  EXPECT_EQ(manifest.page, 32);
  EXPECT_EQ(manifest.config.get<Config>(), config);
  EXPECT_EQ(manifest.kvTile, 32); // A unit of the work list: a tile of each consumer.
  EXPECT_EQ(manifest.rowBlocks, 2);
  EXPECT_EQ(manifest.splitPolicy, 2);
  EXPECT_EQ(manifest.fixedSplits, 4);
  ASSERT_EQ(manifest.tensorMaps.size(), 2u);
  EXPECT_EQ(manifest.tensorMaps[0].name, "q");
  EXPECT_EQ(manifest.tensorMaps[0].boxRows, 64);
  EXPECT_EQ(manifest.tensorMaps[1].name, "kv");
  EXPECT_EQ(manifest.tensorMaps[1].boxRows, 16);
  const Resources cost = resources(analyze(kernel), config);
  EXPECT_EQ(manifest.attend.threads, cost.threads);
  EXPECT_EQ(manifest.attend.sharedBytes, cost.sharedBytes);
  const nlohmann::json json = manifest;
  EXPECT_EQ(nlohmann::json(json.get<Manifest>()), json);
}

TEST(Artifact, ManifestArgumentsAreTheKernelsParameters) {
  for (SplitPolicy split : {SplitPolicy::Balanced, SplitPolicy::Whole, SplitPolicy::Fixed}) {
    const Config config{.split = split, .fixedSplits = split == SplitPolicy::Fixed ? 2 : 1};
    const Artifact artifact = compile(liteDecode(), config, ptxOnly());
    for (const KernelEntry *entry : entriesOf(artifact.manifest))
      expectSignature(artifact.ptx, *entry);
    const std::vector<KernelArgument> &arguments = artifact.manifest.attend.arguments;
    EXPECT_EQ(std::count_if(arguments.begin(), arguments.end(),
                            [](const KernelArgument &argument) { return argument.kind == "tensor_map"; }),
              2);
    EXPECT_EQ(arguments[0].name, artifact.manifest.tensorMaps[0].name);
    EXPECT_EQ(arguments[1].name, artifact.manifest.tensorMaps[1].name);
  }
}

TEST(Artifact, NamesTheTimeOfEachStage) {
  const Artifact artifact = compile(liteDecode(), {});
  for (const char *stage : {"import", "schedule", "lower", "translate", "optimize", "ptx", "assemble"})
    EXPECT_EQ(
        std::count_if(artifact.times.begin(), artifact.times.end(),
                      [&](const StageTime &time) { return time.name == stage && time.milliseconds >= 0; }),
        1)
        << stage;
}

TEST(Artifact, ReadsTheProblemFromTheDescription) {
  const AttentionProblem problem = analyze(dsl::mlaDecode(shapeOf(20, 4, 560, 496, 128)));
  EXPECT_EQ(problem.name, "mla_decode");
  EXPECT_EQ(problem.heads, 20);
  EXPECT_EQ(problem.queryTokens, 4);
  EXPECT_EQ(problem.keyDim, 560);
  EXPECT_EQ(problem.valueDim, 496);
  EXPECT_EQ(problem.page, 128);
}
