//===- MoeOptions.h - Options of the commands for mixtures of experts ----------------------------------===//
//
// Which layer, for how many rows, with which configuration: as Options.h, for every command that ends in
// `moe`.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Options.h"

#include "lathe/dsl/models/Moe.h"

namespace lathe::tools {

/// --model NAME|config.json --tp N --ep N, or --hidden and the other extents; --router, --logits, --gate and
/// --activation with both.
struct MoeShapeOptions {
  std::string model;
  int tensorParallel = 1, expertParallel = 1;
  int hidden = 0, intermediate = 0, experts = 0, topK = 0, shared = 0;
  std::string router = "logits", logits = "f32", activation = "swiglu";
  std::string gate; ///< Element type of the gate matrix; empty: logits are an input.

  void add(CLI::App &command);
  bool given() const { return !model.empty() || hidden || intermediate || experts || topK || shared; }
  /// Throws UserError: neither a model nor extents, both, an extent that is missing, sizes that do not
  /// divide, a gate where there are no logits to make.
  dsl::MoeShape shape() const;
  /// "deepseek-v2-lite tp 1 ep 1" or "64 experts of 2048 x 1408, top 6".
  std::string label() const;
  /// Options that name the same layer again: "--model deepseek-v2-lite --ep 8".
  std::string arguments() const;
};

/// --config 'tokenTile=16,stages=6' or JSON; fields that are not given keep the default's values. Or
/// 'default', whatever was tuned.
struct MoeConfigOption {
  std::string text;

  void add(CLI::App &command);
  /// Nothing when --config was not given. Fewer stages than the default's where these do not fit and none
  /// were named. Throws UserError for an unknown field or a wrong type, and where no config serves the
  /// problem.
  std::optional<codegen::MoeConfig> config(const codegen::MoeProblem &problem, const codegen::Target &target,
                                           int rows) const;
};

/// Adds --config as often as it is given, each for a configuration of its own.
void addMoeConfigsOption(CLI::App &command, std::vector<MoeConfigOption> &configs);
/// Adds --rows: how many the configuration is for.
void addRowsOption(CLI::App &command, int &rows);
/// Adds --zipf: the skew of the routing; 0: uniform.
void addZipfOption(CLI::App &command, double &zipf);

nlohmann::json toJson(const dsl::MoeShape &shape);

} // namespace lathe::tools
