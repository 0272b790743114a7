//===- MoeSpillTest.cpp - Legal configurations of experts assemble without spill ---------------------===//
//
// The widest tiles that check() accepts for each activation and number of consumers, and some drawn at
// random.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Compiler.h"
#include "lathe/dsl/models/Moe.h"

#include <gtest/gtest.h>

#include <random>

using namespace lathe;
using namespace lathe::codegen;

static dsl::MoeShape shapeOf(dsl::Activation activation) {
  return {.hidden = 512, .intermediate = 512, .experts = 8, .topK = 2, .shared = 1, .activation = activation};
}

static void expectSound(const dsl::Kernel &kernel, const MoeConfig &config) {
  SCOPED_TRACE(config.str());
  const MoeArtifact artifact = compile(kernel, config); // A spill is a CompileError.
  for (const KernelEntry *entry : artifact.manifest.kernels())
    EXPECT_EQ(entry->resources.spillBytes + entry->resources.stackBytes, 0) << entry->name;
}

TEST(MoeArtifact, WidestTilesAssembleWithoutSpill) {
  for (auto activation : {dsl::Activation::SwiGlu, dsl::Activation::Silu, dsl::Activation::Gelu}) {
    const dsl::Kernel kernel = dsl::moeFfn(shapeOf(activation));
    const MoeProblem problem = analyzeMoe(kernel);
    for (int consumers : {1, 2}) {
      std::optional<MoeConfig> widest;
      for (const MoeConfig &config : enumerateMoeConfigs(problem))
        if (config.consumers == consumers && config.ctasPerSm == 1 && check(problem, config, {}) &&
            (!widest || config.tokenTile > widest->tokenTile))
          widest = config;
      ASSERT_TRUE(widest);
      expectSound(kernel, *widest);
      widest->atomic = true, widest->oneLaunch = false;
      expectSound(kernel, *widest);
    }
  }
}

/// Whose threads hold a place for each row: the widest tiles with most boxes, and a loop that ptxas unrolls.
TEST(MoeArtifact, GatheredTilesAssembleWithoutSpill) {
  MoeConfig config{.tokenTile = 256, .widths = 8, .consumers = 2, .depthTile = 128, .stages = 2};
  expectSound(dsl::moeFfn(shapeOf(dsl::Activation::SwiGlu)), config);
  config.tokenTile = 192, config.depthTile = 64, config.stages = 5;
  dsl::MoeShape narrow = shapeOf(dsl::Activation::SwiGlu);
  narrow.hidden = 128;
  expectSound(dsl::moeFfn(narrow), config);
}

/// Both products in one kernel: where threads gather rows and where none does.
TEST(MoeArtifact, OneLaunchAssemblesWithoutSpill) {
  MoeConfig config{.tokenTile = 256, .widths = 8, .consumers = 2, .depthTile = 64, .stages = 3};
  config.oneLaunch = config.dynamic = true;
  for (auto activation : {dsl::Activation::SwiGlu, dsl::Activation::Gelu}) {
    const dsl::Kernel kernel = dsl::moeFfn(shapeOf(activation));
    config.tokenTile = activation == dsl::Activation::SwiGlu ? 256 : 128;
    for (bool permute : {false, true}) {
      config.permute = permute;
      expectSound(kernel, config);
    }
  }
  expectSound(dsl::moeFfn(shapeOf(dsl::Activation::SwiGlu)),
              {.tokenTile = 176, .stages = 3, .oneLaunch = true});
}

/// Both types of gate at the widths of published models, with each of its tiles.
TEST(MoeArtifact, GatesAssembleWithoutSpill) {
  for (int hidden : {64, 1088, 2048, 2880, 5120, 7168})
    for (Dtype type : {Dtype::BF16, Dtype::F32})
      for (int tokenTile : {8, 32, 128}) {
        SCOPED_TRACE(testing::Message() << "hidden " << hidden << ", gate " << name(type));
        dsl::MoeShape shape = shapeOf(dsl::Activation::Silu);
        shape.hidden = hidden;
        shape.router = dsl::Router::Gate;
        shape.gate = type;
        const dsl::Kernel kernel = dsl::moeFfn(shape);
        MoeConfig config = defaultMoeConfig(analyzeMoe(kernel), {}, 1);
        config.tokenTile = tokenTile;
        config.stages = 2;
        expectSound(kernel, config);
      }
}

TEST(MoeArtifact, RandomConfigurationsAssembleWithoutSpill) {
  const unsigned seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  for (auto activation : {dsl::Activation::SwiGlu, dsl::Activation::Silu, dsl::Activation::Gelu}) {
    const dsl::Kernel kernel = dsl::moeFfn(shapeOf(activation));
    const MoeProblem problem = analyzeMoe(kernel);
    std::vector<MoeConfig> legal = enumerateMoeConfigs(problem);
    std::erase_if(legal, [&](const MoeConfig &config) { return !check(problem, config, {}); });
    ASSERT_FALSE(legal.empty());
    for (int round = 0; round < 4; ++round) {
      MoeConfig config = legal[random() % legal.size()];
      config.atomic = round % 2 == 1 && !config.oneLaunch;
      expectSound(kernel, config);
    }
  }
}
