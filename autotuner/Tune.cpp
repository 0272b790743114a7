//===- Tune.cpp - The tuner's facade ------------------------------------------------------------------===//
//
// Ties the parts of the room together; the decisions are in SearchSpace, CostModel, Search and Predict, the
// memory in TuningDb.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/Tune.h"

#include "lathe/autotuner/Predict.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace lathe::autotuner {

template <class Family>
TuningKeyOf<Family> keyOf(const TuneRequestOf<Family> &request) {
  TuningKeyOf<Family> key;
  key.device = request.device.empty() ? "model:" + request.machine.name : request.device;
  key.arch = request.target.arch;
  key.problem = request.problem;
  key.compiler = request.compiler;
  key.workload = request.workload.json();
  key.batchInvariant = request.batchInvariant;
  return key;
}

template <class Family>
const CandidateResultOf<typename Family::Config> *TuneResultOf<Family>::find(const Config &config) const {
  for (const CandidateResultOf<Config> &candidate : candidates)
    if (candidate.config == config)
      return &candidate;
  return nullptr;
}

//===--------------------------------------------------------------------------------------------------===//
// Pruning
//===--------------------------------------------------------------------------------------------------===//

/// First of each group in a list that is sorted by predicted time.
template <class Family>
static std::vector<size_t>
bestOfGroups(const std::vector<CandidateResultOf<typename Family::Config>> &sorted) {
  std::vector<size_t> chosen;
  std::set<std::string> seen;
  for (size_t i = 0; i < sorted.size(); ++i) {
    bool first = false;
    for (std::string &group : Family::groups(sorted[i].config))
      first = seen.insert(std::move(group)).second || first;
    if (first)
      chosen.push_back(i);
  }
  return chosen;
}

/// Indices to keep, ascending: half the budget from the front, the rest from the groups, then the front
/// again.
template <class Family>
static std::set<size_t> keepWithin(const std::vector<CandidateResultOf<typename Family::Config>> &sorted,
                                   size_t budget) {
  std::set<size_t> kept;
  for (size_t i = 0; i < sorted.size() && kept.size() < (budget + 1) / 2; ++i)
    kept.insert(i);
  for (size_t i : bestOfGroups<Family>(sorted))
    if (kept.size() < budget)
      kept.insert(i);
  for (size_t i = 0; i < sorted.size() && kept.size() < budget; ++i)
    kept.insert(i);
  return kept;
}

/// Axes in which two configs, as JSON, differ.
static int differences(const nlohmann::json &a, const nlohmann::json &b) {
  int count = 0;
  for (const auto &[axis, value] : a.items())
    count += b.at(axis) != value;
  return count;
}

template <class Family>
std::vector<CandidateResultOf<typename Family::Config>>
rankCandidates(const TuneRequestOf<Family> &request, const SearchSpaceOf<typename Family::Config> &space,
               const typename Family::Sample &sample) {
  using Candidate = CandidateResultOf<typename Family::Config>;
  // Ties go to what is most like the default, then by name: the same list in every run.
  struct Rank {
    double us;
    int differences;
    std::string name;
    size_t index;
    auto operator<=>(const Rank &) const = default;
  };
  const nlohmann::json fallback = space.fallback;
  std::vector<Candidate> ranked(1), others, sorted;
  std::vector<Rank> ranks;
  for (const auto &config : space.legal) {
    Candidate candidate;
    candidate.config = config;
    candidate.isDefault = config == space.fallback;
    candidate.predictedUs = Family::predict(request, config, sample).totalUs;
    if (candidate.isDefault) {
      ranked.front() = std::move(candidate);
      continue;
    }
    ranks.push_back({candidate.predictedUs, differences(config, fallback), config.str(), others.size()});
    others.push_back(std::move(candidate));
  }
  std::sort(ranks.begin(), ranks.end());
  for (const Rank &rank : ranks)
    sorted.push_back(std::move(others[rank.index]));
  const size_t budget = request.maxCandidates > 0 ? size_t(request.maxCandidates) - 1 : sorted.size();
  for (size_t i : keepWithin<Family>(sorted, budget))
    ranked.push_back(std::move(sorted[i]));
  return ranked;
}

//===--------------------------------------------------------------------------------------------------===//
// Database
//===--------------------------------------------------------------------------------------------------===//

template <class Family>
static TuningRecordOf<Family> recordOf(const TuneResultOf<Family> &result, bool chosen) {
  TuningRecordOf<Family> record;
  record.key = keyOf(result.request);
  static_cast<typename Family::Point &>(record) = result.point;
  record.complete = result.complete;
  record.sustainedSeconds = result.request.sustainedSeconds;
  record.candidates = result.candidates;
  if (chosen && result.bestUs > 0) {
    record.best = result.best;
    record.bestUs = result.bestUs;
    record.defaultUs = result.defaultUs;
  }
  return record;
}

template <class Family>
static void store(const TuneResultOf<Family> &result, bool chosen) {
  if (result.request.database)
    result.request.database->put(recordOf(result, chosen));
}

/// A default that was interrupted is tried again: without it nothing can be compared.
template <class Candidate>
static void takeOver(Candidate &candidate, const Candidate &old) {
  if (old.status == Status::Predicted || old.status == Status::Verified ||
      (candidate.isDefault && old.status != Status::Measured))
    return;
  candidate.status = old.status;
  candidate.time = old.time;
  candidate.reason = old.reason;
  if (old.status == Status::Started) {
    candidate.status = Status::RunFailed;
    candidate.reason = "the tuner ended while this candidate was being tried (crash, hang or kill)";
  }
}

template <class Family>
static int resumeFrom(TuneResultOf<Family> &result, const TuningRecordOf<Family> &old) {
  int resumed = 0;
  for (auto &candidate : result.candidates)
    for (const auto &before : old.candidates)
      if (before.config == candidate.config) {
        takeOver(candidate, before);
        resumed += candidate.status != Status::Predicted;
      }
  return resumed;
}

//===--------------------------------------------------------------------------------------------------===//
// Choosing
//===--------------------------------------------------------------------------------------------------===//

template <class Family>
static void finish(TuneResultOf<Family> &result, int best, double bestUs, double defaultUs) {
  result.best = best >= 0 ? result.candidates[size_t(best)].config : result.space.fallback;
  result.bestUs = bestUs;
  result.defaultUs = defaultUs;
}

template <class Family>
static void chooseByModel(TuneResultOf<Family> &result,
                          const SearchCallbacksOf<typename Family::Config> &callbacks) {
  const SearchOutcome outcome = choosePredicted(result.candidates, result.request.search, callbacks);
  result.complete = outcome.complete;
  result.stopReason = outcome.stopReason;
  result.choiceReason = outcome.choiceReason;
  result.verified = outcome.best >= 0 && bool(callbacks.verify);
  finish(result, outcome.best, outcome.best >= 0 ? result.candidates[size_t(outcome.best)].predictedUs : 0,
         result.candidates.front().predictedUs);
}

template <class Candidate>
static double measuredUs(const Candidate &candidate) {
  return candidate.status == Status::Measured ? candidate.time.medianUs : 0;
}

template <class Family>
static void chooseMeasured(TuneResultOf<Family> &result,
                           const SearchCallbacksOf<typename Family::Config> &callbacks) {
  const SearchOutcome outcome =
      search(result.candidates, result.request.search, callbacks, [&] { store(result, /*chosen=*/false); });
  result.complete = outcome.complete;
  result.stopReason = outcome.stopReason;
  result.choiceReason = outcome.choiceReason;
  result.measured = outcome.best >= 0;
  finish(result, outcome.best, outcome.best >= 0 ? measuredUs(result.candidates[size_t(outcome.best)]) : 0,
         measuredUs(result.candidates.front()));
}

/// A complete record of the same key, with the same candidates, answers without running anything.
template <class Family>
static bool answeredBy(TuneResultOf<Family> &result, const TuningRecordOf<Family> &old) {
  if (!old.complete || !old.best || result.resumed != int(result.candidates.size()) ||
      !result.find(*old.best))
    return false;
  result.fromDatabase = result.measured = result.complete = true;
  result.best = *old.best;
  result.bestUs = old.bestUs;
  result.defaultUs = old.defaultUs;
  result.stopReason = "tuned before; nothing was run";
  result.choiceReason = "taken from the tuning database";
  return true;
}

template <class Family>
TuneResultOf<Family> tune(const TuneRequestOf<Family> &request,
                          const SearchCallbacksOf<typename Family::Config> &callbacks) {
  TuneResultOf<Family> result;
  result.request = request;
  const typename Family::Sample sample = Family::draw(request.problem, request.workload);
  result.drawn = Family::stats(sample);
  result.point = Family::point(request.workload, sample);
  result.space = Family::space(request);
  result.candidates = rankCandidates(request, result.space, sample);

  const bool measures = bool(callbacks.measure);
  std::optional<TuningRecordOf<Family>> old;
  if (measures && request.resume && request.database)
    old = request.database->find(keyOf(request));
  if (old && old->sustainedSeconds != request.sustainedSeconds)
    old.reset(); // Its times are not to be compared with these.
  if (old)
    result.resumed = resumeFrom(result, *old);
  if (!old || !answeredBy(result, *old)) {
    if (measures)
      chooseMeasured(result, callbacks);
    else
      chooseByModel(result, callbacks);
    store(result, /*chosen=*/true);
  }
  result.bestEstimate = Family::predict(request, result.best, sample);
  result.defaultEstimate = Family::predict(request, result.space.fallback, sample);
  return result;
}

template <class Family>
void to_json(nlohmann::json &json, const TuneResultOf<Family> &result) {
  nlohmann::json problem = Family::problemJson(result.request.problem);
  problem["name"] = result.request.problem.name;
  json = {{"problem", problem},
          {"device", keyOf(result.request).device},
          {"machine", result.request.machine.name},
          {"batchInvariant", result.request.batchInvariant},
          {"sustainedSeconds", result.request.sustainedSeconds},
          {"workload", result.request.workload.json()},
          {Family::drawnName, result.drawn},
          {"space", result.space},
          {"candidates", result.candidates},
          {"best", result.best},
          {"bestUs", result.bestUs},
          {"defaultUs", result.defaultUs},
          {"measured", result.measured},
          {"verified", result.verified || result.measured},
          {"fromDatabase", result.fromDatabase},
          {"resumed", result.resumed},
          {"complete", result.complete},
          {"stopReason", result.stopReason},
          {"choiceReason", result.choiceReason},
          {"bestEstimate", result.bestEstimate},
          {"defaultEstimate", result.defaultEstimate},
          {"database", nullptr}};
  if (result.request.database)
    json["database"] = result.request.database->path().string();
}

template struct TuneResultOf<AttentionFamily>;
template struct TuneResultOf<MoeFamily>;
template TuneResult tune(const TuneRequest &, const SearchCallbacks &);
template MoeTuneResult tune(const MoeTuneRequest &, const MoeSearchCallbacks &);
template std::vector<CandidateResult> rankCandidates(const TuneRequest &, const SearchSpace &,
                                                     const std::vector<int> &);
template std::vector<MoeCandidateResult> rankCandidates(const MoeTuneRequest &, const MoeSearchSpace &,
                                                        const MoeLoad &);
template TuningKey keyOf(const TuneRequest &);
template MoeTuningKey keyOf(const MoeTuneRequest &);
template void to_json(nlohmann::json &, const TuneResult &);
template void to_json(nlohmann::json &, const MoeTuneResult &);

} // namespace lathe::autotuner
