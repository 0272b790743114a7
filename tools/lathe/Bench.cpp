//===- Bench.cpp - lathe bench -------------------------------------------------------------------------===//
//
// `lathe bench mla` times MLA decode on the GPU as a model runs it and sets the time against the two limits
// of the machine: one workload, or a table of them, alone or against other libraries. What it prints with
// --json is what docs/benchmarks/ keeps, command included.
//
//===--------------------------------------------------------------------------------------------------===//
#include "BenchReport.h"
#include "Commands.h"
#include "Lengths.h"
#include "Options.h"
#include "Output.h"
#include "Progress.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::tools;

namespace {
struct BenchCommand {
  ShapeOptions shape;
  MachineOptions machine;
  ConfigOption config;
  LengthsOptions lengths;
  BenchOptions bench;
  int layers = 0; ///< 0: not given.
  std::string grid, rows, configs;
  std::vector<std::string> traces, against;
  bool list = false, noLimits = false, json = false;
  std::string commandLine;
};
} // namespace

void lathe::tools::requireGpu(const MachineOptions &machine) {
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

static GridRow singleRow(const BenchCommand &command) {
  const dsl::MlaShape shape = command.shape.shape();
  autotuner::Workload workload = command.lengths.workload();
  const autotuner::LengthStats stats = autotuner::lengthStats(workload.draw());
  const std::string lengths =
      stats.least == stats.most ? fmt::to_string(stats.most) : fmt::format("mean-{:.0f}", stats.mean);
  GridRow row{.name = rowName(shape, stats.batch, lengths), .shape = shape, .workload = std::move(workload)};
  row.scale = command.shape.scale();
  row.layers = command.layers ? command.layers : 1;
  return row;
}

/// Keys of a configuration file that name no row of the table are told: a typo would be measured with others.
static void warnOfUnused(const BenchCommand &command, const ConfigMap &map,
                         const std::vector<GridRow> &rows) {
  std::vector<std::string> names;
  for (const GridRow &row : rows)
    names.push_back(row.name);
  for (const std::string &key : map.unused(names))
    fmt::print(stderr, "lathe: {}: no row is named '{}'\n", command.configs, key);
}

static std::vector<GridRow> rowsOf(const BenchCommand &command, const ConfigMap &map) {
  if (command.grid.empty())
    return {singleRow(command)};
  std::vector<GridRow> rows = makeGrid(command.grid, parseTraces(command.traces));
  warnOfUnused(command, map, rows);
  rows = filterRows(std::move(rows), command.shape.heads, command.rows);
  for (GridRow &row : rows)
    row.layers = command.layers ? std::min(row.layers, command.layers) : row.layers;
  return rows;
}

static std::vector<ListedRow> withCandidates(const BenchCommand &command, const codegen::Target &target) {
  const ConfigMap map = command.configs.empty() ? ConfigMap() : ConfigMap::read(command.configs);
  std::vector<ListedRow> rows;
  for (GridRow &row : rowsOf(command, map)) {
    const codegen::AttentionProblem problem = codegen::analyze(dsl::mlaDecode(row.shape));
    std::vector<Candidate> candidates =
        command.config.text.empty()
            ? map.candidates(row.name, problem, target, command.config.batchInvariant)
            : std::vector<Candidate>{parseCandidate("--config", command.config.text, problem, target,
                                                    command.config.batchInvariant)};
    rows.push_back({std::move(row), std::move(candidates)});
  }
  return rows;
}

static void print(const BenchCommand &command, const BenchHeader &header,
                  const std::vector<RowResult> &rows) {
  if (!command.grid.empty())
    command.json ? printJson(gridJson(header, command.grid, rows)) : print(gridText(header, rows));
  else
    command.json ? printJson(singleJson(header, rows.front()))
                 : print(singleText(header, rows.front(), command.shape.label()));
}

/// Without a time there is nothing to print: the error of the first candidate.
static void requireMeasured(const std::vector<RowResult> &rows) {
  for (const RowResult &row : rows)
    if (row.measured())
      return;
  const CandidateResult &first = rows.front().candidates.front();
  if (first.error)
    std::rethrow_exception(first.error);
  fmt::print(stderr, "lathe: {}: {}\n", rows.front().row.name, rows.front().fault);
  throw CommandFailed{first.wrong ? ExitVerification : ExitDevice};
}

/// A kernel of ours that is wrong is not a slow one.
static void requireRight(const std::vector<RowResult> &rows) {
  for (const RowResult &row : rows)
    for (const CandidateResult &candidate : row.candidates)
      if (candidate.wrong)
        throw CommandFailed{ExitVerification};
}

/// A table names its workloads; of the options that would name another one --heads alone is a filter.
static void requireNoOther(const CLI::App &command) {
  for (const char *other : {"--model", "--tp", "--latent", "--rope", "--value", "--page", "--query-tokens",
                            "--full", "--scale", "--batch", "--tokens", "--lengths", "--seed"})
    if (command.get_option("--grid")->count() && command.get_option(other)->count())
      throw UserError({"command line", "--grid names its workloads itself", other,
                       "drop it, or leave rows out with --heads and --rows"});
}

static void run(BenchCommand command) {
  const std::vector<PeerLibrary> peers = openPeers(command.against);
  if (command.list) {
    const std::vector<ListedRow> rows = withCandidates(command, command.machine.facts());
    return command.json ? printJson(listJson(rows)) : print(listText(rows));
  }
  requireGpu(command.machine);
  const auto device = command.machine.open(command.json);
  command.bench.ordinal = command.machine.ordinal();
  command.bench.fewerLayers = !command.grid.empty();
  command.bench.batchInvariant = command.config.batchInvariant;
  BenchRun bench(device, command.bench, peers);
  for (ListedRow &row : withCandidates(command, runtime::targetOf(device->properties())))
    bench.add(std::move(row.row), row.candidates);

  const auto progressOf = [&](Progress &progress) {
    return [&](int done, int total, const std::string &note, bool finished) {
      if (!command.grid.empty())
        progress.show(done, total, note, finished);
    };
  };
  {
    Progress building;
    bench.compile(progressOf(building));
  }
  const Limits limits = command.noLimits ? datasheetLimits() : measureLimits(*device);
  const BenchHeader header{command.commandLine, device->properties(), limits, command.bench.timing, peers};
  try {
    Progress measuring;
    bench.measure(progressOf(measuring));
  } catch (const DeviceError &) { // The rows before are worth something.
    if (!command.grid.empty())
      print(command, header, bench.results());
    throw;
  }
  requireMeasured(bench.results());
  print(command, header, bench.results());
  requireRight(bench.results());
}

static void addTable(CLI::App &command, BenchCommand &options) {
  const char *group = "Table";
  auto *grid = command
                   .add_option("--grid", options.grid,
                               "Measure a table of workloads: standard, or a JSON file with rows; --heads N "
                               "leaves those of N heads")
                   ->type_name("standard|FILE")
                   ->group(group);
  command.add_option("--rows", options.rows, "Only rows whose names this regular expression finds")
      ->type_name("REGEX")
      ->needs(grid)
      ->group(group);
  command
      .add_option("--trace", options.traces,
                  "Rows drawn from a trace besides, read as --lengths trace: reads it; repeatable")
      ->type_name("NAME=FILE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->needs(grid)
      ->group(group);
  command
      .add_option(
          "--configs", options.configs,
          "JSON file from row names ('*': any letters) to a configuration or a list of candidates, of "
          "which the fastest counts; or what an earlier run printed with --json")
      ->type_name("FILE")
      ->excludes(command.get_option("--config"))
      ->group(group);
  command.add_flag("--list", options.list, "List the rows that would be measured, and measure nothing")
      ->needs(grid)
      ->group(group);
}

static void addMeasurement(CLI::App &command, BenchCommand &options) {
  const char *group = "Measurement";
  command
      .add_option("--against", options.against,
                  "A library with PeerInterface.h's functions, measured in turns with ours; repeatable")
      ->type_name("NAME=library.so")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->group(group);
  command
      .add_option("--layers", options.layers,
                  "Layers in one CUDA graph, each with its own cache; default 1, in a table at most 16")
      ->check(CLI::PositiveNumber)
      ->group(group);
  addTimingOptions(command, options.bench.timing);
  command.add_option("--workers", options.bench.workers, "Workers of the plan; 0: as many as run at once")
      ->group(group);
  command.add_flag("--no-limits", options.noLimits, "Do not measure the limits; use the datasheet")
      ->group(group);
}

static constexpr const char *mlaFooter = R"(Examples:
  lathe bench mla --heads 16 --batch 128 --tokens 4096
  lathe bench mla --heads 128 --query-tokens 2 --batch 128 --tokens 8192 --json
  lathe bench mla --model deepseek-v3 --tp 8 --batch 64 --lengths normal:4096:2048 --layers 16
  lathe bench mla --model deepseek-v2-lite --batch 256 --lengths trace:azure.csv
  lathe bench mla --heads 16 --batch 8 --tokens 4096 --against other=./libother.so
  lathe bench mla --grid standard --trace azure=azure.csv --against other=./libother.so --json
  lathe bench mla --grid standard --rows '^(16|128)h/' --configs candidates.json
  lathe bench mla --grid standard --heads 16 --list
Bytes are tokens × row bytes plus q and out; operations count attended tokens only. Before anything is timed
its result is checked: sampled rows against float64, and all rows of a peer against ours. The floor is the
time of the slower limit.)";

static void addMla(CLI::App &bench) {
  auto options = std::make_shared<BenchCommand>();
  CLI::App *command = bench.add_subcommand("mla", "Paged MLA decode");
  options->shape.add(*command);
  options->config.add(*command);
  options->lengths.add(*command, 128);
  addTable(*command, *options);
  addMeasurement(*command, *options);
  options->machine.add(*command);
  addJsonFlag(*command, options->json);
  command->footer(mlaFooter);
  command->callback([options, command] {
    options->commandLine = commandLine(*command, "lathe bench mla");
    requireNoOther(*command);
    run(*options);
  });
}

void lathe::tools::addBench(CLI::App &app) {
  CLI::App *command = app.add_subcommand("bench", "Time a kernel as a model runs it");
  command->require_subcommand(1);
  command->footer("Examples:\n  lathe bench mla --heads 16 --batch 128 --tokens 4096\n"
                  "  lathe bench mla --grid standard\n  lathe bench moe --model deepseek-v2-lite --rows 64\n"
                  "  lathe bench mla --help");
  addMla(*command);
  addBenchMoe(*command);
}
