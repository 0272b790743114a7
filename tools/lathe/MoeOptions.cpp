//===- MoeOptions.cpp - Options of the commands for mixtures of experts --------------------------------===//
//
// See MoeOptions.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "MoeOptions.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <map>

using namespace lathe;
using namespace lathe::tools;

static const std::map<std::string, dsl::Router> routers{{"logits", dsl::Router::Logits},
                                                        {"given", dsl::Router::Given}};
static const std::map<std::string, dsl::Activation> activations{
    {"swiglu", dsl::Activation::SwiGlu}, {"silu", dsl::Activation::Silu}, {"gelu", dsl::Activation::Gelu}};
static const std::map<std::string, Dtype> logitTypes{
    {"f32", Dtype::F32}, {"bf16", Dtype::BF16}, {"f16", Dtype::F16}};
static const std::map<std::string, Dtype> gateTypes{{"bf16", Dtype::BF16}, {"f32", Dtype::F32}};

template <class Value>
static void addChoice(CLI::App &command, const char *option, std::string &text,
                      const std::map<std::string, Value> &choices, const char *help) {
  command.add_option(option, text, help)
      ->check(CLI::IsMember(choices))
      ->capture_default_str()
      ->group("Kernel");
}

template <class Value>
static std::string nameOf(const std::map<std::string, Value> &choices, Value value) {
  for (const auto &[name, choice] : choices)
    if (choice == value)
      return name;
  return "?";
}

void MoeShapeOptions::add(CLI::App &command) {
  const char *group = "Kernel";
  command.add_option("--model", model, "A known model, or a Hugging Face config.json (or its folder)")
      ->type_name("NAME|FILE")
      ->group(group);
  command
      .add_option("--tp", tensorParallel, "Tensor-parallel size: the columns of an expert are divided by it")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--ep", expertParallel,
                  "Expert-parallel size: the experts are divided by it, without shared ones")
      ->capture_default_str()
      ->group(group);
  command.add_option("--hidden", hidden, "Columns of a row, instead of --model")->group(group);
  command.add_option("--intermediate", intermediate, "Columns between the projections of an expert")
      ->group(group);
  command.add_option("--experts", experts, "Routed experts")->group(group);
  command.add_option("--top-k", topK, "Experts a row")->group(group);
  command.add_option("--shared", shared, "Experts that every row goes to; 0 when not given")->group(group);
  addChoice(command, "--router", router, routers,
            "logits: the kernel chooses; given: ids and weights are inputs");
  addChoice(command, "--logits", logits, logitTypes, "Element type of the logits");
  command
      .add_option("--gate", gate,
                  "The kernel makes the logits: rows times a gate matrix of this type, bf16 or f32")
      ->check(CLI::IsMember(gateTypes))
      ->type_name("TYPE")
      ->group("Kernel");
  addChoice(command, "--activation", activation, activations, "Between the projections");
}

/// --router, --logits and --gate, which must not contradict each other.
static void setRouter(const MoeShapeOptions &options, dsl::MoeShape &shape) {
  shape.router = routers.at(options.router);
  shape.logits = logitTypes.at(options.logits);
  if (options.gate.empty())
    return;
  if (shape.router == dsl::Router::Given)
    throw UserError({"command line", "a gate makes logits, which a given routing has not",
                     "--gate " + options.gate + " --router " + options.router, "drop one of them"});
  if (shape.logits != Dtype::F32)
    throw UserError({"command line", "the logits that a gate makes are f32",
                     "--gate " + options.gate + " --logits " + options.logits, "drop --logits"});
  shape.router = dsl::Router::Gate;
  shape.gate = gateTypes.at(options.gate);
}

dsl::MoeShape MoeShapeOptions::shape() const {
  if (!given())
    throw UserError({"command line", "a layer must be named", "",
                     "give --model NAME, or --hidden, --intermediate, --experts and --top-k"});
  const bool extents = hidden || intermediate || experts || topK || shared;
  if (!model.empty() && extents)
    throw UserError({"command line", "--model and extents exclude each other", "--model " + model,
                     "drop --model, or --hidden, --intermediate, --experts, --top-k and --shared"});
  if (model.empty() && (tensorParallel != 1 || expertParallel != 1))
    throw UserError({"command line", "--tp and --ep divide a model's layer",
                     fmt::format("--tp {} --ep {}", tensorParallel, expertParallel),
                     "give --model, or the extents of one GPU alone"});
  dsl::MoeShape shape;
  if (!model.empty()) {
    shape = dsl::moeShape(dsl::findModel(model), tensorParallel, expertParallel);
  } else {
    for (auto [name, extent] : {std::pair{"--hidden", hidden},
                                {"--intermediate", intermediate},
                                {"--experts", experts},
                                {"--top-k", topK}})
      if (extent <= 0)
        throw UserError({"command line", fmt::format("{} must be positive", name), std::to_string(extent),
                         "give --hidden, --intermediate, --experts and --top-k, or --model"});
    shape.hidden = hidden;
    shape.intermediate = intermediate;
    shape.experts = experts;
    shape.topK = topK;
    shape.shared = shared;
  }
  setRouter(*this, shape);
  shape.activation = activations.at(activation);
  return shape;
}

std::string MoeShapeOptions::label() const {
  return model.empty() ? fmt::format("{} experts of {} x {}, top {}", experts, hidden, intermediate, topK)
                       : fmt::format("{} tp {} ep {}", model, tensorParallel, expertParallel);
}

std::string MoeShapeOptions::arguments() const {
  const MoeShapeOptions usual;
  std::string text;
  auto add = [&](const char *option, const auto &value, const auto &otherwise) {
    if (value != otherwise)
      text += fmt::format("{}{} {}", text.empty() ? "" : " ", option, value);
  };
  add("--model", model, usual.model);
  add("--tp", tensorParallel, usual.tensorParallel);
  add("--ep", expertParallel, usual.expertParallel);
  add("--hidden", hidden, usual.hidden);
  add("--intermediate", intermediate, usual.intermediate);
  add("--experts", experts, usual.experts);
  add("--top-k", topK, usual.topK);
  add("--shared", shared, usual.shared);
  add("--router", router, usual.router);
  add("--logits", logits, usual.logits);
  add("--gate", gate, usual.gate);
  add("--activation", activation, usual.activation);
  return text;
}

static constexpr const char *configHelp =
    "Schedule configuration: 'tokenTile=16,stages=6' or JSON, others by default; or 'default'";

void MoeConfigOption::add(CLI::App &command) {
  command.add_option("--config", text, configHelp)->type_name("TEXT")->group("Kernel");
}

void lathe::tools::addMoeConfigsOption(CLI::App &command, std::vector<MoeConfigOption> &configs) {
  const auto read = [&configs](const std::vector<std::string> &texts) {
    for (const std::string &text : texts)
      configs.push_back({text});
  };
  command
      .add_option_function<std::vector<std::string>>(
          "--config", read, std::string(configHelp) + "; repeatable: measured in turns")
      ->type_name("TEXT")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->group("Kernel");
}

std::optional<codegen::MoeConfig> MoeConfigOption::config(const codegen::MoeProblem &problem,
                                                          const codegen::Target &target, int rows) const {
  if (text.empty())
    return std::nullopt;
  if (text == "default")
    return codegen::defaultMoeConfig(problem, target, rows);
  const nlohmann::json given = configFields(text, "tokenTile=16,stages=6");
  nlohmann::json fields = codegen::defaultMoeConfig(problem, target, rows);
  fields.update(given);
  auto asked = fields.get<codegen::MoeConfig>();
  // Of what is not given, what does not go with what is.
  const bool alone = asked.dependentLaunch == codegen::DependentLaunch::Off, clustered = asked.cluster > 1;
  asked.dynamic &= given.contains("dynamic") || !clustered;
  asked.oneLaunch &= given.contains("oneLaunch") || !(clustered || asked.atomic || asked.prefetchDown);
  asked.prefetchUp &= given.contains("prefetchUp") || !(alone || asked.permute);
  asked.prefetchDown &= given.contains("prefetchDown") || !(alone || asked.oneLaunch);
  if (!given.contains("stages"))
    for (codegen::MoeConfig fewer = asked; fewer.stages >= 2; --fewer.stages)
      if (codegen::check(problem, fewer, target))
        return fewer;
  return asked;
}

/// Says why a number of rows is none; empty: it is one.
static std::string isRows(const std::string &text) {
  const bool digits =
      !text.empty() && text.size() < 8 && text.find_first_not_of("0123456789") == std::string::npos;
  return digits && std::stoi(text) > 0 ? ""
                                       : fmt::format("must be a number from 1 to 9999999, got '{}'", text);
}

void lathe::tools::addRowsOption(CLI::App &command, int &rows) {
  command.add_option("--rows", rows, "Rows of a step that the configuration is for")
      ->check(isRows)
      ->capture_default_str()
      ->group("Kernel");
}

void lathe::tools::addZipfOption(CLI::App &command, double &zipf) {
  command.add_option("--zipf", zipf, "Popularity of experts falls as 1/rank^S; 0: uniform")
      ->type_name("S")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group("Workload");
}

nlohmann::json lathe::tools::toJson(const dsl::MoeShape &shape) {
  return {{"hidden", shape.hidden},
          {"intermediate", shape.intermediate},
          {"experts", shape.experts},
          {"localExperts", shape.heldExperts()},
          {"topK", shape.topK},
          {"shared", shape.shared},
          {"router", shape.router == dsl::Router::Given ? "given" : "logits"},
          {"gate", shape.router == dsl::Router::Gate ? nlohmann::json(nameOf(gateTypes, shape.gate))
                                                     : nlohmann::json(nullptr)},
          {"logits", nameOf(logitTypes, shape.logits)},
          {"activation", nameOf(activations, shape.activation)},
          {"scoring", shape.scoring == dsl::Scoring::Softmax ? "softmax" : "sigmoid"},
          {"bias", shape.bias},
          {"groups", shape.groups},
          {"topGroups", shape.topGroups},
          {"renormalize", shape.renormalize},
          {"scale", shape.scale}};
}
