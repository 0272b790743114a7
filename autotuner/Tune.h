//===- Tune.h - The tuner's facade --------------------------------------------------------------------===//
//
// From a problem, a machine and a workload to a configuration: builds the space, ranks it with the cost
// model, keeps the most promising and the most different candidates, has them tried, and stores everything in
// the database. Without a device (no measure callback) the cost model chooses, among what the verify callback
// accepts where there is one, and the result says so. Called by `lathe tune`.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/autotuner/CostModel.h"
#include "lathe/autotuner/MoeCostModel.h"
#include "lathe/autotuner/MoeWorkload.h"
#include "lathe/autotuner/Search.h"
#include "lathe/autotuner/SearchSpace.h"
#include "lathe/autotuner/TuningDb.h"
#include "lathe/autotuner/Workload.h"

#include <optional>
#include <string>
#include <vector>

namespace lathe::autotuner {

template <class Family>
struct TuneRequestOf {
  typename Family::Problem problem;
  codegen::Target target;
  Machine machine;      ///< For the cost model.
  std::string device;   ///< GPU name of the record; empty: "model:<machine>", a prediction.
  std::string compiler; ///< codegen::compilerVersion().
  typename Family::Workload workload{};
  bool batchInvariant = false;      ///< Only configurations with which a result does not depend on the batch.
  int maxCandidates = 24;           ///< To try, the default included; 0: all legal ones.
  bool resume = true;               ///< Take over results of an earlier run with the same key.
  double sustainedSeconds = 0;      ///< How long a kernel has run before measure() times it; told, not used.
  std::optional<TuningDb> database; ///< Nothing: nothing is stored.
  SearchOptions search;
};
using TuneRequest = TuneRequestOf<AttentionFamily>;
using MoeTuneRequest = TuneRequestOf<MoeFamily>;

template <class Family>
struct TuneResultOf {
  using Config = typename Family::Config;

  TuneRequestOf<Family> request;
  typename Family::Stats drawn;                      ///< Of the step that was drawn.
  typename Family::Point point;                      ///< Where it lies among others.
  SearchSpaceOf<Config> space;                       ///< With rejection counts.
  std::vector<CandidateResultOf<Config>> candidates; ///< The default first, then by predicted time.
  Config best;                      ///< What to use: the choice, or the default where there is none.
  bool measured = false;            ///< False: the cost model's word.
  bool verified = false;            ///< Not measured, but compiled and verified before it was chosen.
  bool fromDatabase = false;        ///< A complete earlier record answered; nothing ran.
  double bestUs = 0, defaultUs = 0; ///< 0: has no time.
  typename Family::Estimate bestEstimate, defaultEstimate;
  int resumed = 0; ///< Candidates taken over from an earlier run.
  bool complete = false;
  std::string stopReason, choiceReason;

  const CandidateResultOf<Config> *find(const Config &config) const;
};
using TuneResult = TuneResultOf<AttentionFamily>;
using MoeTuneResult = TuneResultOf<MoeFamily>;

/// Throws UserError: no config serves the problem, the database cannot be read or written. Failures of
/// candidates are results, not errors.
template <class Family>
TuneResultOf<Family> tune(const TuneRequestOf<Family> &request,
                          const SearchCallbacksOf<typename Family::Config> &callbacks);

/// The default first, then at most maxCandidates - 1 others by predicted time: half of them the model's best,
/// half the best of each group (Family::groups), since the model may be wrong about a whole axis.
template <class Family>
std::vector<CandidateResultOf<typename Family::Config>>
rankCandidates(const TuneRequestOf<Family> &request, const SearchSpaceOf<typename Family::Config> &space,
               const typename Family::Sample &sample);

/// Key under which the result is stored.
template <class Family>
TuningKeyOf<Family> keyOf(const TuneRequestOf<Family> &request);

template <class Family>
void to_json(nlohmann::json &json, const TuneResultOf<Family> &result);

} // namespace lathe::autotuner
