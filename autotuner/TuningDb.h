//===- TuningDb.h - What tuning found, on disk --------------------------------------------------------===//
//
// One JSON file with a version: a record for each GPU, problem, workload and compiler, of every family of
// kernels. Each result is flushed at once (atomic, under a lock between processes), so a crash loses nothing
// and the next run resumes. Look-ups answer by an exact record, by a record inside a
// measured range, or not at all: never by extrapolation. Called by the tuner, the JIT and `lathe cache`.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/autotuner/TuningRecord.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace lathe::autotuner {

/// What a kernel is about to serve: the point, as far as it is known, and
template <class Family>
struct LookupQueryOf : Family::Point {
  TuningKeyOf<Family> key; ///< workload null: look by range only.
};
using LookupQuery = LookupQueryOf<AttentionFamily>;
using MoeLookupQuery = LookupQueryOf<MoeFamily>;

template <class ConfigType>
struct LookupResultOf {
  enum class Source { Exact, Range, None };
  Source source = Source::None;
  std::optional<ConfigType> config; ///< Nothing: use the default.
  std::string reason;               ///< "tuned for batch 64, mean 4096 tokens", "no record for …".
};
using LookupResult = LookupResultOf<codegen::Config>;
using MoeLookupResult = LookupResultOf<codegen::MoeConfig>;

class TuningDb {
public:
  static constexpr int currentVersion = 1;
  /// Corners of a range lie at most this factor apart, in batch and in tokens, or in rows; a wider range
  /// covers nothing.
  static constexpr double maxRangeFactor = 4;

  /// LATHE_TUNING_DB, else $XDG_DATA_HOME/lathe/tuning.json, else ~/.local/share/lathe/tuning.json.
  static std::filesystem::path defaultPath();

  /// Nothing is read yet; a missing file is an empty database.
  explicit TuningDb(std::filesystem::path path = defaultPath()) : path_(std::move(path)) {}
  const std::filesystem::path &path() const { return path_; }

  /// All readable records of a family; an unreadable one gets one warning and stays in the file. Throws
  /// UserError: the file is not JSON, not a tuning database, or of a newer version.
  template <class Family = AttentionFamily>
  std::vector<TuningRecordOf<Family>> records() const;

  /// The record of exactly this key.
  template <class Family>
  std::optional<TuningRecordOf<Family>> find(const TuningKeyOf<Family> &key) const;

  /// Replaces or adds the record, atomically, under the file's lock; other records stay as they are, byte for
  /// byte in meaning. Creates the folder. Throws UserError.
  template <class Family>
  void put(const TuningRecordOf<Family> &record) const;

  /// The configuration to use. A stored config that check() rejects today counts as missing. Throws as
  /// records().
  template <class Family>
  LookupResultOf<typename Family::Config> lookup(const LookupQueryOf<Family> &query,
                                                 const codegen::Target &target) const;

private:
  std::filesystem::path path_;
};

} // namespace lathe::autotuner
