//===- BenchReport.cpp - What a benchmark found out, for people ----------------------------------------===//
//
// Columns of one kind stand together: time, share of the two limits, the others, the configuration. What was
// not measured is told below the table with its reason.
//
//===--------------------------------------------------------------------------------------------------===//
#include "BenchReport.h"

#include "Output.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::tools;

static std::string microseconds(double us) { return fmt::format("{:.2f}", us); }
static std::string percent(double share) { return fmt::format("{:.1f}%", 100 * share); }

/// "tuned: kvTile=64 split=whole": where it comes from, and the fields that are not the default's.
static std::string configText(const BenchHeader &header, const RowResult &row) {
  const CandidateResult &winner = row.winner();
  const nlohmann::json used = winner.report.config,
                       usual = codegen::defaultConfig(codegen::analyze(dsl::mlaDecode(row.row.shape)),
                                                      runtime::targetOf(header.device));
  std::string changed;
  for (const auto &[name, value] : used.items())
    if (value != usual.at(name))
      changed += fmt::format(" {}={}", name, value.is_string() ? value.get<std::string>() : value.dump());
  if (changed.empty())
    return "default";
  return fmt::format("{}:{}", runtime::name(winner.report.source), changed);
}

/// Time, limits: what a row's columns begin with.
static std::vector<std::string> timeCells(const BenchHeader &header, const RowResult &row) {
  const Timing &timing = row.winner().timing;
  const double gbps = row.work.bytes / timing.medianUs * 1e-3,
               tflops = row.work.operations / timing.medianUs * 1e-6;
  return {microseconds(timing.medianUs), microseconds(timing.p10Us),
          microseconds(timing.p90Us),    microseconds(floorUs(row.work, header.limits)),
          fmt::format("{:.0f}", gbps),   percent(gbps / header.limits.readGbps),
          fmt::format("{:.0f}", tflops), percent(tflops / header.limits.matrixTflops)};
}

static std::vector<std::string> timeColumns() {
  return {"µs a layer", "p10", "p90", "floor µs", "GB/s", "of limit", "TFLOPS", "of limit"};
}

static std::vector<std::string> gridColumns(const BenchHeader &header) {
  std::vector<std::string> columns{"row", "layers"};
  for (std::string &column : timeColumns())
    columns.push_back(std::move(column));
  for (const PeerLibrary &peer : header.peers) {
    columns.push_back(peer.name() + " µs");
    columns.push_back(peer.name() + " / ours");
  }
  columns.emplace_back("configuration");
  return columns;
}

static void addPeerCells(std::vector<std::string> &cells, const RowResult &row) {
  for (const PeerResult &peer : row.peers) {
    if (peer.measured()) {
      cells.push_back(microseconds(peer.timing.medianUs));
      cells.push_back(
          row.measured() ? fmt::format("{:.2f}", peer.timing.medianUs / row.winner().timing.medianUs) : "-");
      continue;
    }
    cells.emplace_back("-");
    cells.emplace_back("-");
  }
}

static std::vector<std::string> gridCells(const BenchHeader &header, const RowResult &row, size_t columns) {
  std::vector<std::string> cells{row.row.name, fmt::to_string(row.caches.layers)};
  if (row.measured())
    for (std::string &cell : timeCells(header, row))
      cells.push_back(std::move(cell));
  cells.resize(2 + timeColumns().size(), "-");
  addPeerCells(cells, row);
  cells.resize(columns - 1, "-");
  cells.push_back(row.measured() ? configText(header, row) : "not measured");
  return cells;
}

/// What has no times, and why.
static std::string reasons(const RowResult &row) {
  std::string text;
  for (const CandidateResult &candidate : row.candidates)
    if (!candidate.fault.empty())
      text += fmt::format("{}  {}: {}\n", row.row.name, candidate.text, candidate.fault);
  if (!row.measured() && (row.candidates.empty() || row.fault != row.candidates.front().fault))
    text += fmt::format("{}  {}\n", row.row.name, row.fault);
  for (const PeerResult &peer : row.peers)
    if (!peer.measured())
      text += fmt::format("{}  {} {}\n", row.row.name, peer.name,
                          peer.refusal.empty() ? peer.fault : "refuses: " + peer.refusal);
  return text;
}

static std::string limitsLine(const Limits &limits) {
  return fmt::format("limits         {:.0f} GB/s ({}), {:.0f} TFLOPS ({})\n\n", limits.readGbps,
                     limits.readSource, limits.matrixTflops, limits.matrixSource);
}

std::string lathe::tools::gridText(const BenchHeader &header, const std::vector<RowResult> &rows) {
  std::string text = fmt::format("device         {}\n", header.device.name);
  const double seconds = header.timing.sustainedSeconds;
  text +=
      fmt::format("medians        of {} replays; back to back, a cache for each layer, none in L2{}\n",
                  header.timing.replays, seconds > 0 ? fmt::format("; each after {} s alone", seconds) : "");
  text += limitsLine(header.limits);
  const std::vector<std::string> columns = gridColumns(header);
  Table table(columns);
  std::string below;
  for (const RowResult &row : rows) {
    table.add(gridCells(header, row, columns.size()));
    below += reasons(row);
  }
  text += table.str();
  return below.empty() ? text : text + "\n" + below;
}

static std::string peersTable(const RowResult &row) {
  Table table({"peer", "µs a layer", "p10", "p90", "peer / ours"});
  for (const PeerResult &peer : row.peers)
    if (peer.measured())
      table.add({peer.name, microseconds(peer.timing.medianUs), microseconds(peer.timing.p10Us),
                 microseconds(peer.timing.p90Us),
                 fmt::format("{:.2f}", peer.timing.medianUs / row.winner().timing.medianUs)});
  return "\n" + table.str();
}

std::string lathe::tools::singleText(const BenchHeader &header, const RowResult &row,
                                     const std::string &kernelLabel) {
  const CandidateResult &winner = row.winner();
  std::string text = fmt::format("device         {}\n", header.device.name);
  text += fmt::format("kernel         mla_decode, {}, {} query tokens, page {}\n", kernelLabel,
                      row.row.shape.queryTokens, row.row.shape.page);
  text += fmt::format("configuration  {} ({})\n", winner.report.config.str(),
                      runtime::name(winner.report.source));
  text +=
      fmt::format("workload       {}, {} tokens in all; {} layers a graph, {} caches in turn, {} replays\n",
                  row.row.workload.str(), grouped(row.work.tokens), row.caches.layers, row.caches.caches(),
                  winner.timing.samplesUs.size());
  text += limitsLine(header.limits);
  std::vector<std::string> columns = timeColumns(), cells = timeCells(header, row);
  columns.emplace_back("plan µs");
  cells.push_back(microseconds(winner.planUs));
  columns.emplace_back("host µs");
  cells.push_back(microseconds(winner.hostUs));
  Table table(columns);
  table.add(cells);
  text += table.str();
  if (!row.peers.empty())
    text += peersTable(row);
  const std::string below = reasons(row);
  return below.empty() ? text : text + "\n" + below;
}

static std::string candidatesText(const std::vector<Candidate> &candidates) {
  std::string text;
  for (const Candidate &candidate : candidates)
    text += (text.empty() ? "" : " | ") + candidate.text;
  return text;
}

std::string lathe::tools::listText(const std::vector<ListedRow> &rows) {
  Table table({"row", "heads", "query tokens", "tokens", "layers", "workload", "configurations"});
  for (const auto &[row, candidates] : rows)
    table.add({row.name, fmt::to_string(row.shape.heads), fmt::to_string(row.shape.queryTokens),
               fmt::to_string(autotuner::lengthStats(row.workload.draw()).total), fmt::to_string(row.layers),
               row.workload.str(), candidatesText(candidates)});
  return table.str();
}
