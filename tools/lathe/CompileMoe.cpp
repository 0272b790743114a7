//===- CompileMoe.cpp - lathe compile moe --------------------------------------------------------------===//
//
// As `lathe compile`, for a mixture of experts.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "CompileReport.h"
#include "MoeOptions.h"

#include "lathe/autotuner/MoeWorkload.h"

using namespace lathe;
using namespace lathe::tools;

namespace {
struct CompileMoeCommand {
  MoeShapeOptions shape;
  MachineOptions machine;
  MoeConfigOption config;
  int rows = 64;
  double zipf = 0;
  CompileOutput output;
};
} // namespace

static void run(const CompileMoeCommand &command) {
  const dsl::MoeShape shape = command.shape.shape();
  const dsl::Kernel description = dsl::moeFfn(shape);
  runtime::MoeJitRequest request;
  request.target = command.machine.facts();
  request.machine = command.machine.databaseName();
  const autotuner::MoeWorkload workload(command.rows, command.zipf);
  request.workload = workload.json();
  request.rows = workload.rows();
  request.zipf = workload.zipf();
  request.config = command.config.config(codegen::analyzeMoe(description), request.target, command.rows);
  const runtime::Jit jit;
  runtime::MoeJitArtifact artifact = jit.build(description, request);
  if (command.output.load)
    loadOnDevice<runtime::MoeKernel>(command.machine, command.output.json, artifact);
  CompileReport report = reportOf(artifact);
  report.label = command.shape.label();
  report.shape = toJson(shape);
  report.machine = command.machine.name();
  report.finish(command.output);
}

void lathe::tools::addCompileMoe(CLI::App &compile) {
  auto options = std::make_shared<CompileMoeCommand>();
  CLI::App *command = compile.add_subcommand("moe", "Mixtures of experts");
  options->shape.add(*command);
  addRowsOption(*command, options->rows);
  addZipfOption(*command, options->zipf);
  options->config.add(*command);
  options->machine.add(*command);
  options->output.add(*command);
  command->footer(
      "Examples:\n"
      "  lathe compile moe --model deepseek-v2-lite                      # for the GPU in this machine\n"
      "  lathe compile moe --model deepseek-v3 --ep 8 --rows 256 --target h100-sxm   # as tuned for so many "
      "rows\n"
      "  lathe compile moe --hidden 2048 --intermediate 1408 --experts 64 --top-k 6 --router given\n"
      "  lathe compile moe --model deepseek-v2-lite --gate bf16             # logits made from rows and a "
      "gate\n"
      "  lathe compile moe --model deepseek-v2-lite --config 'tokenTile=64,consumers=2' -o kernels/ --json\n"
      "Exit codes: 0 done, 2 bad input, 3 the compiler failed, 4 the device failed (--load).");
  command->callback([options] { run(*options); });
}
