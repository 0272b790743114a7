#include "lathe/support/Files.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <random>
#include <utility>

using namespace lathe;
namespace fs = std::filesystem;

namespace {
/// A file descriptor that closes itself.
class Descriptor {
public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(const Descriptor &) = delete;
  Descriptor &operator=(const Descriptor &) = delete;
  ~Descriptor() {
    if (value_ >= 0)
      ::close(value_);
  }
  int get() const { return value_; }
  /// Closes now; false where the file system reports a late error.
  bool close() { return ::close(std::exchange(value_, -1)) == 0; }

private:
  int value_;
};
} // namespace

static std::string reasonOf(int error) { return std::strerror(error); }

[[noreturn]] static void failFile(const fs::path &path, const char *rule, int error) {
  throw UserError({"file " + path.string(), rule, reasonOf(error), ""});
}

static std::string readAll(const Descriptor &file, const fs::path &path) {
  struct stat status;
  if (::fstat(file.get(), &status) != 0)
    failFile(path, "must be readable", errno);
  std::string bytes(size_t(status.st_size), '\0');
  size_t done = 0;
  while (true) {
    if (done == bytes.size())
      bytes.resize(bytes.size() + 4096); // Devices and /proc report no size; files grow.
    const ssize_t count = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      failFile(path, "must be readable", errno);
    if (count == 0)
      break;
    done += size_t(count);
  }
  bytes.resize(done);
  return bytes;
}

std::string lathe::readFile(const fs::path &path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0)
    failFile(path, "must be readable", errno);
  return readAll(file, path);
}

std::optional<std::string> lathe::readFileIfThere(const fs::path &path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0 && (errno == ENOENT || errno == ENOTDIR))
    return std::nullopt;
  if (file.get() < 0)
    failFile(path, "must be readable", errno);
  return readAll(file, path);
}

/// Creates, fills and flushes a file; 0 or the error number. Leaves nothing behind when it fails.
static int createFile(const fs::path &path, std::string_view bytes, mode_t mode) {
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (file.get() < 0)
    return errno;
  int error = 0;
  for (size_t done = 0; done < bytes.size() && !error;) {
    const ssize_t count = ::write(file.get(), bytes.data() + done, bytes.size() - done);
    if (count >= 0)
      done += size_t(count);
    else if (errno != EINTR)
      error = errno;
  }
  if (!error && ::fsync(file.get()) != 0)
    error = errno;
  if (!file.close() && !error)
    error = errno;
  if (error)
    ::unlink(path.c_str());
  return error;
}

void lathe::writeNewFile(const fs::path &path, std::string_view bytes) {
  if (int error = createFile(path, bytes, 0600))
    failFile(path, "must be writable", error);
}

void lathe::writeFileAtomically(const fs::path &path, std::string_view bytes) {
  const fs::path directory = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const fs::path staged = directory / fmt::format(".{}.{}.tmp", path.filename().string(), uniqueName());
  if (int error = createFile(staged, bytes, 0666))
    failFile(path, "must be writable", error);
  if (::rename(staged.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(staged.c_str());
    failFile(path, "must be writable", error);
  }
  syncDirectory(directory);
}

void lathe::syncDirectory(const fs::path &directory) {
  Descriptor folder(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() >= 0)
    ::fsync(folder.get());
}

bool lathe::currentUserOwns(const fs::path &path) {
  struct stat status;
  return ::lstat(path.c_str(), &status) == 0 && status.st_uid == ::geteuid();
}

/// Parents as any program makes them, the folder itself for the user alone; 0 or the error number.
static int createPrivate(const fs::path &directory) {
  std::error_code error;
  if (directory.has_parent_path())
    fs::create_directories(directory.parent_path(), error);
  if (error)
    return error.value();
  if (::mkdir(directory.c_str(), 0700) == 0 || errno == EEXIST)
    return 0;
  return errno;
}

void lathe::makePrivateDirectory(const fs::path &given, const DirectoryRole &role) {
  const fs::path directory =
      given.has_filename() ? given : given.parent_path(); // No trailing slash: lstat follows it.
  auto refuse = [&](const char *rule, const std::string &value) {
    throw UserError({fmt::format("{} {}", role.place, directory.string()), rule, value, role.wayOut});
  };
  struct stat link, target;
  if (::lstat(directory.c_str(), &link) != 0) {
    if (int error = createPrivate(directory))
      refuse("the folder must exist or be creatable", reasonOf(error));
    if (::lstat(directory.c_str(), &link) != 0)
      refuse("the folder must exist or be creatable", reasonOf(errno));
  }
  if (::stat(directory.c_str(), &target) != 0)
    refuse("the folder must be readable", reasonOf(errno));
  if (!S_ISDIR(target.st_mode))
    refuse("must be a folder", "something else");
  const uid_t user = ::geteuid();
  if (link.st_uid != user || target.st_uid != user)
    refuse(S_ISLNK(link.st_mode) ? "the link and the folder that it names must belong to you"
                                 : "the folder must belong to you",
           fmt::format("owner {} (you are {})", link.st_uid != user ? link.st_uid : target.st_uid, user));
  if (target.st_mode & 0022)
    refuse("the folder must not be writable by group or others",
           fmt::format("mode {:04o}", target.st_mode & 07777));
}

std::string lathe::uniqueName() {
  thread_local std::random_device device;
  const uint64_t random = (uint64_t(device()) << 32) | device();
  return fmt::format("{}-{:016x}", ::getpid(), random);
}
