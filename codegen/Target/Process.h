//===- Process.h - Running a tool of the toolkit -----------------------------------------------------===//
//
// Finds ptxas, nvdisasm and cuobjdump, runs them without a shell, and keeps their files in a directory that
// vanishes. Called by the assembler chain and the disassembler; everything else of the compiler runs in
// process.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lathe::codegen {

/// A directory below the temporary directory, mode 0700, removed with its contents by the destructor.
class TemporaryDirectory {
public:
  /// Throws CompileError when none can be made.
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory &) = delete;
  TemporaryDirectory &operator=(const TemporaryDirectory &) = delete;

  const std::filesystem::path &path() const { return path_; }

private:
  std::filesystem::path path_;
};

/// What a finished process left behind.
struct ProcessResult {
  int exitCode = 0;   ///< 128 + signal when a signal ended it.
  std::string output; ///< Standard output and standard error together, in order.
};

/// Path of an executable: on the PATH, below $CUDA_HOME/bin, $CUDA_PATH/bin or /usr/local/cuda/bin, in this
/// order.
std::optional<std::string> findTool(const std::string &name);

/// Runs a program and waits; `command[0]` is a path, no shell is involved. Throws CompileError when it cannot
/// start.
ProcessResult runProcess(const std::vector<std::string> &command);

/// The whole file as bytes. Throws CompileError when it cannot be read.
std::string readBytes(const std::filesystem::path &path);

/// Writes the whole file. Throws CompileError when it cannot be written.
void writeBytes(const std::filesystem::path &path, std::string_view bytes);

} // namespace lathe::codegen
