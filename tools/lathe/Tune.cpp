//===- Tune.cpp - lathe tune ---------------------------------------------------------------------------===//
//
// Chooses a configuration for a kernel, a GPU and a workload: on the GPU by measuring verified candidates,
// elsewhere by the cost model, with --verify among what is right on the emulator. Whatever runs a kernel does
// so in processes of its own (TuneOnGpu.cpp, TuneOnEmulator.cpp): a candidate that hangs or crashes costs
// only itself. Ends with the choice, the files written and how to look into them.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "Lengths.h"
#include "Options.h"
#include "Output.h"
#include "Progress.h"
#include "TuneOnEmulator.h"

#include "lathe/autotuner/Tune.h"
#include "lathe/runtime/Jit.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <csignal>

using namespace lathe;
using namespace lathe::tools;
using autotuner::CandidateResult;
using autotuner::SearchEvent;
using autotuner::TuneRequest;
using autotuner::TuneResult;

namespace {
struct TuneCommand {
  ShapeOptions shape;
  MachineOptions machine;
  LengthsOptions lengths;
  int candidates = 24;
  double timeoutSeconds = 60;
  bool batchInvariant = false;
  bool verify = false, explain = false, fresh = false, json = false;
};

/// What the command ends with.
struct Tuned {
  TuneResult result;
  runtime::JitArtifact artifact; ///< Of the chosen configuration.
  bool emulated = false;         ///< Candidates were verified on the emulator.
};
} // namespace

static volatile std::sig_atomic_t interrupted = 0;

/// What the tuner is asked, without its callbacks.
static TuneRequest makeRequest(const TuneCommand &command, const dsl::Kernel &description,
                               const GpuFacts &gpu) {
  TuneRequest request;
  request.problem = codegen::analyze(description);
  request.compiler = codegen::compilerVersion();
  request.workload = command.lengths.workload();
  request.batchInvariant = command.batchInvariant;
  request.maxCandidates = command.candidates;
  request.resume = !command.fresh;
  request.database = autotuner::TuningDb();
  if (gpu.usable) {
    request.target = runtime::targetOf(gpu.properties);
    request.machine = autotuner::machineForDevice(gpu.properties.name, gpu.properties.smCount);
    request.device = gpu.properties.name;
  } else {
    request.machine = command.machine.target.empty() ? autotuner::machines().front()
                                                     : autotuner::machineByName(command.machine.target);
    request.target = request.machine.target();
  }
  return request;
}

static std::string outcomeText(const CandidateResult &result) {
  if (result.status == autotuner::Status::Measured)
    return fmt::format("{:.2f} µs  {}", result.time.medianUs, result.config.str());
  return fmt::format("{}  {}", name(result.status), result.config.str());
}

static void showEvent(Progress &progress, const SearchEvent &event) {
  switch (event.kind) {
  case SearchEvent::Kind::Begin:
    return progress.skipped(event.resumed);
  case SearchEvent::Kind::Step:
    return progress.show(event.done, event.total,
                         fmt::format("{} {}", event.step, event.result->config.str()), false);
  case SearchEvent::Kind::Result:
    return progress.show(event.done, event.total, outcomeText(*event.result), true);
  case SearchEvent::Kind::Final:
    return progress.show(event.done, event.total, "the fastest once more against the default", false);
  case SearchEvent::Kind::End:
    return;
  }
}

static TuneResult search(const TuneCommand &command, const TuneRequest &request,
                         const dsl::Kernel &description, const GpuFacts &gpu, const runtime::Jit &jit) {
  Progress progress;
  autotuner::SearchCallbacks callbacks;
  CandidateJob job{description,
                   referenceShape(command.shape),
                   request.workload.draw(),
                   command.machine.ordinal(),
                   command.timeoutSeconds,
                   command.batchInvariant};
  if (gpu.usable)
    callbacks = gpuCallbacks(jit, std::move(job), request.target);
  else if (command.verify)
    callbacks = emulatorCallbacks(jit, std::move(job), request.target);
  callbacks.stop = [] { return std::string(interrupted ? "interrupted" : ""); };
  callbacks.onEvent = [&](const SearchEvent &event) { showEvent(progress, event); };
  return autotuner::tune(request, callbacks);
}

//===--------------------------------------------------------------------------------------------------===//
// Printing
//===--------------------------------------------------------------------------------------------------===//

static std::string explainText(const TuneResult &result) {
  Table table({"predicted µs", "measured µs", "fate", "configuration"});
  for (const CandidateResult &candidate : result.candidates)
    table.add({fmt::format("{:.2f}", candidate.predictedUs),
               candidate.status == autotuner::Status::Measured
                   ? fmt::format("{:.2f}", candidate.time.medianUs)
                   : "-",
               std::string(name(candidate.status)) + (candidate.isDefault ? " (default)" : ""),
               candidate.config.str() + (candidate.reason.empty() ? "" : "  " + candidate.reason)});
  return result.space.explain() + "\n" + table.str() + "\n";
}

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

/// 'kvTile=32,stages=4,…' as --config takes it.
static std::string configArgument(const codegen::Config &config) {
  std::string text = config.str();
  std::replace(text.begin(), text.end(), ' ', ',');
  return "'" + text + "'";
}

static std::string timeText(const TuneResult &result) {
  const double best = result.measured ? result.bestUs : result.bestEstimate.totalUs;
  const double fallback = result.measured ? result.defaultUs : result.defaultEstimate.totalUs;
  return fmt::format("{:.2f} µs {}; the default {:.2f} µs", best, result.measured ? "measured" : "predicted",
                     fallback);
}

/// What was run where nothing could be measured, and who must not win.
static std::string verificationText(const TuneResult &result) {
  std::string text = fmt::format("verified       {}\n", verifiedText(result.request.workload.draw()));
  for (const CandidateResult &candidate : result.candidates)
    if (candidate.status == autotuner::Status::Verified)
      text += fmt::format("               right    {}\n", candidate.config.str());
    else if (candidate.status != autotuner::Status::Predicted)
      text += fmt::format("               REFUSED  {}\n                        {}: {}\n",
                          candidate.config.str(), name(candidate.status), candidate.reason);
  return text;
}

static void printForPeople(const TuneCommand &command, const Tuned &tuned) {
  const TuneResult &result = tuned.result;
  if (command.explain)
    print(explainText(result));
  print(fmt::format("kernel         mla_decode, {}\n", command.shape.label()));
  print(fmt::format("workload       {}; {} tokens, mean {:.0f}, longest {}\n", result.request.workload.str(),
                    grouped(result.lengths.total), result.lengths.mean, grouped(result.lengths.most)));
  print(fmt::format("machine        {}\n", result.measured || !result.request.device.empty()
                                               ? result.request.device
                                               : result.request.machine.name + ", the cost model alone (" +
                                                     result.request.machine.source + ")"));
  if (tuned.emulated)
    print(verificationText(result));
  print(fmt::format("chosen         {}\n", result.best.str()));
  print(fmt::format("               {}\n", timeText(result)));
  print(fmt::format("why            {}; {}\n", result.choiceReason, result.stopReason));
  print(fmt::format("compiled       {}\n\n", tuned.artifact.report.compiled
                                                 ? stageTimesText(tuned.artifact.report.times)
                                                 : "before (from the cache)"));
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
  nlohmann::json json = tuned.result;
  if (tuned.emulated)
    json["verification"] = {{"device", "emulator"},
                            {"cornerLengths", cornerLengths()},
                            {"workloadLengths", sampleLengths(tuned.result.request.workload.draw())}};
  json["entry"] = tuned.artifact.report.entryPath.string();
  json["digest"] = tuned.artifact.report.digest;
  json["compiled"] = tuned.artifact.report.compiled;
  json["files"] = {tuned.result.request.database->path().string(), tuned.artifact.report.entryPath.string()};
  printJson(json);
}

/// Looks for the GPU in another process, and says on stderr what stands in for it.
static GpuFacts findGpu(const TuneCommand &command) {
  if (!command.machine.target.empty() || command.machine.emulatorAsked())
    return {};
  GpuFacts gpu = probeGpu(command.machine.ordinal());
  if (!gpu.usable && !command.json)
    fmt::print(stderr, "lathe: no GPU ({}): choosing by the cost model of {}{}\n", gpu.reason,
               autotuner::machines().front().name, command.verify ? ", verifying on the PTX emulator" : "");
  return gpu;
}

static void run(const TuneCommand &command) {
  const dsl::Kernel description = dsl::mlaDecode(command.shape.shape());
  command.lengths.workload(); // A bad trace is told before anything else happens.
  const GpuFacts gpu = findGpu(command);
  const TuneRequest request = makeRequest(command, description, gpu);
  const runtime::Jit jit;
  std::signal(SIGINT, [](int) { interrupted = 1; });
  Tuned tuned;
  tuned.result = search(command, request, description, gpu, jit);
  std::signal(SIGINT, SIG_DFL);
  tuned.emulated = command.verify && !gpu.usable;

  runtime::JitRequest choice;
  choice.target = request.target;
  choice.config = tuned.result.best;
  choice.batchInvariant = command.batchInvariant;
  tuned.artifact = jit.build(description, choice);
  command.json ? printAsJson(tuned) : printForPeople(command, tuned);
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
  const char *group = "Search";
  command->add_option("--candidates", options->candidates, "Configurations to try; 0: all legal ones")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  command
      ->add_option("--timeout", options->timeoutSeconds, "Seconds after which a candidate counts as hanging")
      ->capture_default_str()
      ->check(CLI::PositiveNumber)
      ->group(group);
  command->add_flag("--fresh", options->fresh, "Do not take over results of an earlier run")->group(group);
  command
      ->add_flag(
          "--verify", options->verify,
          "Without a GPU: run what would win on the PTX emulator first. With one every candidate is verified")
      ->group(group);
  command
      ->add_flag("--explain", options->explain,
                 "Tell what each constraint removed and what became of each candidate")
      ->group("Output");
  addJsonFlag(*command, options->json);
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
      "An interrupted run continues where it was. Candidates are verified before they may win, without a GPU "
      "only\n"
      "with --verify (exit code 1 when none is right); the default always races and wins ties.");
  command->callback([options] { run(*options); });
}
