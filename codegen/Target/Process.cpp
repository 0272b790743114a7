//===- Process.cpp - Running a tool of the toolkit ---------------------------------------------------===//
//
// posix_spawn with one pipe for both output streams. No shell ever sees a path, so spaces and quotes in names
// are harmless; descriptors are closed on exec, so concurrent compilations do not keep each other's pipes
// open.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Target/Process.h"

#include "lathe/support/Env.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

namespace lathe::codegen {

namespace fs = std::filesystem;

[[noreturn]] static void fail(const std::string &place, const std::string &rule, int error) {
  throw CompileError(Fault{place, rule, std::strerror(error), ""});
}

TemporaryDirectory::TemporaryDirectory() {
  std::error_code error;
  fs::path base = fs::temp_directory_path(error);
  if (error)
    base = "/tmp";
  std::string pattern = (base / "lathe-XXXXXX").string();
  if (!mkdtemp(pattern.data()))
    throw CompileError(Fault{"assembler", "needs a temporary directory below " + base.string(),
                             std::strerror(errno), "set TMPDIR to a writable directory"});
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

static bool isExecutable(const fs::path &path) {
  std::error_code error;
  return fs::is_regular_file(path, error) && access(path.c_str(), X_OK) == 0;
}

std::optional<std::string> findTool(const std::string &name) {
  std::vector<fs::path> directories;
  if (std::optional<std::string> path = systemEnv("PATH")) {
    std::string_view rest = *path;
    while (!rest.empty()) {
      size_t end = std::min(rest.find(':'), rest.size());
      if (end > 0)
        directories.emplace_back(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  for (const char *variable : {"CUDA_HOME", "CUDA_PATH"})
    if (std::optional<std::string> home = systemEnv(variable))
      directories.push_back(fs::path(*home) / "bin");
  directories.emplace_back("/usr/local/cuda/bin");
  for (const fs::path &directory : directories)
    if (isExecutable(directory / name))
      return (directory / name).string();
  return std::nullopt;
}

static std::string drain(int descriptor) {
  std::string text;
  char buffer[4096];
  while (true) {
    ssize_t got = read(descriptor, buffer, sizeof buffer);
    if (got > 0)
      text.append(buffer, static_cast<size_t>(got));
    else if (got == 0 || errno != EINTR)
      return text;
  }
}

static int waitFor(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR)
      return 127; // Someone else collected the child: SIGCHLD is ignored in the host process.
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

ProcessResult runProcess(const std::vector<std::string> &command) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    fail(command[0], "needs a pipe for its output", errno);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  std::vector<char *> arguments;
  for (const std::string &argument : command)
    arguments.push_back(const_cast<char *>(argument.c_str()));
  arguments.push_back(nullptr);
  pid_t child = 0;
  int error = posix_spawn(&child, command[0].c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  ProcessResult result;
  if (error == 0)
    result.output = drain(ends[0]);
  close(ends[0]);
  if (error != 0)
    fail(command[0], "must start", error);
  result.exitCode = waitFor(child);
  return result;
}

std::string readBytes(const fs::path &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    fail(path.string(), "must be readable", errno);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

void writeBytes(const fs::path &path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file)
    fail(path.string(), "must be writable", errno);
}

} // namespace lathe::codegen
