//===- CompilerTest.cpp - The compiler's face: stages, errors, switches ------------------------------===//
//
// The text of every stage, the same text every time and from every thread, what is refused and how that is
// said, and the environment's dump switches. Needs neither a GPU nor an assembler.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Kernels.h"

#include "lathe/tests/unit/support/Helpers.h"

#include <cstdio>
#include <fstream>
#include <iterator>
#include <random>
#include <regex>
#include <thread>

using namespace lathe;
using namespace lathe::codegen;
using namespace lathe::test;

static std::string readFile(const std::filesystem::path &path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

//===- Stages ----------------------------------------------------------------------------------------===//

TEST(Emit, EachStageShowsItsDialect) {
  const dsl::Kernel kernel = liteDecode();
  const std::string dsl = emit(kernel, {}, Stage::Dsl), lathe = emit(kernel, {}, Stage::Lathe),
                    tile = emit(kernel, {}, Stage::Tile), nvvm = emit(kernel, {}, Stage::Nvvm),
                    llvm = emit(kernel, {}, Stage::Llvm);
  EXPECT_TRUE(contains(dsl, "softmax(")) << dsl;
  EXPECT_FALSE(contains(dsl, "lathe."));
  EXPECT_TRUE(contains(lathe, "lathe.kernel @mla_decode"));
  EXPECT_TRUE(contains(lathe, "lathe.softmax"));
  EXPECT_FALSE(contains(lathe, "tile."));
  for (const char *kernelName : {"tile.kernel @plan", "tile.kernel @attend", "tile.kernel @combine"})
    EXPECT_TRUE(contains(tile, kernelName)) << kernelName;
  EXPECT_TRUE(contains(tile, "tile.mma_nt"));
  EXPECT_FALSE(contains(tile, "lathe.softmax"));
  EXPECT_TRUE(contains(nvvm, "nvvm.cp.async.bulk.tensor"));
  EXPECT_TRUE(contains(nvvm, "scf.for"));
  EXPECT_FALSE(contains(nvvm, "tile."));
  EXPECT_FALSE(contains(nvvm, "unrealized_conversion_cast"));
  EXPECT_TRUE(contains(llvm, "define ptx_kernel void @attend"));
}

TEST(Emit, PtxIsWhatIsCompiled) {
  EXPECT_EQ(emit(liteDecode(), {}, Stage::Ptx), compile(liteDecode(), {}, ptxOnly()).ptx);
}

TEST(Emit, SassNeedsADisassemblerAndSaysSo) {
  if (compile(liteDecode(), {}).cubin.empty())
    GTEST_SKIP() << "no assembler here";
  std::string sass;
  try {
    sass = emit(liteDecode(), {}, Stage::Sass);
  } catch (const UserError &error) {
    EXPECT_TRUE(contains(error.what(), "nvdisasm")) << error.what();
    return;
  }
  EXPECT_TRUE(contains(sass, "HGMMA"));
}

TEST(Compile, SameInputSamePtx) {
  const unsigned seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  for (const dsl::MlaShape &shape : {shapeOf(16, 1, 576, 512, 64), shapeOf(5, 4, 80, 48, 16)}) {
    const std::vector<Config> legal = legalConfigs(analyze(dsl::mlaDecode(shape)));
    const Config config = legal[random() % legal.size()];
    const std::string first = compile(dsl::mlaDecode(shape), config, ptxOnly()).ptx;
    std::vector<std::string> texts(3);
    std::vector<std::thread> threads;
    for (std::string &text : texts)
      threads.emplace_back([&] { text = compile(dsl::mlaDecode(shape), config, ptxOnly()).ptx; });
    for (std::thread &thread : threads)
      thread.join();
    for (const std::string &text : texts)
      EXPECT_EQ(text == first, true) << "seed " << seed << " " << config.str();
  }
}

/// Whose sequence was not split goes at once; all but the first CTA.
TEST(Compile, OnlyWhoMergesWaitsForTheMainKernel) {
  const Config config{.split = SplitPolicy::Balanced, .dependentLaunch = DependentLaunch::Early};
  const std::string body = entryOf(compile(liteDecode(), config, ptxOnly()).ptx, "combine").body;
  const size_t wait = body.find("griddepcontrol.wait"), branch = body.find("bra");
  ASSERT_NE(wait, std::string::npos);
  EXPECT_LT(branch, wait);
  EXPECT_LT(body.find("%ctaid.x"), branch);
}

TEST(Compile, OtherInputOtherPtx) {
  const std::string base = compile(liteDecode(), {}, ptxOnly()).ptx;
  EXPECT_NE(base, compile(liteDecode(), {.stages = 3}, ptxOnly()).ptx);
  dsl::MlaShape shape = shapeOf(16, 1, 576, 512, 32);
  EXPECT_NE(base, compile(dsl::mlaDecode(shape), {}, ptxOnly()).ptx);
  shape = shapeOf(16, 2, 576, 512, 64);
  const std::string causal = compile(dsl::mlaDecode(shape), {}, ptxOnly()).ptx;
  shape.causal = false;
  EXPECT_NE(causal, compile(dsl::mlaDecode(shape), {}, ptxOnly()).ptx);
}

TEST(Compile, VersionNamesWhatShapesTheCode) {
  const std::string version = compilerVersion();
  EXPECT_TRUE(std::regex_search(version, std::regex("^lathe [0-9.]+ \\(sources [0-9a-f]{12}, "))) << version;
  EXPECT_TRUE(contains(version, "llvm "));
  const std::string assembler = compile(liteDecode(), {}).manifest.assembler;
  EXPECT_TRUE(contains(version, assembler)) << version << " without " << assembler;
}

//===- What is refused -------------------------------------------------------------------------------===//

TEST(Refusal, ConfigNamesTheConstraint) {
  struct Case {
    const char *constraint;
    Config config;
  };
  for (const Case &c : {Case{"shared_memory", {.kvTile = 32, .stages = 12}}, Case{"kv_tile", {.kvTile = 24}},
                        Case{"value_columns", {.consumers = 1}}, Case{"stage_owner", {.stages = 1}},
                        Case{"fixed_splits", {.fixedSplits = 3}}}) {
    const std::string text = userErrorOf([&] { compile(liteDecode(), c.config, ptxOnly()); });
    EXPECT_TRUE(contains(text, c.constraint)) << c.constraint << ": " << text;
    EXPECT_TRUE(contains(text, "mla_decode")) << text;
    EXPECT_TRUE(contains(text, c.config.str())) << text;
  }
}

TEST(Refusal, PageOf24Tokens) {
  const dsl::Kernel kernel = dsl::mlaDecode(shapeOf(16, 1, 576, 512, 24));
  const AttentionProblem problem = analyze(kernel);
  for (const Config &config : enumerateConfigs(problem))
    ASSERT_FALSE(check(problem, config, {})) << config.str();
  const std::string text = userErrorOf([&] { compile(kernel, {}, ptxOnly()); });
  EXPECT_TRUE(contains(text, "page size must be a multiple of 16 tokens, got 24")) << text;
}

namespace {
/// mlaDecode with the two places that the schedule cares about exchanged.
struct Variant {
  dsl::Dim b{"batch"}, q{"query", 1}, h{"head", 16}, t{"token"}, d{"key", 576}, v{"value", 512};
  dsl::Tensor query = dsl::input("q", dsl::bf16, {b, q, h, d});
  dsl::Tensor length = dsl::input("lengths", dsl::i32, {b});
  dsl::Paged cache =
      dsl::paged("kv", dsl::bf16, {t, d}, {.page = 64, .table = "block_table", .length = length});
  dsl::Scalar scale = dsl::param("scale", dsl::f32);

  dsl::Expr dot() const { return dsl::sum(d, query(b, q, h, d) * cache(b, t, d)); }
  dsl::Kernel kernel(const dsl::Expr &score, bool logSumExp = true) const {
    dsl::Softmax p = dsl::softmax(t, dsl::where(t < length(b), score));
    dsl::Kernel k("variant");
    k.output("out", dsl::bf16, {b, q, h, v}) = dsl::sum(t, p(t) * cache(b, t, v));
    if (logSumExp)
      k.output("lse", dsl::f32, {b, h, q}) = p.logSumExp();
    return k;
  }
};
} // namespace

TEST(Refusal, ScoresThatAreNoScaledContraction) {
  const Variant variant;
  EXPECT_FALSE(compile(variant.kernel(variant.dot() * variant.scale), {}, ptxOnly()).ptx.empty());
  for (const dsl::Expr &score :
       {30.0f * tanh(variant.dot() * variant.scale / 30.0f), variant.dot() * variant.scale + 1.0f,
        variant.dot(), variant.dot() * variant.scale * variant.scale}) {
    const std::string text = userErrorOf([&] { compile(variant.kernel(score), {}, ptxOnly()); });
    EXPECT_TRUE(contains(text, "variant")) << text;
    EXPECT_TRUE(contains(text, "contraction")) << text;
  }
}

TEST(Refusal, DescriptionWithoutLogSumExp) {
  const Variant variant;
  const std::string text =
      userErrorOf([&] { compile(variant.kernel(variant.dot() * variant.scale, false), {}, ptxOnly()); });
  EXPECT_TRUE(contains(text, "log-sum-exp")) << text;
  EXPECT_TRUE(contains(text, "p.logSumExp()")) << text;
}

//===- Switches --------------------------------------------------------------------------------------===//

TEST(Dump, WritesWhatIsAskedFor) {
  const TempFolder folder;
  const ScopedEnv where("LATHE_DUMP_DIR", folder.path().c_str()), what("LATHE_DUMP", "ir,ptx");
  const Artifact artifact = compile(liteDecode(), {}, ptxOnly());
  EXPECT_TRUE(contains(readFile(folder / "mla_decode.tile.mlir"), "tile.kernel @attend"));
  EXPECT_TRUE(contains(readFile(folder / "mla_decode.nvvm.mlir"), "nvvm."));
  EXPECT_EQ(readFile(folder / "mla_decode.ptx"), artifact.ptx);
  int files = 0;
  for ([[maybe_unused]] const auto &entry : std::filesystem::directory_iterator(folder.path()))
    ++files;
  EXPECT_EQ(files, 3);
}

TEST(Dump, WritesNothingUnasked) {
  const TempFolder folder;
  const ScopedEnv where("LATHE_DUMP_DIR", folder.path().c_str()), what("LATHE_DUMP", nullptr);
  compile(liteDecode(), {}, ptxOnly());
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Dump, StopsAfterAStage) {
  for (auto [stage, file] : {std::pair{"tile", "mla_decode.tile.mlir"},
                             {"nvvm", "mla_decode.nvvm.mlir"},
                             {"ptx", "mla_decode.ptx"}}) {
    const TempFolder folder;
    const ScopedEnv where("LATHE_DUMP_DIR", folder.path().c_str()), when("LATHE_STOP_AFTER", stage);
    const std::string text = userErrorOf([] { compile(liteDecode(), {}); });
    EXPECT_TRUE(contains(text, (folder / file).string())) << text;
    EXPECT_FALSE(readFile(folder / file).empty());
  }
}
