// Weights that are brought to the L2 cache ahead: as in PrefetchTest.cpp each request reads its first and its
// last word instead, which must exist.
#include "PlantedBug.h"

#include "lathe/codegen/Compiler.h"
#include "lathe/tools/lathe/MoeJudge.h"

#include <gtest/gtest.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::emulatedtest;
using codegen::MoeConfig;
using runtime::emulator::FindingKind;

static std::string readingPtx(const std::string &ptx, const std::string &kernel, int64_t further) {
  PtxEditor editor(ptx, kernel);
  editor.readPrefetches(further);
  return editor.text();
}

static codegen::MoeArtifact artifactOf(const reference::MoeCase &layer, bool dynamic) {
  const MoeConfig config{
      .stages = 3, .ctasPerSm = 2, .dynamic = dynamic, .prefetchUp = true, .prefetchDown = true};
  return codegen::compile(tools::describe(layer), config, {.target = {}, .assemble = false});
}

static tools::MoeVerdict runOn(const std::string &ptx, const codegen::MoeArtifact &artifact,
                               const reference::MoeCase &layer) {
  auto device = runtime::openEmulator({.throwFindings = false, .smCount = 8});
  const runtime::MoeKernel kernel(device, {ptx.c_str(), ptx.size() + 1}, artifact.manifest);
  return tools::judge(kernel, layer, "cpu");
}

static int64_t loadedBytes(const tools::MoeVerdict &verdict, const std::string &kernel) {
  for (const auto &launch : verdict.launches)
    if (launch.kernel == kernel)
      return int64_t(launch.counters.globalLoadBytes);
  return -1;
}

TEST(MoePrefetch, NamesWeightsInUpAndDown) {
  for (const char *name : {"shared_2_rows_17", "rows_17_top_6", "silu_shared_1"})
    for (bool dynamic : {false, true}) {
      const reference::MoeCase &layer = reference::moeCase(name);
      SCOPED_TRACE(testing::Message() << name << " dynamic " << dynamic);
      const codegen::MoeArtifact artifact = artifactOf(layer, dynamic);
      const tools::MoeVerdict plain = runOn(artifact.ptx, artifact, layer);
      for (const char *kernel : {"up", "down"}) {
        const tools::MoeVerdict verdict = runOn(readingPtx(artifact.ptx, kernel, 0), artifact, layer);
        EXPECT_TRUE(verdict.right()) << verdict.message() << verdict.findings.text();
        EXPECT_GT(loadedBytes(verdict, kernel), loadedBytes(plain, kernel)) << kernel;
      }
    }
}

TEST(MoePrefetch, OtherAddressesAreFound) {
  const reference::MoeCase &layer = reference::moeCase("shared_2_rows_17");
  const codegen::MoeArtifact artifact = artifactOf(layer, true);
  for (const char *kernel : {"up", "down"}) {
    const tools::MoeVerdict verdict = runOn(readingPtx(artifact.ptx, kernel, 1 << 24), artifact, layer);
    const auto &findings = verdict.findings.findings;
    EXPECT_TRUE(std::any_of(findings.begin(), findings.end(), [](const auto &finding) {
      return finding.kind == FindingKind::OutOfBounds;
    })) << kernel;
  }
}
