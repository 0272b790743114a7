//===- Tune.cpp - lathe tune ---------------------------------------------------------------------------===//
//
// Chooses a configuration for a kernel, a GPU and a workload: on the GPU by measuring verified candidates,
// elsewhere by the cost model, with --verify among what is right on the emulator. Whatever runs a kernel does
// so in processes of its own (TuneOnGpu.cpp, TuneOnEmulator.cpp): a candidate that hangs or crashes costs
// only itself. Ends with the choice, the files written and how to look into them. Mixtures of experts are in
// TuneMoe.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "Lengths.h"
#include "Options.h"
#include "TuneOnEmulator.h"
#include "TuneParts.h"

#include "lathe/runtime/Jit.h"
#include "lathe/support/Error.h"

using namespace lathe;
using namespace lathe::tools;
using autotuner::TuneRequest;
using autotuner::TuneResult;

namespace {
struct TuneCommand {
  ShapeOptions shape;
  MachineOptions machine;
  LengthsOptions lengths;
  TuneSwitches switches;
  bool batchInvariant = false;
};

/// What the command ends with.
struct Tuned {
  TuneResult result;
  runtime::JitArtifact artifact; ///< Of the chosen configuration.
  bool emulated = false;         ///< Candidates were verified on the emulator.
};
} // namespace

/// What the tuner is asked, without its callbacks.
static TuneRequest makeRequest(const TuneCommand &command, const dsl::Kernel &description,
                               const GpuFacts &gpu) {
  TuneRequest request;
  request.problem = codegen::analyze(description);
  request.workload = command.lengths.workload();
  request.batchInvariant = command.batchInvariant;
  fillIn(request, command.machine, command.switches, gpu);
  return request;
}

static TuneResult search(const TuneCommand &command, const TuneRequest &request,
                         const dsl::Kernel &description, const GpuFacts &gpu, const runtime::Jit &jit) {
  CandidateJob job{description,
                   referenceShape(command.shape),
                   request.workload.draw(),
                   command.machine.ordinal(),
                   command.switches.stepSeconds(),
                   command.batchInvariant,
                   command.switches.timing};
  autotuner::SearchCallbacks callbacks;
  if (gpu.usable)
    callbacks = gpuCallbacks(jit, std::move(job), request.target);
  else if (command.switches.verify)
    callbacks = emulatorCallbacks(jit, std::move(job), request.target);
  return tuneWithProgress(request, std::move(callbacks));
}

//===--------------------------------------------------------------------------------------------------===//
// Printing
//===--------------------------------------------------------------------------------------------------===//

/// Options that name the same kernel again, for the commands that are suggested.
static std::string shapeArguments(const TuneCommand &command) {
  const ShapeOptions &shape = command.shape;
  std::string text = shape.model.empty() ? fmt::format("--heads {}", shape.heads) : "--model " + shape.model;
  if (shape.tensorParallel != 1)
    text += fmt::format(" --tp {}", shape.tensorParallel);
  if (shape.model.empty() && (shape.latent != 512 || shape.rope != 64 || shape.value))
    text += fmt::format(" --latent {} --rope {} --value {}", shape.latent, shape.rope, shape.value);
  if (shape.page != 64)
    text += fmt::format(" --page {}", shape.page);
  if (shape.queryTokens != 1)
    text += fmt::format(" --query-tokens {}", shape.queryTokens);
  return text + (shape.full ? " --full" : "");
}

static void printForPeople(const TuneCommand &command, const Tuned &tuned) {
  const TuneResult &result = tuned.result;
  if (command.switches.explain)
    print(explainText(result));
  print(fmt::format("kernel         mla_decode, {}\n", command.shape.label()));
  print(fmt::format("workload       {}; {} tokens, mean {:.0f}, longest {}\n", result.request.workload.str(),
                    grouped(result.drawn.total), result.drawn.mean, grouped(result.drawn.most)));
  print(fmt::format("machine        {}\n", machineText(result.request)));
  if (tuned.emulated)
    print(verificationText(result, verifiedText(result.request.workload.draw())));
  print(choiceText(result, tuned.artifact.report));
  const std::string entry = tuned.artifact.report.entryPath.string();
  const std::string shape = shapeArguments(command);
  const std::string target = result.request.device.empty() ? " --target " + result.request.machine.name : "";
  print("Files written\n");
  print(fmt::format("  {}   every candidate's fate, and the choice\n",
                    result.request.database->path().string()));
  print(fmt::format("  {}/   key.json, kernel.ptx, kernel.cubin, stats.json\n\n", entry));
  print("How to look into them\n");
  print(fmt::format("  lathe inspect {}{} --config {} --emit resources\n", shape, target,
                    configArgument(result.best)));
  print(fmt::format("  lathe inspect {}{} --config {} --emit tile\n", shape, target,
                    configArgument(result.best)));
  print(fmt::format("  lathe inspect {}{} --config {} --run\n", shape, target, configArgument(result.best)));
  print(fmt::format("  less {}/kernel.ptx\n", entry));
  print(fmt::format("  python3 -m json.tool {} | less\n", result.request.database->path().string()));
  print("  lathe cache list\n");
}

static void printAsJson(const Tuned &tuned) {
  nlohmann::json json = resultJson(tuned.result, tuned.artifact.report);
  if (tuned.emulated)
    json["verification"] = {{"device", "emulator"},
                            {"cornerLengths", cornerLengths()},
                            {"workloadLengths", sampleLengths(tuned.result.request.workload.draw())}};
  json["files"] = {tuned.result.request.database->path().string(), tuned.artifact.report.entryPath.string()};
  printJson(json);
}

static void run(const TuneCommand &command) {
  const dsl::Kernel description = dsl::mlaDecode(command.shape.shape());
  command.lengths.workload(); // A bad trace is told before anything else happens.
  command.switches.check();
  const GpuFacts gpu = findGpu(command.machine, command.switches);
  const TuneRequest request = makeRequest(command, description, gpu);
  const runtime::Jit jit;
  Tuned tuned;
  {
    const Interruption interruption;
    tuned.result = search(command, request, description, gpu, jit);
  }
  tuned.emulated = command.switches.verify && !gpu.usable;

  runtime::JitRequest choice;
  choice.target = request.target;
  choice.config = tuned.result.best;
  choice.batchInvariant = command.batchInvariant;
  tuned.artifact = jit.build(description, choice);
  command.switches.json ? printAsJson(tuned) : printForPeople(command, tuned);
  if (tuned.emulated && tuned.result.complete && !tuned.result.verified)
    throw CommandFailed{ExitVerification};
}

void lathe::tools::addTune(CLI::App &app) {
  auto options = std::make_shared<TuneCommand>();
  CLI::App *command = app.add_subcommand("tune", "Choose the configuration for a GPU and a workload");
  options->shape.add(*command);
  addBatchInvariantFlag(*command, options->batchInvariant);
  options->lengths.add(*command, 64);
  options->machine.add(*command);
  options->switches.add(*command);
  command->footer(
      "Examples:\n"
      "  lathe tune --model deepseek-v2-lite                          # 64 sequences of 4096 tokens\n"
      "  lathe tune --model deepseek-v3 --tp 8 --batch 32 --lengths normal:4096:2048\n"
      "  lathe tune --model ./config.json --tp 4 --batch 256 --lengths trace:requests.csv\n"
      "  lathe tune --heads 16 --batch 64 --lengths chat --explain\n"
      "  lathe tune --heads 16 --batch 64 --batch-invariant           # results that no batch changes\n"
      "  lathe tune --model kimi-k2 --tp 8 --target h100-sxm --json   # no GPU: the cost model\n"
      "  lathe tune --model deepseek-v2-lite --verify                 # no GPU: what wins is right on the "
      "emulator\n"
      "  lathe tune moe --model deepseek-v2-lite --rows 1:4096        # mixtures of experts: lathe tune moe "
      "--help\n"
      "An interrupted run continues where it was. Candidates are verified before they may win, without a GPU "
      "only\n"
      "with --verify (exit code 1 when none is right); the default always races and wins ties.");
  addTuneMoe(*command);
  command->callback([options, command] {
    if (command->get_subcommands().empty())
      run(*options);
  });
}
