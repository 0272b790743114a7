//===- Bench.cpp - lathe bench -------------------------------------------------------------------------===//
//
// `lathe bench mla` times MLA decode on the GPU as a model runs it and sets the time against the two limits
// of the machine. What it prints with --json is what docs/benchmarks/ keeps, command included.
//
//===--------------------------------------------------------------------------------------------------===//
#include "BenchMla.h"
#include "Commands.h"
#include "Lengths.h"
#include "Limits.h"
#include "Options.h"
#include "Output.h"

#include "lathe/runtime/Jit.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::tools;

namespace {
struct BenchCommand {
  ShapeOptions shape;
  MachineOptions machine;
  ConfigOption config;
  LengthsOptions lengths;
  BenchMlaOptions bench;
  bool noLimits = false, json = false;
  std::string commandLine;
};

/// Everything that was found out, ready to print.
struct Measured {
  runtime::DeviceProperties device;
  runtime::JitReport kernel;
  BenchMlaResult result;
  Limits limits;
  std::string workload;
  /// Time that the slower of the two limits allows, microseconds.
  double floorUs() const {
    return std::max(result.work.bytes / limits.readGbps * 1e-3,
                    result.work.operations / limits.matrixTflops * 1e-6);
  }
};
} // namespace

static nlohmann::json toJson(const BenchCommand &command, const Measured &measured) {
  const BenchMlaResult &result = measured.result;
  return {
      {"benchmark", "mla"},
      {"command", command.commandLine},
      {"version", LATHE_VERSION},
      {"compiler", codegen::compilerVersion()},
      {"device",
       {{"name", measured.device.name},
        {"driver", measured.device.driverVersion},
        {"sms", measured.device.smCount}}},
      {"shape", toJson(command.shape.shape())},
      {"workload", measured.workload},
      {"batch", command.bench.lengths.size()},
      {"tokens", result.work.tokens},
      {"layers", command.bench.layers},
      {"replays", result.samplesUs.size()},
      {"caches", result.caches},
      {"workers", result.workers},
      {"config", measured.kernel.config},
      {"configSource", runtime::name(measured.kernel.source)},
      {"us",
       {{"median", result.medianUs}, {"p10", result.p10Us}, {"p90", result.p90Us}, {"best", result.bestUs}}},
      {"planUs", result.planUs},
      {"bytes", result.work.bytes},
      {"operations", result.work.operations},
      {"gbps", result.gbps},
      {"tflops", result.tflops},
      {"limits", measured.limits},
      {"readShare", result.gbps / measured.limits.readGbps},
      {"matrixShare", result.tflops / measured.limits.matrixTflops},
      {"floorUs", measured.floorUs()},
      {"samplesUs", result.samplesUs}};
}

static void printForPeople(const BenchCommand &command, const Measured &measured) {
  const BenchMlaResult &result = measured.result;
  const Limits &limits = measured.limits;
  print(fmt::format("device         {}\n", measured.device.name));
  print(fmt::format("kernel         mla_decode, {}, {} query tokens, page {}\n", command.shape.label(),
                    command.shape.queryTokens, command.shape.page));
  print(fmt::format("configuration  {} ({})\n", measured.kernel.config.str(),
                    runtime::name(measured.kernel.source)));
  print(fmt::format("workload       {}, {} tokens in all; {} layers a graph, {} caches in turn, {} replays\n",
                    measured.workload, grouped(result.work.tokens), command.bench.layers, result.caches,
                    result.samplesUs.size()));
  print(fmt::format("limits         {:.0f} GB/s ({}), {:.0f} TFLOPS ({})\n\n", limits.readGbps,
                    limits.readSource, limits.matrixTflops, limits.matrixSource));
  Table table({"µs a layer", "p10", "p90", "floor µs", "GB/s", "of limit", "TFLOPS", "of limit", "plan µs"});
  table.add({fmt::format("{:.2f}", result.medianUs), fmt::format("{:.2f}", result.p10Us),
             fmt::format("{:.2f}", result.p90Us), fmt::format("{:.2f}", measured.floorUs()),
             fmt::format("{:.0f}", result.gbps), fmt::format("{:.1f}%", 100 * result.gbps / limits.readGbps),
             fmt::format("{:.0f}", result.tflops),
             fmt::format("{:.1f}%", 100 * result.tflops / limits.matrixTflops),
             fmt::format("{:.2f}", result.planUs)});
  print(table.str());
}

/// The emulator has no times to tell.
static void requireGpu(const MachineOptions &machine) {
  if (!machine.target.empty() || !machine.onEmulator())
    return;
  if (machine.emulatorAsked())
    throw UserError(
        {"bench", "it measures time, and needs a GPU for that", "the emulator",
         "drop --device emulator and LATHE_DEVICE; `lathe inspect --run` counts what a kernel does"});
  throw DeviceError({"bench", "it measures time, and needs a GPU for that",
                     "no GPU (" + runtime::cudaUnavailableReason() + ")",
                     "`lathe inspect --run` counts on the emulator what a kernel does"});
}

static void run(BenchCommand command) {
  requireGpu(command.machine);
  const dsl::Kernel description = dsl::mlaDecode(command.shape.shape());
  const autotuner::Workload workload = command.lengths.workload();
  command.bench.lengths = workload.draw();
  command.bench.scale = command.shape.scale();
  command.bench.causal = !command.shape.full;
  const auto device = command.machine.open(command.json);

  const autotuner::LengthStats stats = autotuner::lengthStats(command.bench.lengths);
  runtime::JitRequest request;
  request.config =
      command.config.config(codegen::analyze(description), runtime::targetOf(device->properties()));
  request.workload = workload.json();
  request.batch = stats.batch;
  request.meanTokens = stats.mean;
  Measured measured;
  measured.device = device->properties();
  measured.workload = workload.str();
  const runtime::Kernel kernel = runtime::Jit().load(description, device, request, &measured.kernel);
  measured.limits = command.noLimits ? datasheetLimits() : measureLimits(*device);
  measured.result = benchMla(kernel, command.bench);
  command.json ? printJson(toJson(command, measured)) : printForPeople(command, measured);
}

static void addMla(CLI::App &bench) {
  auto options = std::make_shared<BenchCommand>();
  CLI::App *command = bench.add_subcommand("mla", "Paged MLA decode");
  options->shape.add(*command);
  options->config.add(*command);
  options->lengths.add(*command, 128);
  options->machine.add(*command);
  const char *group = "Measurement";
  command->add_option("--layers", options->bench.layers, "Layers in one CUDA graph, each with its own cache")
      ->capture_default_str()
      ->group(group);
  command->add_option("--replays", options->bench.replays, "Timed replays, at least 30")
      ->capture_default_str()
      ->group(group);
  command->add_option("--warmup", options->bench.warmup, "Replays before timing")
      ->capture_default_str()
      ->group(group);
  command->add_option("--workers", options->bench.workers, "Workers of the plan; 0: as many as run at once")
      ->group(group);
  command->add_flag("--no-limits", options->noLimits, "Do not measure the limits; use the datasheet")
      ->group(group);
  addJsonFlag(*command, options->json);
  command->footer(
      "Examples:\n"
      "  lathe bench mla --heads 16 --batch 128 --tokens 4096\n"
      "  lathe bench mla --heads 128 --query-tokens 2 --batch 128 --tokens 8192 --json\n"
      "  lathe bench mla --model deepseek-v3 --tp 8 --batch 64 --lengths normal:4096:2048 --layers 16\n"
      "  lathe bench mla --model deepseek-v2-lite --batch 256 --lengths trace:azure.csv\n"
      "Bytes are tokens × row bytes plus q and out; operations count attended tokens only.");
  command->callback([options, command] {
    options->commandLine = commandLine(*command, "lathe bench mla");
    run(*options);
  });
}

void lathe::tools::addBench(CLI::App &app) {
  CLI::App *command = app.add_subcommand("bench", "Time a kernel as a model runs it");
  command->require_subcommand(1);
  command->footer(
      "Examples:\n  lathe bench mla --heads 16 --batch 128 --tokens 4096\n  lathe bench mla --help");
  addMla(*command);
}
