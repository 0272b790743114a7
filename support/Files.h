//===- Files.h - Files that are whole or absent -------------------------------------------------------===//
//
// Reading, atomic writing (stage beside the target, fsync, rename, fsync the folder), private folders and a
// lock between processes that a killed holder cannot leave behind. A reader never sees half a file, also
// after a power cut. Called by the kernel cache, the tuning database, dumps and the tools. Errors name the
// path and the reason.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace lathe {

/// All bytes. Throws UserError naming the path and the system's reason.
std::string readFile(const std::filesystem::path &path);

/// All bytes, or nothing when there is no such file. Throws UserError for any other reason.
std::optional<std::string> readFileIfThere(const std::filesystem::path &path);

/// Replaces or creates a file, atomically and durably. Mode 0666 less the umask; the folder must exist. When
/// it throws (UserError), the old file is untouched and nothing else is left behind.
void writeFileAtomically(const std::filesystem::path &path, std::string_view bytes);

/// Creates a new file with mode 0600 and flushes it to the disk; not atomic: for files in a staging folder.
/// Throws UserError, also when the file is there.
void writeNewFile(const std::filesystem::path &path, std::string_view bytes);

/// Makes renames and new names in a folder durable. Ignored where the file system cannot do it.
void syncDirectory(const std::filesystem::path &directory);

/// Is it (not what a link points to) owned by the effective user? False when it is not there.
bool currentUserOwns(const std::filesystem::path &path);

/// How a folder is called in messages, and what the user can do about it.
struct DirectoryRole {
  std::string place;  ///< "kernel cache".
  std::string wayOut; ///< "set LATHE_CACHE_DIR to a folder that you own".
};

/// Creates the folder with mode 0700 and its parents where they are missing, then checks it: a folder (or our
/// link to one), owned by the effective user, not writable by group or others. Throws UserError.
void makePrivateDirectory(const std::filesystem::path &directory, const DirectoryRole &role);

/// Unique in this process and, with overwhelming probability, among all: "<pid>-<16 hexadecimal digits>".
std::string uniqueName();

/// An exclusive lock between threads and processes, on a file of its own. The kernel releases it when the
/// holder dies; the file stays (it carries "pid 123 on host" for messages) and may be deleted only by whoever
/// holds the lock.
class FileLock {
public:
  /// Takes the lock if nobody holds it. Throws UserError when the lock file cannot be made.
  static std::optional<FileLock> tryLock(const std::filesystem::path &path);

  /// Waits up to `waitSeconds`; nothing when that was not enough. From `reportAfterSeconds` on, a warning a
  /// minute tells who holds it.
  static std::optional<FileLock> lockFor(const std::filesystem::path &path, double waitSeconds,
                                         double reportAfterSeconds = 5);

  FileLock(FileLock &&other) noexcept;
  FileLock &operator=(FileLock &&other) noexcept;
  ~FileLock(); ///< Releases.

  /// Deletes the lock file; others who wait for it start over with a new one. The lock is then released.
  void removeFile();

private:
  FileLock(std::filesystem::path path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  void release();

  std::filesystem::path path_;
  int descriptor_ = -1;
};

} // namespace lathe
