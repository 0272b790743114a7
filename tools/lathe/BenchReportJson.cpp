//===- BenchReportJson.cpp - What a benchmark found out, for programs ----------------------------------===//
//
// The best candidate's numbers stand in the row itself; the others are listed beside it with theirs.
//
//===--------------------------------------------------------------------------------------------------===//
#include "BenchReport.h"

#include "Options.h"

#include <cmath>

using namespace lathe;
using namespace lathe::tools;
using nlohmann::json;

static json toJson(const Timing &timing) {
  return {{"median", timing.medianUs}, {"p10", timing.p10Us}, {"p90", timing.p90Us}, {"best", timing.bestUs}};
}

/// Nanoseconds are as fine as events measure.
static json samplesJson(const Timing &timing) {
  json samples = json::array();
  for (double sample : timing.samplesUs)
    samples.push_back(std::round(sample * 1e3) * 1e-3);
  return samples;
}

static json toJson(const CandidateResult &candidate, bool best) {
  json object{{"asked", candidate.text}, {"config", candidate.report.config}, {"best", best}};
  if (!candidate.report.digest.empty())
    object.update(
        {{"configSource", runtime::name(candidate.report.source)}, {"digest", candidate.report.digest}});
  if (candidate.fault.empty())
    object.update({{"us", toJson(candidate.timing)},
                   {"planUs", candidate.planUs},
                   {"hostUs", candidate.hostUs},
                   {"workers", candidate.workers}});
  else
    object.update({{"fault", candidate.fault}, {"wrong", candidate.wrong}});
  return object;
}

static json toJson(const PeerResult &peer, const RowResult &row) {
  if (!peer.refusal.empty())
    return {{"name", peer.name}, {"refusal", peer.refusal}};
  if (!peer.fault.empty())
    return {{"name", peer.name}, {"fault", peer.fault}};
  json object{{"name", peer.name},
              {"us", toJson(peer.timing)},
              {"gbps", row.work.bytes / peer.timing.medianUs * 1e-3},
              {"tflops", row.work.operations / peer.timing.medianUs * 1e-6},
              {"samplesUs", samplesJson(peer.timing)}};
  if (row.measured())
    object["ratio"] = peer.timing.medianUs / row.winner().timing.medianUs;
  return object;
}

/// What the best candidate did.
static json winnerJson(const BenchHeader &header, const RowResult &row) {
  const CandidateResult &winner = row.winner();
  const double gbps = row.work.bytes / winner.timing.medianUs * 1e-3,
               tflops = row.work.operations / winner.timing.medianUs * 1e-6;
  return {{"replays", winner.timing.samplesUs.size()},
          {"workers", winner.workers},
          {"config", winner.report.config},
          {"configSource", runtime::name(winner.report.source)},
          {"us", toJson(winner.timing)},
          {"planUs", winner.planUs},
          {"hostUs", winner.hostUs},
          {"gbps", gbps},
          {"tflops", tflops},
          {"readShare", gbps / header.limits.readGbps},
          {"matrixShare", tflops / header.limits.matrixTflops},
          {"samplesUs", samplesJson(winner.timing)}};
}

static json rowJson(const BenchHeader &header, const RowResult &row) {
  json object{{"name", row.row.name},
              {"shape", toJson(row.row.shape)},
              {"workload", row.row.workload.str()},
              {"batch", row.row.workload.batch()},
              {"tokens", row.work.tokens},
              {"layers", row.caches.layers},
              {"caches", row.caches.caches()},
              {"bytes", row.work.bytes},
              {"operations", row.work.operations},
              {"floorUs", floorUs(row.work, header.limits)}};
  if (row.measured())
    object.update(winnerJson(header, row));
  else
    object["fault"] = row.fault;
  for (size_t i = 0; i < row.candidates.size(); ++i)
    object["candidates"].push_back(toJson(row.candidates[i], int(i) == row.best));
  for (const PeerResult &peer : row.peers)
    object["peers"].push_back(toJson(peer, row));
  return object;
}

static json headerJson(const BenchHeader &header) {
  json object{{"benchmark", "mla"},
              {"command", header.commandLine},
              {"version", LATHE_VERSION},
              {"compiler", codegen::compilerVersion()},
              {"device",
               {{"name", header.device.name},
                {"driver", header.device.driverVersion},
                {"sms", header.device.smCount}}},
              {"limits", header.limits}};
  return object;
}

json lathe::tools::singleJson(const BenchHeader &header, const RowResult &row) {
  json object = headerJson(header);
  object.update(rowJson(header, row));
  return object;
}

json lathe::tools::gridJson(const BenchHeader &header, const std::string &grid,
                            const std::vector<RowResult> &rows) {
  json object = headerJson(header);
  object["grid"] = grid;
  object["rows"] = json::array();
  for (const RowResult &row : rows)
    object["rows"].push_back(rowJson(header, row));
  return object;
}

json lathe::tools::listJson(const std::vector<ListedRow> &rows) {
  json list = json::array();
  for (const auto &[row, candidates] : rows) {
    json configs = json::array();
    for (const Candidate &candidate : candidates)
      configs.push_back(candidate.config ? json(*candidate.config) : json(candidate.text));
    list.push_back({{"name", row.name},
                    {"shape", toJson(row.shape)},
                    {"scale", row.scale},
                    {"workload", row.workload.json()},
                    {"tokens", autotuner::lengthStats(row.workload.draw()).total},
                    {"layers", row.layers},
                    {"configs", configs}});
  }
  return {{"rows", list}};
}
