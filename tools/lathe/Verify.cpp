//===- Verify.cpp - lathe verify -----------------------------------------------------------------------===//
//
// Runs compiled kernels over the shape table (or one shape and its lengths) and compares with the reference:
// every output element, the log-sum-exp, the positions of NaN. On the emulator, findings fail a case too. A
// failed case is exit code 1, not an error message.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "Emulated.h"
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
  bool small = false, all = false, list = false, json = false;

  /// Does the table of this run hold the small cases only? On the emulator, unless asked for others.
  bool smallTable(bool onEmulator) const {
    return small || ((onEmulator || reference == "emulator") && !all && filter.empty());
  }
};

/// One line of the answer.
struct Outcome {
  std::string name;
  Verdict verdict;
};

/// What all cases have in common.
struct Setting {
  std::shared_ptr<runtime::Device> device;
  bool emulated = false;
  std::string reference;
  std::shared_ptr<runtime::Emulator> emulator; ///< The reference's, where that is the emulator.
  std::string table;                           ///< "small", "all", or "given" for one shape.
};
} // namespace

static std::vector<ShapeCase> casesOf(const VerifyCommand &command, bool onlySmall) {
  if (command.shape.given()) {
    ShapeCase one;
    one.name = "given_shape";
    one.shape = referenceShape(command.shape);
    one.lengths = command.lengths.draw();
    one.options.seed = 1;
    return {one};
  }
  std::vector<ShapeCase> cases = onlySmall ? reference::smallShapeTable() : reference::shapeTable();
  std::erase_if(cases,
                [&](const ShapeCase &entry) { return entry.name.find(command.filter) == std::string::npos; });
  if (cases.empty())
    throw UserError(
        {"verify", "--case must match a name of the shape table", command.filter, "see lathe verify --list"});
  return cases;
}

/// Why the configuration that was asked for cannot serve a case of the table; empty where it can.
static std::string reasonLeftOut(const VerifyCommand &command, const Setting &setting,
                                 const ShapeCase &entry) {
  if (command.shape.given())
    return {}; // The one shape that was asked for: an error tells.
  const codegen::AttentionProblem problem = codegen::analyze(describe(entry.shape));
  const codegen::Target target = runtime::targetOf(setting.device->properties());
  const std::optional<codegen::Config> config = command.config.config(problem, target);
  return config ? codegen::check(problem, *config, target).reason : "";
}

static Outcome verifyCase(const VerifyCommand &command, const runtime::Jit &jit, const Setting &setting,
                          const ShapeCase &entry) {
  const dsl::Kernel description = describe(entry.shape);
  runtime::JitRequest request;
  request.batchInvariant = command.config.batchInvariant;
  request.config =
      command.config.config(codegen::analyze(description), runtime::targetOf(setting.device->properties()));
  const runtime::Kernel kernel = jit.load(description, setting.device, request);
  if (setting.emulator)
    return {entry.name, judgeAgainst(kernel, jit.load(description, setting.emulator, request), entry)};
  return {entry.name, judge(kernel, entry, setting.reference, {.alone = command.config.batchInvariant})};
}

static void printLine(const Outcome &outcome) {
  const std::string &message = outcome.verdict.comparison.message;
  print(fmt::format("{:<6}  {:<36}  {}{}{}\n", outcome.verdict.right() ? "ok" : "FAILED", outcome.name,
                    outcome.verdict.agreement ? agreementText(*outcome.verdict.agreement)
                                              : comparisonText(outcome.verdict.comparison),
                    message.empty() ? "" : "\n        ", message));
  if (!outcome.verdict.findings.empty())
    print(outcome.verdict.findings.text());
}

static nlohmann::json outcomesJson(const std::vector<Outcome> &outcomes, const Setting &setting,
                                   size_t leftOut) {
  nlohmann::json rows = nlohmann::json::array();
  size_t failed = 0;
  for (const Outcome &outcome : outcomes) {
    nlohmann::json row =
        outcome.verdict.agreement ? toJson(*outcome.verdict.agreement) : toJson(outcome.verdict.comparison);
    row.update({{"name", outcome.name},
                {"passed", outcome.verdict.right()},
                {"findings", toJson(outcome.verdict.findings)},
                {"findingsDropped", outcome.verdict.findings.dropped}});
    rows.push_back(std::move(row));
    failed += !outcome.verdict.right();
  }
  return {{"device", setting.device->properties().name},
          {"emulator", setting.emulated},
          {"reference", setting.reference},
          {"table", setting.table},
          {"passed", outcomes.size() - failed},
          {"failed", failed},
          {"leftOut", leftOut},
          {"cases", rows}};
}

/// The last line, and on the emulator what was left out.
static void printEnd(const std::vector<Outcome> &outcomes, const Setting &setting, size_t failed,
                     size_t leftOut) {
  print(fmt::format("{} of {} cases passed against the {} reference{}\n", outcomes.size() - failed,
                    outcomes.size(), setting.reference, setting.emulated ? " on the emulator" : ""));
  if (leftOut > 0)
    print(fmt::format("{} cases left out: the configuration does not serve their shapes.\n", leftOut));
  if (setting.emulated && setting.table == "small")
    print(fmt::format("These are the small cases; --all runs all {} of the shape table.\n",
                      reference::shapeTable().size()));
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

static Setting prepare(const VerifyCommand &command, bool onlySmall) {
  Setting setting;
  setting.device = command.machine.open(command.json, /*throwFindings=*/false);
  setting.emulated = command.machine.onEmulator();
  setting.reference = chooseReference(command.reference, *setting.device);
  // Another order of warps than the default's, so that it is another run on the emulator too.
  if (setting.reference == "emulator")
    setting.emulator = runtime::openEmulator(
        {.seed = 1, .throwFindings = false, .smCount = setting.device->properties().smCount});
  setting.table = command.shape.given() ? "given" : onlySmall ? "small" : "all";
  return setting;
}

static void run(const VerifyCommand &command) {
  const bool onlySmall = command.smallTable(command.machine.onEmulator());
  const std::vector<ShapeCase> cases = casesOf(command, onlySmall);
  if (command.list)
    return list(command, cases);
  const Setting setting = prepare(command, onlySmall);
  const runtime::Jit jit;
  std::vector<Outcome> outcomes;
  size_t failed = 0, leftOut = 0;
  for (const ShapeCase &entry : cases) {
    if (const std::string reason = reasonLeftOut(command, setting, entry); !reason.empty()) {
      ++leftOut;
      if (!command.json)
        print(fmt::format("-       {:<36}  {}\n", entry.name, reason));
      continue;
    }
    outcomes.push_back(verifyCase(command, jit, setting, entry));
    failed += !outcomes.back().verdict.right();
    if (!command.json)
      printLine(outcomes.back());
  }
  if (outcomes.empty())
    throw UserError({"verify", "the configuration must serve a case of the table", "none of them",
                     "choose another --config (lathe tune --explain lists the constraints)"});
  command.json ? printJson(outcomesJson(outcomes, setting, leftOut))
               : printEnd(outcomes, setting, failed, leftOut);
  if (failed)
    throw CommandFailed{ExitVerification};
}

void lathe::tools::addVerify(CLI::App &app) {
  auto options = std::make_shared<VerifyCommand>();
  CLI::App *command = app.add_subcommand("verify", "Compare kernels with the float64 reference");
  options->shape.add(*command);
  options->config.add(*command);
  options->lengths.add(*command, 4);
  options->machine.add(*command);
  command->add_option("--case", options->filter, "Only cases of the shape table whose name has this in it")
      ->group("Cases");
  auto *small =
      command->add_flag("--small", options->small, "Only the small cases (seconds)")->group("Cases");
  command->add_flag("--all", options->all, "All cases, also on the emulator (where --small is the default)")
      ->excludes(small)
      ->group("Cases");
  command->add_flag("--list", options->list, "List the cases that would run, and run nothing")
      ->group("Cases");
  command
      ->add_option("--reference", options->reference,
                   "gpu (float64; needs a GPU and NVRTC), cpu (float64; slow), or the first that is there; "
                   "or emulator: "
                   "the same kernel on the PTX emulator, within what another order of additions can change")
      ->check(CLI::IsMember({"auto", "gpu", "cpu", "emulator"}))
      ->capture_default_str()
      ->group("Cases");
  addJsonFlag(*command, options->json);
  command->footer("Examples:\n"
                  "  lathe verify                                  # the whole shape table; its small cases "
                  "on the emulator\n"
                  "  lathe verify --device emulator --all          # the large ones too\n"
                  "  lathe verify --case queries_2 --reference cpu\n"
                  "  lathe verify --reference emulator --json      # does the emulator agree with this GPU?\n"
                  "  lathe verify --model deepseek-v3 --tp 8 --batch 7 --lengths normal:4096:2048\n"
                  "  lathe verify --config 'kvTile=64,stages=2' --small --json\n"
                  "  lathe verify --batch-invariant                # also: each sequence alone, bit for bit\n"
                  "  lathe verify --list --all\n"
                  "Without --model or --heads it runs the shape table. Without a GPU it runs on the PTX "
                  "emulator, where a\n"
                  "finding (a race, a missing fence, …) fails a case too. Exit code 1 when a case failed.");
  command->callback([options] { run(*options); });
}
