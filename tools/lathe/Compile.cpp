//===- Compile.cpp - lathe compile ---------------------------------------------------------------------===//
//
// Compiles one kernel into the cache, or finds it there, and tells how long each stage took and where the
// files are. With -o it writes a folder that an application can load with the runtime alone (examples/embed).
//
//===--------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "CompileReport.h"
#include "Lengths.h"

using namespace lathe;
using namespace lathe::tools;

namespace {
struct CompileCommand {
  ShapeOptions shape;
  MachineOptions machine;
  ConfigOption config;
  LengthsOptions lengths;
  CompileOutput output;
};
} // namespace

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
  if (command.output.load)
    loadOnDevice<runtime::Kernel>(command.machine, command.output.json, artifact);
  CompileReport report = reportOf(artifact);
  report.label = command.shape.label();
  report.shape = toJson(command.shape.shape());
  report.machine = command.machine.name();
  report.finish(command.output);
}

void lathe::tools::addCompile(CLI::App &app) {
  auto options = std::make_shared<CompileCommand>();
  CLI::App *command = app.add_subcommand("compile", "Compile a kernel into the cache");
  options->shape.add(*command);
  options->config.add(*command);
  options->machine.add(*command);
  options->lengths.add(*command, 0);
  options->output.add(*command);
  command->footer(
      "Examples:\n"
      "  lathe compile --model deepseek-v2-lite                      # for the GPU in this machine\n"
      "  lathe compile --model deepseek-v3 --tp 8 --target h100-sxm  # for a GPU that is elsewhere\n"
      "  lathe compile --model deepseek-v2-lite --batch 64 --tokens 4096   # as tuned for this workload\n"
      "  lathe compile --heads 16 --config 'kvTile=64,stages=2' -o kernels/\n"
      "  lathe compile --model ./config.json --tp 4 --page 128 --json\n"
      "  lathe compile moe --model deepseek-v2-lite                  # mixtures of experts: lathe compile "
      "moe --help");
  addCompileMoe(*command);
  command->callback([options, command] {
    if (command->get_subcommands().empty())
      run(*options);
  });
}
