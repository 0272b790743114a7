//===- InspectMoe.cpp - lathe inspect moe --------------------------------------------------------------===//
//
// As `lathe inspect`, for a mixture of experts: any stage of its lowering, what the hardware has to give,
// and, with --run, the layer at work on the emulator.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "InspectText.h"
#include "MoeJudge.h"
#include "MoeOptions.h"
#include "Output.h"
#include "RunReport.h"

#include "lathe/dsl/Print.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::tools;

namespace {
struct InspectMoeCommand {
  MoeShapeOptions shape;
  MachineOptions machine;
  MoeConfigOption config;
  int rows = 64;
  RunOptions run;
  EmitOptions output;
};

struct InspectedMoe {
  dsl::MoeShape shape;
  dsl::Kernel description;
  codegen::MoeConfig config;
  codegen::CompileOptions options;
};
} // namespace

static nlohmann::json resourcesJson(const MoeManifest &manifest, const codegen::MoeConfig &config,
                                    const codegen::Target &target) {
  const codegen::MoeMemory memory = codegen::moeMemory(config);
  return {{"assembler", manifest.assembler},
          {"kernels", kernelsJson(manifest.kernels())},
          {"schedule",
           {{"weightBytes", memory.weightBytes},
            {"rowBytes", memory.rowBytes},
            {"stagingBytes", memory.stagingBytes},
            {"sharedBytes", memory.sharedBytes},
            {"sharedLimit", target.sharedBytesPerCta},
            {"ctasPerSm", config.ctasPerSm}}}};
}

static std::string resourcesText(const nlohmann::json &json) {
  auto number = [](const nlohmann::json &value) { return grouped(value.get<int64_t>()); };
  const auto &plan = json["schedule"];
  return kernelsText(json["kernels"]) +
         fmt::format(
             "\nassembled by     {}\nshared memory    {} bytes a CTA, {} CTAs a multiprocessor of {}\n"
             "a stage          {} bytes of weights a consumer, {} of rows\n"
             "results          {} bytes a consumer\n",
             json["assembler"].get<std::string>(), number(plan["sharedBytes"]), plan["ctasPerSm"].get<int>(),
             number(plan["sharedLimit"]), number(plan["weightBytes"]), number(plan["rowBytes"]),
             number(plan["stagingBytes"]));
}

/// One step of so many random rows on the emulator.
static void runOnce(const InspectMoeCommand &command, const InspectedMoe &what) {
  codegen::CompileOptions options = what.options;
  options.assemble = false;
  const codegen::MoeArtifact artifact = codegen::compile(what.description, what.config, options);
  const auto kernel =
      command.run.load<runtime::MoeKernel>(command.run.open(options.target.smCount), artifact);
  reference::MoeCase entry{"inspect", referenceShape(what.shape), command.rows, {}};
  entry.options.seed = 1;
  const MoeVerdict verdict = judge(kernel, entry, "cpu", {.sampleRows = cpuSampleRows(entry)});

  RunReport report;
  report.kernel = what.description.name();
  report.label = command.shape.label();
  report.machine = command.machine.name();
  report.config = what.config.str();
  report.workload = fmt::format("{} row{} of random tokens", command.rows, command.rows == 1 ? "" : "s");
  report.json = {{"shape", toJson(what.shape)}, {"config", what.config}, {"rows", command.rows}};
  report.launches = verdict.launches;
  report.findings = verdict.findings;
  report.right = verdict.rightResult();
  report.numbers = verdict.numbers();
  report.message = verdict.message();
  report.comparison = toJson(verdict);
  report.comparison["passed"] = verdict.rightResult();
  report.finish(command.run, command.output.json);
}

static void showResources(const InspectMoeCommand &command, const InspectedMoe &what) {
  const codegen::MoeArtifact artifact = codegen::compile(what.description, what.config, what.options);
  nlohmann::json json = resourcesJson(artifact.manifest, what.config, what.options.target);
  if (!command.output.json)
    return print("configuration    " + what.config.str() + "\n\n" + resourcesText(json));
  json["emit"] = "resources";
  json["config"] = what.config;
  json["shape"] = toJson(what.shape);
  printJson(json);
}

static void run(const InspectMoeCommand &command) {
  const dsl::MoeShape shape = command.shape.shape();
  InspectedMoe what{shape, dsl::moeFfn(shape), {}, {}};
  if (command.output.emit == "dsl" && !command.run.run)
    return command.output.printText(dsl::print(what.description), nullptr, toJson(shape));
  const codegen::MoeProblem problem = codegen::analyzeMoe(what.description);
  what.options.target = command.machine.facts();
  const auto given = command.config.config(problem, what.options.target, command.rows);
  what.config = given ? *given : codegen::defaultMoeConfig(problem, what.options.target, command.rows);
  if (command.run.run)
    return runOnce(command, what);
  if (command.output.resources())
    return showResources(command, what);
  command.output.printText(codegen::emit(what.description, what.config, command.output.stage(), what.options),
                           what.config, toJson(shape));
}

void lathe::tools::addInspectMoe(CLI::App &inspect) {
  auto options = std::make_shared<InspectMoeCommand>();
  CLI::App *command = inspect.add_subcommand("moe", "Mixtures of experts");
  options->shape.add(*command);
  addRowsOption(*command, options->rows);
  options->config.add(*command);
  options->machine.add(*command);
  options->run.add(*command, options->output.add(*command));
  command->footer(
      "Examples:\n"
      "  lathe inspect moe --model deepseek-v3 --emit dsl             # the mathematics, router included\n"
      "  lathe inspect moe --model deepseek-v2-lite --target h100-sxm --emit tile --rows 1\n"
      "  lathe inspect moe --hidden 2048 --intermediate 1408 --experts 64 --top-k 6 --emit ptx\n"
      "  lathe inspect moe --model deepseek-v2-lite --rows 4096 --target h100-sxm --emit resources\n"
      "  lathe inspect moe --model deepseek-v3 --gate f32 --emit tile  # the gate's product in front\n"
      "  lathe inspect moe --hidden 256 --intermediate 128 --experts 8 --top-k 2 --rows 20 --run\n"
      "sass needs nvdisasm or cuobjdump on the PATH; all other stages, and --run, need nothing. With --run, "
      "which "
      "runs\n"
      "--rows random rows on the emulator (minutes for a whole model's layer), the exit code is 1 when the "
      "result is "
      "wrong\n"
      "or a kernel broke a rule of the hardware (a finding). Exit codes else: 0 done, 2 bad input, 3 the "
      "compiler "
      "failed.");
  command->callback([options] { run(*options); });
}
