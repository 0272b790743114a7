//===- Env.cpp - lathe env -----------------------------------------------------------------------------===//
//
// Prints every environment variable that Lathe reads, with its current value, and what this machine offers:
// GPUs, the emulator, the assembler, NVRTC. The first thing to look at when a machine behaves unlike another.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "Options.h"
#include "Output.h"

#include "lathe/codegen/Target/Assemble.h"
#include "lathe/reference/AttentionReference.h"
#include "lathe/runtime/device/emulator/Emulator.h"
#include "lathe/support/Env.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::tools;

static nlohmann::json variablesJson() {
  nlohmann::json list = nlohmann::json::array();
  for (const EnvVariable &variable : environmentVariables()) {
    auto value = env(variable.name);
    list.push_back({{"name", variable.name},
                    {"type", typeText(variable)},
                    {"default", variable.defaultValue},
                    {"meaning", variable.meaning},
                    {"value", value ? nlohmann::json(*value) : nlohmann::json(nullptr)}});
  }
  return list;
}

/// Name of each GPU, or why it cannot be used.
static std::vector<std::string> gpuLines() {
  std::vector<std::string> lines;
  for (int ordinal = 0; ordinal < runtime::cudaDeviceCount(); ++ordinal)
    try {
      const auto device = runtime::openCudaDevice(ordinal);
      const runtime::DeviceProperties &facts = device->properties();
      lines.push_back(fmt::format("{} (sm_{}{}, {} SMs, {})", facts.name, facts.major, facts.minor,
                                  facts.smCount, bytesText(double(facts.memoryBytes))));
    } catch (const Error &error) {
      lines.push_back(error.what());
    }
  return lines;
}

static std::string emulatorLine() {
  const runtime::DeviceProperties facts = runtime::openEmulator()->properties();
  return fmt::format("{} (sm_{}{}, {} SMs, on the CPU)", facts.name, facts.major, facts.minor, facts.smCount);
}

/// What runs kernels where no --device is given.
static const char *defaultDevice() {
  return runtime::defaultDeviceKind() == runtime::DeviceKind::Emulator ? "emulator" : "cuda";
}

static std::string assemblerLine() {
  try {
    return codegen::chosenAssembler();
  } catch (const Error &error) {
    return error.what();
  }
}

static nlohmann::json machineJson() {
  return {{"version", LATHE_VERSION},     {"compiler", codegen::compilerVersion()},
          {"gpus", gpuLines()},           {"gpuReason", runtime::cudaUnavailableReason()},
          {"emulator", emulatorLine()},   {"device", defaultDevice()},
          {"assembler", assemblerLine()}, {"nvrtc", reference::nvrtcAvailable()}};
}

static void printForPeople(const nlohmann::json &machine) {
  Table table({"variable", "value", "type", "default", "meaning"});
  for (const EnvVariable &variable : environmentVariables())
    table.add({variable.name, env(variable.name).value_or("(not set)"), typeText(variable),
               variable.defaultValue, variable.meaning});
  print(table.str() + "\n");
  print(fmt::format("version    {}\ncompiler   {}\nassembler  {}\nNVRTC      {}\n", LATHE_VERSION,
                    machine["compiler"].get<std::string>(), machine["assembler"].get<std::string>(),
                    machine["nvrtc"].get<bool>() ? "found" : "not found"));
  for (const auto &gpu : machine["gpus"])
    print(fmt::format("GPU        {}\n", gpu.get<std::string>()));
  if (machine["gpus"].empty())
    print(fmt::format("GPU        none: {}\n", machine["gpuReason"].get<std::string>()));
  print(fmt::format("emulator   {}\n", machine["emulator"].get<std::string>()));
  print(fmt::format("kernels    run on {} where no --device is given\n",
                    machine["device"] == "emulator" ? "the emulator" : "GPU 0"));
}

void lathe::tools::addEnv(CLI::App &app) {
  auto json = std::make_shared<bool>(false);
  CLI::App *command = app.add_subcommand("env", "Print environment variables and what this machine offers");
  addJsonFlag(*command, *json);
  command->footer("Examples:\n  lathe env\n  LATHE_ASSEMBLER=ptxas lathe env --json");
  command->callback([json] {
    nlohmann::json machine = machineJson();
    if (!*json)
      return printForPeople(machine);
    machine["variables"] = variablesJson();
    printJson(machine);
  });
}
