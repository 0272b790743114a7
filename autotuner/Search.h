//===- Search.h - Trying candidates -------------------------------------------------------------------===//
//
// Compiles, verifies and measures candidates one after another, records what became of each at once, and
// chooses. It touches neither clock, compiler nor device: all three arrive as callbacks, so the search is
// tested on synthetic costs. The default is the first candidate, is in every final, and wins ties. Called by
// tune().
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/autotuner/TuningRecord.h"

#include <functional>
#include <string>
#include <vector>

namespace lathe::autotuner {

/// For progress bars; not part of the result.
template <class ConfigType>
struct SearchEventOf {
  enum class Kind {
    Begin,  ///< Known: total, resumed.
    Step,   ///< A candidate enters the named step.
    Result, ///< A candidate is done; `result` tells how.
    Final,  ///< The fastest and the default are measured again, in turn.
    End
  };
  Kind kind;
  int done = 0, total = 0;
  int resumed = 0;
  const char *step = "";                                 ///< "compile", "verify", "measure".
  const CandidateResultOf<ConfigType> *result = nullptr; ///< Step, Result. Borrowed during the call.
};
using SearchEvent = SearchEventOf<codegen::Config>;
using MoeSearchEvent = SearchEventOf<codegen::MoeConfig>;

/// What the search may call. Whatever compile, verify and measure throw is the fate of that candidate alone.
/// A callback that could hang or crash runs its work in a process of its own (Isolated.h).
template <class ConfigType>
struct SearchCallbacksOf {
  std::function<void(const ConfigType &)> compile;
  std::function<std::string(const ConfigType &)> verify; ///< Empty: correct; else what differs.
  std::function<Measurement(const ConfigType &)>
      measure;                       ///< Of a compiled candidate; called again in the final.
  std::function<std::string()> stop; ///< Optional. Not empty: why to stop now ("interrupted").
  std::function<void(const SearchEventOf<ConfigType> &)> onEvent; ///< Optional.
};
using SearchCallbacks = SearchCallbacksOf<codegen::Config>;
using MoeSearchCallbacks = SearchCallbacksOf<codegen::MoeConfig>;

struct SearchOptions {
  double relativeNoise = 0.01;  ///< A difference below this share of the default's time is a tie.
  double predictionError = 0.1; ///< The same for times that are predicted and not measured.
  int finalists = 3;            ///< Fastest candidates that meet the default in the final.
  int finalRounds = 3;
  int deviceFailuresInARow = 3; ///< So many mean that the device is lost, not the candidates bad.
};

struct SearchOutcome {
  bool complete = false;  ///< Every candidate was tried.
  std::string stopReason; ///< "all 24 candidates tried", "interrupted", "device lost: …".
  int best = -1;          ///< Index of the choice; -1: no candidate is both correct and timed.
  std::string
      choiceReason; ///< "1.12 times as fast as the default", "no candidate beats the default beyond noise".
};

/// `candidates`: the default first; those with a status other than Predicted are not tried again. Updated in
/// place. `flush` is called after every change that must survive a crash; what it throws ends the search.
template <class ConfigType>
SearchOutcome search(std::vector<CandidateResultOf<ConfigType>> &candidates, const SearchOptions &options,
                     const SearchCallbacksOf<ConfigType> &callbacks, const std::function<void()> &flush);

/// Below this difference of medians two candidates are tied, microseconds: the larger of relativeNoise times
/// the default's median and half the mean interquartile range.
double noiseUs(const Measurement &fallback, const Measurement &other, double relativeNoise);

} // namespace lathe::autotuner
