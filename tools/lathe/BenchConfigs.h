//===- BenchConfigs.h - Which configurations a row is measured with ------------------------------------===//
//
// Maps the rows of a table to schedule configurations, so that tuned choices can be kept in a file beside the
// numbers, and to several candidates a row, so that one run finds the best of each. Called by `lathe bench
// mla --configs`.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/Config.h"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace lathe::tools {

/// One configuration as it was asked for.
struct Candidate {
  std::string text;                      ///< "tuned", "default", "kvTile=32,…" or JSON.
  std::optional<codegen::Config> config; ///< Nothing: tuned for the row's workload, else the default.
};

/// A JSON object from row names to configurations. A key is a row's name, or has '*' for any letters; the
/// exact name counts first, then the longest key. A value is an object of config fields, a text as --config
/// takes it, "tuned", "default", or a list of these. The document that `lathe bench --grid --json` prints is
/// read too: then every row has the configuration that was best.
class ConfigMap {
public:
  ConfigMap() = default;
  /// Throws UserError naming the file.
  static ConfigMap read(const std::filesystem::path &path);
  static ConfigMap parse(const std::string &place, const nlohmann::json &document);

  /// At least one; "tuned" where no key fits. Throws UserError naming file, key and field.
  std::vector<Candidate> candidates(const std::string &row, const codegen::AttentionProblem &problem,
                                    const codegen::Target &target, bool batchInvariant = false) const;
  /// Keys that fit none of the rows.
  std::vector<std::string> unused(const std::vector<std::string> &rows) const;

private:
  struct Entry {
    std::string key;
    std::vector<std::string> texts;
  };
  const Entry *find(const std::string &row) const;

  std::string place_ = "--configs";
  std::vector<Entry> entries_;
};

/// Does `name` fit `key`, where '*' stands for any letters?
bool fitsKey(const std::string &key, const std::string &name);

/// A candidate from its text; `batchInvariant` as ConfigOption has it. Throws UserError naming `place`.
Candidate parseCandidate(const std::string &place, const std::string &text,
                         const codegen::AttentionProblem &problem, const codegen::Target &target,
                         bool batchInvariant = false);

} // namespace lathe::tools
