//===- TuningRecord.h - What tuning found out about one workload --------------------------------------===//
//
// A record is one run of the tuner: what it was about, every candidate's fate, the choice. The same for every
// family of kernels (Family.h), and as JSON what the database keeps. Called by the search, the database and
// the JIT.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/autotuner/Family.h"

#include <optional>
#include <string>
#include <vector>

namespace lathe::autotuner {

/// Median and quartiles of repeated runs, microseconds.
struct Measurement {
  double medianUs = 0;
  double lowUs = 0;  ///< First quartile.
  double highUs = 0; ///< Third quartile.
  int runs = 0;
};
void to_json(nlohmann::json &json, const Measurement &time);
/// Throws UserError on a missing or ill-typed field.
void from_json(const nlohmann::json &json, Measurement &time);

/// What became of a candidate.
enum class Status {
  Predicted, ///< The cost model alone; nothing ran.
  Started,   ///< Was being tried when the process ended: it crashed, hung or was killed. Not tried again.
  CompileFailed,
  VerifyFailed, ///< Runs, but its result is wrong.
  RunFailed,    ///< The device refused, faulted or hung.
  Verified,     ///< Runs and is right, where nothing can be timed (on an emulator).
  Measured,     ///< Verified and timed.
};
const char *name(Status status); ///< "predicted", "started", "compile-failed", …

template <class ConfigType>
struct CandidateResultOf {
  ConfigType config;
  bool isDefault = false;
  double predictedUs = 0;
  Status status = Status::Predicted;
  Measurement time;   ///< Where status is Measured.
  std::string reason; ///< Where it failed: why.
};
using CandidateResult = CandidateResultOf<codegen::Config>;
using MoeCandidateResult = CandidateResultOf<codegen::MoeConfig>;
template <class ConfigType>
void to_json(nlohmann::json &json, const CandidateResultOf<ConfigType> &result);
/// Throws UserError on a missing or ill-typed field.
template <class ConfigType>
void from_json(const nlohmann::json &json, CandidateResultOf<ConfigType> &result);

/// What a record is about. Driver and clock are not part of it: they change the times, hardly the order.
template <class Family>
struct TuningKeyOf {
  std::string device; ///< "NVIDIA H100 80GB HBM3", or "model:h100-sxm" for predictions of the cost model.
  std::string arch;   ///< "sm_90a".
  typename Family::Problem problem;
  std::string compiler;    ///< codegen::compilerVersion().
  nlohmann::json workload; ///< Workload::json().
  bool batchInvariant =
      false; ///< Tuned among configurations with which a result does not depend on the batch.
};
using TuningKey = TuningKeyOf<AttentionFamily>;
using MoeTuningKey = TuningKeyOf<MoeFamily>;

/// With the point of the workload that was measured: batch and meanTokens, or rows and zipf.
template <class Family>
struct TuningRecordOf : Family::Point {
  TuningKeyOf<Family> key;
  bool complete = false;                       ///< All candidates of the run were tried.
  double sustainedSeconds = 0;                 ///< How long a kernel had run before it was timed.
  std::optional<typename Family::Config> best; ///< Nothing until a choice was made.
  double bestUs = 0, defaultUs = 0;
  std::vector<CandidateResultOf<typename Family::Config>> candidates;
};
using TuningRecord = TuningRecordOf<AttentionFamily>;
using MoeTuningRecord = TuningRecordOf<MoeFamily>;
template <class Family>
void to_json(nlohmann::json &json, const TuningRecordOf<Family> &record);
/// Throws UserError on a missing or ill-typed field.
template <class Family>
void from_json(const nlohmann::json &json, TuningRecordOf<Family> &record);

} // namespace lathe::autotuner
