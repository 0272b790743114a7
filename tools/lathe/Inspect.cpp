//===- Inspect.cpp - lathe inspect ---------------------------------------------------------------------===//
//
// Shows a kernel at any stage of its lowering: the mathematics, the two dialects, NVVM, LLVM IR, PTX, machine
// code, what the hardware has to give for it, and, with --run, the kernel at work (InspectRun.cpp). Compiles
// anew each time and leaves the cache alone.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "InspectRun.h"
#include "Options.h"
#include "Output.h"

#include "lathe/dsl/Print.h"
#include "lathe/runtime/Jit.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <map>

using namespace lathe;
using namespace lathe::tools;

namespace {
struct InspectCommand {
  ShapeOptions shape;
  MachineOptions machine;
  ConfigOption config;
  InspectRunOptions run;
  std::string emit = "dsl";
  bool json = false;
};

struct Inspected {
  dsl::Kernel description;
  codegen::AttentionProblem problem;
  codegen::CompileOptions options;
  codegen::Config config;
};
} // namespace

static const std::map<std::string, codegen::Stage> &stages() {
  static const std::map<std::string, codegen::Stage> names{
      {"dsl", codegen::Stage::Dsl},   {"lathe", codegen::Stage::Lathe}, {"tile", codegen::Stage::Tile},
      {"nvvm", codegen::Stage::Nvvm}, {"llvm", codegen::Stage::Llvm},   {"ptx", codegen::Stage::Ptx},
      {"sass", codegen::Stage::Sass}};
  return names;
}

static nlohmann::json resourcesJson(const Inspected &what, const Manifest &manifest) {
  const codegen::Resources planned = codegen::resources(what.problem, what.config);
  nlohmann::json kernels = nlohmann::json::array();
  for (const KernelEntry *entry : {&manifest.plan, &manifest.attend, &manifest.combine})
    kernels.push_back({{"name", entry->name},
                       {"threads", entry->threads},
                       {"cluster", entry->cluster},
                       {"sharedBytes", entry->sharedBytes},
                       {"staticSharedBytes", entry->resources.staticSharedBytes},
                       {"registers", entry->resources.registers},
                       {"spillBytes", entry->resources.spillBytes},
                       {"stackBytes", entry->resources.stackBytes},
                       {"wgmma", entry->resources.wgmmaCount},
                       {"tmaLoads", entry->resources.tmaLoadCount},
                       {"mbarrierWaits", entry->resources.mbarrierWaitCount},
                       {"setmaxnreg", entry->resources.usesSetmaxnreg}});
  return {{"assembler", manifest.assembler},
          {"kernels", kernels},
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
  Table table({"kernel", "threads", "registers", "spill B", "stack B", "shared B", "wgmma", "TMA loads",
               "mbarrier waits", "setmaxnreg"});
  auto number = [](const nlohmann::json &value) { return grouped(value.get<int64_t>()); };
  for (const auto &kernel : json["kernels"])
    table.add({kernel["name"], number(kernel["threads"]), number(kernel["registers"]),
               number(kernel["spillBytes"]), number(kernel["stackBytes"]),
               grouped(kernel["sharedBytes"].get<int64_t>() + kernel["staticSharedBytes"].get<int64_t>()),
               number(kernel["wgmma"]), number(kernel["tmaLoads"]), number(kernel["mbarrierWaits"]),
               kernel["setmaxnreg"].get<bool>() ? "yes" : "no"});
  const auto &plan = json["schedule"];
  return table.str() + fmt::format("\nassembled by     {}\nshared memory    {} of {} bytes; {} a stage\n"
                                   "registers        consumers {}, producer {} (setmaxnreg)\nmbarriers       "
                                   " {}\nrow blocks       {}\n",
                                   json["assembler"].get<std::string>(), number(plan["sharedBytes"]),
                                   number(plan["sharedLimit"]), number(plan["stageBytes"]),
                                   plan["consumerRegisters"].get<int>(), plan["producerRegisters"].get<int>(),
                                   plan["mbarriers"].get<int>(), plan["rowBlocks"].get<int>());
}

static void printText(const InspectCommand &command, const Inspected &what, const std::string &text) {
  if (!command.json)
    return print(text.empty() || text.back() == '\n' ? text : text + "\n");
  printJson({{"emit", command.emit},
             {"config", what.config},
             {"shape", toJson(command.shape.shape())},
             {"text", text}});
}

static void run(const InspectCommand &command) {
  Inspected what{dsl::mlaDecode(command.shape.shape()), {}, {}, {}};
  if (command.emit == "dsl" && !command.run.run)
    return printText(command, what, dsl::print(what.description));
  what.problem = codegen::analyze(what.description);
  what.options.target = command.machine.facts();
  auto given = command.config.config(what.problem, what.options.target);
  what.config =
      given ? *given
            : codegen::defaultConfig(what.problem, what.options.target, command.config.batchInvariant);
  if (command.run.run)
    return inspectRun(command.run, {what.description, command.shape, what.config, what.options.target,
                                    command.machine.name(), command.json});
  if (command.emit != "resources")
    return printText(command, what,
                     codegen::emit(what.description, what.config, stages().at(command.emit), what.options));

  const codegen::Artifact artifact = codegen::compile(what.description, what.config, what.options);
  nlohmann::json json = resourcesJson(what, artifact.manifest);
  if (!command.json)
    return print("configuration    " + what.config.str() + "\n\n" + resourcesText(json));
  json["emit"] = "resources";
  json["config"] = what.config;
  json["shape"] = toJson(command.shape.shape());
  printJson(json);
}

void lathe::tools::addInspect(CLI::App &app) {
  auto options = std::make_shared<InspectCommand>();
  CLI::App *command = app.add_subcommand("inspect", "Show a kernel at any stage of its lowering, or at work");
  options->shape.add(*command);
  options->config.add(*command);
  options->machine.add(*command);
  std::vector<std::string> names{"dsl", "lathe", "tile", "nvvm", "llvm", "ptx", "sass", "resources"};
  auto *emit = command->add_option("--emit", options->emit, "Which stage")
                   ->check(CLI::IsMember(names))
                   ->capture_default_str()
                   ->group("Output");
  options->run.add(*command, emit);
  addJsonFlag(*command, options->json);
  command->footer(
      "Examples:\n"
      "  lathe inspect --model deepseek-v2-lite --emit dsl        # the mathematics\n"
      "  lathe inspect --heads 16 --target h100-sxm --emit tile   # roles, stages, barriers\n"
      "  lathe inspect --heads 16 --target h100-sxm --emit ptx | grep -c wgmma.mma_async\n"
      "  lathe inspect --heads 128 --query-tokens 2 --target h100-sxm --emit resources\n"
      "  lathe inspect --heads 16 --run --lengths const:1000      # on the emulator: counters and findings\n"
      "  lathe inspect --heads 16 --emit ptx > k.ptx; $EDITOR k.ptx; lathe inspect --heads 16 --run --ptx "
      "k.ptx\n"
      "sass needs nvdisasm or cuobjdump on the PATH; all other stages, and --run, need nothing. With --run "
      "the exit\n"
      "code is 1 when the result is wrong or the kernel broke a rule of the hardware (a finding).");
  command->callback([options] { run(*options); });
}
