//===- Inspect.cpp - lathe inspect ---------------------------------------------------------------------===//
//
// Shows a kernel at any stage of its lowering: the mathematics, the two dialects, NVVM, LLVM IR, PTX, machine
// code, what the hardware has to give for it, and, with --run, the kernel at work (InspectRun.cpp). Compiles
// anew each time and leaves the cache alone.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "InspectRun.h"
#include "InspectText.h"
#include "Options.h"
#include "Output.h"

#include "lathe/dsl/Print.h"
#include "lathe/runtime/Jit.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::tools;

namespace {
struct InspectCommand {
  ShapeOptions shape;
  MachineOptions machine;
  ConfigOption config;
  InspectRunOptions run;
  EmitOptions output;
};

struct Inspected {
  dsl::Kernel description;
  codegen::AttentionProblem problem;
  codegen::CompileOptions options;
  codegen::Config config;
};
} // namespace

static nlohmann::json resourcesJson(const Inspected &what, const Manifest &manifest) {
  const codegen::Resources planned = codegen::resources(what.problem, what.config);
  return {{"assembler", manifest.assembler},
          {"kernels", kernelsJson({&manifest.plan, &manifest.attend, &manifest.combine})},
          {"schedule",
           {{"stageBytes", planned.stageBytes},
            {"sharedBytes", planned.sharedBytes},
            {"sharedLimit", what.options.target.sharedBytesPerCta},
            {"threads", planned.threads},
            {"consumerRegisters", planned.consumerRegisters},
            {"producerRegisters", planned.producerRegisters},
            {"mbarriers", planned.mbarriers},
            {"rowBlocks", planned.rowBlocks}}}};
}

static std::string resourcesText(const nlohmann::json &json) {
  auto number = [](const nlohmann::json &value) { return grouped(value.get<int64_t>()); };
  const auto &plan = json["schedule"];
  return kernelsText(json["kernels"]) +
         fmt::format("\nassembled by     {}\nshared memory    {} of {} bytes; {} a stage\n"
                     "registers        consumers {}, producer {} (setmaxnreg)\nmbarriers       "
                     " {}\nrow blocks       {}\n",
                     json["assembler"].get<std::string>(), number(plan["sharedBytes"]),
                     number(plan["sharedLimit"]), number(plan["stageBytes"]),
                     plan["consumerRegisters"].get<int>(), plan["producerRegisters"].get<int>(),
                     plan["mbarriers"].get<int>(), plan["rowBlocks"].get<int>());
}

static void run(const InspectCommand &command) {
  Inspected what{dsl::mlaDecode(command.shape.shape()), {}, {}, {}};
  const nlohmann::json shape = toJson(command.shape.shape());
  if (command.output.emit == "dsl" && !command.run.run)
    return command.output.printText(dsl::print(what.description), what.config, shape);
  what.problem = codegen::analyze(what.description);
  what.options.target = command.machine.facts();
  auto given = command.config.config(what.problem, what.options.target);
  what.config =
      given ? *given
            : codegen::defaultConfig(what.problem, what.options.target, command.config.batchInvariant);
  if (command.run.run)
    return inspectRun(command.run, {what.description, command.shape, what.config, what.options.target,
                                    command.machine.name(), command.output.json});
  if (!command.output.resources())
    return command.output.printText(
        codegen::emit(what.description, what.config, command.output.stage(), what.options), what.config,
        shape);

  const codegen::Artifact artifact = codegen::compile(what.description, what.config, what.options);
  nlohmann::json json = resourcesJson(what, artifact.manifest);
  if (!command.output.json)
    return print("configuration    " + what.config.str() + "\n\n" + resourcesText(json));
  json["emit"] = "resources";
  json["config"] = what.config;
  json["shape"] = shape;
  printJson(json);
}

void lathe::tools::addInspect(CLI::App &app) {
  auto options = std::make_shared<InspectCommand>();
  CLI::App *command = app.add_subcommand("inspect", "Show a kernel at any stage of its lowering, or at work");
  options->shape.add(*command);
  options->config.add(*command);
  options->machine.add(*command);
  options->run.add(*command, options->output.add(*command));
  command->footer(
      "Examples:\n"
      "  lathe inspect --model deepseek-v2-lite --emit dsl        # the mathematics\n"
      "  lathe inspect --heads 16 --target h100-sxm --emit tile   # roles, stages, barriers\n"
      "  lathe inspect --heads 16 --target h100-sxm --emit ptx | grep -c wgmma.mma_async\n"
      "  lathe inspect --heads 128 --query-tokens 2 --target h100-sxm --emit resources\n"
      "  lathe inspect --heads 16 --run --lengths const:1000      # on the emulator: counters and findings\n"
      "  lathe inspect --heads 16 --emit ptx > k.ptx; $EDITOR k.ptx; lathe inspect --heads 16 --run --ptx "
      "k.ptx\n"
      "  lathe inspect moe --model deepseek-v2-lite --emit tile   # mixtures of experts: lathe inspect moe "
      "--help\n"
      "sass needs nvdisasm or cuobjdump on the PATH; all other stages, and --run, need nothing. With --run "
      "the exit\n"
      "code is 1 when the result is wrong or the kernel broke a rule of the hardware (a finding).");
  addInspectMoe(*command);
  command->callback([options, command] {
    if (command->get_subcommands().empty())
      run(*options);
  });
}
