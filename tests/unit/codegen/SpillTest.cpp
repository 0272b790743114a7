//===- SpillTest.cpp - Samples of what must assemble without a spill ---------------------------------===//
//
// Shapes and configurations, by chance and where registers are fewest: their instruction counts, parameter
// lists, and no spilled register. Needs no GPU; without an assembler only the PTX is looked at.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Artifacts.h"

#include <cstdio>
#include <random>

using namespace lathe;
using namespace lathe::codegen;
using namespace lathe::test;

/// What holds for every legal configuration of every shape.
static void expectSound(const dsl::MlaShape &shape, const Config &config, unsigned seed) {
  SCOPED_TRACE(testing::Message() << "seed " << seed << " heads " << shape.heads << " queries "
                                  << shape.queryTokens << " latent " << shape.latent << " rope " << shape.rope
                                  << " value " << shape.value << " page " << shape.page << " "
                                  << config.str());
  const dsl::Kernel kernel = dsl::mlaDecode(shape);
  const std::optional<Artifact> artifact = assembled(kernel, config);
  if (!artifact)
    return;
  expectCounts(*artifact, analyze(kernel), config);
  for (const KernelEntry *entry : entriesOf(artifact->manifest))
    expectSignature(artifact->ptx, *entry);
  if (!artifact->cubin.empty())
    expectNoSpill(*artifact);
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
      const std::vector<Config> legal = legalConfigs(analyze(dsl::mlaDecode(shape)));
      ASSERT_FALSE(legal.empty());
      expectSound(shape, pick(legal), seed);
    }
}

/// Two consumers in turns: with and without a box of keys only, each with every page and with and without
/// prefetch; rows, launch, split and what else there is by chance. Pages of 16 tokens take most registers.
TEST(Artifact, SeesawAssemblesWithoutSpill) {
  const unsigned seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  for (auto [keyDim, valueDim] : {std::pair{576, 512}, {512, 512}, {288, 256}, {256, 128}, {576, 128}})
    for (int page : {16, 32, 64, 256})
      for (bool prefetch : {false, true}) {
        if (prefetch && page < 64)
          continue; // Not legal: some shapes would spill.
        dsl::MlaShape shape =
            shapeOf(prefetch || random() % 2 ? 128 : 64, random() % 2 ? 1 : 2, keyDim, valueDim, page);
        if (keyDim == valueDim) // The description's split means nothing to the kernel; both must be positive.
          shape = {.heads = shape.heads,
                   .latent = keyDim - 64,
                   .rope = 64,
                   .value = valueDim,
                   .page = page,
                   .queryTokens = shape.queryTokens};
        std::vector<Config> legal = legalConfigs(analyze(dsl::mlaDecode(shape)));
        std::erase_if(legal, [&](const Config &c) { return !c.seesaw || c.prefetch != prefetch; });
        ASSERT_FALSE(legal.empty());
        expectSound(shape, legal[random() % legal.size()], seed);
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
      const std::optional<Artifact> artifact = assembled(kernel, config);
      if (!artifact)
        continue;
      if (artifact->cubin.empty())
        GTEST_SKIP() << "no assembler here: " << artifact->manifest.assembler;
      expectNoSpill(*artifact);
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
      const std::optional<Artifact> artifact = assembled(kernel, largest);
      if (!artifact)
        continue;
      if (artifact->cubin.empty())
        GTEST_SKIP() << "no assembler here: " << artifact->manifest.assembler;
      expectNoSpill(*artifact);
    }
  }
}
