//===- Predict.cpp - Choosing by the cost model ------------------------------------------------------===//
//
// The order of trying is the order of predictions, so the first candidate that is right is the choice and a
// run ends after two verifications where all is well.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/Predict.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

namespace lathe::autotuner {

namespace {
template <class ConfigType>
class Choice {
public:
  using Candidate = CandidateResultOf<ConfigType>;
  using Kind = typename SearchEventOf<ConfigType>::Kind;

  Choice(std::vector<Candidate> &candidates, const SearchOptions &options,
         const SearchCallbacksOf<ConfigType> &callbacks)
      : candidates_(candidates), callbacks_(callbacks),
        limitUs_(candidates.front().predictedUs * (1 - options.predictionError)) {}

  SearchOutcome run();

private:
  bool right(Candidate &candidate);
  void verify(Candidate &candidate);
  bool step(Candidate &candidate, const char *name, Status onFailure, const std::function<void()> &work);
  bool shouldStop();
  void choose();
  void tell(Kind kind, const char *step = "", const Candidate *result = nullptr);
  int expected() const;
  std::string choiceReason() const;
  std::string stopReason() const;

  std::vector<Candidate> &candidates_;
  const SearchCallbacksOf<ConfigType> &callbacks_;
  const double limitUs_; ///< What is predicted slower than this does not beat the default.
  SearchOutcome outcome_;
  bool defaultRight_ = true;
  int tried_ = 0, refused_ = 0;
};
} // namespace

/// The default, then one candidate that may win, and one more for each that was refused.
template <class ConfigType>
int Choice<ConfigType>::expected() const {
  const bool refused =
      candidates_.front().status != Status::Predicted && candidates_.front().status != Status::Verified;
  const auto mayWin = [&](const Candidate &candidate) { return refused || candidate.predictedUs < limitUs_; };
  const int rivals = int(std::count_if(candidates_.begin() + 1, candidates_.end(), mayWin));
  return 1 + std::min(rivals, 1 + refused_ - int(refused));
}

template <class ConfigType>
void Choice<ConfigType>::tell(Kind kind, const char *step, const Candidate *result) {
  if (callbacks_.verify && callbacks_.onEvent)
    callbacks_.onEvent({kind, tried_, expected(), 0, step, result});
}

template <class ConfigType>
bool Choice<ConfigType>::step(Candidate &candidate, const char *name, Status onFailure,
                              const std::function<void()> &work) {
  tell(Kind::Step, name, &candidate);
  try {
    work();
    return true;
  } catch (const std::exception &error) {
    candidate.reason = error.what();
  } catch (...) {
    candidate.reason = fmt::format("{} failed without saying why", name);
  }
  candidate.status = onFailure;
  return false;
}

template <class ConfigType>
void Choice<ConfigType>::verify(Candidate &candidate) {
  candidate.reason.clear();
  if (callbacks_.compile &&
      !step(candidate, "compile", Status::CompileFailed, [&] { callbacks_.compile(candidate.config); }))
    return;
  if (!step(candidate, "verify", Status::RunFailed,
            [&] { candidate.reason = callbacks_.verify(candidate.config); }))
    return;
  candidate.status = candidate.reason.empty() ? Status::Verified : Status::VerifyFailed;
}

/// Where nothing can be verified, everything is as right as the compiler.
template <class ConfigType>
bool Choice<ConfigType>::right(Candidate &candidate) {
  if (!callbacks_.verify)
    return true;
  verify(candidate);
  ++tried_;
  refused_ += candidate.status != Status::Verified;
  tell(Kind::Result, "", &candidate);
  return candidate.status == Status::Verified;
}

template <class ConfigType>
bool Choice<ConfigType>::shouldStop() {
  if (callbacks_.verify && outcome_.stopReason.empty() && callbacks_.stop)
    outcome_.stopReason = callbacks_.stop();
  return !outcome_.stopReason.empty();
}

template <class ConfigType>
void Choice<ConfigType>::choose() {
  if (shouldStop())
    return;
  defaultRight_ = right(candidates_.front());
  if (defaultRight_)
    outcome_.best = 0;
  for (size_t i = 1; i < candidates_.size(); ++i) {
    if (defaultRight_ && candidates_[i].predictedUs >= limitUs_)
      break;
    if (shouldStop())
      return;
    if (right(candidates_[i])) {
      outcome_.best = int(i);
      break;
    }
  }
  outcome_.complete = true;
}

template <class ConfigType>
std::string Choice<ConfigType>::choiceReason() const {
  const bool verified = bool(callbacks_.verify);
  if (outcome_.best < 0)
    return tried_ == 0 ? "nothing was verified: the untuned default stays in use"
                       : "no candidate that was tried is right: the untuned default stays in use";
  if (!defaultRight_)
    return fmt::format("the fastest by the cost model that is right; the default is not ({}); not measured",
                       candidates_.front().reason);
  if (outcome_.best == 0)
    return refused_ > 0 ? "what the cost model prefers to the default is not right; the default is"
           : verified   ? "the cost model sees nothing better than the default, which is verified"
                        : "the cost model sees nothing better than the default";
  return fmt::format("{:.2f} times as fast as the default by the cost model; {}not measured",
                     candidates_.front().predictedUs / candidates_[size_t(outcome_.best)].predictedUs,
                     verified ? "verified, " : "");
}

template <class ConfigType>
std::string Choice<ConfigType>::stopReason() const {
  if (!callbacks_.verify)
    return fmt::format("all {} candidates predicted, none measured", candidates_.size());
  return fmt::format("all {} candidates predicted, {} tried, {} of them right, none measured",
                     candidates_.size(), tried_, tried_ - refused_);
}

template <class ConfigType>
SearchOutcome Choice<ConfigType>::run() {
  tell(Kind::Begin);
  choose();
  tell(Kind::End);
  outcome_.choiceReason = choiceReason();
  if (outcome_.stopReason.empty())
    outcome_.stopReason = stopReason();
  return outcome_;
}

template <class ConfigType>
SearchOutcome choosePredicted(std::vector<CandidateResultOf<ConfigType>> &candidates,
                              const SearchOptions &options, const SearchCallbacksOf<ConfigType> &callbacks) {
  return Choice<ConfigType>(candidates, options, callbacks).run();
}
template SearchOutcome choosePredicted(std::vector<CandidateResult> &, const SearchOptions &,
                                       const SearchCallbacks &);
template SearchOutcome choosePredicted(std::vector<MoeCandidateResult> &, const SearchOptions &,
                                       const MoeSearchCallbacks &);

} // namespace lathe::autotuner
