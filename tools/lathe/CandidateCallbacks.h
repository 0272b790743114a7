//===- CandidateCallbacks.h - Candidates in processes of their own ------------------------------------===//
//
// Turns the work on one candidate into callbacks of the search: compiling happens here, into the cache,
// running it in a child that may hang or crash. The same for every family and every device. Called by
// TuneOnGpu, TuneOnEmulator and TuneMoeCandidates.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "BenchMla.h"

#include "lathe/autotuner/Isolated.h"
#include "lathe/autotuner/Search.h"
#include "lathe/runtime/Jit.h"

#include <functional>
#include <string>

namespace lathe::tools {

/// Finalists are measured three times more.
inline constexpr TimingOptions candidateTiming{.replays = 30, .warmup = 5};

/// Compiles a candidate into the cache; Request is JitRequest or MoeJitRequest. `jit` must outlive it.
template <class Request>
auto compileCallback(const runtime::Jit &jit, const dsl::Kernel &description, const codegen::Target &target) {
  return [&jit, description, target](const typename decltype(Request::config)::value_type &config) {
    Request request;
    request.target = target;
    request.config = config;
    jit.build(description, request);
  };
}

/// `verify` and `measure` (which may be empty) run in children, each within `timeoutSeconds`.
template <class ConfigType>
autotuner::SearchCallbacksOf<ConfigType>
isolatedCallbacks(std::function<void(const ConfigType &)> compile,
                  std::function<std::string(const ConfigType &)> verify,
                  std::function<autotuner::Measurement(const ConfigType &)> measure, double timeoutSeconds) {
  autotuner::SearchCallbacksOf<ConfigType> callbacks;
  callbacks.compile = std::move(compile);
  callbacks.verify = [verify = std::move(verify), timeoutSeconds](const ConfigType &config) {
    return autotuner::runIsolated([&] { return nlohmann::json(verify(config)); }, timeoutSeconds)
        .template get<std::string>();
  };
  if (measure)
    callbacks.measure = [measure = std::move(measure), timeoutSeconds](const ConfigType &config) {
      return autotuner::runIsolated([&] { return nlohmann::json(measure(config)); }, timeoutSeconds)
          .template get<autotuner::Measurement>();
    };
  return callbacks;
}

} // namespace lathe::tools
