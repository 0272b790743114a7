//===- TuneParts.h - What tuning has in common for all families ---------------------------------------===//
//
// The options of `lathe tune`, which machine it tunes for, progress, interruption and the words of its
// reports: the same for attention and for mixtures of experts. Tune.cpp and TuneMoe.cpp say what is tuned.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Output.h"
#include "Progress.h"
#include "TuneOnGpu.h"

#include "lathe/autotuner/Tune.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

namespace lathe::tools {

/// --candidates, --timeout, --sustained, --fresh, --verify, --explain and --json.
struct TuneSwitches {
  int candidates = 24;
  double timeoutSeconds = 60;
  TimingOptions timing = candidateTiming;
  bool verify = false, explain = false, fresh = false, json = false;

  void add(CLI::App &command);
  /// Throws UserError of "tune": seconds out of range.
  void check() const { checkTiming("tune", timing, 1); }
  /// Of one step of a candidate: --timeout, and what --sustained takes of it.
  double stepSeconds() const { return timeoutSeconds + timing.sustainedSeconds; }
};

/// Looks for the GPU in another process, and says on stderr what stands in for it.
GpuFacts findGpu(const MachineOptions &machine, const TuneSwitches &switches);

/// While it lives, SIGINT does not end the process but is a reason to stop.
class Interruption {
public:
  Interruption();
  ~Interruption();
  Interruption(const Interruption &) = delete;
  Interruption &operator=(const Interruption &) = delete;
  static std::string reason(); ///< Empty: go on.
};

/// All of a request but problem and workload: the machine, the database, how much is tried.
template <class Family>
void fillIn(autotuner::TuneRequestOf<Family> &request, const MachineOptions &machine,
            const TuneSwitches &switches, const GpuFacts &gpu) {
  request.compiler = codegen::compilerVersion();
  request.maxCandidates = switches.candidates;
  request.resume = !switches.fresh;
  request.database = autotuner::TuningDb();
  if (gpu.usable) {
    request.target = runtime::targetOf(gpu.properties);
    request.machine = autotuner::machineForDevice(gpu.properties.name, gpu.properties.smCount);
    request.device = gpu.properties.name;
    request.sustainedSeconds = switches.timing.sustainedSeconds; // Without a GPU nothing is timed.
  } else {
    request.machine =
        machine.target.empty() ? autotuner::machines().front() : autotuner::machineByName(machine.target);
    request.target = request.machine.target();
  }
}

template <class ConfigType>
void showEvent(Progress &progress, const autotuner::SearchEventOf<ConfigType> &event) {
  using Kind = typename autotuner::SearchEventOf<ConfigType>::Kind;
  switch (event.kind) {
  case Kind::Begin:
    return progress.skipped(event.resumed);
  case Kind::Step:
    return progress.show(event.done, event.total,
                         fmt::format("{} {}", event.step, event.result->config.str()), false);
  case Kind::Result: {
    const std::string outcome = event.result->status == autotuner::Status::Measured
                                    ? fmt::format("{:.2f} µs", event.result->time.medianUs)
                                    : name(event.result->status);
    return progress.show(event.done, event.total, outcome + "  " + event.result->config.str(), true);
  }
  case Kind::Final:
    return progress.show(event.done, event.total, "the fastest once more against the default", false);
  case Kind::End:
    return;
  }
}

/// tune() with a progress bar, stopped by an Interruption.
template <class Family>
autotuner::TuneResultOf<Family>
tuneWithProgress(const autotuner::TuneRequestOf<Family> &request,
                 autotuner::SearchCallbacksOf<typename Family::Config> callbacks) {
  Progress progress;
  callbacks.stop = Interruption::reason;
  callbacks.onEvent = [&](const auto &event) { showEvent(progress, event); };
  return autotuner::tune(request, callbacks);
}

//===- Words -----------------------------------------------------------------------------------------===//

/// What each constraint removed, and what became of each candidate.
template <class Family>
std::string explainText(const autotuner::TuneResultOf<Family> &result) {
  Table table({"predicted µs", "measured µs", "fate", "configuration"});
  for (const auto &candidate : result.candidates)
    table.add({fmt::format("{:.2f}", candidate.predictedUs),
               candidate.status == autotuner::Status::Measured
                   ? fmt::format("{:.2f}", candidate.time.medianUs)
                   : "-",
               std::string(name(candidate.status)) + (candidate.isDefault ? " (default)" : ""),
               candidate.config.str() + (candidate.reason.empty() ? "" : "  " + candidate.reason)});
  return result.space.explain() + "\n" + table.str() + "\n";
}

/// 'kvTile=32,stages=4,…' as --config takes it.
template <class ConfigType>
std::string configArgument(const ConfigType &config) {
  std::string text = config.str();
  std::replace(text.begin(), text.end(), ' ', ',');
  return "'" + text + "'";
}

template <class Family>
std::string machineText(const autotuner::TuneRequestOf<Family> &request) {
  return !request.device.empty()
             ? request.device
             : request.machine.name + ", the cost model alone (" + request.machine.source + ")";
}

/// What was run where nothing could be measured, and who must not win.
template <class Family>
std::string verificationText(const autotuner::TuneResultOf<Family> &result, const std::string &cases) {
  std::string text = fmt::format("verified       {}\n", cases);
  for (const auto &candidate : result.candidates)
    if (candidate.status == autotuner::Status::Verified)
      text += fmt::format("               right    {}\n", candidate.config.str());
    else if (candidate.status != autotuner::Status::Predicted)
      text += fmt::format("               REFUSED  {}\n                        {}: {}\n",
                          candidate.config.str(), name(candidate.status), candidate.reason);
  return text;
}

/// The choice, its time beside the default's, why, and how long compiling it took.
template <class Family>
std::string choiceText(const autotuner::TuneResultOf<Family> &result,
                       const runtime::JitReportOf<typename Family::Config> &built) {
  const double best = result.measured ? result.bestUs : result.bestEstimate.totalUs;
  const double fallback = result.measured ? result.defaultUs : result.defaultEstimate.totalUs;
  const double sustained = result.request.sustainedSeconds;
  const std::string how = !result.measured ? "predicted"
                          : sustained > 0  ? fmt::format("measured after {:g} s of it alone", sustained)
                                           : "measured";
  return fmt::format("chosen         {}\n"
                     "               {:.2f} µs {}; the default {:.2f} µs\n"
                     "why            {}; {}\n"
                     "compiled       {}\n\n",
                     result.best.str(), best, how, fallback, result.choiceReason, result.stopReason,
                     built.compiled ? stageTimesText(built.times) : "before (from the cache)");
}

/// The result with the entry of the chosen kernel.
template <class Family>
nlohmann::json resultJson(const autotuner::TuneResultOf<Family> &result,
                          const runtime::JitReportOf<typename Family::Config> &built) {
  nlohmann::json json = result;
  json["entry"] = built.entryPath.string();
  json["digest"] = built.digest;
  json["compiled"] = built.compiled;
  return json;
}

} // namespace lathe::tools
