//===- RunReport.h - A kernel at work, whatever its family ------------------------------------------===//
//
// What `lathe inspect --run` has in common for attention and for mixtures of experts: its options, loading
// the compiled PTX or a file's on an emulator, and telling counters, result and findings. InspectRun.cpp and
// InspectMoeRun.cpp say what is run.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/emulator/Emulator.h"
#include "lathe/support/Error.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <vector>

namespace lathe::tools {

/// --run, --ptx and --seed.
struct RunOptions {
  static constexpr const char *group = "Run"; ///< Of the options in --help.

  bool run = false;
  std::string ptx;   ///< File to run in place of the compiled text; empty: none.
  uint64_t seed = 0; ///< runtime::EmulatorOptions::seed.

  /// `emit` excludes --run. Gives --run, for options that need it.
  CLI::Option *add(CLI::App &command, CLI::Option *emit);
  /// An emulator of so many multiprocessors that keeps findings.
  std::shared_ptr<runtime::Emulator> open(int smCount) const;
  /// The text to run, ending in a zero byte: `compiled`, or the file's. Throws UserError for a file that is
  /// no PTX.
  std::string image(const std::string &compiled) const;

  /// A kernel of the compiled PTX, or of the file's with the same manifest. Throws UserError for a file that
  /// does not fit.
  template <class Kernel, class Artifact>
  Kernel load(const std::shared_ptr<runtime::Emulator> &emulator, const Artifact &artifact) const {
    const std::string text = image(artifact.ptx);
    try {
      return {emulator, text, artifact.manifest};
    } catch (const DeviceError &error) { // The device is fine; what was typed is not.
      if (ptx.empty())
        throw;
      Fault fault = error.fault();
      fault.place = ptx + ": " + fault.place;
      throw UserError(fault);
    }
  }
};

/// What one run showed, in the words of its family.
struct RunReport {
  std::string kernel, label, machine; ///< "mla_decode", "16 heads", "h100-sxm".
  std::string config, workload;       ///< For people.
  nlohmann::json json;                ///< shape, config, workload and more: the family's fields.
  std::vector<runtime::emulator::LaunchRecord> launches;
  runtime::emulator::FindingList findings;
  bool right = false;        ///< The result, by the reference on the CPU.
  std::string numbers;       ///< How far it is off.
  std::string message;       ///< What is wrong; empty where nothing.
  nlohmann::json comparison; ///< The same for programs.

  /// Prints. Throws CommandFailed when the result is wrong or there are findings.
  void finish(const RunOptions &options, bool asJson) const;
};

} // namespace lathe::tools
