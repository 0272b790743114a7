//===- Isolated.cpp - Work that may hang or crash -----------------------------------------------------===//
//
// One pipe from child to parent: the child writes one JSON document and leaves without running destructors
// (they would talk to a driver that may be broken). The parent reads until the end or the deadline, then
// buries the child.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/Isolated.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <poll.h>
#include <string>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace lathe::autotuner {

using Clock = std::chrono::steady_clock;

static constexpr double burialSeconds = 10; // A process stuck in the driver dies late or never.

static DeviceError childError(std::string rule, std::string value) {
  return DeviceError(Fault{"isolated run", std::move(rule), std::move(value), {}});
}

static nlohmann::json errorJson(const char *type, const Fault &fault) {
  return {{"error", type},
          {"place", fault.place},
          {"rule", fault.rule},
          {"value", fault.value},
          {"wayOut", fault.wayOut}};
}

/// {"result": …} or the error that `work` threw.
static nlohmann::json outcomeOf(const std::function<nlohmann::json()> &work) {
  try {
    return {{"result", work()}};
  } catch (const UserError &error) {
    return errorJson("user", error.fault());
  } catch (const CompileError &error) {
    return errorJson("compile", error.fault());
  } catch (const DeviceError &error) {
    return errorJson("device", error.fault());
  } catch (const std::exception &error) {
    return errorJson("device", Fault{"isolated run", error.what(), {}, {}});
  }
}

[[noreturn]] static void runChild(int pipe, const std::function<nlohmann::json()> &work) {
  prctl(PR_SET_PDEATHSIG, SIGKILL); // No orphan on the GPU when the tuner is killed.
  std::string text = outcomeOf(work).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  for (size_t at = 0; at < text.size();) {
    const ssize_t written = write(pipe, text.data() + at, text.size() - at);
    if (written < 0 && errno != EINTR)
      _exit(3);
    at += size_t(std::max<ssize_t>(written, 0));
  }
  _exit(0);
}

/// All bytes until the child closes its end; false at the deadline.
static bool readUntil(int pipe, Clock::time_point deadline, std::string &text) {
  char buffer[4096];
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0)
      return false;
    pollfd waiting{pipe, POLLIN, 0};
    const int ready = poll(&waiting, 1, int(std::min<int64_t>(left, 1 << 30)));
    if (ready < 0 && errno != EINTR)
      throw childError("the pipe to the child must be readable", std::strerror(errno));
    if (ready <= 0)
      continue;
    const ssize_t count = read(pipe, buffer, sizeof buffer);
    if (count == 0)
      return true;
    if (count > 0)
      text.append(buffer, size_t(count));
    else if (errno != EINTR)
      throw childError("the pipe to the child must be readable", std::strerror(errno));
  }
}

/// Exit status of the child, or -1 when it could not be had in time.
static int bury(pid_t child) {
  const Clock::time_point deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                                        std::chrono::duration<double>(burialSeconds));
  int status = 0;
  while (Clock::now() < deadline) {
    const pid_t done = waitpid(child, &status, WNOHANG);
    if (done == child)
      return status;
    if (done < 0 && errno != EINTR)
      return -1;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return -1;
}

[[noreturn]] static void rethrow(const nlohmann::json &outcome) {
  const Fault fault{outcome.value("place", ""), outcome.value("rule", ""), outcome.value("value", ""),
                    outcome.value("wayOut", "")};
  const std::string type = outcome.value("error", "");
  if (type == "user")
    throw UserError(fault);
  if (type == "compile")
    throw CompileError(fault);
  throw DeviceError(fault);
}

static nlohmann::json resultOf(const std::string &text, int status) {
  if (status != -1 && WIFSIGNALED(status))
    throw childError("a candidate must not crash",
                     fmt::format("signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status))));
  nlohmann::json outcome = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!outcome.is_object())
    throw childError("a candidate must report its result",
                     fmt::format("exit status {}", status == -1 ? -1 : WEXITSTATUS(status)));
  if (!outcome.contains("result"))
    rethrow(outcome);
  return std::move(outcome["result"]);
}

nlohmann::json runIsolated(const std::function<nlohmann::json()> &work, double timeoutSeconds) {
  int ends[2];
  if (pipe(ends) != 0)
    throw childError("a pipe must be available", std::strerror(errno));
  const pid_t child = fork();
  if (child < 0) {
    const int reason = errno;
    close(ends[0]);
    close(ends[1]);
    throw childError("a process must be available", std::strerror(reason));
  }
  if (child == 0) {
    close(ends[0]);
    runChild(ends[1], work);
  }
  close(ends[1]);
  const Clock::time_point deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                                        std::chrono::duration<double>(timeoutSeconds));
  std::string text;
  const bool finished = readUntil(ends[0], deadline, text);
  close(ends[0]);
  if (!finished)
    kill(child, SIGKILL);
  const int status = bury(child);
  if (!finished)
    throw childError(fmt::format("a candidate must finish within {} s", timeoutSeconds), "it was stopped");
  return resultOf(text, status);
}

} // namespace lathe::autotuner
