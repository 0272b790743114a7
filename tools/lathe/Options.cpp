//===- Options.cpp - Options that several commands share -----------------------------------------------===//
//
// Turns flags into shapes, machines and configurations. What CLI11 can check (a number is a number) it
// checks; what needs knowledge of models or schedules is checked here and told as a UserError.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Options.h"

#include "lathe/dsl/models/ModelConfig.h"
#include "lathe/runtime/Jit.h"
#include "lathe/runtime/device/emulator/Emulator.h"
#include "lathe/support/Env.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <cmath>
#include <set>

using namespace lathe;
using namespace lathe::tools;

void ShapeOptions::add(CLI::App &command) {
  const char *group = "Kernel";
  command.add_option("--model", model, "A known model, or a Hugging Face config.json (or its folder)")
      ->type_name("NAME|FILE")
      ->group(group);
  command.add_option("--tp", tensorParallel, "Tensor-parallel size: the model's heads are divided by it")
      ->capture_default_str()
      ->group(group);
  command.add_option("--heads", heads, "Query heads on one GPU, instead of --model")->group(group);
  command.add_option("--latent", latent, "Compressed key-value columns")->capture_default_str()->group(group);
  command.add_option("--rope", rope, "Rotated key columns")->capture_default_str()->group(group);
  command.add_option("--value", value, "Value columns; 0: as many as --latent")
      ->capture_default_str()
      ->group(group);
  command.add_option("--page", page, "Tokens a page")->capture_default_str()->group(group);
  command.add_option("--query-tokens", queryTokens, "Query tokens a sequence")
      ->capture_default_str()
      ->group(group);
  command.add_flag("--full", full, "Not causal: every query token attends to all tokens")->group(group);
  command.add_option("--scale", givenScale, "Softmax scale; the model's when not given")->group(group);
}

dsl::MlaShape ShapeOptions::shape() const {
  if (!given())
    throw UserError({"command line", "a kernel must be named", "", "give --model NAME or --heads N"});
  if (!model.empty() && heads)
    throw UserError({"command line", "--model and --heads exclude each other",
                     fmt::format("--model {} --heads {}", model, heads), "drop one of them"});
  if (model.empty() && tensorParallel != 1)
    throw UserError({"command line", "--tp divides a model's heads", fmt::format("--tp {}", tensorParallel),
                     "give --model, or the heads of one GPU with --heads alone"});
  dsl::MlaShape shape;
  if (!model.empty()) {
    shape = dsl::mlaShape(dsl::findModel(model), tensorParallel, page, queryTokens);
  } else {
    shape.heads = heads;
    shape.latent = latent;
    shape.rope = rope;
    shape.value = value;
    shape.page = page;
    shape.queryTokens = queryTokens;
  }
  shape.causal = !full;
  return shape;
}

float ShapeOptions::scale() const {
  if (givenScale)
    return *givenScale;
  return model.empty() ? 1 / std::sqrt(192.0f) : dsl::softmaxScale(dsl::findModel(model));
}

std::string ShapeOptions::label() const {
  return model.empty() ? fmt::format("{} heads", heads) : fmt::format("{} tp {}", model, tensorParallel);
}

/// Says why a text is no device; empty: it is one.
static std::string isDevice(const std::string &text) {
  const bool number =
      !text.empty() && text.size() < 7 && text.find_first_not_of("0123456789") == std::string::npos;
  return number || text == "emulator" ? "" : fmt::format("a GPU's number or 'emulator', got '{}'", text);
}

void MachineOptions::add(CLI::App &command) {
  auto *number =
      command
          .add_option("--device", device,
                      "A GPU's number, or the PTX emulator on the CPU; default: GPU 0, else the emulator")
          ->type_name("N|emulator")
          ->check(isDevice)
          ->group("Machine");
  command.add_option("--target", target, "Compile for a named GPU; needs none here (h100-sxm, …)")
      ->type_name("NAME")
      ->excludes(number)
      ->group("Machine");
}

bool MachineOptions::emulatorAsked() const {
  return device.empty() ? env("LATHE_DEVICE") == "emulator" : device == "emulator";
}

bool MachineOptions::onEmulator() const {
  return emulatorAsked() || (device.empty() && runtime::defaultDeviceKind() == runtime::DeviceKind::Emulator);
}

int MachineOptions::ordinal() const { return device.empty() || device == "emulator" ? 0 : std::stoi(device); }

bool MachineOptions::withoutGpu() const {
  return !target.empty() || emulatorAsked() || runtime::cudaDeviceCount() == 0;
}

static const autotuner::Machine &namedMachine(const std::string &target) {
  return target.empty() ? autotuner::machines().front() : autotuner::machineByName(target);
}

autotuner::Machine MachineOptions::machine() const {
  if (withoutGpu())
    return namedMachine(target);
  const auto gpu = runtime::openCudaDevice(ordinal());
  return autotuner::machineForDevice(gpu->properties().name, gpu->properties().smCount);
}

codegen::Target MachineOptions::facts() const {
  return withoutGpu() ? namedMachine(target).target()
                      : runtime::targetOf(runtime::openCudaDevice(ordinal())->properties());
}

std::shared_ptr<runtime::Device> MachineOptions::open(bool quiet, bool throwFindings) const {
  if (!target.empty())
    throw UserError(
        {"command line", "this command runs kernels", "--target " + target,
         "use --device N or --device emulator, or a command that runs nothing (compile, inspect, tune)"});
  if (!onEmulator())
    return runtime::openCudaDevice(ordinal());
  if (!emulatorAsked() && !quiet)
    fmt::print(stderr, "lathe: no GPU ({}): running on the PTX emulator\n", runtime::cudaUnavailableReason());
  return runtime::openEmulator({.throwFindings = throwFindings});
}

std::string MachineOptions::name() const {
  return withoutGpu() ? namedMachine(target).name : runtime::openCudaDevice(ordinal())->properties().name;
}

std::string MachineOptions::databaseName() const { return withoutGpu() ? "model:" + name() : name(); }

void ConfigOption::add(CLI::App &command) {
  command
      .add_option("--config", text, "Schedule configuration: 'kvTile=32,stages=4' or JSON; others by default")
      ->type_name("TEXT")
      ->group("Kernel");
  addBatchInvariantFlag(command, batchInvariant);
}

void lathe::tools::addBatchInvariantFlag(CLI::App &command, bool &batchInvariant) {
  command
      .add_flag("--batch-invariant", batchInvariant,
                "A sequence's result does not depend on the rest of the batch, bit for bit")
      ->group("Kernel");
}

/// 'kvTile=32,split=whole' as a JSON object; numbers and truth values where the text is one.
static nlohmann::json parseAssignments(const std::string &text, const std::string &example) {
  nlohmann::json object = nlohmann::json::object();
  for (const std::string &part : CLI::detail::split(text, ',')) {
    const size_t equals = part.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == part.size())
      throw UserError(
          {"--config", "must read name=value,name=value", "'" + part + "'", "for example " + example});
    const std::string name = CLI::detail::trim_copy(part.substr(0, equals));
    const std::string value = CLI::detail::trim_copy(part.substr(equals + 1));
    const bool number = value.find_first_not_of("-0123456789") == std::string::npos && value.size() < 10;
    const bool truth = value == "true" || value == "false";
    const auto parsed =
        number || truth ? nlohmann::json::parse(value, nullptr, false) : nlohmann::json(value);
    object[name] = parsed.is_discarded() ? nlohmann::json(value) : parsed;
  }
  return object;
}

nlohmann::json lathe::tools::configFields(const std::string &text, const std::string &example) {
  const bool isJson = text.find('{') != std::string::npos;
  nlohmann::json given =
      isJson ? nlohmann::json::parse(text, nullptr, false) : parseAssignments(text, example);
  if (!given.is_object())
    throw UserError({"--config", "must be a JSON object or name=value,name=value", "'" + text + "'",
                     "for example " + example});
  return given;
}

std::optional<codegen::Config> ConfigOption::config(const codegen::AttentionProblem &problem,
                                                    const codegen::Target &target) const {
  if (text.empty())
    return std::nullopt;
  return codegen::completedConfig(problem, target, configFields(text, "kvTile=32,stages=4"), batchInvariant);
}

std::string lathe::tools::commandLine(const CLI::App &command, const std::string &head) {
  std::string text = head;
  std::set<const CLI::Option *> told; // A repeated option is listed at each place, with all of its values.
  for (const CLI::Option *option : command.parse_order()) {
    if (!told.insert(option).second)
      continue;
    const std::string name = " --" + option->get_lnames().front();
    if (option->get_expected_max() == 0)
      text += name;
    else
      for (const std::string &value : option->results())
        text += name + " " + (value.find_first_of(" '{\"") == std::string::npos ? value : "'" + value + "'");
  }
  return text;
}

void lathe::tools::addJsonFlag(CLI::App &command, bool &json) {
  command.add_flag("--json", json, "Print one JSON document on stdout and nothing else")->group("Output");
}

nlohmann::json lathe::tools::toJson(const dsl::MlaShape &shape) {
  return {{"heads", shape.heads},  {"latent", shape.latent},
          {"rope", shape.rope},    {"value", shape.value ? shape.value : shape.latent},
          {"page", shape.page},    {"queryTokens", shape.queryTokens},
          {"causal", shape.causal}};
}
