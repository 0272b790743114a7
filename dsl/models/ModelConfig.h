//===- ModelConfig.h - What a published model says about its attention and experts --------------------===//
//
// Reads a Hugging Face config.json, or knows a model by name, and derives the shapes and the softmax scale of
// its MLA decode. So that `--model path/config.json --tp 8` needs no other number. Called by the tools and
// the tuner.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/dsl/models/Mla.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace lathe::dsl {

/// The part of rope_scaling that changes the softmax scale (YaRN).
struct YarnScaling {
  double factor = 1;
  double mscale = 1;
  double mscaleAllDim = 0;

  bool operator==(const YarnScaling &) const = default;
};

/// Fields are named in the comment as config.json has them.
struct ModelConfig {
  std::string name = ""; ///< The known name, or the path that was read.

  int heads = 0;   ///< num_attention_heads, before tensor parallelism.
  int hidden = 0;  ///< hidden_size.
  int latent = 0;  ///< kv_lora_rank.
  int nopeDim = 0; ///< qk_nope_head_dim.
  int ropeDim = 0; ///< qk_rope_head_dim.
  int valueHeadDim =
      0; ///< v_head_dim, after the value projection; the kernel's value columns are the latent.

  int moeIntermediate = 0;     ///< moe_intermediate_size; 0: dense model.
  int routedExperts = 0;       ///< n_routed_experts; 0: dense model.
  int sharedExperts = 0;       ///< n_shared_experts.
  int expertsPerToken = 0;     ///< num_experts_per_tok.
  std::string scoring = "";    ///< scoring_func: "softmax", "sigmoid", or "" when not stated.
  std::string topkMethod = ""; ///< topk_method: "greedy", "group_limited_greedy", "noaux_tc", or "".
  int groups = 1;              ///< n_group.
  int topkGroups = 1;          ///< topk_group.
  bool normTopkProb = false;   ///< norm_topk_prob.
  double routedScale = 1;      ///< routed_scaling_factor.
  int firstDenseLayers = 0;    ///< first_k_dense_replace.

  std::optional<YarnScaling> yarn = std::nullopt; ///< rope_scaling, when its type is "yarn".

  bool operator==(const ModelConfig &) const = default;
};

/// Reads a Hugging Face config.json (or that of its "text_config"). Throws UserError naming file and field
/// when the file cannot be read, is not JSON, or a field is missing, ill-typed or impossible.
ModelConfig readModelConfig(const std::filesystem::path &path);

/// A model by name, as its published configuration states it. Throws UserError listing the names.
ModelConfig namedModel(const std::string &name);

/// All names that namedModel knows.
std::vector<std::string> modelNames();

/// `model` is a name, or a path of a config.json, or of a folder that has one.
ModelConfig findModel(const std::string &model);

/// The decode shape of one GPU when heads are divided among `tp`. Throws UserError when they do not divide.
MlaShape mlaShape(const ModelConfig &config, int tp, int page, int queryTokens);

/// (nope + rope)^-0.5, times the square of 0.1 · mscale_all_dim · ln(factor) + 1 where YaRN asks for it.
float softmaxScale(const ModelConfig &config);

} // namespace lathe::dsl
