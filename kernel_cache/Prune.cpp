#include "lathe/kernel_cache/EntryFiles.h"
#include "lathe/kernel_cache/Location.h"
#include "lathe/kernel_cache/Store.h"
#include "lathe/support/Error.h"
#include "lathe/support/Files.h"

#include <algorithm>
#include <chrono>

using namespace lathe;
using namespace lathe::kernel_cache;
namespace fs = std::filesystem;

/// Names inside a folder, sorted; none when it is not there.
static std::vector<std::string> namesIn(const fs::path &folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    names.push_back(at->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// Digests of all entries, intact or not.
static std::vector<std::string> digestsIn(const Location &location) {
  std::vector<std::string> digests;
  for (const std::string &shard : namesIn(location.directory))
    if (shard.size() == 2)
      for (const std::string &name : namesIn(location.directory / shard))
        if (isDigest(name) && name.substr(0, 2) == shard)
          digests.push_back(name);
  return digests;
}

std::vector<EntryInfo> Store::list() const {
  const Location location{directory_};
  std::vector<EntryInfo> entries;
  for (const std::string &digest : digestsIn(location)) {
    std::error_code error;
    const fs::file_time_type lastUsed = fs::last_write_time(location.entry(digest), error);
    if (error)
      continue; // Removed meanwhile.
    entries.push_back(inspectEntryFiles(location.entry(digest), digest));
    entries.back().lastUsed = lastUsed;
  }
  return entries;
}

/// Removes entries last used before `limit`; those that somebody works on stay.
static int removeOlderThan(const Location &location, fs::file_time_type limit) {
  int removed = 0;
  for (const std::string &digest : digestsIn(location)) {
    std::optional<FileLock> lock = lockDigest(location, digest, 0);
    std::error_code error;
    const fs::file_time_type lastUsed = fs::last_write_time(location.entry(digest), error);
    if (lock && !error && lastUsed <= limit && removeEntry(location, digest))
      ++removed;
  }
  return removed;
}

/// Removes what killed processes left in tmp/. Whoever is alive holds the lock of the digest that the name
/// starts with.
static int removeLeftovers(const Location &location) {
  int removed = 0;
  for (const std::string &name : namesIn(location.staging())) {
    const std::string digest = name.substr(0, 32);
    std::optional<FileLock> lock;
    if (isDigest(digest) && !(lock = lockDigest(location, digest, 0)))
      continue;
    std::error_code error;
    if (fs::remove_all(location.staging() / name, error) > 0 && !error)
      ++removed;
  }
  return removed;
}

/// Removes lock files that nobody holds and that belong to no entry.
static void removeIdleLocks(const Location &location) {
  for (const std::string &digest : namesIn(location.locks())) {
    if (!isDigest(digest) || fs::exists(location.entry(digest)))
      continue;
    if (std::optional<FileLock> lock = lockDigest(location, digest, 0))
      lock->removeFile();
  }
}

static int removeUpTo(const fs::path &directory, fs::file_time_type limit) {
  const Location location{directory};
  if (digestsIn(location).empty() && namesIn(location.staging()).empty() && namesIn(location.locks()).empty())
    return 0;
  const int removed = removeOlderThan(location, limit) + removeLeftovers(location);
  removeIdleLocks(location);
  return removed;
}

int Store::prune(double days) const {
  if (!(days >= 0))
    throw UserError({"kernel cache", "the age must be zero or more days", std::to_string(days), ""});
  const double longestDays = 36500; // Beyond a century a file clock may overflow.
  const auto age = std::chrono::duration<double, std::ratio<86400>>(std::min(days, longestDays));
  return removeUpTo(directory_, fs::file_time_type::clock::now() -
                                    std::chrono::duration_cast<fs::file_time_type::duration>(age));
}

int Store::clear() const { return removeUpTo(directory_, fs::file_time_type::max()); }
