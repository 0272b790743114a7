//===- Compile.cpp - lathe compile ---------------------------------------------------------------------===//
//
// Compiles one kernel into the cache, or finds it there, and tells how long each stage took and where the
// files are. With -o it writes a folder that an application can load with the runtime alone (examples/embed).
//
//===--------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "Lengths.h"
#include "Options.h"
#include "Output.h"

#include "lathe/runtime/Jit.h"
#include "lathe/support/Error.h"
#include "lathe/support/Files.h"

#include <fmt/format.h>

#include <chrono>

using namespace lathe;
using namespace lathe::tools;
namespace fs = std::filesystem;

namespace {
struct CompileCommand {
  ShapeOptions shape;
  MachineOptions machine;
  ConfigOption config;
  std::string directory;
  LengthsOptions lengths;
  bool load = false;
  bool json = false;
};
} // namespace

/// kernel.ptx, kernel.cubin (where assembled), manifest.json.
static std::vector<std::string> writeFiles(const runtime::JitArtifact &artifact, const fs::path &directory) {
  std::error_code failure;
  fs::create_directories(directory, failure);
  if (failure)
    throw UserError({"compile", "the output folder cannot be made",
                     directory.string() + ": " + failure.message(), "choose another with -o"});
  std::vector<std::string> written;
  auto write = [&](const char *name, const std::string &bytes) {
    writeFileAtomically(directory / name, bytes);
    written.push_back((directory / name).string());
  };
  write("kernel.ptx", artifact.entry.ptx);
  if (!artifact.entry.cubin.empty())
    write("kernel.cubin", artifact.entry.cubin);
  write("manifest.json", nlohmann::json(artifact.manifest).dump(2) + "\n");
  return written;
}

static nlohmann::json reportJson(const CompileCommand &command, const runtime::JitArtifact &artifact,
                                 const std::vector<std::string> &files) {
  const runtime::JitReport &report = artifact.report;
  return {{"kernel", artifact.manifest.description},
          {"shape", toJson(command.shape.shape())},
          {"machine", command.machine.name()},
          {"config", report.config},
          {"configSource", name(report.source)},
          {"configReason", report.sourceReason},
          {"compiled", report.compiled},
          {"digest", report.digest},
          {"entry", report.entryPath.string()},
          {"assembler", artifact.manifest.assembler},
          {"ptxBytes", artifact.entry.ptx.size()},
          {"cubinBytes", artifact.entry.cubin.size()},
          {"stages", toJson(report.times)},
          {"totalMs", report.totalMs},
          {"files", files}};
}

static void printForPeople(const CompileCommand &command, const runtime::JitArtifact &artifact,
                           const std::vector<std::string> &files) {
  const runtime::JitReport &report = artifact.report;
  print(fmt::format("kernel         {} ({}) for {}\n", artifact.manifest.description, command.shape.label(),
                    command.machine.name()));
  print(fmt::format("configuration  {} ({})\n", report.config.str(), name(report.source)));
  print(fmt::format("{}  {}\n", report.compiled ? "compiled     " : "from cache   ",
                    stageTimesText(report.times)));
  print(fmt::format("assembler      {}\n", artifact.manifest.assembler));
  print(fmt::format("cache entry    {}\n", report.entryPath.string()));
  for (const std::string &file : files)
    print(fmt::format("wrote          {}\n", file));
}

/// Loads what was built and adds the time to the report.
static void loadOnDevice(const CompileCommand &command, runtime::JitArtifact &artifact) {
  const auto device = command.machine.open(command.json);
  const auto start = std::chrono::steady_clock::now();
  const runtime::Kernel kernel(device, artifact.image(device->imageKind()), artifact.manifest);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  artifact.report.times.push_back({"load", took.count()});
  artifact.report.totalMs += took.count();
}

static void run(const CompileCommand &command) {
  const dsl::Kernel description = dsl::mlaDecode(command.shape.shape());
  runtime::JitRequest request;
  request.target = command.machine.facts();
  request.machine = command.machine.databaseName();
  if (command.lengths.batch > 0) {
    const autotuner::Workload workload = command.lengths.workload();
    const autotuner::LengthStats stats = autotuner::lengthStats(workload.draw());
    request.workload = workload.json();
    request.batch = stats.batch;
    request.meanTokens = stats.mean;
  }
  request.batchInvariant = command.config.batchInvariant;
  request.config = command.config.config(codegen::analyze(description), request.target);
  const runtime::Jit jit;
  runtime::JitArtifact artifact = jit.build(description, request);
  if (command.load)
    loadOnDevice(command, artifact);
  std::vector<std::string> files;
  if (!command.directory.empty())
    files = writeFiles(artifact, command.directory);
  if (command.json)
    return printJson(reportJson(command, artifact, files));
  printForPeople(command, artifact, files);
}

void lathe::tools::addCompile(CLI::App &app) {
  auto options = std::make_shared<CompileCommand>();
  CLI::App *command = app.add_subcommand("compile", "Compile a kernel into the cache");
  options->shape.add(*command);
  options->config.add(*command);
  options->machine.add(*command);
  options->lengths.add(*command, 0);
  command
      ->add_option("-o,--output", options->directory,
                   "Also write kernel.ptx, kernel.cubin, manifest.json there")
      ->type_name("DIR")
      ->group("Output");
  command->add_flag("--load", options->load, "Also load the kernel on the device and report the time")
      ->group("Output");
  addJsonFlag(*command, options->json);
  command->footer(
      "Examples:\n"
      "  lathe compile --model deepseek-v2-lite                      # for the GPU in this machine\n"
      "  lathe compile --model deepseek-v3 --tp 8 --target h100-sxm  # for a GPU that is elsewhere\n"
      "  lathe compile --model deepseek-v2-lite --batch 64 --tokens 4096   # as tuned for this workload\n"
      "  lathe compile --heads 16 --config 'kvTile=64,stages=2' -o kernels/\n"
      "  lathe compile --model ./config.json --tp 4 --page 128 --json");
  command->callback([options] { run(*options); });
}
