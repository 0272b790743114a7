//===- TuningRecord.cpp - Tuning records as JSON ------------------------------------------------------===//
//
// The file format of the tuning database, apart from where and how the file is kept. Every field is read with
// a check, so that a damaged record is an error that names the field, never a wrong configuration.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/TuningDb.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <array>

namespace lathe::autotuner {

static constexpr std::array statuses{Status::Predicted,    Status::Started,   Status::CompileFailed,
                                     Status::VerifyFailed, Status::RunFailed, Status::Verified,
                                     Status::Measured};

const char *name(Status status) {
  switch (status) {
  case Status::Predicted:
    return "predicted";
  case Status::Started:
    return "started";
  case Status::CompileFailed:
    return "compile-failed";
  case Status::VerifyFailed:
    return "verify-failed";
  case Status::RunFailed:
    return "run-failed";
  case Status::Verified:
    return "verified";
  case Status::Measured:
    return "measured";
  }
  return "?";
}

template <class Value>
static Value field(const nlohmann::json &json, const char *name) {
  try {
    return json.at(name).get<Value>();
  } catch (const nlohmann::json::exception &) {
    const bool there = json.is_object() && json.contains(name);
    throw UserError(Fault{"tuning record", fmt::format("field '{}' must be there with its type", name),
                          there ? json[name].dump() : "nothing", "tune again"});
  }
}

void to_json(nlohmann::json &json, const Measurement &time) {
  json = {{"medianUs", time.medianUs}, {"lowUs", time.lowUs}, {"highUs", time.highUs}, {"runs", time.runs}};
}

void from_json(const nlohmann::json &json, Measurement &time) {
  time = {field<double>(json, "medianUs"), field<double>(json, "lowUs"), field<double>(json, "highUs"),
          field<int>(json, "runs")};
}

void to_json(nlohmann::json &json, const CandidateResult &result) {
  json = {{"config", result.config},
          {"default", result.isDefault},
          {"predictedUs", result.predictedUs},
          {"status", name(result.status)}};
  if (result.status == Status::Measured)
    json["time"] = result.time;
  if (!result.reason.empty())
    json["reason"] = result.reason;
}

static Status readStatus(const nlohmann::json &json) {
  const std::string text = field<std::string>(json, "status");
  for (Status status : statuses)
    if (text == name(status))
      return status;
  throw UserError(Fault{"tuning record", "field 'status' must be a known status", text, "tune again"});
}

void from_json(const nlohmann::json &json, CandidateResult &result) {
  result = {};
  result.config = field<codegen::Config>(json, "config");
  result.isDefault = field<bool>(json, "default");
  result.predictedUs = field<double>(json, "predictedUs");
  result.status = readStatus(json);
  if (result.status == Status::Measured)
    result.time = field<Measurement>(json, "time");
  if (json.contains("reason"))
    result.reason = field<std::string>(json, "reason");
}

static nlohmann::json keyJson(const TuningKey &key) {
  const codegen::AttentionProblem &problem = key.problem;
  return {{"device", key.device},
          {"arch", key.arch},
          {"compiler", key.compiler},
          {"workload", key.workload},
          {"batchInvariant", key.batchInvariant},
          {"problem",
           {{"heads", problem.heads},
            {"queryTokens", problem.queryTokens},
            {"keyDim", problem.keyDim},
            {"valueDim", problem.valueDim},
            {"page", problem.page}}}};
}

static TuningKey readKey(const nlohmann::json &json) {
  TuningKey key;
  key.device = field<std::string>(json, "device");
  key.arch = field<std::string>(json, "arch");
  key.compiler = field<std::string>(json, "compiler");
  key.workload = field<nlohmann::json>(json, "workload");
  if (json.contains("batchInvariant")) // Older records have none.
    key.batchInvariant = field<bool>(json, "batchInvariant");
  const nlohmann::json problem = field<nlohmann::json>(json, "problem");
  key.problem.heads = field<int>(problem, "heads");
  key.problem.queryTokens = field<int>(problem, "queryTokens");
  key.problem.keyDim = field<int>(problem, "keyDim");
  key.problem.valueDim = field<int>(problem, "valueDim");
  key.problem.page = field<int>(problem, "page");
  return key;
}

void to_json(nlohmann::json &json, const TuningRecord &record) {
  json = {{"key", keyJson(record.key)},
          {"batch", record.batch},
          {"meanTokens", record.meanTokens},
          {"complete", record.complete},
          {"candidates", record.candidates}};
  if (record.best)
    json.update({{"best", *record.best}, {"bestUs", record.bestUs}, {"defaultUs", record.defaultUs}});
}

void from_json(const nlohmann::json &json, TuningRecord &record) {
  record = {};
  record.key = readKey(field<nlohmann::json>(json, "key"));
  record.batch = field<int>(json, "batch");
  record.meanTokens = field<double>(json, "meanTokens");
  record.complete = field<bool>(json, "complete");
  for (const nlohmann::json &candidate : field<std::vector<nlohmann::json>>(json, "candidates"))
    record.candidates.push_back(candidate.get<CandidateResult>());
  if (json.contains("best")) {
    record.best = field<codegen::Config>(json, "best");
    record.bestUs = field<double>(json, "bestUs");
    record.defaultUs = field<double>(json, "defaultUs");
  }
}

} // namespace lathe::autotuner
