//===- Verify.cpp - lathe verify -----------------------------------------------------------------------===//
//
// Runs compiled attention kernels over the shape table (or one shape and its lengths) and compares with the
// reference: every output element, the log-sum-exp, the positions of NaN. On the emulator, findings fail a
// case too. Mixtures of experts are in VerifyMoe.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "Emulated.h"
#include "Judge.h"
#include "Lengths.h"
#include "Options.h"
#include "Output.h"
#include "VerifyReport.h"

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
  CaseOptions cases;
  bool json = false;
};

struct Setting {
  VerifySetting common;
  std::shared_ptr<runtime::Emulator> emulator; ///< The reference's, where that is the emulator.
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
  return command.cases.select(onlySmall ? reference::smallShapeTable() : reference::shapeTable(),
                              "lathe verify");
}

/// Why the configuration that was asked for cannot serve a case of the table; empty where it can.
static std::string reasonLeftOut(const VerifyCommand &command, const Setting &setting,
                                 const ShapeCase &entry) {
  if (command.shape.given())
    return {}; // The one shape that was asked for: an error tells.
  const codegen::AttentionProblem problem = codegen::analyze(describe(entry.shape));
  const codegen::Target target = runtime::targetOf(setting.common.device->properties());
  const std::optional<codegen::Config> config = command.config.config(problem, target);
  return config ? codegen::check(problem, *config, target).reason : "";
}

static Verdict verdictOf(const VerifyCommand &command, const runtime::Jit &jit, const Setting &setting,
                         const ShapeCase &entry) {
  const std::shared_ptr<runtime::Device> &device = setting.common.device;
  const dsl::Kernel description = describe(entry.shape);
  runtime::JitRequest request;
  request.batchInvariant = command.config.batchInvariant;
  request.config =
      command.config.config(codegen::analyze(description), runtime::targetOf(device->properties()));
  const runtime::Kernel kernel = jit.load(description, device, request);
  if (setting.emulator)
    return judgeAgainst(kernel, jit.load(description, setting.emulator, request), entry);
  return judge(kernel, entry, setting.common.reference, {.alone = command.config.batchInvariant});
}

static Outcome outcomeOf(const std::string &name, Verdict verdict) {
  const bool agreed = verdict.agreement.has_value();
  return {.name = name,
          .passed = verdict.right(),
          .numbers = agreed ? agreementText(*verdict.agreement) : comparisonText(verdict.comparison),
          .message = verdict.comparison.message,
          .findings = std::move(verdict.findings),
          .json = agreed ? toJson(*verdict.agreement) : toJson(verdict.comparison)};
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
  VerifySetting &common = setting.common;
  common.device = command.machine.open(command.json, /*throwFindings=*/false);
  common.emulated = command.machine.onEmulator();
  common.reference = chooseReference(command.cases.reference, *common.device);
  // Another order of warps than the default's, so that it is another run on the emulator too.
  if (common.reference == "emulator")
    setting.emulator = runtime::openEmulator(
        {.seed = 1, .throwFindings = false, .smCount = common.device->properties().smCount});
  common.table = command.shape.given() ? "given" : onlySmall ? "small" : "all";
  common.wholeTable = reference::shapeTable().size();
  common.json = command.json;
  common.wayOut = "choose another --config (lathe tune --explain lists the constraints)";
  return setting;
}

static void run(const VerifyCommand &command) {
  const bool onlySmall = command.cases.smallTable(command.machine.onEmulator());
  const std::vector<ShapeCase> cases = casesOf(command, onlySmall);
  if (command.cases.list)
    return list(command, cases);
  const Setting setting = prepare(command, onlySmall);
  const runtime::Jit jit;
  VerifyReport report(setting.common);
  for (const ShapeCase &entry : cases)
    if (const std::string reason = reasonLeftOut(command, setting, entry); !reason.empty())
      report.leaveOut(entry.name, reason);
    else
      report.add(outcomeOf(entry.name, verdictOf(command, jit, setting, entry)));
  report.finish();
}

void lathe::tools::addVerify(CLI::App &app) {
  auto options = std::make_shared<VerifyCommand>();
  CLI::App *command = app.add_subcommand("verify", "Compare kernels with the float64 reference");
  options->shape.add(*command);
  options->config.add(*command);
  options->lengths.add(*command, 4);
  options->machine.add(*command);
  options->cases.add(
      *command, {"auto", "gpu", "cpu", "emulator"},
      "gpu (float64; needs a GPU and NVRTC), cpu (float64; slow), or the first that is there; or emulator: "
      "the same kernel on the PTX emulator, within what another order of additions can change");
  addJsonFlag(*command, options->json);
  command->footer(
      "Examples:\n"
      "  lathe verify                                  # the whole shape table; its small cases "
      "on the emulator\n"
      "  lathe verify --device emulator --all          # the large ones too\n"
      "  lathe verify --case queries_2 --reference cpu\n"
      "  lathe verify --reference emulator --json      # does the emulator agree with this GPU?\n"
      "  lathe verify --model deepseek-v3 --tp 8 --batch 7 --lengths normal:4096:2048\n"
      "  lathe verify --config 'kvTile=64,stages=2' --small --json\n"
      "  lathe verify --batch-invariant                # also: each sequence alone, bit for bit\n"
      "  lathe verify --list --all\n"
      "  lathe verify moe                              # mixtures of experts: lathe verify moe --help\n"
      "Without --model or --heads it runs the shape table. Without a GPU it runs on the PTX "
      "emulator, where a\n"
      "finding (a race, a missing fence, …) fails a case too. Exit code 1 when a case failed.");
  addVerifyMoe(*command);
  command->callback([options, command] {
    if (command->get_subcommands().empty())
      run(*options);
  });
}
