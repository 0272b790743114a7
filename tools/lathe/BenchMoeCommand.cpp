//===- BenchMoeCommand.cpp - lathe bench moe -----------------------------------------------------------===//
//
// One layer, or a table of them: times from logits to output and of the experts alone, against the two limits
// of the machine. What it prints with --json is what docs/benchmarks/ keeps, command included.
//
//===--------------------------------------------------------------------------------------------------===//
#include "BenchMoeRun.h"
#include "Commands.h"
#include "Limits.h"
#include "MoeJudge.h"
#include "Output.h"
#include "Progress.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <regex>

using namespace lathe;
using namespace lathe::tools;

namespace {
struct BenchMoeCommand {
  MoeShapeOptions shape;
  MachineOptions machine;
  MoeBenchOptions bench;
  std::string grid, only, commandLine;
  int rows = 64, layers = 0;
  double zipf = 0;
  bool list = false, noLimits = false, json = false;
};
} // namespace

static MoeRow singleRow(const BenchMoeCommand &command) {
  if (command.rows < 1)
    throw UserError({"bench moe", "rows must be at least 1", fmt::to_string(command.rows), "set --rows"});
  MoeRow row;
  row.entry.name = fmt::format("{}, {} rows", command.shape.label(), command.rows);
  row.entry.shape = referenceShape(command.shape.shape());
  row.entry.rows = command.rows;
  row.entry.options = {.seed = 1, .poison = false};
  if (command.zipf > 0)
    row.entry.options.spread = reference::Spread::Zipf, row.entry.options.zipf = command.zipf;
  row.layers = command.layers;
  return row;
}

static std::vector<MoeRow> rowsOf(const BenchMoeCommand &command) {
  if (command.grid.empty())
    return {singleRow(command)};
  std::vector<MoeRow> rows = standardMoeGrid();
  try {
    const std::regex pattern(command.only);
    std::erase_if(rows, [&](const MoeRow &row) { return !std::regex_search(row.entry.name, pattern); });
  } catch (const std::regex_error &error) {
    throw UserError({"--only", "must be a regular expression", command.only, error.what()});
  }
  if (rows.empty())
    throw UserError({"--only", "must find a row of the table", command.only,
                     "see lathe bench moe --grid standard --list"});
  for (MoeRow &row : rows)
    row.layers = command.layers;
  return rows;
}

//===- Printing --------------------------------------------------------------------------------------===//

static double floorUs(const MoeWork &work, const Limits &limits) {
  return std::max(work.bytes / limits.readGbps * 1e-3, work.operations / limits.matrixTflops * 1e-6);
}

static nlohmann::json timeJson(const Timing &timing) {
  return {{"median", timing.medianUs}, {"p10", timing.p10Us}, {"p90", timing.p90Us}, {"best", timing.bestUs}};
}

static nlohmann::json configJson(const MoeRowResult &row, const MoeConfigResult &result,
                                 const Limits &limits) {
  const reference::MoeCase &entry = row.row.entry;
  nlohmann::json json = {
      {"name", entry.name},
      {"rows", entry.rows},
      {"hidden", entry.shape.hidden},
      {"intermediate", entry.shape.inner},
      {"experts", entry.shape.router.experts},
      {"topK", entry.shape.router.topK},
      {"shared", entry.shape.sharedExperts},
      {"gate", entry.shape.gate ? nlohmann::json(name(entry.shape.gateType)) : nlohmann::json(nullptr)},
      {"zipf", entry.options.spread == reference::Spread::Zipf ? entry.options.zipf : 0},
      {"busyExperts", row.work.busyExperts},
      {"bytes", row.work.bytes},
      {"operations", row.work.operations},
      {"config", result.report.config},
      {"configSource", name(result.report.source)},
      {"configReason", result.report.sourceReason},
      {"digest", result.report.digest}};
  if (!result.fault.empty()) {
    json["fault"] = result.fault;
    return json;
  }
  json.update({{"layers", result.times.layers},
               {"us", timeJson(result.times.whole)},
               {"expertsUs", timeJson(result.times.experts)},
               {"floorUs", floorUs(row.work, limits)},
               {"hostUs", result.times.hostUs},
               {"relativeError", result.relativeError}});
  return json;
}

static std::string rowsText(const std::vector<MoeRowResult> &rows, const Limits &limits) {
  Table table({"row", "layers", "busy experts", "µs a layer", "experts µs", "floor µs", "experts / floor",
               "GB/s", "TFLOPS", "error", "host µs", "from", "configuration"});
  std::string faults;
  for (const MoeRowResult &row : rows)
    for (const MoeConfigResult &config : row.configs) {
      if (!config.fault.empty()) {
        faults += fmt::format("{}, {}: {}\n", row.row.entry.name, config.asked, config.fault);
        continue;
      }
      const double floor = floorUs(row.work, limits), us = config.times.experts.medianUs;
      table.add({row.row.entry.name, fmt::to_string(config.times.layers),
                 fmt::format("{:.0f}", row.work.busyExperts),
                 fmt::format("{:.2f}", config.times.whole.medianUs), fmt::format("{:.2f}", us),
                 fmt::format("{:.2f}", floor), fmt::format("{:.3f}", us / floor),
                 fmt::format("{:.0f}", row.work.bytes / us * 1e-3),
                 fmt::format("{:.0f}", row.work.operations / us * 1e-6),
                 fmt::format("{:.1e}", config.relativeError), fmt::format("{:.2f}", config.times.hostUs),
                 std::string(name(config.report.source)), config.report.config.str()});
    }
  return table.str() + (faults.empty() ? "" : "\n" + faults);
}

static void printList(const BenchMoeCommand &command) {
  nlohmann::json rows = nlohmann::json::array();
  std::string text;
  for (const MoeRow &row : rowsOf(command)) {
    rows.push_back({{"name", row.entry.name}, {"rows", row.entry.rows}});
    text += row.entry.name + "\n";
  }
  command.json ? printJson({{"rows", rows}}) : print(text);
}

//===- Command ---------------------------------------------------------------------------------------===//

static void run(const BenchMoeCommand &command) {
  if (command.list)
    return printList(command);
  const std::vector<MoeRow> rows = rowsOf(command);
  requireGpu(command.machine);
  checkTiming("bench moe", command.bench.timing, std::max(1, command.layers));
  const auto device = command.machine.open(command.json);
  const Limits limits = command.noLimits ? datasheetLimits() : measureLimits(*device);
  MoeBenchRun bench(device, command.bench);
  for (const MoeRow &row : rows)
    bench.add(row);
  {
    Progress progress;
    const auto show = [&](int done, int total, const std::string &note, bool finished) {
      progress.show(done, total, note, finished);
    };
    bench.compile(show);
    bench.measure(show);
  }
  bool wrong = false;
  for (const MoeRowResult &row : bench.results())
    for (const MoeConfigResult &config : row.configs)
      wrong = wrong || !config.fault.empty();
  if (command.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const MoeRowResult &row : bench.results())
      for (const MoeConfigResult &config : row.configs)
        list.push_back(configJson(row, config, limits));
    printJson({{"benchmark", "moe"},
               {"version", 1},
               {"command", command.commandLine},
               {"compiler", codegen::compilerVersion()},
               {"device",
                {{"name", device->properties().name},
                 {"sms", device->properties().smCount},
                 {"driver", device->properties().driverVersion}}},
               {"limits", limits},
               {"rows", list}});
  } else {
    print(rowsText(bench.results(), limits));
  }
  if (wrong)
    throw CommandFailed{ExitVerification};
}

static void addMeasurement(CLI::App &command, BenchMoeCommand &options) {
  command
      .add_option(
          "--layers", options.layers,
          "Layers in one CUDA graph, each with weights of its own, as fit into memory; default: as many as "
          "read 400 MB of weights, so that none are in the L2 cache, 8 at most")
      ->check(CLI::PositiveNumber)
      ->group("Measurement");
  addTimingOptions(command, options.bench.timing);
  command.add_flag("--no-limits", options.noLimits, "Do not measure the limits; use the datasheet")
      ->group("Measurement");
}

void lathe::tools::addBenchMoe(CLI::App &bench) {
  auto options = std::make_shared<BenchMoeCommand>();
  CLI::App *command = bench.add_subcommand("moe", "A mixture-of-experts layer");
  options->shape.add(*command);
  addMoeConfigsOption(*command, options->bench.configs);
  command->add_option("--rows", options->rows, "Rows (tokens) of a step")
      ->capture_default_str()
      ->group("Workload");
  addZipfOption(*command, options->zipf);
  auto *grid = command->add_option("--grid", options->grid, "Measure a table: standard")
                   ->check(CLI::IsMember({"standard"}))
                   ->group("Table");
  command->add_option("--only", options->only, "Only rows of the table that this regular expression finds")
      ->type_name("REGEX")
      ->needs(grid)
      ->group("Table");
  command->add_flag("--list", options->list, "List the rows, and measure nothing")
      ->needs(grid)
      ->group("Table");
  addMeasurement(*command, *options);
  options->machine.add(*command);
  addJsonFlag(*command, options->json);
  command->footer(
      "Examples:\n"
      "  lathe bench moe --model deepseek-v2-lite --rows 64\n"
      "  lathe bench moe --model deepseek-v3 --ep 8 --rows 1024 --zipf 1\n"
      "  lathe bench moe --hidden 2048 --intermediate 1408 --experts 64 --top-k 6 --rows 16 --config "
      "tokenTile=8\n"
      "  lathe bench moe --model deepseek-v2-lite --rows 64 --config default --config stages=6   # in turns\n"
      "  lathe bench moe --model deepseek-v3 --ep 8 --gate f32 --rows 16   # the gate's product too\n"
      "  lathe bench moe --grid standard --json\n"
      "  lathe bench moe --grid standard --only '^v2-lite/'\n"
      "  lathe bench moe --model deepseek-v2-lite --rows 64 --config default   # not what lathe tune moe "
      "found\n"
      "A layer is timed from the router's logits (with --gate from the rows) to its output, and the experts "
      "alone (both products and "
      "the\n"
      "weighted sum) for the routing that is there. Before that a sample of rows is compared with float64. "
      "The floor\n"
      "is the time of the slower limit: weights of the experts that any row chose, or operations.");
  command->callback([options, command] {
    options->commandLine = commandLine(*command, "lathe bench moe");
    run(*options);
  });
}
