//===- Store.h - Compiled kernels on disk ------------------------------------------------------------===//
//
// A content-addressed store: one folder an entry (key.json, kernel.ptx, kernel.cubin, stats.json), named by
// the hash of key.json. It knows bytes and keys, not kernels. Publication is atomic (stage, fsync, rename), a
// lock per key keeps two processes from compiling the same kernel, checksums find truncated entries, which
// are rebuilt with one warning. The folder is owned by the user with mode 0700 and refused where others can
// write.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace lathe::kernel_cache {

/// Names one artifact: everything that shapes its bytes, and nothing else (no debug switch).
class Key {
public:
  explicit Key(nlohmann::json fields);
  const nlohmann::json &fields() const { return fields_; }
  std::string text() const;                             ///< key.json, pretty, keys sorted.
  const std::string &digest() const { return digest_; } ///< 32 hexadecimal digits.

private:
  nlohmann::json fields_;
  std::string digest_;
};

/// The bytes of one entry.
struct Entry {
  std::string ptx;
  std::string cubin;    ///< May be empty (assembled by the driver).
  nlohmann::json stats; ///< The Manifest and the stage times.
};

struct EntryInfo {
  std::string digest;
  nlohmann::json key;
  uintmax_t bytes = 0;
  std::filesystem::file_time_type lastUsed;
  bool intact = true;
};

class Store {
public:
  /// LATHE_CACHE_DIR, else $XDG_CACHE_HOME/lathe, else ~/.cache/lathe.
  static std::filesystem::path defaultDirectory();

  /// Creates the directory (0700) where it is missing. Throws UserError when it is not ours, writable by
  /// others, or cannot be created. One that is there but read-only serves find(); storing into it throws
  /// UserError.
  explicit Store(std::filesystem::path directory = defaultDirectory());

  const std::filesystem::path &directory() const { return directory_; }

  /// The entry, or nothing. A corrupt entry is removed with one warning and counts as missing.
  std::optional<Entry> find(const Key &key) const;

  /// find(), else takes the lock of the key, looks again, calls `build` and publishes what it returns. No
  /// lock is held on any other key meanwhile. When `build` throws, nothing stays behind. Throws UserError
  /// before building when the directory is read-only; a full disk costs a warning, not the entry. Sets
  /// `built`.
  Entry findOrBuild(const Key &key, const std::function<Entry()> &build, bool *built = nullptr) const;

  /// Stores an entry; one that is there already and intact stays. Throws UserError when it cannot be written.
  void publish(const Key &key, const Entry &entry) const;
  /// All entries, each with its checksums verified; sorted by digest. Changes nothing.
  std::vector<EntryInfo> list() const;
  std::filesystem::path entryPath(const Key &key) const;
  /// Removes entries not used for `days`, leftovers of killed processes included; returns how many. What
  /// somebody works on stays.
  int prune(double days) const;
  /// As prune(), for every entry.
  int clear() const;

private:
  std::filesystem::path directory_;
};

} // namespace lathe::kernel_cache
