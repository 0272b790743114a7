//===- Location.h - Where the parts of a store lie ----------------------------------------------------===//
//
// The names inside a store: <first two digits>/<digest>/ an entry, tmp/<digest>-<unique>/ what is being
// written or thrown away, locks/<digest> a lock. A name in tmp/ starts with its digest, so that whoever holds
// the lock of the digest knows that nobody is at work on it. Called by Store only.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/support/Files.h"

#include <filesystem>
#include <optional>
#include <string>

namespace lathe::kernel_cache {

struct Location {
  const std::filesystem::path &directory;

  std::filesystem::path shard(const std::string &digest) const; ///< Folder that holds the entry's folder.
  std::filesystem::path entry(const std::string &digest) const;
  std::filesystem::path lock(const std::string &digest) const;
  std::filesystem::path locks() const;
  std::filesystem::path staging() const;
  std::filesystem::path freshStaging(const std::string &digest) const; ///< A name that nobody else uses.
};

/// 32 lower-case hexadecimal digits?
bool isDigest(const std::string &name);

/// Makes a folder inside the store (mode 0700). Throws UserError saying how to choose another store.
void makeInnerFolder(const std::filesystem::path &folder);

/// Waits for the lock of a digest; nothing when `waitSeconds` were not enough. Throws UserError, as
/// makeInnerFolder.
std::optional<FileLock> lockDigest(const Location &location, const std::string &digest, double waitSeconds);

/// Takes an entry away atomically, then deletes it. False when the store cannot be written or it is not
/// there. The caller holds the lock of the digest.
bool removeEntry(const Location &location, const std::string &digest);

/// Text of the way out in every message about the folder.
extern const char *const chooseAnotherFolder;

} // namespace lathe::kernel_cache
