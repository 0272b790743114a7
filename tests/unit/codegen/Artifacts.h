//===- Artifacts.h - What a compiled description must be made of -------------------------------------===//
//
// Parameter lists, instruction counts that follow from shape and config, and registers without a spill, as
// expectations for the tests of the compiler.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Kernels.h"

#include "lathe/codegen/Schedule/MemoryPlan.h"
#include "lathe/support/Error.h"

#include <optional>

namespace lathe::test {

inline std::vector<const KernelEntry *> entriesOf(const Manifest &manifest) {
  return {&manifest.plan, &manifest.attend, &manifest.combine};
}

/// Declaration of a parameter of a kind, without its name.
inline std::regex declarationOf(const std::string &kind) {
  if (kind == "tensor_map")
    return std::regex("\\.param \\.align 64 \\.b8 [A-Za-z_0-9]+\\[128\\]");
  if (kind == "pointer")
    return std::regex("\\.param \\.[bu]64 \\.ptr \\.global .*");
  if (kind == "i64")
    return std::regex("\\.param \\.[bu]64 [A-Za-z_0-9]+");
  return std::regex(kind == "f32" ? "\\.param \\.[bf]32 [A-Za-z_0-9]+" : "\\.param \\.[bu]32 [A-Za-z_0-9]+");
}

inline void expectSignature(const std::string &ptx, const KernelEntry &entry) {
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
inline KernelResources expectedCounts(const codegen::AttentionProblem &problem,
                                      const codegen::Config &config) {
  const int boxes = (problem.keyDim + 63) / 64, share = config.kvTile / config.cluster;
  const int pieces = (share + problem.page - 1) / problem.page;
  KernelResources counts;
  counts.usesSetmaxnreg = !config.swapOperands || config.rowsPerCta >= 24;
  if (config.swapOperands) { // One consumer; values are multiplied box by box of 64 columns.
    const int groups = boxes % 3 == 0 ? 3 : 1;
    counts.wgmmaCount = problem.keyDim / 16 + (problem.valueDim + 63) / 64 * (config.kvTile / 16);
    // The query behind the loop, for items without tokens, and in it: at one place, or before each group.
    const int queries = 1 + (config.cacheAhead ? groups : 1);
    counts.tmaLoadCount = queries * boxes + pieces * boxes;
    // Producer: the tile's stage and the query's, wherever it is loaded. Consumer: the query and each group.
    counts.mbarrierWaitCount = 1 + queries + 1 + groups;
    return counts;
  }
  if (config.seesaw) {
    // Parts of both sides' values, and perhaps what only the scores use.
    const int parts = codegen::memoryPlan(problem, config).stageParts;
    const int sideParts = parts / 2;
    // Each of two consumers: the scores of its tile, its parts of the values of both. With several CTAs for a
    // tile the scores of the first item's first unit, of the next item's, and of the next unit stand apart,
    // those of items behind their query.
    const bool carries = resources(problem, config).rowBlocks > 1;
    const int scores = carries ? 3 : 1, queries = carries ? 2 : 1;
    counts.wgmmaCount = 2 * (scores * problem.keyDim / 16 + 2 * sideParts * (config.kvTile / 16));
    const int loads = config.cacheAhead ? 2 : 1; // Of the query: its first tokens may be old, or not.
    counts.tmaLoadCount = loads * boxes + 2 * pieces * boxes;
    // Producer: the query and each part, of two tiles. Each consumer: the query and the boxes of its tile.
    counts.mbarrierWaitCount = loads + 2 * parts + 2 * (queries + scores * boxes) + (config.prefetch ? 1 : 0);
    return counts;
  }
  // 16 columns a step for the scores; 16 tokens a step for the own tile and each of the others.
  counts.wgmmaCount = problem.keyDim / 16 + config.consumers * (config.kvTile / 16);
  counts.tmaLoadCount = boxes + config.consumers * pieces * boxes;
  // Producer: the query's stage and one a tile empty. Consumer: the query and one a tile full.
  counts.mbarrierWaitCount = 2 * (1 + config.consumers);
  return counts;
}

inline void expectCounts(const codegen::Artifact &artifact, const codegen::AttentionProblem &problem,
                         const codegen::Config &config) {
  const KernelResources expected = expectedCounts(problem, config);
  const PtxEntry attend = entryOf(artifact.ptx, "attend");
  EXPECT_EQ(attend.count("wgmma.mma_async."), expected.wgmmaCount);
  EXPECT_EQ(attend.count("cp.async.bulk.tensor."), expected.tmaLoadCount);
  EXPECT_EQ(attend.count("mbarrier.try_wait."), expected.mbarrierWaitCount);
  const int roles = config.seesaw ? 3 : 2; // Whose code is written.
  EXPECT_EQ(attend.count("setmaxnreg."), expected.usesSetmaxnreg ? roles : 0);
  const KernelResources &found = artifact.manifest.attend.resources;
  EXPECT_EQ(found.wgmmaCount, expected.wgmmaCount);
  EXPECT_EQ(found.tmaLoadCount, expected.tmaLoadCount);
  EXPECT_EQ(found.mbarrierWaitCount, expected.mbarrierWaitCount);
  EXPECT_EQ(found.usesSetmaxnreg, expected.usesSetmaxnreg);
  for (const char *absent : {"st.local", "ld.local", "call.uni", "__local_depot"})
    EXPECT_EQ(artifact.ptx.find(absent), std::string::npos) << absent;
}

/// A quarter of a multiprocessor has 16,384 registers, handed out to warps in eights a thread: where operands
/// are exchanged, enough for its warps of the main kernel and of the combine.
inline void expectRoomForTheCombine(const Manifest &manifest) {
  const auto ofQuarter = [](const KernelEntry &entry) {
    const int warps = (entry.threads / 32 + 3) / 4, registers = (entry.resources.registers + 7) / 8 * 8;
    return warps * 32 * registers;
  };
  EXPECT_LE(ofQuarter(manifest.attend) + ofQuarter(manifest.combine), 16384)
      << manifest.attend.resources.registers << " and " << manifest.combine.resources.registers;
}

inline void expectNoSpill(const codegen::Artifact &artifact) {
  for (const KernelEntry *entry : entriesOf(artifact.manifest)) {
    EXPECT_EQ(entry->resources.spillBytes, 0) << entry->name;
    EXPECT_EQ(entry->resources.stackBytes, 0) << entry->name;
    EXPECT_GT(entry->resources.registers, 0) << entry->name;
  }
  EXPECT_EQ(artifact.cubin.substr(1, 3), "ELF");
  // setmaxnreg deals out what the CTA had at launch: asking for more would wait for ever.
  const Manifest &manifest = artifact.manifest;
  codegen::AttentionProblem problem{.name = manifest.description,
                                    .heads = manifest.heads,
                                    .queryTokens = manifest.queryTokens,
                                    .keyDim = manifest.keyDim,
                                    .valueDim = manifest.valueDim,
                                    .page = manifest.page};
  const codegen::Config config = manifest.config.get<codegen::Config>();
  const codegen::Resources cost = resources(problem, config);
  const int atLaunch = (manifest.attend.resources.registers + 7) / 8 * 8;
  EXPECT_LE(config.consumers * cost.consumerRegisters + cost.producerRegisters,
            (config.consumers + 1) * atLaunch);
  // With more than 64 rows its warps have 512 columns, and more registers than there is room for.
  if (config.swapOperands && config.split != codegen::SplitPolicy::Whole && problem.rows() <= 64)
    expectRoomForTheCombine(manifest);
}

/// Compiles and assembles; a spill is an error of the compiler, which fails the test here, with its trace.
inline std::optional<codegen::Artifact> assembled(const dsl::Kernel &kernel, const codegen::Config &config) {
  try {
    return codegen::compile(kernel, config);
  } catch (const Error &error) {
    ADD_FAILURE() << error.what();
    return {};
  }
}

} // namespace lathe::test
