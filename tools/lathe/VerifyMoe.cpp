//===- VerifyMoe.cpp - lathe verify moe ----------------------------------------------------------------===//
//
// Runs compiled mixtures of experts over their shape table and compares with the reference: ids and weights
// of the router, every element of the result, the positions of NaN. On the emulator, findings fail a case
// too.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "Emulated.h"
#include "Judge.h"
#include "MoeJudge.h"
#include "MoeOptions.h"
#include "Output.h"
#include "VerifyReport.h"

#include "lathe/runtime/Jit.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::tools;
using reference::MoeCase;

namespace {
struct VerifyMoeCommand {
  MachineOptions machine;
  MoeConfigOption config;
  CaseOptions cases;
  bool json = false;
};
} // namespace

static Outcome outcomeOf(const MoeCase &entry, MoeVerdict verdict) {
  std::string numbers = verdict.numbers();
  nlohmann::json json = toJson(verdict);
  json["rows"] = entry.rows;
  if (verdict.comparison.rows < entry.rows)
    numbers += fmt::format("  {} of {} rows", verdict.comparison.rows, entry.rows);
  return {.name = entry.name,
          .passed = verdict.right(),
          .numbers = numbers,
          .message = verdict.message(),
          .findings = verdict.findings,
          .json = std::move(json)};
}

static void list(const VerifyMoeCommand &command, const std::vector<MoeCase> &cases) {
  nlohmann::json rows = nlohmann::json::array();
  Table table({"case", "rows", "hidden", "inner", "experts", "local", "top k", "shared", "router"});
  for (const MoeCase &entry : cases) {
    const reference::MoeShape &shape = entry.shape;
    const int local = shape.localExperts ? shape.localExperts : shape.router.experts;
    const std::string router = takesRouting(entry) ? "given" : shape.gate ? "gate" : "logits";
    rows.push_back({{"name", entry.name},
                    {"rows", entry.rows},
                    {"hidden", shape.hidden},
                    {"intermediate", shape.inner},
                    {"experts", shape.router.experts},
                    {"localExperts", local},
                    {"topK", shape.router.topK},
                    {"shared", shape.sharedExperts},
                    {"router", router}});
    table.add({entry.name, fmt::to_string(entry.rows), fmt::to_string(shape.hidden),
               fmt::to_string(shape.inner), fmt::to_string(shape.router.experts), fmt::to_string(local),
               fmt::to_string(shape.router.topK), fmt::to_string(shape.sharedExperts), router});
  }
  command.json ? printJson({{"cases", rows}}) : print(table.str());
}

static void verifyCase(const VerifyMoeCommand &command, const runtime::Jit &jit, const VerifySetting &setting,
                       const MoeCase &entry, VerifyReport &report) {
  const dsl::Kernel description = describe(entry);
  const codegen::Target target = runtime::targetOf(setting.device->properties());
  runtime::MoeJitRequest request;
  request.rows = std::max(1, entry.rows);
  request.zipf = entry.options.spread == reference::Spread::Zipf ? entry.options.zipf : 0;
  const codegen::MoeProblem problem = codegen::analyzeMoe(description);
  request.config = command.config.config(problem, target, request.rows);
  if (request.config) {
    if (const codegen::Verdict verdict = codegen::check(problem, *request.config, target); !verdict)
      return report.leaveOut(entry.name, verdict.reason);
  }
  const runtime::MoeKernel kernel = jit.load(description, setting.device, request);
  MoeJudgeOptions options;
  options.sampleRows = cpuSampleRows(entry);
  options.twice = !setting.emulated;
  report.add(outcomeOf(entry, judge(kernel, entry, setting.reference, options)));
}

static void run(const VerifyMoeCommand &command) {
  const bool onlySmall = command.cases.smallTable(command.machine.onEmulator());
  const std::vector<MoeCase> cases = command.cases.select(
      onlySmall ? reference::smallMoeShapeTable() : reference::moeShapeTable(), "lathe verify moe");
  if (command.cases.list)
    return list(command, cases);
  VerifySetting setting;
  setting.device = command.machine.open(command.json, /*throwFindings=*/false);
  setting.emulated = command.machine.onEmulator();
  setting.reference = chooseReference(command.cases.reference, *setting.device);
  setting.table = onlySmall ? "small" : "all";
  setting.wholeTable = reference::moeShapeTable().size();
  setting.json = command.json;
  const runtime::Jit jit;
  VerifyReport report(setting);
  for (const MoeCase &entry : cases)
    verifyCase(command, jit, setting, entry, report);
  report.finish();
}

void lathe::tools::addVerifyMoe(CLI::App &verify) {
  auto options = std::make_shared<VerifyMoeCommand>();
  CLI::App *command = verify.add_subcommand("moe", "Mixtures of experts");
  options->config.add(*command);
  options->machine.add(*command);
  options->cases.add(*command, {"auto", "gpu", "cpu"},
                     "gpu (float64; needs a GPU and NVRTC), cpu (float64; of large cases a sample of the "
                     "rows), or the first that is there");
  addJsonFlag(*command, options->json);
  command->footer(
      "Examples:\n"
      "  lathe verify moe                              # the whole shape table; its small cases on the "
      "emulator\n"
      "  lathe verify moe --case router_noaux --reference cpu\n"
      "  lathe verify moe --device emulator --case v2_lite_rows_1   # a large one, minutes\n"
      "  lathe verify moe --config 'tokenTile=64,consumers=2' --small --json\n"
      "  lathe verify moe --list --all\n"
      "  lathe verify moe --case gate                  # those whose logits the kernel makes\n"
      "Cases with ids out of range run kernels that take ids and weights; a gate's logits are compared with "
      "float64, "
      "and the\n"
      "choice with the rules for the kernel's own logits. Without a\n"
      "GPU it runs on the PTX emulator, where a finding (a race, a missing fence, …) fails a case too; on a "
      "GPU each case\n"
      "runs twice, and different bits fail it (but with atomic=true, whose sums have no order). Exit code 1 "
      "when a case failed, 2 for bad input.");
  command->callback([options] { run(*options); });
}
