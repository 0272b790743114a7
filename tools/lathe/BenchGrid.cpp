//===- BenchGrid.cpp - The standard table, and filters --------------------------------------------------===//
//
// What a serving engine asks for on one GPU: 8 to 128 heads, one sequence to a full batch. Rows of many
// layers are timed as a model runs them; the single calls are those that FlashMLA publishes.
//
//===--------------------------------------------------------------------------------------------------===//
#include "BenchGrid.h"

#include "BenchTensors.h"
#include "Lengths.h"
#include "Peer.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <regex>
#include <span>

using namespace lathe;
using namespace lathe::tools;
using autotuner::Workload;

namespace {
struct Fixed {
  int batch, tokens;
};
} // namespace

static constexpr Fixed tenRows[] = {{1, 1024},  {1, 4096},  {4, 4096},   {8, 4096},   {16, 4096},
                                    {32, 4096}, {1, 32768}, {1, 131072}, {128, 1024}, {128, 4096}};
static constexpr Fixed rows64[] = {{1, 4096}, {8, 4096}, {32, 4096}, {128, 1024}, {128, 4096}};
static constexpr Fixed rows128[] = {{1, 4096},  {4, 4096},   {8, 4096},  {16, 4096},
                                    {32, 4096}, {128, 1024}, {128, 4096}};

std::string lathe::tools::rowName(const dsl::MlaShape &shape, int batch, const std::string &lengths) {
  const std::string queries = shape.queryTokens == 1 ? "" : fmt::format("-q{}", shape.queryTokens);
  return fmt::format("{}h{}/{}x{}", shape.heads, queries, batch, lengths);
}

static dsl::MlaShape deepseekShape(int heads, int queryTokens = 1) {
  dsl::MlaShape shape;
  shape.heads = heads;
  shape.queryTokens = queryTokens;
  return shape;
}

static void addFixed(std::vector<GridRow> &rows, int heads, std::span<const Fixed> table) {
  for (const auto &[batch, tokens] : table) {
    const dsl::MlaShape shape = deepseekShape(heads);
    rows.push_back({.name = rowName(shape, batch, fmt::to_string(tokens)),
                    .shape = shape,
                    .workload = Workload(batch, autotuner::ConstantLength{tokens}),
                    .layers = tableLayers});
  }
}

static void addSingleCalls(std::vector<GridRow> &rows) {
  for (int queryTokens : {1, 2})
    for (int mean : {4096, 8192, 16384}) {
      const dsl::MlaShape shape = deepseekShape(128, queryTokens);
      rows.push_back({.name = rowName(shape, 128, fmt::format("normal-{}", mean)),
                      .shape = shape,
                      .workload = Workload(128, autotuner::NormalLength{double(mean), mean / 2.0}),
                      .layers = 1});
    }
}

static void addTrace(std::vector<GridRow> &rows, const NamedTrace &trace) {
  for (int heads : {16, 128})
    for (int batch : {16, 64, 256}) {
      const dsl::MlaShape shape = deepseekShape(heads);
      rows.push_back({.name = rowName(shape, batch, trace.name),
                      .shape = shape,
                      .workload = parseLengths(batch, "trace:" + trace.file, 0),
                      .layers = tableLayers});
    }
}

std::vector<GridRow> lathe::tools::standardGrid(const std::vector<NamedTrace> &traces) {
  std::vector<GridRow> rows;
  addFixed(rows, 8, tenRows);
  addFixed(rows, 16, tenRows);
  addFixed(rows, 20, tenRows);
  addFixed(rows, 32, tenRows);
  addFixed(rows, 64, rows64);
  addFixed(rows, 128, rows128);
  addSingleCalls(rows);
  for (const NamedTrace &trace : traces)
    addTrace(rows, trace);
  return rows;
}

std::vector<NamedTrace> lathe::tools::parseTraces(const std::vector<std::string> &texts) {
  std::vector<NamedTrace> traces;
  for (const std::string &text : texts) {
    const auto [name, file] = splitNamed("--trace", text, "NAME=FILE");
    if (std::any_of(traces.begin(), traces.end(), [&](const auto &trace) { return trace.name == name; }))
      throw UserError({"--trace", "every trace needs a name of its own", name, "rename one of them"});
    traces.push_back({name, file});
  }
  return traces;
}

std::vector<GridRow> lathe::tools::makeGrid(const std::string &nameOrFile,
                                            const std::vector<NamedTrace> &traces) {
  if (nameOrFile == "standard")
    return standardGrid(traces);
  if (!traces.empty())
    throw UserError({"--trace", "it adds rows to the standard table", "--grid " + nameOrFile,
                     "write \"lengths\": \"trace:FILE\" into the rows of the file"});
  if (!std::filesystem::exists(nameOrFile))
    throw UserError({"--grid", "must name a table or a file", "'" + nameOrFile + "'",
                     "use --grid standard, or a JSON file with rows"});
  return readGrid(nameOrFile);
}

static std::regex parsePattern(const std::string &pattern) {
  try {
    return std::regex(pattern);
  } catch (const std::regex_error &error) {
    throw UserError({"--rows", "must be a regular expression", "'" + pattern + "'", error.what()});
  }
}

std::vector<GridRow> lathe::tools::filterRows(std::vector<GridRow> rows, int heads,
                                              const std::string &pattern) {
  const std::regex expression = parsePattern(pattern);
  std::erase_if(rows, [&](const GridRow &row) {
    return (heads && row.shape.heads != heads) || !std::regex_search(row.name, expression);
  });
  if (rows.empty())
    throw UserError({"--grid", "a row must be left",
                     fmt::format("{}{}{}", heads ? fmt::format("--heads {}", heads) : "",
                                 heads && !pattern.empty() ? " " : "",
                                 pattern.empty() ? "" : fmt::format("--rows '{}'", pattern)),
                     "see the names with --grid … --list"});
  return rows;
}
