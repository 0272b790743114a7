//===- MoeCompilerTest.cpp - Mixtures of experts through the compiler's face -------------------------===//
//
// What is made of DeepSeek-V2-Lite's layer for few and many rows, the text of every stage, and what is
// refused. Needs neither a GPU nor, but for registers and spills, an assembler.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Artifacts.h"

#include "lathe/dsl/models/Moe.h"
#include "lathe/tests/unit/support/Helpers.h"

#include <algorithm>

using namespace lathe;
using namespace lathe::codegen;
using namespace lathe::test;

static dsl::MoeShape liteShape() { return dsl::moeShape(dsl::namedModel("deepseek-v2-lite"), 1, 1); }
static dsl::Kernel liteLayer() { return dsl::moeFfn(liteShape()); }

TEST(MoeCompile, FewAndManyRowsAssembleWithoutSpill) {
  const dsl::Kernel kernel = liteLayer();
  const MoeProblem problem = analyzeMoe(kernel);
  for (int rows : {1, 64, 4096}) {
    const MoeConfig config = defaultMoeConfig(problem, {}, rows);
    SCOPED_TRACE(testing::Message() << rows << " rows: " << config.str());
    const MoeArtifact artifact = compile(kernel, config);
    EXPECT_EQ(artifact.manifest.config.get<MoeConfig>(), config);
    for (const KernelEntry *entry : artifact.manifest.kernels())
      expectSignature(artifact.ptx, *entry);
    if (artifact.cubin.empty())
      continue;
    EXPECT_EQ(artifact.cubin.substr(1, 3), "ELF");
    for (const KernelEntry *entry : artifact.manifest.kernels()) {
      EXPECT_EQ(entry->resources.spillBytes, 0) << entry->name;
      EXPECT_EQ(entry->resources.stackBytes, 0) << entry->name;
      EXPECT_GT(entry->resources.registers, 0) << entry->name;
    }
    int products = 0;
    for (const KernelEntry *entry : artifact.manifest.kernels())
      products += entry->resources.wgmmaCount > 0;
    EXPECT_EQ(products, config.oneLaunch ? 1 : 2);
  }
}

/// Each product has a counter, which `combine` sets back.
TEST(MoeCompile, CountersGiveItemsOutWhereThatIsAsked) {
  for (bool dynamic : {false, true}) {
    MoeConfig config;
    config.dynamic = dynamic;
    const MoeArtifact artifact = compile(liteLayer(), config, ptxOnly());
    size_t counters = 0;
    for (size_t at = 0; (at = artifact.ptx.find("atom.global.add.u32", at)) != std::string::npos; ++at)
      ++counters;
    EXPECT_EQ(counters, dynamic ? 2u : 0u);
    const std::vector<KernelArgument> &last = artifact.manifest.combine.arguments;
    EXPECT_EQ(std::any_of(last.begin(), last.end(),
                          [](const KernelArgument &argument) { return argument.name == "tile_count"; }),
              dynamic);
  }
}

/// Sums are made by who multiplies, or else in one order by `combine`.
TEST(MoeCompile, SumsAreAtomicWhereThatIsAsked) {
  for (bool atomic : {false, true}) {
    MoeConfig config;
    config.atomic = atomic;
    const MoeArtifact artifact = compile(liteLayer(), config, ptxOnly());
    EXPECT_EQ(artifact.manifest.atomic, atomic);
    EXPECT_EQ(artifact.ptx.find("red.relaxed.gpu.global.add.f32") != std::string::npos, atomic);
    for (const KernelEntry *entry : {&artifact.manifest.down, &artifact.manifest.combine})
      for (const char *name : {"sums", "expert_out"})
        EXPECT_EQ(std::any_of(entry->arguments.begin(), entry->arguments.end(),
                              [&](const KernelArgument &argument) { return argument.name == name; }),
                  atomic == (name == std::string("sums")))
            << entry->name << ", " << name;
  }
}

TEST(MoeCompile, ManifestTellsTheLayer) {
  const MoeManifest manifest = compile(liteLayer(), MoeConfig(), ptxOnly()).manifest;
  EXPECT_EQ(manifest.family, "moe");
  EXPECT_EQ(manifest.description, "moe_ffn");
  EXPECT_EQ(manifest.router, "logits");
  EXPECT_EQ(manifest.experts, 64);
  EXPECT_EQ(manifest.routedExperts, 64);
  EXPECT_EQ(manifest.topK, 6);
  EXPECT_EQ(manifest.hidden, 2048);
  EXPECT_EQ(manifest.intermediate, 1408);
  EXPECT_EQ(manifest.shared, 2);
  const nlohmann::json json = manifest;
  EXPECT_EQ(nlohmann::json(json.get<MoeManifest>()), json);
}

TEST(MoeCompile, NamesTheTimeOfEachStage) {
  const std::vector<StageTime> times = compile(liteLayer(), MoeConfig(), ptxOnly()).times;
  for (const char *stage : {"import", "schedule", "lower", "translate", "optimize", "ptx"})
    EXPECT_EQ(
        std::count_if(times.begin(), times.end(), [&](const StageTime &time) { return time.name == stage; }),
        1)
        << stage;
}

TEST(MoeEmit, EachStageShowsItsDialect) {
  const dsl::Kernel kernel = liteLayer();
  const MoeConfig config;
  EXPECT_TRUE(contains(emit(kernel, config, Stage::Dsl), "softmax("));
  EXPECT_TRUE(contains(emit(kernel, config, Stage::Lathe), "lathe.route"));
  const std::string tile = emit(kernel, config, Stage::Tile);
  for (const char *name : {"route", "up", "down", "combine"})
    EXPECT_TRUE(contains(tile, std::string("tile.kernel @") + name)) << name;
  EXPECT_TRUE(contains(emit(kernel, config, Stage::Nvvm), "nvvm.cp.async.bulk.tensor"));
  EXPECT_TRUE(contains(emit(kernel, config, Stage::Llvm), "define ptx_kernel void @up"));
  EXPECT_EQ(emit(kernel, config, Stage::Ptx), compile(kernel, config, ptxOnly()).ptx);
}

TEST(MoeCompile, VersionNamesBothManifests) {
  const std::string version = compilerVersion();
  EXPECT_TRUE(contains(version, "artifacts " + std::to_string(Manifest::currentVersion))) << version;
  EXPECT_TRUE(contains(version, "moe " + std::to_string(MoeManifest::currentVersion))) << version;
}

TEST(MoeAnalyze, ReadsTheProblemFromTheDescription) {
  EXPECT_TRUE(isMoe(liteLayer()));
  EXPECT_FALSE(isMoe(liteDecode()));
  const MoeProblem problem = analyzeMoe(liteLayer());
  EXPECT_EQ(problem.name, "moe_ffn");
  EXPECT_EQ(problem.experts, 64);
  EXPECT_EQ(problem.halves, 2);
  EXPECT_EQ(problem.activation, MoeActivation::SwiGlu);
}

//===- What is refused -------------------------------------------------------------------------------===//

TEST(MoeRefusal, TheOtherFamily) {
  for (const std::string &text : {userErrorOf([] { analyze(liteLayer()); }),
                                  userErrorOf([] { compile(liteLayer(), Config(), ptxOnly()); })}) {
    EXPECT_TRUE(contains(text, "moe_ffn")) << text;
    EXPECT_TRUE(contains(text, "analyzeMoe()")) << text;
  }
  for (const std::string &text : {userErrorOf([] { analyzeMoe(liteDecode()); }),
                                  userErrorOf([] { compile(liteDecode(), MoeConfig(), ptxOnly()); })}) {
    EXPECT_TRUE(contains(text, "mla_decode")) << text;
    EXPECT_TRUE(contains(text, "routing")) << text;
    EXPECT_TRUE(contains(text, "analyze()")) << text;
  }
}

TEST(MoeRefusal, ConfigNamesTheConstraint) {
  struct Case {
    const char *constraint;
    MoeConfig config;
  };
  for (const Case &c :
       {Case{"shared_memory", {.tokenTile = 256, .stages = 12}}, Case{"tokenTile", {.tokenTile = 7}},
        Case{"depthTile", {.depthTile = 96}}, Case{"stages", {.stages = 1}}}) {
    const std::string text = userErrorOf([&] { compile(liteLayer(), c.config, ptxOnly()); });
    EXPECT_TRUE(contains(text, c.constraint)) << c.constraint << ": " << text;
    EXPECT_TRUE(contains(text, "moe_ffn")) << text;
    EXPECT_TRUE(contains(text, c.config.str())) << text;
  }
}

TEST(MoeRefusal, RouterAlone) {
  const std::string alone =
      userErrorOf([] { compile(dsl::moeRouting(liteShape()), MoeConfig(), ptxOnly()); });
  EXPECT_TRUE(contains(alone, "router alone")) << alone;
}

/// The gate's kernel is there with the tile that the manifest says, and multiplies on the tensor cores.
TEST(MoeCompile, GatesHaveAKernelInFront) {
  EXPECT_EQ(compile(liteLayer(), MoeConfig(), ptxOnly()).manifest.kernels().size(), 4u);
  struct {
    Dtype type;
    int tokenTile, rows, experts;
  } cases[] = {
      {Dtype::BF16, 8, 16, 8}, {Dtype::F32, 8, 16, 8}, {Dtype::BF16, 64, 32, 16}, {Dtype::F32, 128, 64, 32}};
  for (auto [type, tokenTile, rows, experts] : cases) {
    dsl::MoeShape shape = liteShape();
    shape.router = dsl::Router::Gate;
    shape.gate = type;
    MoeConfig config;
    config.tokenTile = tokenTile;
    config.stages = 3;
    const auto artifact = compile(dsl::moeFfn(shape), config, ptxOnly());
    const MoeManifest &manifest = artifact.manifest;
    EXPECT_EQ(manifest.router, "logits");
    EXPECT_EQ(manifest.logits, "f32");
    EXPECT_EQ(manifest.gate, name(type));
    EXPECT_EQ(manifest.gateRows, rows);
    EXPECT_EQ(manifest.gateExperts, experts);
    ASSERT_EQ(manifest.kernels().size(), 5u);
    EXPECT_EQ(manifest.kernels().front()->name, "gate");
    const size_t begin = artifact.ptx.find(".entry gate("), end = artifact.ptx.find(".entry route(");
    ASSERT_LT(begin, end);
    const std::string text = artifact.ptx.substr(begin, end - begin);
    EXPECT_TRUE(contains(text, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32")) << text;
    EXPECT_TRUE(contains(text, "ld.global.v4")) << text;
  }
}
