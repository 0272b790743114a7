//===- Helpers.h - What tests of files share ----------------------------------------------------------===//
//
// A folder that goes away with the test, captured log messages, environment variables that are restored,
// child processes and random bytes with their seed printed. Included by the tests of support and
// kernel_cache.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/support/Error.h"
#include "lathe/support/Log.h"

#include <gtest/gtest.h>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace lathe::test {

/// A fresh folder, removed at the end.
class TempFolder {
public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "lathe-test-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  const std::filesystem::path &path() const { return path_; }
  std::filesystem::path operator/(const std::string &name) const { return path_ / name; }

private:
  std::filesystem::path path_;
};

/// Collects log messages of this process from `level` on, instead of stderr.
class CapturedLog {
public:
  explicit CapturedLog(LogLevel level = LogLevel::Warn) : oldLevel_(logLevel()) {
    setLogLevel(level);
    setLogSink([this](LogLevel, const std::string &text) {
      std::lock_guard<std::mutex> guard(mutex_);
      messages_.push_back(text);
    });
  }
  ~CapturedLog() {
    setLogSink({});
    setLogLevel(oldLevel_);
  }
  std::vector<std::string> messages() const {
    std::lock_guard<std::mutex> guard(mutex_);
    return messages_;
  }

private:
  LogLevel oldLevel_;
  mutable std::mutex mutex_;
  std::vector<std::string> messages_;
};

/// Sets or unsets (nullptr) an environment variable, and restores it.
class ScopedEnv {
public:
  ScopedEnv(const char *name, const char *value) : name_(name) {
    if (const char *old = std::getenv(name))
      old_ = old;
    value ? ::setenv(name, value, 1) : ::unsetenv(name);
  }
  ~ScopedEnv() { old_ ? ::setenv(name_, old_->c_str(), 1) : ::unsetenv(name_); }

private:
  const char *name_;
  std::optional<std::string> old_;
};

/// No file may grow beyond `bytes`: writes fail as on a full disk, for root too.
class FileSizeLimit {
public:
  explicit FileSizeLimit(rlim_t bytes) {
    oldHandler_ = std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &old_);
    rlimit limit = old_;
    limit.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, oldHandler_);
  }

private:
  rlimit old_;
  void (*oldHandler_)(int);
};

/// Runs `work` in a forked process; its return value is the exit code (an exception gives 99).
inline pid_t startProcess(const std::function<int()> &work) {
  const pid_t child = ::fork();
  if (child != 0)
    return child;
  int code = 99;
  try {
    code = work();
  } catch (const std::exception &error) {
    ::dprintf(STDERR_FILENO, "child: %s\n", error.what());
  }
  ::_exit(code);
}

/// Exit code of a child, or -signal.
inline int waitForProcess(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/// Between processes: wait() returns once somebody called signal().
class Gate {
public:
  Gate() {
    if (::pipe(ends_) != 0)
      std::abort();
  }
  ~Gate() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  void signal(int times = 1) {
    for (int i = 0; i < times; ++i)
      (void)!::write(ends_[1], "x", 1);
  }
  void wait() {
    char byte;
    (void)!::read(ends_[0], &byte, 1);
  }

private:
  int ends_[2];
};

/// A seed that is different each time and printed, so that a failure can be repeated.
inline uint64_t freshSeed() {
  const uint64_t seed = std::random_device{}();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

inline std::string randomBytes(std::mt19937_64 &random, size_t count) {
  std::string bytes(count, '\0');
  for (char &byte : bytes)
    byte = char(random());
  return bytes;
}

/// The message of the UserError that `work` throws; a failed test and "" if it throws none.
inline std::string userErrorOf(const std::function<void()> &work) {
  try {
    work();
  } catch (const UserError &error) {
    return error.what();
  }
  ADD_FAILURE() << "no UserError was thrown";
  return "";
}

/// Does a text contain a part? With both in the message when not.
inline ::testing::AssertionResult contains(const std::string &text, const std::string &part) {
  if (text.find(part) != std::string::npos)
    return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "no '" << part << "' in '" << text << "'";
}

inline std::vector<std::string> namesIn(const std::filesystem::path &folder) {
  std::vector<std::string> names;
  if (std::filesystem::exists(folder))
    for (const auto &entry : std::filesystem::directory_iterator(folder))
      names.push_back(entry.path().filename().string());
  return names;
}

} // namespace lathe::test
