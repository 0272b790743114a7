// What is brought to the L2 cache ahead: a hint, which changes no result and which the emulator does not
// follow. Here each prefetch reads its first and its last word instead and stops where these are not of a
// token: pages of no sequence are full of NaN.
#include "EmulatedKernels.h"
#include "PlantedBug.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

using namespace lathe;
using namespace lathe::emulatedtest;
using codegen::SplitPolicy;
using reference::AttentionShape;
using runtime::emulator::FindingKind;

static constexpr const char *prefetch = R"(cp\.async\.bulk\.prefetch\.L2\.global)";

/// Reads in place of prefetches, `further` bytes behind.
static std::string readingPtx(const std::string &ptx, int64_t further = 0) {
  PtxEditor editor(ptx, "attend");
  editor.readPrefetches(further, "setp.eq.s32 flag, word, -1; @flag trap;");
  return editor.text();
}

static int64_t loadedBytes(const RunResult &result) {
  for (const auto &launch : result.launches)
    if (launch.kernel == "attend")
      return int64_t(launch.counters.globalLoadBytes);
  return -1;
}

/// Whole pages and units, so that every row is a token; each sequence is one item.
static reference::ShapeCase caseOf(AttentionShape shape, bool stridedCache = false) {
  shape.keyDim = 288;
  shape.valueDim = 256;
  return {"prefetch",
          shape,
          {768, 256, 512, 256},
          {.seed = std::random_device()(), .stridedCache = stridedCache}};
}

static const codegen::Artifact &artifactOf(const reference::ShapeCase &entry) {
  return compiled(entry.shape,
                  {.kvTile = 64, .stages = 2, .split = SplitPolicy::Whole, .seesaw = true, .prefetch = true});
}

TEST(SeesawPrefetch, NamesTokensOfEveryUnitButTheFirst) {
  for (auto [heads, queries] : {std::pair{128, 1}, {100, 1}, {64, 3}, {100, 3}})
    for (int page : {64, 128, 256}) {
      const reference::ShapeCase entry = caseOf({.heads = heads, .queryTokens = queries, .page = page});
      SCOPED_TRACE(testing::Message() << "seed " << entry.options.seed << " heads " << heads << " queries "
                                      << queries << " page " << page);
      const codegen::Artifact &artifact = artifactOf(entry);
      const RunResult result = run(readingPtx(artifact.ptx), artifact.manifest, entry);
      EXPECT_EQ(result.error, "");
      EXPECT_TRUE(result.findings.empty()) << result.findings.text();
      EXPECT_TRUE(result.comparison.passed) << result.comparison.message;
      // Units of 128 tokens: 6, 2, 4 and 2. A request a tile, of every row block.
      const int requests = (5 + 1 + 3 + 1) * 2 * artifact.manifest.rowBlocks;
      EXPECT_EQ(loadedBytes(result) - loadedBytes(run(artifact.ptx, artifact.manifest, entry)), requests * 8);
    }
}

/// Rows with gaps would be brought with them.
TEST(SeesawPrefetch, LeavesStridedRowsAlone) {
  const reference::ShapeCase entry = caseOf({.heads = 128}, /*stridedCache=*/true);
  const codegen::Artifact &artifact = artifactOf(entry);
  const RunResult result = run(readingPtx(artifact.ptx), artifact.manifest, entry);
  EXPECT_EQ(result.error, "");
  EXPECT_TRUE(result.findings.empty()) << result.findings.text();
  EXPECT_EQ(loadedBytes(result), loadedBytes(run(artifact.ptx, artifact.manifest, entry)));
}

/// What the tests above can see: addresses outside the cache, and of a page that is no sequence's.
TEST(SeesawPrefetch, OtherAddressesAreFound) {
  reference::ShapeCase entry = caseOf({.heads = 128});
  entry.options.seed = 1; // Some page whose tokens are asked for lies before one of nobody's.
  const codegen::Artifact &artifact = artifactOf(entry);
  const int64_t pageBytes = int64_t(entry.shape.page) * entry.shape.keyDim * 2;
  EXPECT_TRUE(run(readingPtx(artifact.ptx, 1 << 24), artifact.manifest, entry).has(FindingKind::OutOfBounds));
  EXPECT_TRUE(run(readingPtx(artifact.ptx, pageBytes), artifact.manifest, entry)
                  .has(FindingKind::IllegalInstruction));
}

//===- Exchanged -------------------------------------------------------------------------------------===//

static const codegen::Artifact &exchanged(const reference::ShapeCase &entry, int rows) {
  return compiled(entry.shape, {.kvTile = 64,
                                .rowsPerCta = rows,
                                .stages = 2,
                                .consumers = 1,
                                .split = SplitPolicy::Whole,
                                .swapOperands = true,
                                .prefetch = true,
                                .dependentLaunch = codegen::DependentLaunch::Early});
}

static const RunOptions manySms{.smCount = 132}; // A worker for each sequence.

TEST(SwappedPrefetch, NamesTheFirstTileOfEveryWorker) {
  for (auto [heads, rows] : {std::pair{16, 16}, {40, 16}, {20, 8}})
    for (int page : {16, 64, 128}) {
      const reference::ShapeCase entry = caseOf({.heads = heads, .page = page});
      SCOPED_TRACE(testing::Message()
                   << "seed " << entry.options.seed << " heads " << heads << " page " << page);
      const codegen::Artifact &artifact = exchanged(entry, rows);
      const RunResult result = run(readingPtx(artifact.ptx), artifact.manifest, entry, manySms);
      EXPECT_EQ(result.error, "");
      EXPECT_TRUE(result.findings.empty()) << result.findings.text();
      EXPECT_TRUE(result.comparison.passed) << result.comparison.message;
      // Of four sequences, a worker each, a request a page or tile, of every row block.
      const int requests = 4 * std::max(1, 64 / page) * artifact.manifest.rowBlocks;
      EXPECT_EQ(loadedBytes(result) - loadedBytes(run(artifact.ptx, artifact.manifest, entry, manySms)),
                requests * 8);
    }
}

TEST(SwappedPrefetch, ComesBeforeTheLaunchBeforeHasEnded) {
  const reference::ShapeCase entry = caseOf({.heads = 16});
  PtxEditor editor(exchanged(entry, 16).ptx, "attend");
  const std::vector<size_t> requests = editor.find(prefetch), waits = editor.find("griddepcontrol.wait");
  ASSERT_EQ(requests.size(), 1u);
  ASSERT_FALSE(waits.empty());
  EXPECT_LT(requests[0], waits.back()) << "the producer's code is the last";
}

//===- Tokens ahead ----------------------------------------------------------------------------------===//

/// A load of a tensor before the thread has waited for the launch before stops the kernel.
static std::string waitingPtx(const std::string &ptx) {
  PtxEditor editor(ptx, "attend");
  editor.insertBefore(editor.find("mov\\.[bu]32.*%tid\\.x", 0), ".reg .b32 waited; mov.b32 waited, 0;");
  for (size_t at : editor.find(R"(griddepcontrol\.wait)"))
    editor.insertAfter(at, "mov.b32 waited, 1;");
  for (size_t at : editor.find(R"(cp\.async\.bulk\.tensor)"))
    editor.insertBefore(at, "{ .reg .pred late; setp.ne.b32 late, waited, 0; @!late trap; }");
  return editor.text();
}

static RunResult runAlone(int heads, int queries, int length, bool swap) {
  const reference::ShapeCase entry{"ahead",
                                   {.heads = heads, .queryTokens = queries, .keyDim = 192, .valueDim = 128},
                                   {length},
                                   {.seed = std::random_device()()}};
  codegen::Config config{.kvTile = 64,
                         .stages = 2,
                         .split = SplitPolicy::Whole,
                         .seesaw = !swap,
                         .cacheAhead = true,
                         .dependentLaunch = codegen::DependentLaunch::Early};
  if (swap)
    config.rowsPerCta = 16, config.consumers = 1, config.swapOperands = true;
  const codegen::Artifact &artifact = compiled(entry.shape, config);
  return run(waitingPtx(artifact.ptx), artifact.manifest, entry);
}

/// The last query tokens may be the work of the launch before; a unit without any of them is not.
TEST(CacheAhead, LoadsOldUnitsAlone) {
  for (bool swap : {true, false})
    for (int queries : {1, 3}) {
      const int unit = swap ? 64 : 128, heads = swap ? 16 : 20;
      for (int length : {0, 1, unit, unit + queries - 1}) {
        const RunResult result = runAlone(heads, queries, length, swap);
        EXPECT_EQ(result.error, "") << swap << ' ' << queries << ' ' << length;
        EXPECT_TRUE(result.comparison.passed) << result.comparison.message;
      }
      for (int length : {unit + queries, 3 * unit})
        EXPECT_TRUE(runAlone(heads, queries, length, swap).has(FindingKind::IllegalInstruction))
            << swap << ' ' << queries << ' ' << length;
    }
}
