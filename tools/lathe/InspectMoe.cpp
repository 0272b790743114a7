//===- InspectMoe.cpp - lathe inspect moe --------------------------------------------------------------===//
//
// As `lathe inspect`, for a mixture of experts: any stage of its lowering, and what the hardware has to give.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "InspectText.h"
#include "MoeOptions.h"
#include "Output.h"

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
  EmitOptions output;
};
} // namespace

static nlohmann::json resourcesJson(const MoeManifest &manifest, const codegen::MoeConfig &config,
                                    const codegen::Target &target) {
  const codegen::MoeMemory memory = codegen::moeMemory(config);
  return {{"assembler", manifest.assembler},
          {"kernels", kernelsJson({&manifest.route, &manifest.up, &manifest.down, &manifest.combine})},
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

static void run(const InspectMoeCommand &command) {
  const dsl::MoeShape shape = command.shape.shape();
  const dsl::Kernel description = dsl::moeFfn(shape);
  if (command.output.emit == "dsl")
    return command.output.printText(dsl::print(description), nullptr, toJson(shape));
  const codegen::MoeProblem problem = codegen::analyzeMoe(description);
  codegen::CompileOptions options;
  options.target = command.machine.facts();
  const auto given = command.config.config(problem, options.target, command.rows);
  const codegen::MoeConfig config =
      given ? *given : codegen::defaultMoeConfig(problem, options.target, command.rows);
  if (!command.output.resources())
    return command.output.printText(codegen::emit(description, config, command.output.stage(), options),
                                    config, toJson(shape));

  const codegen::MoeArtifact artifact = codegen::compile(description, config, options);
  nlohmann::json json = resourcesJson(artifact.manifest, config, options.target);
  if (!command.output.json)
    return print("configuration    " + config.str() + "\n\n" + resourcesText(json));
  json["emit"] = "resources";
  json["config"] = config;
  json["shape"] = toJson(shape);
  printJson(json);
}

void lathe::tools::addInspectMoe(CLI::App &inspect) {
  auto options = std::make_shared<InspectMoeCommand>();
  CLI::App *command = inspect.add_subcommand("moe", "Mixtures of experts");
  options->shape.add(*command);
  addRowsOption(*command, options->rows);
  options->config.add(*command);
  options->machine.add(*command);
  options->output.add(*command);
  command->footer(
      "Examples:\n"
      "  lathe inspect moe --model deepseek-v3 --emit dsl             # the mathematics, router included\n"
      "  lathe inspect moe --model deepseek-v2-lite --target h100-sxm --emit tile --rows 1\n"
      "  lathe inspect moe --hidden 2048 --intermediate 1408 --experts 64 --top-k 6 --emit ptx\n"
      "  lathe inspect moe --model deepseek-v2-lite --rows 4096 --target h100-sxm --emit resources\n"
      "sass needs nvdisasm or cuobjdump on the PATH; all other stages need nothing. Exit codes: 0 done, 2 "
      "bad "
      "input,\n"
      "3 the compiler failed.");
  command->callback([options] { run(*options); });
}
