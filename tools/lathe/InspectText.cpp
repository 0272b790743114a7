//===- InspectText.cpp - Stages and resources for people and programs ----------------------------------===//
//
// See InspectText.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "InspectText.h"

#include "Options.h"
#include "Output.h"

#include <map>

using namespace lathe;
using namespace lathe::tools;

static const std::map<std::string, codegen::Stage> &stages() {
  static const std::map<std::string, codegen::Stage> names{
      {"dsl", codegen::Stage::Dsl},   {"lathe", codegen::Stage::Lathe}, {"tile", codegen::Stage::Tile},
      {"nvvm", codegen::Stage::Nvvm}, {"llvm", codegen::Stage::Llvm},   {"ptx", codegen::Stage::Ptx},
      {"sass", codegen::Stage::Sass}};
  return names;
}

CLI::Option *EmitOptions::add(CLI::App &command) {
  std::vector<std::string> names{"dsl", "lathe", "tile", "nvvm", "llvm", "ptx", "sass", "resources"};
  CLI::Option *option = command.add_option("--emit", emit, "Which stage")
                            ->check(CLI::IsMember(names))
                            ->capture_default_str()
                            ->group("Output");
  addJsonFlag(command, json);
  return option;
}

codegen::Stage EmitOptions::stage() const { return stages().at(emit); }

void EmitOptions::printText(const std::string &text, const nlohmann::json &config,
                            const nlohmann::json &shape) const {
  if (!json)
    return print(text.empty() || text.back() == '\n' ? text : text + "\n");
  printJson({{"emit", emit}, {"config", config}, {"shape", shape}, {"text", text}});
}

nlohmann::json lathe::tools::kernelsJson(const std::vector<const KernelEntry *> &entries) {
  nlohmann::json kernels = nlohmann::json::array();
  for (const KernelEntry *entry : entries)
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
  return kernels;
}

std::string lathe::tools::kernelsText(const nlohmann::json &kernels) {
  Table table({"kernel", "threads", "registers", "spill B", "stack B", "shared B", "wgmma", "TMA loads",
               "mbarrier waits", "setmaxnreg"});
  auto number = [](const nlohmann::json &value) { return grouped(value.get<int64_t>()); };
  for (const auto &kernel : kernels)
    table.add({kernel["name"], number(kernel["threads"]), number(kernel["registers"]),
               number(kernel["spillBytes"]), number(kernel["stackBytes"]),
               grouped(kernel["sharedBytes"].get<int64_t>() + kernel["staticSharedBytes"].get<int64_t>()),
               number(kernel["wgmma"]), number(kernel["tmaLoads"]), number(kernel["mbarrierWaits"]),
               kernel["setmaxnreg"].get<bool>() ? "yes" : "no"});
  return table.str();
}
