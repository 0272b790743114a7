//===- EntryFiles.h - One entry as a folder of files --------------------------------------------------===//
//
// Writes, reads and checks the files of one entry: key.json, kernel.ptx, kernel.cubin, stats.json, and
// checksums.json that holds hash and size of each. Nothing here knows where a folder lies or who locks it.
// Called by Store only.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/kernel_cache/Store.h"

#include <filesystem>
#include <optional>
#include <string>

namespace lathe::kernel_cache {

/// What reading a folder came to.
struct EntryState {
  enum Kind { Missing, Intact, Corrupt };
  Kind kind = Missing;
  Entry entry;        ///< Where intact.
  std::string reason; ///< Where corrupt: "kernel.cubin has 12 bytes instead of 4,096".
};

/// Creates the folder (mode 0700), writes and flushes all files, flushes the folder. Throws UserError; what
/// was written until then stays for the caller to remove.
void writeEntryFiles(const std::filesystem::path &folder, const Key &key, const Entry &entry);

/// Reads and checks everything. Never throws for what it finds in the folder.
EntryState readEntryFiles(const std::filesystem::path &folder, const Key &key);

/// As readEntryFiles, for a folder whose key is not known: the key must hash to `digest`. Fills all but
/// lastUsed.
EntryInfo inspectEntryFiles(const std::filesystem::path &folder, const std::string &digest);

} // namespace lathe::kernel_cache
