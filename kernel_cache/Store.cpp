#include "lathe/kernel_cache/Store.h"

#include "lathe/kernel_cache/EntryFiles.h"
#include "lathe/kernel_cache/Location.h"
#include "lathe/support/Env.h"
#include "lathe/support/Error.h"
#include "lathe/support/Files.h"
#include "lathe/support/Log.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

using namespace lathe;
using namespace lathe::kernel_cache;
namespace fs = std::filesystem;

/// A holder that is stopped or hangs must not stop others for ever: after this they build for themselves,
/// which is safe because publication is atomic.
static constexpr double waitForBuilderSeconds = 300;
/// Long enough for another process to take a corrupt entry away.
static constexpr double waitForCleanupSeconds = 2;

namespace {
/// Removes the staging folder unless it was published.
struct StagingGuard {
  fs::path folder;
  ~StagingGuard() {
    std::error_code error;
    fs::remove_all(folder, error);
  }
};
} // namespace

static fs::path homeDirectory() {
  if (std::optional<std::string> home = systemEnv("HOME"))
    return *home;
  passwd record;
  passwd *found = nullptr;
  char buffer[4096];
  if (::getpwuid_r(::geteuid(), &record, buffer, sizeof(buffer), &found) == 0 && found && *found->pw_dir)
    return found->pw_dir;
  throw UserError({"kernel cache", "its folder must be known",
                   "neither LATHE_CACHE_DIR nor XDG_CACHE_HOME nor HOME", "set LATHE_CACHE_DIR"});
}

fs::path Store::defaultDirectory() {
  if (std::optional<fs::path> chosen = envPath("LATHE_CACHE_DIR"))
    return *chosen;
  if (std::optional<std::string> xdg = systemEnv("XDG_CACHE_HOME"))
    if (fs::path(*xdg).is_absolute()) // The XDG specification ignores relative paths.
      return fs::path(*xdg) / "lathe";
  return homeDirectory() / ".cache" / "lathe";
}

Store::Store(fs::path directory) : directory_(fs::absolute(directory).lexically_normal()) {
  if (!directory_.has_filename())
    directory_ = directory_.parent_path();
  makePrivateDirectory(directory_, {"kernel cache", chooseAnotherFolder});
}

fs::path Store::entryPath(const Key &key) const { return Location{directory_}.entry(key.digest()); }

/// Best effort: a cache on a read-only file system still serves.
static void markUsed(const fs::path &folder) { ::utimensat(AT_FDCWD, folder.c_str(), nullptr, 0); }

/// Reads an entry and takes it away if it is corrupt. The caller holds the lock of the key.
static EntryState readOrRemove(const Location &location, const Key &key) {
  EntryState state = readEntryFiles(location.entry(key.digest()), key);
  if (state.kind != EntryState::Corrupt)
    return state;
  const bool removed = removeEntry(location, key.digest());
  logWarn("kernel cache {}: {}; the entry is {}", location.entry(key.digest()).string(), state.reason,
          removed ? "removed and will be rebuilt" : "ignored because it cannot be removed");
  return {};
}

std::optional<Entry> Store::find(const Key &key) const {
  const Location location{directory_};
  EntryState state = readEntryFiles(location.entry(key.digest()), key);
  if (state.kind == EntryState::Corrupt) {
    // Only the holder of the lock may judge: another process may be replacing the entry right now.
    std::optional<FileLock> lock;
    try {
      lock = lockDigest(location, key.digest(), waitForCleanupSeconds);
    } catch (const UserError &) {
      warnOnce(location.entry(key.digest()).string(),
               "kernel cache {}: {}; the entry is ignored because it cannot be removed",
               location.entry(key.digest()).string(), state.reason);
    }
    state = lock ? readOrRemove(location, key) : EntryState();
  }
  if (state.kind != EntryState::Intact)
    return std::nullopt;
  markUsed(location.entry(key.digest()));
  return std::move(state.entry);
}

/// Stage, fsync, rename. An entry that another process published meanwhile wins; it has the same key.
static void publishEntry(const Location &location, const Key &key, const Entry &entry) {
  makeInnerFolder(location.staging());
  makeInnerFolder(location.shard(key.digest()));
  const StagingGuard staging{location.freshStaging(key.digest())};
  writeEntryFiles(staging.folder, key, entry);
  const fs::path target = location.entry(key.digest());
  for (int attempt = 0; ::rename(staging.folder.c_str(), target.c_str()) != 0; ++attempt) {
    const int error = errno;
    if ((error != ENOTEMPTY && error != EEXIST && error != ENOTDIR) || attempt == 3)
      throw UserError({"kernel cache " + location.directory.string(),
                       "the folder must be writable to store a kernel", std::strerror(error),
                       chooseAnotherFolder});
    if (readOrRemove(location, key).kind == EntryState::Intact)
      return;
  }
  syncDirectory(location.shard(key.digest()));
  syncDirectory(location.directory);
}

void Store::publish(const Key &key, const Entry &entry) const {
  const Location location{directory_};
  const std::optional<FileLock> lock = lockDigest(location, key.digest(), waitForBuilderSeconds);
  publishEntry(location, key, entry);
}

Entry Store::findOrBuild(const Key &key, const std::function<Entry()> &build, bool *built) const {
  if (built)
    *built = false;
  const Location location{directory_};
  const fs::path folder = location.entry(key.digest());
  EntryState state = readEntryFiles(folder, key);
  std::optional<FileLock> lock;
  if (state.kind != EntryState::Intact) {
    lock = lockDigest(location, key.digest(), waitForBuilderSeconds);
    if (!lock)
      logWarn("kernel cache {}: another process works on it for over {:.0f} s; building without waiting",
              folder.string(), waitForBuilderSeconds);
    state = readOrRemove(location, key);
  }
  if (state.kind == EntryState::Intact) {
    markUsed(folder);
    return std::move(state.entry);
  }
  Entry entry = build();
  if (built)
    *built = true;
  try {
    publishEntry(location, key, entry);
  } catch (const UserError &error) { // The disk may be full; the kernel works all the same.
    logWarn("a compiled kernel could not be stored and will be compiled again next time: {}", error.what());
  }
  return entry;
}
