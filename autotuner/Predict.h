//===- Predict.h - Choosing by the cost model --------------------------------------------------------===//
//
// Without a GPU there are no times, only predictions: the best of them wins when it is clearly better than
// the default. Where the caller can verify (on an emulator), nothing wins that was not verified. Called by
// tune().
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/autotuner/Search.h"

namespace lathe::autotuner {

/// `candidates`: the default first, the others by predicted time. With callbacks.verify, the default and then
/// the candidates that are predicted faster are compiled and verified in that order until one is right; their
/// status and reason tell what became of them. callbacks.measure is not called. best is -1 where nothing
/// verified is right.
template <class ConfigType>
SearchOutcome choosePredicted(std::vector<CandidateResultOf<ConfigType>> &candidates,
                              const SearchOptions &options, const SearchCallbacksOf<ConfigType> &callbacks);

} // namespace lathe::autotuner
