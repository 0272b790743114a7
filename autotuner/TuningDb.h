//===- TuningDb.h - What tuning found, on disk --------------------------------------------------------===//
//
// One JSON file with a version: a record for each GPU, problem, workload and compiler, holding every
// candidate's fate and the choice. Each result is flushed at once (atomic, under a lock between processes),
// so a crash loses nothing and the next run resumes. Look-ups answer by an exact record, by a record inside a
// measured range, or not at all: never by extrapolation. Called by the tuner, the JIT and `lathe cache`.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/Config.h"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <functional>
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

struct CandidateResult {
  codegen::Config config;
  bool isDefault = false;
  double predictedUs = 0;
  Status status = Status::Predicted;
  Measurement time;   ///< Where status is Measured.
  std::string reason; ///< Where it failed: why.
};
void to_json(nlohmann::json &json, const CandidateResult &result);
/// Throws UserError on a missing or ill-typed field.
void from_json(const nlohmann::json &json, CandidateResult &result);

/// What a record is about. Driver and clock are not part of it: they change the times, hardly the order.
struct TuningKey {
  std::string device; ///< "NVIDIA H100 80GB HBM3", or "model:h100-sxm" for predictions of the cost model.
  std::string arch;   ///< "sm_90a".
  codegen::AttentionProblem problem; ///< Its name does not count.
  std::string compiler;              ///< codegen::compilerVersion().
  nlohmann::json workload;           ///< Workload::json().
  bool batchInvariant =
      false; ///< Tuned among configurations with which a result does not depend on the batch.
};

struct TuningRecord {
  TuningKey key;
  int batch = 0; ///< Of the workload that was measured.
  double meanTokens = 0;
  bool complete = false;               ///< All candidates of the run were tried.
  std::optional<codegen::Config> best; ///< Nothing until a choice was made.
  double bestUs = 0, defaultUs = 0;
  std::vector<CandidateResult> candidates;
};

/// What a kernel is about to serve.
struct LookupQuery {
  TuningKey key; ///< workload null: look by range only.
  int batch = 0; ///< 0: not known; only an exact workload can answer.
  double meanTokens = 0;
};

struct LookupResult {
  enum class Source { Exact, Range, None };
  Source source = Source::None;
  std::optional<codegen::Config> config; ///< Nothing: use defaultConfig.
  std::string reason;                    ///< "tuned for batch 64, mean 4096 tokens", "no record for …".
};

class TuningDb {
public:
  static constexpr int currentVersion = 1;
  /// Corners of a range lie at most this factor apart, in batch and in tokens; a wider range covers nothing.
  static constexpr double maxRangeFactor = 4;

  /// LATHE_TUNING_DB, else $XDG_DATA_HOME/lathe/tuning.json, else ~/.local/share/lathe/tuning.json.
  static std::filesystem::path defaultPath();

  /// Nothing is read yet; a missing file is an empty database.
  explicit TuningDb(std::filesystem::path path = defaultPath()) : path_(std::move(path)) {}
  const std::filesystem::path &path() const { return path_; }

  /// All readable records; an unreadable one gets one warning and stays in the file. Throws UserError: the
  /// file is not JSON, not a tuning database, or of a newer version.
  std::vector<TuningRecord> records() const;

  /// The record of exactly this key.
  std::optional<TuningRecord> find(const TuningKey &key) const;

  /// Replaces or adds the record, atomically, under the file's lock; other records stay as they are, byte for
  /// byte in meaning. Creates the folder. Throws UserError.
  void put(const TuningRecord &record) const;

  /// The configuration to use. A stored config that check() rejects today counts as missing. Throws as
  /// records().
  LookupResult lookup(const LookupQuery &query, const codegen::Target &target) const;

private:
  std::filesystem::path path_;
};

void to_json(nlohmann::json &json, const TuningRecord &record);
/// Throws UserError on a missing or ill-typed field.
void from_json(const nlohmann::json &json, TuningRecord &record);

} // namespace lathe::autotuner
