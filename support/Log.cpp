#include "lathe/support/Log.h"

#include "lathe/support/Env.h"
#include "lathe/support/Error.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <set>

using namespace lathe;

static constexpr std::array<const char *, 4> levelNames = {"error", "warn", "info", "debug"};
static constexpr std::array<const char *, 4> levelPrefixes = {"error", "warning", "info", "debug"};
static constexpr int levelUnset = -1;

static std::atomic<int> currentLevel{levelUnset};

// Never destroyed: destructors of other statics may still log.
static std::mutex &mutex() {
  static std::mutex *instance = new std::mutex;
  return *instance;
}

static LogSink &sink() {
  static LogSink *instance = new LogSink;
  return *instance;
}

/// One write(2) a message, so that lines of processes that share stderr stay whole.
static void writeLine(LogLevel level, const std::string &text) {
  const std::string line = fmt::format("lathe: {}: {}\n", levelPrefixes[size_t(level)], text);
  for (size_t done = 0; done < line.size();) {
    const ssize_t count = ::write(STDERR_FILENO, line.data() + done, line.size() - done);
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return;
    done += size_t(count);
  }
}

static LogLevel levelFromEnvironment() {
  try {
    const std::string name = envChoice("LATHE_LOG");
    return LogLevel(std::find(levelNames.begin(), levelNames.end(), name) - levelNames.begin());
  } catch (const UserError &error) {
    writeLine(LogLevel::Error, error.what());
    return LogLevel::Warn;
  }
}

LogLevel lathe::logLevel() {
  int level = currentLevel.load(std::memory_order_relaxed);
  if (level == levelUnset) {
    static const LogLevel initial = levelFromEnvironment();
    int expected = levelUnset;
    currentLevel.compare_exchange_strong(expected, int(initial));
    level = currentLevel.load();
  }
  return LogLevel(level);
}

void lathe::setLogLevel(LogLevel level) { currentLevel = int(level); }

void lathe::setLogSink(LogSink newSink) {
  std::lock_guard<std::mutex> guard(mutex());
  sink() = std::move(newSink);
}

void lathe::logText(LogLevel level, const std::string &text) {
  if (level > logLevel())
    return;
  LogSink receiver;
  {
    std::lock_guard<std::mutex> guard(mutex());
    receiver = sink();
  }
  if (receiver)
    receiver(level, text);
  else
    writeLine(level, text);
}

bool lathe::firstTime(const std::string &key) {
  static std::set<std::string> *seen = new std::set<std::string>;
  std::lock_guard<std::mutex> guard(mutex());
  return seen->insert(key).second;
}
