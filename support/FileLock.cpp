#include "lathe/support/Files.h"

#include "lathe/support/Error.h"
#include "lathe/support/Log.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

using namespace lathe;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

[[noreturn]] static void fail(const fs::path &path, int error) {
  throw UserError({"lock " + path.string(), "must be creatable and lockable", std::strerror(error), ""});
}

/// Is the file that we locked still the one that newcomers find under its name?
static bool stillNamed(const fs::path &path, int descriptor) {
  struct stat ours, named;
  return ::fstat(descriptor, &ours) == 0 && ::stat(path.c_str(), &named) == 0 &&
         ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

/// Tells those who wait who we are; a message, so failures do not matter.
static void signLock(int descriptor) {
  char host[256] = "unknown host";
  ::gethostname(host, sizeof(host) - 1);
  const std::string text = fmt::format("pid {} on {}\n", ::getpid(), host);
  if (::ftruncate(descriptor, 0) == 0)
    (void)!::pwrite(descriptor, text.data(), text.size(), 0);
}

static std::string holderOf(const fs::path &path) {
  std::string text;
  try {
    text = readFileIfThere(path).value_or("");
  } catch (const UserError &) {
  }
  text = text.substr(0, std::min(text.find('\n'), text.size()));
  return text.empty() ? "another process" : text;
}

std::optional<FileLock> FileLock::tryLock(const fs::path &path) {
  while (true) {
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (descriptor < 0)
      fail(path, errno);
    FileLock lock(path, descriptor);
    while (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK)
        return std::nullopt;
      if (errno != EINTR)
        fail(path, errno);
    }
    if (!stillNamed(path, descriptor))
      continue; // The last holder deleted the file between our open and our lock.
    signLock(descriptor);
    return lock;
  }
}

std::optional<FileLock> FileLock::lockFor(const fs::path &path, double waitSeconds,
                                          double reportAfterSeconds) {
  const auto start = Clock::now();
  double nextReportSeconds = reportAfterSeconds;
  auto pause = std::chrono::milliseconds(1);
  while (true) {
    if (std::optional<FileLock> lock = tryLock(path))
      return lock;
    const double waitedSeconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (waitedSeconds >= waitSeconds)
      return std::nullopt;
    if (waitedSeconds >= nextReportSeconds) {
      logWarn("waiting since {:.0f} s for lock {}, held by {}", waitedSeconds, path.string(), holderOf(path));
      nextReportSeconds += 60;
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::milliseconds(50));
  }
}

FileLock::FileLock(FileLock &&other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock &FileLock::operator=(FileLock &&other) noexcept {
  if (this != &other) {
    release();
    path_ = std::move(other.path_);
    descriptor_ = std::exchange(other.descriptor_, -1);
  }
  return *this;
}

FileLock::~FileLock() { release(); }

void FileLock::release() {
  if (descriptor_ < 0)
    return;
  ::flock(descriptor_,
          LOCK_UN); // A forked child may share the descriptor; closing ours alone would keep the lock.
  ::close(std::exchange(descriptor_, -1));
}

void FileLock::removeFile() {
  if (descriptor_ < 0)
    return;
  ::unlink(path_.c_str());
  release();
}
