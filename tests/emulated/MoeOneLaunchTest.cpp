// Both products in one kernel: CTAs tell each other which rows are ready. Right on every order of CTAs, and
// each part of the handover is found where it is missing.
#include "PlantedBug.h"

#include "lathe/codegen/Compiler.h"
#include "lathe/tools/lathe/MoeJudge.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

using namespace lathe;
using namespace lathe::emulatedtest;
using codegen::MoeConfig;
using runtime::emulator::FindingKind;

/// Tiles of 24 rows read rows of their neighbours, too, which may not be there yet.
static codegen::MoeArtifact artifactOf(const reference::MoeCase &layer, MoeConfig config) {
  config.oneLaunch = true;
  return codegen::compile(tools::describe(layer), config, {.target = {}, .assemble = false});
}

static tools::MoeVerdict runOn(const std::string &ptx, const MoeManifest &manifest,
                               const reference::MoeCase &layer, uint64_t seed, int smCount) {
  auto device = runtime::openEmulator({.seed = seed, .throwFindings = false, .smCount = smCount});
  const runtime::MoeKernel kernel(device, {ptx.c_str(), ptx.size() + 1}, manifest);
  return tools::judge(kernel, layer, "cpu", {.twice = true});
}

/// From one CTA to more than there are items.
TEST(MoeOneLaunch, IsRightHoweverManyCtasThereAre) {
  const reference::MoeCase &layer = reference::moeCase("shared_2_rows_17");
  for (const MoeConfig &config :
       {MoeConfig{.tokenTile = 24, .stages = 2},
        {.tokenTile = 24, .stages = 3, .dynamic = true},
        {.tokenTile = 32, .depthTile = 64, .stages = 2, .permute = true, .dynamic = true}}) {
    const codegen::MoeArtifact artifact = artifactOf(layer, config);
    EXPECT_EQ(artifact.manifest.kernels().size(), config.permute ? 4u : 3u);
    for (int smCount : {1, 2, 7, 64}) {
      const uint64_t seed = std::random_device()();
      SCOPED_TRACE(testing::Message() << config.str() << " SMs " << smCount << " order " << seed);
      const tools::MoeVerdict verdict = runOn(artifact.ptx, artifact.manifest, layer, seed, smCount);
      EXPECT_TRUE(verdict.right()) << verdict.message() << verdict.findings.text();
    }
  }
}

static constexpr const char *acquire = R"(ld\.acquire\.gpu)";

static void expectFound(const codegen::MoeArtifact &artifact, const PtxEditor &edited, FindingKind kind) {
  const reference::MoeCase &layer = reference::moeCase("shared_2_rows_17");
  bool found = false;
  for (uint64_t seed = 1; !found && seed <= 10; ++seed) { // Who is early is the host's threads' doing, too.
    const auto findings = runOn(edited.text(), artifact.manifest, layer, seed, 8).findings.findings;
    found = std::any_of(findings.begin(), findings.end(),
                        [&](const auto &finding) { return finding.kind == kind; });
  }
  EXPECT_TRUE(found);
}

TEST(MoeOneLaunch, EveryPartOfTheHandoverIsNeeded) {
  const codegen::MoeArtifact artifact =
      artifactOf(reference::moeCase("shared_2_rows_17"), {.tokenTile = 24, .stages = 2});
  for (const auto &[pattern, by, kind] :
       {std::tuple(R"(red\.release\.gpu)", "red.relaxed.gpu", FindingKind::DataRace),
        {acquire, "ld.relaxed.gpu", FindingKind::DataRace},
        {R"(fence\.proxy\.async\.global;)", "", FindingKind::ProxyUnfenced}}) {
    SCOPED_TRACE(pattern);
    PtxEditor editor(artifact.ptx, "experts");
    editor.replace(editor.find(pattern, 0), pattern, by);
    expectFound(artifact, editor, kind);
  }
}

/// CTA 0 tells others late of what it has written, so that who does not wait is early.
static void delay(PtxEditor &experts) {
  experts.insertBefore(experts.find(R"(red\.release\.gpu)", 0), R"(
.reg .pred %late; .reg .b32 %turn;
mov.u32 %turn, %ctaid.x; setp.ne.u32 %late, %turn, 0; @%late bra $told;
$late: add.u32 %turn, %turn, 1; setp.lt.u32 %late, %turn, 1000000; @%late bra $late;
$told:)");
}

/// Rows of `down` wait for all parts of their tile.
TEST(MoeOneLaunch, TheLastPartIsWaitedFor) {
  const codegen::MoeArtifact artifact =
      artifactOf(reference::moeCase("shared_2_rows_17"), {.tokenTile = 24, .stages = 2});
  PtxEditor editor(artifact.ptx, "experts");
  const size_t comparison = editor.after(editor.find(acquire, 0), R"(setp\.lt\.s32)");
  const int parts = std::stoi(editor.group(comparison, R"(, (\d+);)"));
  EXPECT_GT(parts, 1);
  editor.replace(comparison, R"(, \d+;)", fmt::format(", {};", parts - 1));
  delay(editor);
  expectFound(artifact, editor, FindingKind::DataRace);
}

/// `combine` sets the counters back: else `down` comes too early in the next step.
TEST(MoeOneLaunch, CountersThatStayAreFound) {
  const codegen::MoeArtifact artifact =
      artifactOf(reference::moeCase("shared_2_rows_17"), {.tokenTile = 24, .stages = 2});
  PtxEditor late(artifact.ptx, "experts");
  delay(late);
  const tools::MoeVerdict right =
      runOn(late.text(), artifact.manifest, reference::moeCase("shared_2_rows_17"), 7, 8);
  EXPECT_TRUE(right.right()) << right.message() << right.findings.text();
  PtxEditor staying(late.text(), "combine");
  staying.remove(staying.find(R"(st\.global\.(b32|u32).*, 0;)", 0));
  expectFound(artifact, staying, FindingKind::DataRace);
}
