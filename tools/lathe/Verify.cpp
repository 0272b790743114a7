//===- Verify.cpp - lathe verify -----------------------------------------------------------------------===//
//
// Runs compiled kernels over the shape table (or one shape and its lengths) and compares with the reference:
// every output element, the log-sum-exp, the positions of NaN. A failed comparison is exit code 1, not an
// error message.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "Judge.h"
#include "Lengths.h"
#include "Options.h"
#include "Output.h"

#include "lathe/reference/ShapeTable.h"
#include "lathe/runtime/Jit.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::tools;
using reference::ShapeCase;

namespace {
struct VerifyCommand {
  ShapeOptions shape;
  MachineOptions machine;
  ConfigOption config;
  LengthsOptions lengths;
  std::string filter, reference = "auto";
  bool small = false, list = false, json = false;
};

/// One line of the answer.
struct Outcome {
  std::string name;
  reference::Comparison comparison;
};
} // namespace

static std::vector<ShapeCase> casesOf(const VerifyCommand &command) {
  if (command.shape.given()) {
    ShapeCase one;
    one.name = "given_shape";
    one.shape = referenceShape(command.shape);
    one.lengths = command.lengths.draw();
    one.options.seed = 1;
    return {one};
  }
  std::vector<ShapeCase> cases = command.small ? reference::smallShapeTable() : reference::shapeTable();
  std::erase_if(cases,
                [&](const ShapeCase &entry) { return entry.name.find(command.filter) == std::string::npos; });
  if (cases.empty())
    throw UserError(
        {"verify", "--case must match a name of the shape table", command.filter, "see lathe verify --list"});
  return cases;
}

static Outcome verifyCase(const VerifyCommand &command, const runtime::Jit &jit,
                          std::shared_ptr<runtime::Device> device, const ShapeCase &entry,
                          const std::string &with) {
  const dsl::Kernel description = describe(entry.shape);
  runtime::JitRequest request;
  request.config =
      command.config.config(codegen::analyze(description), runtime::targetOf(device->properties()));
  const runtime::Kernel kernel = jit.load(description, device, request);
  return {entry.name, judge(kernel, entry, with)};
}

static void printOutcomes(const VerifyCommand &command, const std::vector<Outcome> &outcomes,
                          const std::string &with, size_t failed) {
  if (command.json) {
    nlohmann::json rows = nlohmann::json::array();
    for (const Outcome &outcome : outcomes)
      rows.push_back({{"name", outcome.name},
                      {"passed", outcome.comparison.passed},
                      {"worstRatio", outcome.comparison.worstRatio},
                      {"cosineDifference", outcome.comparison.cosineDifference},
                      {"worstLse", outcome.comparison.worstLse},
                      {"message", outcome.comparison.message}});
    return printJson(
        {{"reference", with}, {"passed", outcomes.size() - failed}, {"failed", failed}, {"cases", rows}});
  }
  print(fmt::format("{} of {} cases passed against the {} reference\n", outcomes.size() - failed,
                    outcomes.size(), with));
}

static void printLine(const Outcome &outcome) {
  const reference::Comparison &result = outcome.comparison;
  print(fmt::format("{:<6}  {:<36}  out {:>6.3f} of 1  cosine {:>8.1e} of 5e-6  lse {:>6.3f} of 1{}{}\n",
                    result.passed ? "ok" : "FAILED", outcome.name, result.worstRatio, result.cosineDifference,
                    result.worstLse, result.message.empty() ? "" : "\n        ", result.message));
}

static void list(const VerifyCommand &command, const std::vector<ShapeCase> &cases) {
  nlohmann::json rows = nlohmann::json::array();
  Table table({"case", "heads", "query tokens", "key", "value", "page", "batch"});
  for (const ShapeCase &entry : cases) {
    const auto &shape = entry.shape;
    rows.push_back({{"name", entry.name},
                    {"heads", shape.heads},
                    {"queryTokens", shape.queryTokens},
                    {"keyDim", shape.keyDim},
                    {"valueDim", shape.valueDim},
                    {"page", shape.page},
                    {"causal", shape.causal},
                    {"lengths", entry.lengths}});
    table.add({entry.name, fmt::to_string(shape.heads), fmt::to_string(shape.queryTokens),
               fmt::to_string(shape.keyDim), fmt::to_string(shape.valueDim), fmt::to_string(shape.page),
               fmt::to_string(entry.lengths.size())});
  }
  command.json ? printJson({{"cases", rows}}) : print(table.str());
}

static void run(const VerifyCommand &command) {
  const std::vector<ShapeCase> cases = casesOf(command);
  if (command.list)
    return list(command, cases);
  const auto device = command.machine.open();
  const std::string with = chooseReference(command.reference);
  const runtime::Jit jit;
  std::vector<Outcome> outcomes;
  size_t failed = 0;
  for (const ShapeCase &entry : cases) {
    outcomes.push_back(verifyCase(command, jit, device, entry, with));
    failed += !outcomes.back().comparison.passed;
    if (!command.json)
      printLine(outcomes.back());
  }
  printOutcomes(command, outcomes, with, failed);
  if (failed)
    throw CommandFailed{exitVerification};
}

void lathe::tools::addVerify(CLI::App &app) {
  auto options = std::make_shared<VerifyCommand>();
  CLI::App *command = app.add_subcommand("verify", "Compare kernels with the float64 reference on the GPU");
  options->shape.add(*command);
  options->config.add(*command);
  options->lengths.add(*command, 4);
  options->machine.add(*command);
  command->add_option("--case", options->filter, "Only cases of the shape table whose name has this in it")
      ->group("Cases");
  command->add_flag("--small", options->small, "Only the small cases (seconds)")->group("Cases");
  command->add_flag("--list", options->list, "List the cases and run nothing")->group("Cases");
  command
      ->add_option("--reference", options->reference,
                   "gpu (needs NVRTC), cpu (slow), or the first that is there")
      ->check(CLI::IsMember({"auto", "gpu", "cpu"}))
      ->capture_default_str()
      ->group("Cases");
  addJsonFlag(*command, options->json);
  command->footer("Examples:\n"
                  "  lathe verify                                  # the whole shape table\n"
                  "  lathe verify --case queries_2 --reference cpu\n"
                  "  lathe verify --model deepseek-v3 --tp 8 --batch 7 --lengths normal:4096:2048\n"
                  "  lathe verify --config 'kvTile=64,stages=2' --small --json\n"
                  "  lathe verify --list\n"
                  "Without --model or --heads it runs the shape table. Exit code 1 when a case failed.");
  command->callback([options] { run(*options); });
}
