#include "lathe/dsl/models/ModelConfig.h"

#include "lathe/dsl/models/JsonFields.h"
#include "lathe/support/Error.h"
#include "lathe/support/Files.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <cmath>

using namespace lathe;
using namespace lathe::dsl;

//===- config.json ------------------------------------------------------------------------------------===//

static void readAttention(const JsonFields &fields, ModelConfig &config) {
  config.heads = fields.integer("num_attention_heads", 1);
  config.hidden = fields.integer("hidden_size", 1);
  config.latent = fields.integer("kv_lora_rank", 1);
  config.nopeDim = fields.integer("qk_nope_head_dim", 1);
  config.ropeDim = fields.integer("qk_rope_head_dim", 1);
  config.valueHeadDim = fields.integer("v_head_dim", 1);
}

/// Dense models have no n_routed_experts; then nothing else of the experts is looked at.
static void readExperts(const JsonFields &fields, ModelConfig &config) {
  config.routedExperts = fields.integerOr("n_routed_experts", 0, 0);
  if (!config.routedExperts)
    return;
  config.moeIntermediate = fields.integer("moe_intermediate_size", 1);
  config.sharedExperts = fields.integerOr("n_shared_experts", 0, 0);
  config.expertsPerToken = fields.integer("num_experts_per_tok", 1);
  config.scoring = fields.textOr("scoring_func", {"softmax", "sigmoid"}, "");
  config.topkMethod = fields.textOr("topk_method", {"greedy", "group_limited_greedy", "noaux_tc"}, "");
  config.groups = fields.integerOr("n_group", 1, 1);
  config.topkGroups = fields.integerOr("topk_group", 1, 1);
  config.normTopkProb = fields.booleanOr("norm_topk_prob", false);
  config.routedScale = fields.has("routed_scaling_factor") ? fields.positive("routed_scaling_factor") : 1;
  config.firstDenseLayers = fields.integerOr("first_k_dense_replace", 0, 0);

  if (config.expertsPerToken > config.routedExperts)
    fields.fail("num_experts_per_tok",
                fmt::format("must be at most n_routed_experts ({})", config.routedExperts),
                std::to_string(config.expertsPerToken));
  if (config.routedExperts % config.groups)
    fields.fail("n_group", fmt::format("must divide n_routed_experts ({})", config.routedExperts),
                std::to_string(config.groups));
  if (config.topkGroups > config.groups)
    fields.fail("topk_group", fmt::format("must be at most n_group ({})", config.groups),
                std::to_string(config.topkGroups));
}

/// Rotary scalings other than YaRN change the rotated key, which the kernel does not see.
static void readRopeScaling(const JsonFields &fields, const std::string &place, ModelConfig &config) {
  std::string name = fields.has("rope_scaling") ? "rope_scaling" : "rope_parameters";
  const nlohmann::json *object = fields.object(name);
  if (!object)
    return;
  JsonFields scaling(*object, place, name + ".");
  std::string field = scaling.has("rope_type") ? "rope_type" : "type";
  std::string type = scaling.textOr(
      field, {"default", "yarn", "deepseek_yarn", "linear", "dynamic", "longrope", "su", "llama3"},
      "default");
  if (type != "yarn" && type != "deepseek_yarn")
    return;
  config.yarn = YarnScaling{scaling.positive("factor"), scaling.numberOr("mscale", 1),
                            scaling.numberOr("mscale_all_dim", 0)};
}

ModelConfig dsl::readModelConfig(const std::filesystem::path &path) {
  std::string place = fmt::format("model config {}", path.string());
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(readFile(path));
  } catch (const nlohmann::json::parse_error &error) {
    throw UserError({place, "must be JSON", fmt::format("an error at byte {}", error.byte), ""});
  }
  if (!json.is_object())
    throw UserError({place, "must be a JSON object", std::string(json.type_name()), ""});

  JsonFields outer(json, place);
  const nlohmann::json *text = outer.has("kv_lora_rank") ? nullptr : outer.object("text_config");
  JsonFields fields(text ? *text : json, place, text ? "text_config." : "");
  ModelConfig config;
  config.name = path.string();
  readAttention(fields, config);
  readExperts(fields, config);
  readRopeScaling(fields, place, config);
  return config;
}

ModelConfig dsl::findModel(const std::string &model) {
  std::error_code ignored;
  std::filesystem::path path(model);
  if (std::filesystem::is_directory(path, ignored))
    return readModelConfig(path / "config.json");
  if (std::filesystem::exists(path, ignored) || path.has_parent_path() || path.extension() == ".json")
    return readModelConfig(path);
  return namedModel(model);
}

//===- Derived ----------------------------------------------------------------------------------------===//

MlaShape dsl::mlaShape(const ModelConfig &config, int tp, int page, int queryTokens) {
  std::string place = fmt::format("model {}", config.name);
  auto needPositive = [&](const char *what, int value) {
    if (value <= 0)
      throw UserError({place, fmt::format("{} must be positive", what), std::to_string(value), ""});
  };
  needPositive("tensor-parallel size", tp);
  needPositive("page size", page);
  needPositive("query tokens", queryTokens);
  if (config.heads % tp) {
    std::vector<int> divisors;
    for (int size = 1; size <= config.heads; ++size)
      if (config.heads % size == 0)
        divisors.push_back(size);
    throw UserError({place, fmt::format("tensor-parallel size must divide its {} heads", config.heads),
                     std::to_string(tp), fmt::format("use one of {}", fmt::join(divisors, ", "))});
  }
  return {.heads = config.heads / tp,
          .latent = config.latent,
          .rope = config.ropeDim,
          .value = config.latent,
          .page = page,
          .queryTokens = queryTokens};
}

float dsl::softmaxScale(const ModelConfig &config) {
  double scale = 1 / std::sqrt(static_cast<double>(config.nopeDim + config.ropeDim));
  if (config.yarn && config.yarn->factor > 1) {
    double mscale = 0.1 * config.yarn->mscaleAllDim * std::log(config.yarn->factor) + 1;
    scale *= mscale * mscale;
  }
  return static_cast<float>(scale);
}
