//===- KnownModels.cpp - Published models by name -----------------------------------------------------===//
//
// The configurations of models with multi-head latent attention, as their config.json files state them, so
// that
// `--model deepseek-v3` needs no file. Where a published configuration does not state how experts are scored,
// the text fields are empty.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/dsl/models/ModelConfig.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

using namespace lathe;
using namespace lathe::dsl;

static ModelConfig deepseekV2Lite() {
  return {.name = "deepseek-v2-lite",
          .heads = 16,
          .hidden = 2048,
          .latent = 512,
          .nopeDim = 128,
          .ropeDim = 64,
          .valueHeadDim = 128,
          .moeIntermediate = 1408,
          .routedExperts = 64,
          .sharedExperts = 2,
          .expertsPerToken = 6,
          .scoring = "softmax",
          .topkMethod = "greedy",
          .firstDenseLayers = 1,
          .yarn = YarnScaling{.factor = 40, .mscale = 0.707, .mscaleAllDim = 0.707}};
}

static ModelConfig deepseekV2() {
  ModelConfig config = deepseekV2Lite();
  config.name = "deepseek-v2";
  config.heads = 128;
  config.hidden = 5120;
  config.moeIntermediate = 1536;
  config.routedExperts = 160;
  config.topkMethod = "group_limited_greedy";
  config.groups = 8;
  config.topkGroups = 3;
  config.routedScale = 16;
  return config;
}

static ModelConfig deepseekV3() {
  return {.name = "deepseek-v3",
          .heads = 128,
          .hidden = 7168,
          .latent = 512,
          .nopeDim = 128,
          .ropeDim = 64,
          .valueHeadDim = 128,
          .moeIntermediate = 2048,
          .routedExperts = 256,
          .sharedExperts = 1,
          .expertsPerToken = 8,
          .scoring = "sigmoid",
          .topkMethod = "noaux_tc",
          .groups = 8,
          .topkGroups = 4,
          .normTopkProb = true,
          .routedScale = 2.5,
          .firstDenseLayers = 3,
          .yarn = YarnScaling{.factor = 40, .mscale = 1, .mscaleAllDim = 1}};
}

static ModelConfig deepseekR1() {
  ModelConfig config = deepseekV3();
  config.name = "deepseek-r1";
  return config;
}

static ModelConfig kimiK2() {
  ModelConfig config = deepseekV3();
  config.name = "kimi-k2";
  config.heads = 64;
  config.routedExperts = 384;
  config.groups = config.topkGroups = 1;
  config.routedScale = 2.827;
  config.firstDenseLayers = 1;
  config.yarn = YarnScaling{.factor = 32, .mscale = 1, .mscaleAllDim = 1};
  return config;
}

static ModelConfig moonlight() {
  ModelConfig config = deepseekV2Lite();
  config.name = "moonlight";
  config.scoring = "sigmoid";
  config.topkMethod = "noaux_tc";
  config.normTopkProb = true;
  config.routedScale = 2.446;
  config.yarn.reset();
  return config;
}

static ModelConfig glm5() {
  ModelConfig config = deepseekV3();
  config.name = "glm-5";
  config.heads = 64;
  config.hidden = 6144;
  config.nopeDim = 192;
  config.valueHeadDim = 256;
  config.groups = config.topkGroups = 1;
  config.yarn.reset();
  return config;
}

static ModelConfig glm47Flash() {
  ModelConfig config = glm5();
  config.name = "glm-4.7-flash";
  config.heads = 20;
  config.hidden = 2048;
  config.moeIntermediate = 1536;
  config.routedExperts = 64;
  config.expertsPerToken = 4;
  config.routedScale = 1.8;
  config.firstDenseLayers = 1;
  return config;
}

/// Its configuration does not state the router; serving frameworks renormalise softmax scores.
static ModelConfig mistralLarge3() {
  return {.name = "mistral-large-3",
          .heads = 128,
          .hidden = 7168,
          .latent = 512,
          .nopeDim = 128,
          .ropeDim = 64,
          .valueHeadDim = 128,
          .moeIntermediate = 4096,
          .routedExperts = 128,
          .sharedExperts = 1,
          .expertsPerToken = 4,
          .normTopkProb = true};
}

static ModelConfig miniCpm3() {
  return {.name = "minicpm3",
          .heads = 40,
          .hidden = 2560,
          .latent = 256,
          .nopeDim = 64,
          .ropeDim = 32,
          .valueHeadDim = 64};
}

static std::vector<ModelConfig> knownModels() {
  return {deepseekV2Lite(), deepseekV2(), deepseekV3(), deepseekR1(),    kimiK2(),
          moonlight(),      glm5(),       glm47Flash(), mistralLarge3(), miniCpm3()};
}

std::vector<std::string> dsl::modelNames() {
  std::vector<std::string> names;
  for (const ModelConfig &config : knownModels())
    names.push_back(config.name);
  return names;
}

ModelConfig dsl::namedModel(const std::string &name) {
  for (const ModelConfig &config : knownModels())
    if (config.name == name)
      return config;
  throw UserError({"model", "must be a known name or the path of a config.json", fmt::format("'{}'", name),
                   fmt::format("known are {}", fmt::join(modelNames(), ", "))});
}
