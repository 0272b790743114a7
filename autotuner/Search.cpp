//===- Search.cpp - Trying candidates -----------------------------------------------------------------===//
//
// Three parts: the loop over candidates, each enclosed so that its failure is its own; the final, in which
// the fastest and the default are measured in turn, because clocks drift during a search; the choice.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/Search.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lathe::autotuner {

namespace {
template <class ConfigType>
class Race {
public:
  using Candidate = CandidateResultOf<ConfigType>;
  using Kind = typename SearchEventOf<ConfigType>::Kind;

  Race(std::vector<Candidate> &candidates, const SearchOptions &options,
       const SearchCallbacksOf<ConfigType> &callbacks, const std::function<void()> &flush)
      : candidates_(candidates), options_(options), callbacks_(callbacks), flush_(flush) {}

  SearchOutcome run();

private:
  void tryAll();
  void tryOne(Candidate &candidate);
  bool enter(Candidate &candidate, const char *step, Status onFailure, const std::function<void()> &work);
  void giveUpDevice(const std::vector<size_t> &streak);
  std::vector<size_t> finalists() const;
  void runFinal();
  void choose();
  bool shouldStop();
  void tell(Kind kind, const char *step = "", const Candidate *result = nullptr);

  std::vector<Candidate> &candidates_;
  const SearchOptions &options_;
  const SearchCallbacksOf<ConfigType> &callbacks_;
  const std::function<void()> &flush_;
  SearchOutcome outcome_;
  int done_ = 0, resumed_ = 0;
  bool deviceFailed_ = false; ///< The last failure was a DeviceError.
  bool deviceLost_ = false;
  std::vector<size_t> pool_; ///< Whose times may be compared: the finalists.
};
} // namespace

double noiseUs(const Measurement &fallback, const Measurement &other, double relativeNoise) {
  const double spread = (fallback.highUs - fallback.lowUs + other.highUs - other.lowUs) / 2;
  return std::max(relativeNoise * fallback.medianUs, spread / 2);
}

template <class Candidate>
static bool faster(const Candidate &a, const Candidate &b) {
  return a.time.medianUs < b.time.medianUs;
}

/// Faster than the default beyond noise.
template <class Candidate>
static bool beats(const Candidate &candidate, const Candidate &fallback, double relativeNoise) {
  return candidate.time.medianUs + noiseUs(fallback.time, candidate.time, relativeNoise) <
         fallback.time.medianUs;
}

static void requireSane(const Measurement &time) {
  if (!(std::isfinite(time.medianUs) && time.medianUs > 0 && time.lowUs <= time.medianUs &&
        time.medianUs <= time.highUs && time.runs > 0))
    throw DeviceError(Fault{"measurement",
                            "a time must be positive and lie between its quartiles",
                            fmt::format("median {}, quartiles {} and {}, {} runs", time.medianUs, time.lowUs,
                                        time.highUs, time.runs),
                            {}});
}

template <class ConfigType>
void Race<ConfigType>::tell(Kind kind, const char *step, const Candidate *result) {
  if (callbacks_.onEvent)
    callbacks_.onEvent({kind, done_, int(candidates_.size()), resumed_, step, result});
}

template <class ConfigType>
bool Race<ConfigType>::shouldStop() {
  if (outcome_.stopReason.empty() && callbacks_.stop)
    outcome_.stopReason = callbacks_.stop();
  return !outcome_.stopReason.empty();
}

/// Runs one step; on failure notes status and reason and returns false.
template <class ConfigType>
bool Race<ConfigType>::enter(Candidate &candidate, const char *step, Status onFailure,
                             const std::function<void()> &work) {
  tell(Kind::Step, step, &candidate);
  deviceFailed_ = false;
  try {
    work();
    return true;
  } catch (const DeviceError &error) {
    deviceFailed_ = true;
    candidate.reason = error.what();
  } catch (const std::exception &error) {
    candidate.reason = error.what();
  } catch (...) {
    candidate.reason = fmt::format("{} failed without saying why", step);
  }
  candidate.status = onFailure;
  return false;
}

template <class ConfigType>
void Race<ConfigType>::tryOne(Candidate &candidate) {
  candidate.status = Status::Started;
  candidate.reason.clear();
  flush_(); // Should the process die now, the next run knows whose fault it was.
  if (!enter(candidate, "compile", Status::CompileFailed, [&] { callbacks_.compile(candidate.config); }))
    return;
  std::string difference;
  if (!enter(candidate, "verify", Status::RunFailed,
             [&] { difference = callbacks_.verify(candidate.config); }))
    return;
  if (!difference.empty()) {
    candidate.status = Status::VerifyFailed;
    candidate.reason = std::move(difference);
    return;
  }
  const bool timed = enter(candidate, "measure", Status::RunFailed, [&] {
    const Measurement time = callbacks_.measure(candidate.config);
    requireSane(time);
    candidate.time = time;
  });
  if (timed)
    candidate.status = Status::Measured;
}

/// All but the first of a row of device failures are taken back: they may be its consequence, and a later run
/// tries them.
template <class ConfigType>
void Race<ConfigType>::giveUpDevice(const std::vector<size_t> &streak) {
  outcome_.stopReason =
      fmt::format("device lost: {} candidates in a row failed on it, first {}: {}", streak.size(),
                  candidates_[streak.front()].config.str(), candidates_[streak.front()].reason);
  for (size_t i = 1; i < streak.size(); ++i) {
    candidates_[streak[i]].status = Status::Predicted;
    candidates_[streak[i]].reason.clear();
    --done_;
  }
  deviceLost_ = true;
  flush_();
}

template <class ConfigType>
void Race<ConfigType>::tryAll() {
  std::vector<size_t> streak;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    Candidate &candidate = candidates_[i];
    if (candidate.status != Status::Predicted)
      continue;
    if (shouldStop())
      return;
    tryOne(candidate);
    ++done_;
    flush_();
    tell(Kind::Result, "", &candidate);
    if (candidate.status == Status::Measured || !deviceFailed_)
      streak.clear();
    else
      streak.push_back(i);
    if (int(streak.size()) >= options_.deviceFailuresInARow)
      return giveUpDevice(streak);
  }
  outcome_.complete = true;
  outcome_.stopReason = fmt::format("all {} candidates tried", candidates_.size());
}

/// The default, then the fastest that beat it so far; without the default where it has no time.
template <class ConfigType>
std::vector<size_t> Race<ConfigType>::finalists() const {
  const bool raced = candidates_[0].status == Status::Measured;
  std::vector<size_t> fast;
  for (size_t i = 1; i < candidates_.size(); ++i)
    if (candidates_[i].status == Status::Measured &&
        (!raced || beats(candidates_[i], candidates_[0], options_.relativeNoise)))
      fast.push_back(i);
  std::sort(fast.begin(), fast.end(),
            [&](size_t a, size_t b) { return faster(candidates_[a], candidates_[b]); });
  fast.resize(std::min(fast.size(), size_t(options_.finalists)));
  if (!fast.empty() && raced)
    fast.insert(fast.begin(), 0);
  return fast;
}

static double middle(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.size() % 2 ? values[values.size() / 2]
                           : (values[values.size() / 2 - 1] + values[values.size() / 2]) / 2;
}

static Measurement merged(const std::vector<Measurement> &rounds) {
  std::vector<double> medians, lows, highs;
  Measurement result;
  for (const Measurement &round : rounds) {
    medians.push_back(round.medianUs);
    lows.push_back(round.lowUs);
    highs.push_back(round.highUs);
    result.runs += round.runs;
  }
  result.medianUs = middle(medians);
  result.lowUs = std::min(middle(lows), result.medianUs);
  result.highUs = std::max(middle(highs), result.medianUs);
  return result;
}

template <class ConfigType>
void Race<ConfigType>::runFinal() {
  const std::vector<size_t> in = finalists();
  if (in.empty() || options_.finalRounds < 1)
    return;
  pool_ = in;
  tell(Kind::Final);
  std::vector<std::vector<Measurement>> times(in.size());
  for (int round = 0; round < options_.finalRounds; ++round)
    for (size_t i = 0; i < in.size(); ++i) {
      Candidate &candidate = candidates_[in[i]];
      if (candidate.status != Status::Measured)
        continue;
      enter(candidate, "measure", Status::RunFailed, [&] {
        if (round == 0)
          callbacks_.compile(candidate.config); // May come from an earlier run of the tuner.
        times[i].push_back(callbacks_.measure(candidate.config));
        requireSane(times[i].back());
      });
    }
  for (size_t i = 0; i < in.size(); ++i)
    if (candidates_[in[i]].status == Status::Measured)
      candidates_[in[i]].time = merged(times[i]);
  flush_();
}

/// The fastest timed candidate of the pool that `admits`, or -1.
template <class Candidate, class Admits>
static int fastestOf(const std::vector<Candidate> &candidates, const std::vector<size_t> &pool,
                     Admits admits) {
  int fastest = -1;
  for (size_t i : pool)
    if (candidates[i].status == Status::Measured && admits(candidates[i]) &&
        (fastest < 0 || faster(candidates[i], candidates[size_t(fastest)])))
      fastest = int(i);
  return fastest;
}

template <class ConfigType>
void Race<ConfigType>::choose() {
  if (pool_.empty())
    for (size_t i = 0; i < candidates_.size(); ++i)
      pool_.push_back(i);
  const Candidate &fallback = candidates_[0];
  if (fallback.status != Status::Measured) {
    outcome_.best = fastestOf(candidates_, pool_, [](const Candidate &) { return true; });
    outcome_.choiceReason =
        outcome_.best < 0
            ? "no candidate is both correct and timed: the untuned default stays in use"
            : fmt::format("the fastest correct candidate; the default has no time ({})", fallback.reason);
    return;
  }
  outcome_.best = fastestOf(candidates_, pool_, [&](const Candidate &candidate) {
    return !candidate.isDefault && beats(candidate, fallback, options_.relativeNoise);
  });
  if (outcome_.best < 0) {
    outcome_.best = 0;
    outcome_.choiceReason = "no candidate beats the default beyond noise";
    return;
  }
  outcome_.choiceReason =
      fmt::format("{:.2f} times as fast as the default",
                  fallback.time.medianUs / candidates_[size_t(outcome_.best)].time.medianUs);
}

template <class ConfigType>
SearchOutcome Race<ConfigType>::run() {
  for (const Candidate &candidate : candidates_)
    resumed_ += candidate.status != Status::Predicted;
  done_ = resumed_;
  tell(Kind::Begin);
  tryAll();
  if (!deviceLost_)
    runFinal(); // Also after a stop: nothing becomes the choice on times from different moments.
  choose();
  tell(Kind::End);
  return outcome_;
}

template <class ConfigType>
SearchOutcome search(std::vector<CandidateResultOf<ConfigType>> &candidates, const SearchOptions &options,
                     const SearchCallbacksOf<ConfigType> &callbacks, const std::function<void()> &flush) {
  if (candidates.empty() || !candidates.front().isDefault)
    throw CompileError(Fault{
        "search", "the first candidate must be the default", candidates.empty() ? "none" : "another", {}});
  return Race<ConfigType>(candidates, options, callbacks, flush).run();
}
template SearchOutcome search(std::vector<CandidateResult> &, const SearchOptions &, const SearchCallbacks &,
                              const std::function<void()> &);
template SearchOutcome search(std::vector<MoeCandidateResult> &, const SearchOptions &,
                              const MoeSearchCallbacks &, const std::function<void()> &);

} // namespace lathe::autotuner
