// The small table of expert layers with the default configuration, and telling layers with variations of
// every axis of a configuration, through the JIT: right, and no finding.
#include "lathe/runtime/Jit.h"
#include "lathe/tests/unit/support/Helpers.h"
#include "lathe/tools/lathe/MoeJudge.h"
#include "lathe/tools/lathe/MoeOptions.h"

#include <algorithm>
#include <random>

using namespace lathe;
using reference::MoeCase;

namespace {
struct Case {
  std::string name;
  const MoeCase *layer = nullptr;
  std::string fields; ///< Of --config; empty: the default.
  // NOLINTNEXTLINE(readability-identifier-naming): GoogleTest's.
  friend void PrintTo(const Case &entry, std::ostream *stream) { *stream << entry.name; }
};

class EmulatedMoe : public testing::TestWithParam<Case> {};
} // namespace

static std::string caseName(const testing::TestParamInfo<Case> &info) { return info.param.name; }

static std::vector<Case> tableCases() {
  std::vector<Case> cases;
  for (const MoeCase &entry : reference::moeShapeTable())
    if (entry.small())
      cases.push_back({entry.name + "__default", &entry, ""});
  return cases;
}

/// One axis at a time, and pairs that bring out corners: tiles and consumers, rings that wrap at once.
/// "tokenTile=8,ctasPerSm=3" as a part of a test's name.
static std::string labelOf(std::string fields) {
  std::erase(fields, '=');
  std::replace(fields.begin(), fields.end(), ',', '_');
  return fields;
}

static std::vector<Case> configCases() {
  const char *const fields[] = {
      "tokenTile=8",
      "tokenTile=8,consumers=1,ctasPerSm=3",
      "tokenTile=24,consumers=1,stages=2",
      "tokenTile=64,consumers=1",
      "tokenTile=64,consumers=2,ctasPerSm=1",
      "tokenTile=128,consumers=2,ctasPerSm=1",
      "tokenTile=256,consumers=2,ctasPerSm=1",
      "consumers=2,depthTile=64",
      "tokenTile=32,consumers=1,depthTile=64,stages=12,ctasPerSm=1",
      "stages=2,ctasPerSm=1",
      "tokenTile=64,widths=4,consumers=1,ctasPerSm=1",
      "tokenTile=128,widths=8,consumers=2,depthTile=64,ctasPerSm=1",
      "permute=true",
      "dynamic=true",
      "dynamic=true,consumers=1,depthTile=64,stages=2,permute=true,ctasPerSm=1",
      "tokenTile=64,widths=4,consumers=2,dynamic=true,ctasPerSm=1",
      "tokenTile=32,consumers=1,cluster=2,permute=true,ctasPerSm=1",
      "atomic=true",
      "atomic=true,tokenTile=64,widths=4,consumers=2,permute=true,dynamic=true,ctasPerSm=1",
      "atomic=true,tokenTile=128,dynamic=true,ctasPerSm=1",
      "oneLaunch=true",
      "oneLaunch=true,dynamic=true,consumers=1,depthTile=64,stages=2,ctasPerSm=2",
      "oneLaunch=true,tokenTile=64,widths=4,consumers=2,dynamic=true,ctasPerSm=1",
      "oneLaunch=true,tokenTile=32,consumers=1,permute=true,ctasPerSm=1,dependentLaunch=off",
      "tokenTile=8,tileGroup=2",
      "oneLaunch=true,tokenTile=16,dynamic=true,ctasPerSm=1,tileGroup=3",
      "prefetchUp=true",
      "prefetchDown=true,dynamic=true,consumers=1,ctasPerSm=2,stages=2",
      "evictFirst=false",
      "dependentLaunch=off"};
  const char *const telling[] = {"rows_130_top_2", "shared_2_rows_17", "spread_one_takes_all_rows_96",
                                 "slice_wild_ids_shared_1", "silu_shared_1"};
  std::vector<Case> cases;
  for (const char *name : telling)
    for (std::string text : fields)
      cases.push_back({std::string(name) + "__" + labelOf(text), &reference::moeCase(name), text});
  for (const char *name : {"dims_512_128_rows_40", "dims_512_128_rows_5"}) // Two CTAs of 128 rows of weights.
    for (int widths : {1, 4})
      cases.push_back(
          {fmt::format("{}__cluster2_widths{}", name, widths), &reference::moeCase(name),
           fmt::format("tokenTile=64,widths={},consumers=2,cluster=2,permute=true,ctasPerSm=1", widths)});
  for (const char *name : {"shared_1_rows_267_narrow", "shared_1_rows_282_narrow"}) // Two products a step.
    for (const char *more : {"", ",dynamic=true", ",atomic=true"})
      cases.push_back(
          {fmt::format("{}__tokenTile288{}", name, *more ? std::string("_") + more[1] : ""),
           &reference::moeCase(name),
           fmt::format("tokenTile=288,widths=4,consumers=2,depthTile=64,stages=3,permute=true,ctasPerSm=1{}",
                       more)});
  // The gate's tiles follow the rows that a configuration is for.
  for (const char *name : {"gate_bf16_rows_70", "gate_f32_rows_70", "gate_bf16_256_experts_hidden_1088"})
    for (int tile : {8, 64, 128})
      cases.push_back({fmt::format("{}__tokenTile{}", name, tile), &reference::moeCase(name),
                       fmt::format("tokenTile={},ctasPerSm=1", tile)});
  return cases;
}

/// On eight multiprocessors, so that CTAs share the work, then on three in a random order of warps and of
/// arriving copies, of which the result must not depend.
TEST_P(EmulatedMoe, MatchesReferenceWithoutFindings) {
  const MoeCase &layer = *GetParam().layer;
  const dsl::Kernel description = tools::describe(layer);
  runtime::MoeJitRequest request;
  request.rows = std::max(1, layer.rows);
  if (!GetParam().fields.empty()) {
    const codegen::MoeProblem problem = codegen::analyzeMoe(description);
    request.config = tools::MoeConfigOption{GetParam().fields}.config(problem, {}, request.rows);
    if (const codegen::Verdict verdict = codegen::check(problem, *request.config, {}); !verdict)
      GTEST_SKIP() << verdict.reason;
  }
  const test::TempFolder folder;
  const runtime::Jit jit(folder.path());
  const uint64_t seed = std::max(std::random_device()(), 1u);
  for (const runtime::EmulatorOptions &options :
       {runtime::EmulatorOptions{.throwFindings = false, .smCount = 8},
        runtime::EmulatorOptions{.seed = seed, .throwFindings = false, .smCount = 3}}) {
    const runtime::MoeKernel kernel = jit.load(description, runtime::openEmulator(options), request);
    // A second run needs sums and counters that the first one has set back.
    const bool counts = kernel.manifest().atomic || kernel.manifest().oneLaunch;
    const tools::MoeVerdict verdict = tools::judge(kernel, layer, "cpu", {.twice = counts});
    SCOPED_TRACE(testing::Message() << layer.name << ", order " << options.seed << ", " << options.smCount
                                    << " SMs, " << kernel.manifest().config.dump());
    EXPECT_EQ(verdict.message(), "");
    EXPECT_TRUE(verdict.comparison.passed && (!verdict.routing || verdict.routing->passed));
    EXPECT_TRUE(verdict.findings.empty()) << verdict.findings.text();
  }
}

/// Logits that nobody wants stay in the workspace, and all that follows from them is the same.
TEST(EmulatedMoeGate, LogitsNeedNoTensor) {
  const MoeCase &layer = reference::moeCase("gate_f32_rows_17_x_strided");
  const test::TempFolder folder;
  const auto device = runtime::openEmulator({.smCount = 8});
  runtime::MoeJitRequest request;
  request.rows = layer.rows;
  const runtime::MoeKernel kernel = runtime::Jit(folder.path()).load(tools::describe(layer), device, request);
  reference::MoeInstance instance(*device, layer.shape, layer.rows, layer.options);
  const runtime::MoeWorkspace workspace = kernel.makeWorkspace(layer.rows);
  runtime::MoeTensors tensors = tools::tensorsOf(instance);
  ASSERT_NE(tensors.logits, 0u);
  instance.poisonRouting();
  kernel.run(workspace, tensors, {});
  EXPECT_TRUE(reference::checkRouting(instance).passed);
  const auto ids = downloadIds(instance);
  const auto out = downloadOutput(instance);

  instance.poisonOutputs();
  instance.poisonRouting();
  tensors.logits = 0;
  kernel.run(workspace, tensors, {});
  EXPECT_EQ(downloadIds(instance), ids);
  EXPECT_EQ(downloadOutput(instance), out);
  EXPECT_FALSE(reference::checkRouting(instance).passed) << "the tensor of logits was written";
}

INSTANTIATE_TEST_SUITE_P(Table, EmulatedMoe, testing::ValuesIn(tableCases()), caseName);
INSTANTIATE_TEST_SUITE_P(Configs, EmulatedMoe, testing::ValuesIn(configCases()), caseName);
