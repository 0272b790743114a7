#include "lathe/kernel_cache/Location.h"

#include "lathe/support/Error.h"
#include "lathe/support/Files.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

using namespace lathe;
using namespace lathe::kernel_cache;
namespace fs = std::filesystem;

const char *const kernel_cache::chooseAnotherFolder =
    "set LATHE_CACHE_DIR to a folder that you own and that others cannot write";

fs::path Location::shard(const std::string &digest) const { return directory / digest.substr(0, 2); }
fs::path Location::entry(const std::string &digest) const { return shard(digest) / digest; }
fs::path Location::locks() const { return directory / "locks"; }
fs::path Location::lock(const std::string &digest) const { return locks() / digest; }
fs::path Location::staging() const { return directory / "tmp"; }
fs::path Location::freshStaging(const std::string &digest) const {
  return staging() / (digest + "-" + uniqueName());
}

bool kernel_cache::isDigest(const std::string &name) {
  return name.size() == 32 && std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

void kernel_cache::makeInnerFolder(const fs::path &folder) {
  if (::mkdir(folder.c_str(), 0700) == 0)
    return;
  const int error = errno;
  struct stat status;
  if (error == EEXIST && ::stat(folder.c_str(), &status) == 0 && S_ISDIR(status.st_mode))
    return;
  throw UserError({"kernel cache " + folder.parent_path().string(),
                   "the folder must be writable to store a kernel", std::strerror(error),
                   chooseAnotherFolder});
}

std::optional<FileLock> kernel_cache::lockDigest(const Location &location, const std::string &digest,
                                                 double waitSeconds) {
  makeInnerFolder(location.locks());
  try {
    return FileLock::lockFor(location.lock(digest), waitSeconds);
  } catch (const UserError &error) {
    throw UserError({"kernel cache " + location.directory.string(),
                     "the folder must be writable to store a kernel", error.fault().value,
                     chooseAnotherFolder});
  }
}

bool kernel_cache::removeEntry(const Location &location, const std::string &digest) {
  std::error_code error;
  ::mkdir(location.staging().c_str(), 0700);
  const fs::path away = location.freshStaging(digest);
  fs::rename(location.entry(digest), away, error);
  if (error)
    return false;
  fs::remove_all(away, error); // What stays is a leftover that prune() removes.
  return true;
}
