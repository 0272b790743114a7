//===- ArtifactTest.cpp - What a compiled description is made of -------------------------------------===//
//
// PTX as facts (instructions, counts that follow from shape and config, parameter lists), the manifest
// against both, and a sample of shapes and configurations that must assemble without a spill. Needs no GPU.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Kernels.h"

#include <algorithm>
#include <cstdio>
#include <random>

using namespace lathe;
using namespace lathe::codegen;
using namespace lathe::test;

static std::vector<const KernelEntry *> entriesOf(const Manifest &manifest) {
  return {&manifest.plan, &manifest.attend, &manifest.combine};
}

/// Declaration of a parameter of a kind, without its name.
static std::regex declarationOf(const std::string &kind) {
  if (kind == "tensor_map")
    return std::regex("\\.param \\.align 64 \\.b8 [A-Za-z_0-9]+\\[128\\]");
  if (kind == "pointer")
    return std::regex("\\.param \\.[bu]64 \\.ptr \\.global .*");
  if (kind == "i64")
    return std::regex("\\.param \\.[bu]64 [A-Za-z_0-9]+");
  return std::regex(kind == "f32" ? "\\.param \\.[bf]32 [A-Za-z_0-9]+" : "\\.param \\.[bu]32 [A-Za-z_0-9]+");
}

static void expectSignature(const std::string &ptx, const KernelEntry &entry) {
  const PtxEntry kernel = entryOf(ptx, entry.name);
  ASSERT_EQ(kernel.parameters.size(), entry.arguments.size()) << entry.name;
  for (size_t i = 0; i < entry.arguments.size(); ++i) {
    EXPECT_TRUE(std::regex_match(kernel.parameters[i], declarationOf(entry.arguments[i].kind)))
        << entry.name << " " << entry.arguments[i].kind << " " << entry.arguments[i].name << ": "
        << kernel.parameters[i];
    for (size_t j = 0; j < i; ++j)
      EXPECT_NE(entry.arguments[i].name, entry.arguments[j].name) << entry.name;
  }
  const std::regex threads("\\.reqntid " + std::to_string(entry.threads) + "\\b");
  EXPECT_TRUE(std::regex_search(kernel.directives, threads)) << entry.name << kernel.directives;
}

/// Instructions of the main kernel, from shape and config alone.
static KernelResources expectedCounts(const AttentionProblem &problem, const Config &config) {
  const int boxes = (problem.keyDim + 63) / 64, share = config.kvTile / config.cluster;
  const int pieces = (share + problem.page - 1) / problem.page;
  KernelResources counts;
  counts.usesSetmaxnreg = !config.swapOperands;
  if (config.swapOperands) { // One consumer; values are multiplied box by box of 64 columns.
    const int groups = boxes % 3 == 0 ? 3 : 1;
    counts.wgmmaCount = problem.keyDim / 16 + (problem.valueDim + 63) / 64 * (config.kvTile / 16);
    // The query once before the loop, and with several groups in it: behind the first group of the first
    // tile.
    counts.tmaLoadCount = (groups > 1 ? 2 : 1) * boxes + pieces * boxes;
    // Producer: the tile's stage and the query's, wherever it is loaded. Consumer: the query and each group.
    counts.mbarrierWaitCount = 1 + (groups > 1 ? 2 : 1) + 1 + groups;
    return counts;
  }
  // 16 columns a step for the scores; 16 tokens a step for the own tile and each of the others.
  counts.wgmmaCount = problem.keyDim / 16 + config.consumers * (config.kvTile / 16);
  counts.tmaLoadCount = boxes + config.consumers * pieces * boxes;
  // Producer: the query's stage and one a tile empty. Consumer: the query and one a tile full.
  counts.mbarrierWaitCount = 2 * (1 + config.consumers);
  return counts;
}

static void expectCounts(const Artifact &artifact, const AttentionProblem &problem, const Config &config) {
  const KernelResources expected = expectedCounts(problem, config);
  const PtxEntry attend = entryOf(artifact.ptx, "attend");
  EXPECT_EQ(attend.count("wgmma.mma_async."), expected.wgmmaCount);
  EXPECT_EQ(attend.count("cp.async.bulk.tensor."), expected.tmaLoadCount);
  EXPECT_EQ(attend.count("mbarrier.try_wait."), expected.mbarrierWaitCount);
  EXPECT_EQ(attend.count("setmaxnreg."), expected.usesSetmaxnreg ? 2 : 0);
  const KernelResources &found = artifact.manifest.attend.resources;
  EXPECT_EQ(found.wgmmaCount, expected.wgmmaCount);
  EXPECT_EQ(found.tmaLoadCount, expected.tmaLoadCount);
  EXPECT_EQ(found.mbarrierWaitCount, expected.mbarrierWaitCount);
  EXPECT_EQ(found.usesSetmaxnreg, expected.usesSetmaxnreg);
  for (const char *absent : {"st.local", "ld.local", "call.uni", "__local_depot"})
    EXPECT_EQ(artifact.ptx.find(absent), std::string::npos) << absent;
}

static void expectNoSpill(const Artifact &artifact) {
  for (const KernelEntry *entry : entriesOf(artifact.manifest)) {
    EXPECT_EQ(entry->resources.spillBytes, 0) << entry->name;
    EXPECT_EQ(entry->resources.stackBytes, 0) << entry->name;
    EXPECT_GT(entry->resources.registers, 0) << entry->name;
  }
  EXPECT_EQ(artifact.cubin.substr(1, 3), "ELF");
  // setmaxnreg deals out what the CTA had at launch: asking for more would wait for ever.
  const Manifest &manifest = artifact.manifest;
  AttentionProblem problem{.name = manifest.description,
                           .heads = manifest.heads,
                           .queryTokens = manifest.queryTokens,
                           .keyDim = manifest.keyDim,
                           .valueDim = manifest.valueDim,
                           .page = manifest.page};
  const Config config = manifest.config.get<Config>();
  const Resources cost = resources(problem, config);
  const int atLaunch = (manifest.attend.resources.registers + 7) / 8 * 8;
  EXPECT_LE(config.consumers * cost.consumerRegisters + cost.producerRegisters,
            (config.consumers + 1) * atLaunch);
}

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

/// Each dimension pair twice with each page size; heads, query tokens and config by chance.
TEST(Artifact, SampledShapesAssembleWithoutSpill) {
  const unsigned seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  auto pick = [&](const auto &values) { return values[random() % values.size()]; };
  const std::vector<int> heads = {1, 16, 128}, queries = {1, 2, 4};
  for (auto [keyDim, valueDim] : {std::pair{576, 512}, {288, 256}, {64, 64}, {80, 48}, {560, 496}})
    for (int page : {16, 64, 256, 16, 64, 256}) {
      const dsl::MlaShape shape = shapeOf(pick(heads), pick(queries), keyDim, valueDim, page);
      const dsl::Kernel kernel = dsl::mlaDecode(shape);
      const AttentionProblem problem = analyze(kernel);
      const std::vector<Config> legal = legalConfigs(problem);
      ASSERT_FALSE(legal.empty());
      const Config config = pick(legal);
      SCOPED_TRACE(testing::Message()
                   << "seed " << seed << " heads " << shape.heads << " queries " << shape.queryTokens
                   << " dims " << keyDim << "/" << valueDim << " page " << page << " " << config.str());
      const Artifact artifact = compile(kernel, config);
      expectCounts(artifact, problem, config);
      for (const KernelEntry *entry : entriesOf(artifact.manifest))
        expectSignature(artifact.ptx, *entry);
      if (!artifact.cubin.empty())
        expectNoSpill(artifact);
    }
}

/// Most registers of the producer: tiles of many pages, which a cluster shares.
TEST(Artifact, ManyPagesATileAssembleWithoutSpill) {
  for (auto [keyDim, valueDim] : {std::pair{16, 16}, {80, 48}, {288, 256}, {576, 512}})
    for (int cluster : {1, 2, 4}) {
      const dsl::Kernel kernel = dsl::mlaDecode(shapeOf(128, 2, keyDim, valueDim, 16));
      const Config config{.kvTile = 64, .stages = 2, .cluster = cluster};
      ASSERT_TRUE(check(analyze(kernel), config, {})) << check(analyze(kernel), config, {}).reason;
      SCOPED_TRACE(testing::Message() << keyDim << "/" << valueDim << " " << config.str());
      const Artifact artifact = compile(kernel, config);
      if (artifact.cubin.empty())
        GTEST_SKIP() << "no assembler here: " << artifact.manifest.assembler;
      expectNoSpill(artifact);
    }
}

/// Most registers: the largest output fragment, or the widest scores.
TEST(Artifact, LargestFragmentsAssembleWithoutSpill) {
  for (auto [keyDim, valueDim] : {std::pair{576, 512}, {576, 256}, {560, 496}}) {
    const dsl::Kernel kernel = dsl::mlaDecode(shapeOf(128, 2, keyDim, valueDim, 64));
    const AttentionProblem problem = analyze(kernel);
    for (int consumers : {1, 2}) {
      Config largest{.kvTile = 0};
      for (const Config &config : legalConfigs(problem))
        if (config.consumers == consumers && config.cluster == 1 && config.kvTile > largest.kvTile)
          largest = config;
      if (largest.kvTile == 0)
        continue;
      SCOPED_TRACE(testing::Message() << keyDim << "/" << valueDim << " " << largest.str());
      const Artifact artifact = compile(kernel, largest);
      if (artifact.cubin.empty())
        GTEST_SKIP() << "no assembler here: " << artifact.manifest.assembler;
      expectNoSpill(artifact);
    }
  }
}
