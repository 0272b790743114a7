//===- TuningRecord.cpp - Tuning records as JSON ------------------------------------------------------===//
//
// The file format of the tuning database, apart from where and how the file is kept and from what belongs to
// one family of kernels.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/TuningRecord.h"

#include "lathe/autotuner/RecordFields.h"

namespace lathe::autotuner {

static constexpr Names<Status, 7> statuses{{{"predicted", Status::Predicted},
                                            {"started", Status::Started},
                                            {"compile-failed", Status::CompileFailed},
                                            {"verify-failed", Status::VerifyFailed},
                                            {"run-failed", Status::RunFailed},
                                            {"verified", Status::Verified},
                                            {"measured", Status::Measured}}};

const char *name(Status status) { return nameOf(statuses, status); }

void to_json(nlohmann::json &json, const Measurement &time) {
  json = {{"medianUs", time.medianUs}, {"lowUs", time.lowUs}, {"highUs", time.highUs}, {"runs", time.runs}};
}

void from_json(const nlohmann::json &json, Measurement &time) {
  time = {field<double>(json, "medianUs"), field<double>(json, "lowUs"), field<double>(json, "highUs"),
          field<int>(json, "runs")};
}

template <class ConfigType>
void to_json(nlohmann::json &json, const CandidateResultOf<ConfigType> &result) {
  json = {{"config", result.config},
          {"default", result.isDefault},
          {"predictedUs", result.predictedUs},
          {"status", name(result.status)}};
  if (result.status == Status::Measured)
    json["time"] = result.time;
  if (!result.reason.empty())
    json["reason"] = result.reason;
}
template void to_json(nlohmann::json &, const CandidateResult &);
template void to_json(nlohmann::json &, const MoeCandidateResult &);

template <class ConfigType>
void from_json(const nlohmann::json &json, CandidateResultOf<ConfigType> &result) {
  result = {};
  result.config = field<ConfigType>(json, "config");
  result.isDefault = field<bool>(json, "default");
  result.predictedUs = field<double>(json, "predictedUs");
  result.status = choice(json, "status", statuses);
  if (result.status == Status::Measured)
    result.time = field<Measurement>(json, "time");
  if (json.contains("reason"))
    result.reason = field<std::string>(json, "reason");
}
template void from_json(const nlohmann::json &, CandidateResult &);
template void from_json(const nlohmann::json &, MoeCandidateResult &);

template <class Family>
static TuningKeyOf<Family> readKey(const nlohmann::json &json) {
  TuningKeyOf<Family> key;
  key.device = field<std::string>(json, "device");
  key.arch = field<std::string>(json, "arch");
  key.compiler = field<std::string>(json, "compiler");
  key.workload = field<nlohmann::json>(json, "workload");
  if (json.contains("batchInvariant")) // Older records have none.
    key.batchInvariant = field<bool>(json, "batchInvariant");
  key.problem = Family::readProblem(field<nlohmann::json>(json, "problem"));
  return key;
}

template <class Family>
void to_json(nlohmann::json &json, const TuningRecordOf<Family> &record) {
  const TuningKeyOf<Family> &key = record.key;
  json = {{"kind", Family::kind},
          {"key",
           {{"device", key.device},
            {"arch", key.arch},
            {"compiler", key.compiler},
            {"workload", key.workload},
            {"batchInvariant", key.batchInvariant},
            {"problem", Family::problemJson(key.problem)}}},
          {"complete", record.complete},
          {"sustainedSeconds", record.sustainedSeconds},
          {"candidates", record.candidates}};
  json.update(Family::pointJson(record));
  if (record.best)
    json.update({{"best", *record.best}, {"bestUs", record.bestUs}, {"defaultUs", record.defaultUs}});
}
template void to_json(nlohmann::json &, const TuningRecord &);
template void to_json(nlohmann::json &, const MoeTuningRecord &);

template <class Family>
void from_json(const nlohmann::json &json, TuningRecordOf<Family> &record) {
  using Config = typename Family::Config;
  record = {};
  record.key = readKey<Family>(field<nlohmann::json>(json, "key"));
  static_cast<typename Family::Point &>(record) = Family::readPoint(json);
  record.complete = field<bool>(json, "complete");
  if (json.contains("sustainedSeconds")) // Older records have none.
    record.sustainedSeconds = field<double>(json, "sustainedSeconds");
  for (const nlohmann::json &candidate : field<std::vector<nlohmann::json>>(json, "candidates"))
    record.candidates.push_back(candidate.get<CandidateResultOf<Config>>());
  if (json.contains("best")) {
    record.best = field<Config>(json, "best");
    record.bestUs = field<double>(json, "bestUs");
    record.defaultUs = field<double>(json, "defaultUs");
  }
}
template void from_json(const nlohmann::json &, TuningRecord &);
template void from_json(const nlohmann::json &, MoeTuningRecord &);

} // namespace lathe::autotuner
