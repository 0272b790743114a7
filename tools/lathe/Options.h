//===- Options.h - Options that several commands share -----------------------------------------------===//
//
// Which kernel, for which machine, with which configuration: read once, checked once, spelled the same in
// every command. Commands add these to their CLI11 subcommand and ask for the finished shape, target or
// configuration.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/autotuner/Machine.h"
#include "lathe/codegen/Compiler.h"
#include "lathe/dsl/models/Mla.h"
#include "lathe/runtime/device/Device.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <optional>
#include <string>

namespace lathe::tools {

/// --model NAME|config.json --tp N, or --heads and the other extents; --page, --query-tokens and --full with
/// both.
struct ShapeOptions {
  std::string model;
  int tensorParallel = 1;
  int heads = 0, latent = 512, rope = 64, value = 0;
  int page = 64, queryTokens = 1;
  bool full = false; ///< Every query token attends to all tokens.
  std::optional<float> givenScale;

  void add(CLI::App &command);
  bool given() const { return !model.empty() || heads != 0; }
  /// Throws UserError: neither a model nor heads, both, heads not divisible by tp, an impossible extent.
  dsl::MlaShape shape() const;
  /// --scale, else the model's softmax scale, else that of DeepSeek's models: (128 + 64)^-0.5.
  float scale() const;
  /// "deepseek-v2-lite tp 1" or "16 heads".
  std::string label() const;
};

/// --device N|emulator or --target NAME.
struct MachineOptions {
  std::string device; ///< A GPU's number or "emulator"; empty: as runtime::openDevice() chooses.
  std::string target;

  void add(CLI::App &command);
  /// --device or LATHE_DEVICE names the emulator. Does not look for a GPU.
  bool emulatorAsked() const;
  /// Kernels run on the emulator: it was asked for, or neither --device nor LATHE_DEVICE says otherwise and
  /// there is no GPU.
  bool onEmulator() const;
  /// The GPU's number; 0 where none was given.
  int ordinal() const;
  /// True when a named target or the emulator was asked for, or there is no GPU.
  bool withoutGpu() const;
  /// The GPU's facts, or those of the named target. Throws UserError for a name that is not known.
  codegen::Target facts() const;
  /// Opens what kernels run on; findings of the emulator are thrown where `throwFindings`. One line on stderr
  /// tells that the emulator was taken for want of a GPU, unless `quiet`. Throws DeviceError when a GPU was
  /// named and cannot be opened, UserError with --target.
  std::shared_ptr<runtime::Device> open(bool quiet, bool throwFindings = true) const;
  /// What the cost model knows of it.
  autotuner::Machine machine() const;
  /// "NVIDIA H100 80GB HBM3" or "h100-sxm".
  std::string name() const;
  /// As the tuning database calls it: the GPU's name, or "model:h100-sxm".
  std::string databaseName() const;
};

/// --config 'kvTile=32,stages=4' or JSON; fields that are not given keep the default's values.
/// --batch-invariant leaves those with which a sequence's result does not depend on the batch.
struct ConfigOption {
  std::string text;
  bool batchInvariant = false;

  void add(CLI::App &command);
  /// Nothing when --config was not given. Throws UserError for an unknown field, a wrong type, or a split
  /// that depends on the batch where --batch-invariant was given.
  std::optional<codegen::Config> config(const codegen::AttentionProblem &problem,
                                        const codegen::Target &target) const;
};

/// 'kvTile=32,split=whole' or JSON as an object of the fields that were given. Throws UserError; `example` is
/// its way out.
nlohmann::json configFields(const std::string &text, const std::string &example);

/// Adds --batch-invariant, for the commands that take no --config too.
void addBatchInvariantFlag(CLI::App &command, bool &batchInvariant);

/// "lathe bench mla --heads 16 …": the options that were given, so that a result can name its command.
std::string commandLine(const CLI::App &command, const std::string &head);

/// Adds --json to a command.
void addJsonFlag(CLI::App &command, bool &json);

nlohmann::json toJson(const dsl::MlaShape &shape);

} // namespace lathe::tools
