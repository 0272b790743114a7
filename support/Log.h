//===- Log.h - Messages on stderr ---------------------------------------------------------------------===//
//
// Levelled logging with fmt: one line a message, written whole, so that lines of threads and processes do not
// mix. LATHE_LOG sets the level (error, warn, info, debug; warn when unset). All rooms report what is not an
// error through it; results of a command belong on stdout, not here.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <fmt/format.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace lathe {

enum class LogLevel { Error, Warn, Info, Debug };

/// Messages up to this level are written. From LATHE_LOG at first use; a wrong value is reported and means
/// warn.
LogLevel logLevel();
void setLogLevel(LogLevel level);

/// Receives messages that pass the level, without prefix or newline. An empty sink restores stderr.
/// Thread-safe; for tests, and for applications that have a log of their own.
using LogSink = std::function<void(LogLevel, const std::string &)>;
void setLogSink(LogSink sink);

/// Writes "lathe: warning: <text>" if the level passes.
void logText(LogLevel level, const std::string &text);

/// True at the first call with this key in the process.
bool firstTime(const std::string &key);

template <typename... Args>
void logError(fmt::format_string<Args...> format, Args &&...args) {
  logText(LogLevel::Error, fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
void logWarn(fmt::format_string<Args...> format, Args &&...args) {
  if (logLevel() >= LogLevel::Warn)
    logText(LogLevel::Warn, fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
void logInfo(fmt::format_string<Args...> format, Args &&...args) {
  if (logLevel() >= LogLevel::Info)
    logText(LogLevel::Info, fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
void logDebug(fmt::format_string<Args...> format, Args &&...args) {
  if (logLevel() >= LogLevel::Debug)
    logText(LogLevel::Debug, fmt::format(format, std::forward<Args>(args)...));
}

/// A warning that is written once a process for each key.
template <typename... Args>
void warnOnce(const std::string &key, fmt::format_string<Args...> format, Args &&...args) {
  if (firstTime(key))
    logWarn(format, std::forward<Args>(args)...);
}

} // namespace lathe
