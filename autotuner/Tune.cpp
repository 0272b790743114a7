//===- Tune.cpp - The tuner's facade ------------------------------------------------------------------===//
//
// Ties the parts of the room together; the decisions are in SearchSpace, CostModel, Search and Predict, the
// memory in TuningDb.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/Tune.h"

#include "lathe/autotuner/Predict.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>

namespace lathe::autotuner {

TuningKey keyOf(const TuneRequest &request) {
  TuningKey key;
  key.device = request.device.empty() ? "model:" + request.machine.name : request.device;
  key.arch = request.target.arch;
  key.problem = request.problem;
  key.compiler = request.compiler;
  key.workload = request.workload.json();
  key.batchInvariant = request.batchInvariant;
  return key;
}

const CandidateResult *TuneResult::find(const codegen::Config &config) const {
  for (const CandidateResult &candidate : candidates)
    if (candidate.config == config)
      return &candidate;
  return nullptr;
}

//===--------------------------------------------------------------------------------------------------===//
// Pruning
//===--------------------------------------------------------------------------------------------------===//

/// First of each group in a list that is sorted by predicted time.
static std::vector<size_t> bestOfGroups(const std::vector<CandidateResult> &sorted) {
  std::vector<size_t> chosen;
  std::set<std::tuple<int, codegen::SplitPolicy, int, bool>> seen;
  for (size_t i = 0; i < sorted.size(); ++i)
    if (const codegen::Config &config = sorted[i].config;
        seen.insert({config.kvTile, config.split, config.cluster, config.swapOperands}).second)
      chosen.push_back(i);
  return chosen;
}

/// Indices to keep, ascending: half the budget from the front, the rest from the groups, then the front
/// again.
static std::set<size_t> keepWithin(const std::vector<CandidateResult> &sorted, size_t budget) {
  std::set<size_t> kept;
  for (size_t i = 0; i < sorted.size() && kept.size() < (budget + 1) / 2; ++i)
    kept.insert(i);
  for (size_t i : bestOfGroups(sorted))
    if (kept.size() < budget)
      kept.insert(i);
  for (size_t i = 0; i < sorted.size() && kept.size() < budget; ++i)
    kept.insert(i);
  return kept;
}

/// Axes in which two configs differ.
static int differences(const codegen::Config &a, const codegen::Config &b) {
  return (a.kvTile != b.kvTile) + (a.rowsPerCta != b.rowsPerCta) + (a.stages != b.stages) +
         (a.consumers != b.consumers) + (a.cluster != b.cluster) + (a.split != b.split) +
         (a.swapOperands != b.swapOperands) + (a.dependentLaunch != b.dependentLaunch);
}

std::vector<CandidateResult> rankCandidates(const TuneRequest &request, const SearchSpace &space,
                                            const std::vector<int> &lengths) {
  std::vector<CandidateResult> others, ranked;
  for (const codegen::Config &config : space.legal) {
    CandidateResult candidate;
    candidate.config = config;
    candidate.isDefault = config == space.fallback;
    candidate.predictedUs = estimate(request.problem, config, lengths, request.machine).totalUs;
    (candidate.isDefault ? ranked : others).push_back(std::move(candidate));
  }
  // Ties go to what is most like the default, then by name: the same list in every run.
  auto rank = [&](const CandidateResult &candidate) {
    return std::make_tuple(candidate.predictedUs, differences(candidate.config, space.fallback),
                           candidate.config.str());
  };
  std::sort(others.begin(), others.end(),
            [&](const CandidateResult &a, const CandidateResult &b) { return rank(a) < rank(b); });
  const size_t budget = request.maxCandidates > 0 ? size_t(request.maxCandidates) - 1 : others.size();
  for (size_t i : keepWithin(others, budget))
    ranked.push_back(std::move(others[i]));
  return ranked;
}

//===--------------------------------------------------------------------------------------------------===//
// Database
//===--------------------------------------------------------------------------------------------------===//

static TuningRecord recordOf(const TuneResult &result, bool chosen) {
  TuningRecord record;
  record.key = keyOf(result.request);
  record.batch = result.lengths.batch;
  record.meanTokens = result.lengths.mean;
  record.complete = result.complete;
  record.candidates = result.candidates;
  if (chosen && result.bestUs > 0) {
    record.best = result.best;
    record.bestUs = result.bestUs;
    record.defaultUs = result.defaultUs;
  }
  return record;
}

static void store(const TuneResult &result, bool chosen) {
  if (result.request.database)
    result.request.database->put(recordOf(result, chosen));
}

/// A default that was interrupted is tried again: without it nothing can be compared.
static void takeOver(CandidateResult &candidate, const CandidateResult &old) {
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

static int resumeFrom(TuneResult &result, const TuningRecord &old) {
  int resumed = 0;
  for (CandidateResult &candidate : result.candidates)
    for (const CandidateResult &before : old.candidates)
      if (before.config == candidate.config) {
        takeOver(candidate, before);
        resumed += candidate.status != Status::Predicted;
      }
  return resumed;
}

//===--------------------------------------------------------------------------------------------------===//
// Choosing
//===--------------------------------------------------------------------------------------------------===//

static void finish(TuneResult &result, int best, double bestUs, double defaultUs) {
  result.best = best >= 0 ? result.candidates[size_t(best)].config : result.space.fallback;
  result.bestUs = bestUs;
  result.defaultUs = defaultUs;
}

static void chooseByModel(TuneResult &result, const SearchCallbacks &callbacks) {
  const SearchOutcome outcome = choosePredicted(result.candidates, result.request.search, callbacks);
  result.complete = outcome.complete;
  result.stopReason = outcome.stopReason;
  result.choiceReason = outcome.choiceReason;
  result.verified = outcome.best >= 0 && bool(callbacks.verify);
  finish(result, outcome.best, outcome.best >= 0 ? result.candidates[size_t(outcome.best)].predictedUs : 0,
         result.candidates.front().predictedUs);
}

static double measuredUs(const CandidateResult &candidate) {
  return candidate.status == Status::Measured ? candidate.time.medianUs : 0;
}

static void chooseMeasured(TuneResult &result, const SearchCallbacks &callbacks) {
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
static bool answeredBy(TuneResult &result, const TuningRecord &old) {
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

TuneResult tune(const TuneRequest &request, const SearchCallbacks &callbacks) {
  TuneResult result;
  result.request = request;
  const std::vector<int> lengths = request.workload.draw();
  result.lengths = lengthStats(lengths);
  result.space = buildSearchSpace(request.problem, request.target, request.batchInvariant);
  result.candidates = rankCandidates(request, result.space, lengths);

  const bool measures = bool(callbacks.measure);
  std::optional<TuningRecord> old;
  if (measures && request.resume && request.database)
    old = request.database->find(keyOf(request));
  if (old)
    result.resumed = resumeFrom(result, *old);
  if (!old || !answeredBy(result, *old)) {
    if (measures)
      chooseMeasured(result, callbacks);
    else
      chooseByModel(result, callbacks);
    store(result, /*chosen=*/true);
  }
  result.bestEstimate = estimate(request.problem, result.best, lengths, request.machine);
  result.defaultEstimate = estimate(request.problem, result.space.fallback, lengths, request.machine);
  return result;
}

void to_json(nlohmann::json &json, const TuneResult &result) {
  const codegen::AttentionProblem &problem = result.request.problem;
  json = {{"problem",
           {{"name", problem.name},
            {"heads", problem.heads},
            {"queryTokens", problem.queryTokens},
            {"keyDim", problem.keyDim},
            {"valueDim", problem.valueDim},
            {"page", problem.page}}},
          {"device", keyOf(result.request).device},
          {"machine", result.request.machine.name},
          {"batchInvariant", result.request.batchInvariant},
          {"workload", result.request.workload.json()},
          {"lengths",
           {{"batch", result.lengths.batch},
            {"total", result.lengths.total},
            {"mean", result.lengths.mean},
            {"least", result.lengths.least},
            {"p50", result.lengths.p50},
            {"p90", result.lengths.p90},
            {"most", result.lengths.most}}},
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

} // namespace lathe::autotuner
