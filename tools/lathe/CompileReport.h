//===- CompileReport.h - What compiling one kernel gave ------------------------------------------------===//
//
// The output options of `lathe compile`, its report for people and programs and the folder that it writes:
// the same for every family of kernels.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Options.h"

#include "lathe/runtime/Jit.h"

#include <chrono>
#include <string>
#include <vector>

namespace lathe::tools {

/// -o, --load, --json.
struct CompileOutput {
  std::string directory;
  bool load = false;
  bool json = false;

  void add(CLI::App &command);
};

/// An artifact of any family, as it is told and written.
struct CompileReport {
  std::string kernel, label, machine;
  nlohmann::json shape, config, manifest;
  std::string configText, configSource, configReason;
  bool compiled = false;
  std::string digest, entry, assembler;
  std::string ptx, cubin;
  std::vector<codegen::StageTime> times;
  double totalMs = 0;

  /// Writes the folder that was asked for and prints. Throws UserError when the folder cannot be made.
  void finish(const CompileOutput &output) const;
};

/// What is said of an artifact; label, shape and machine are the command's.
template <class ConfigType, class ManifestType>
CompileReport reportOf(const runtime::JitArtifactOf<ConfigType, ManifestType> &artifact) {
  const auto &report = artifact.report;
  CompileReport told;
  told.kernel = artifact.manifest.description;
  told.config = report.config;
  told.manifest = artifact.manifest;
  told.configText = report.config.str();
  told.configSource = name(report.source);
  told.configReason = report.sourceReason;
  told.compiled = report.compiled;
  told.digest = report.digest;
  told.entry = report.entryPath.string();
  told.assembler = artifact.manifest.assembler;
  told.ptx = artifact.entry.ptx;
  told.cubin = artifact.entry.cubin;
  told.times = report.times;
  told.totalMs = report.totalMs;
  return told;
}

/// Loads what was built as a Loaded (Kernel, MoeKernel) and adds the time to the report.
template <class Loaded, class Artifact>
void loadOnDevice(const MachineOptions &machine, bool quiet, Artifact &artifact) {
  const auto device = machine.open(quiet);
  const auto start = std::chrono::steady_clock::now();
  const Loaded kernel(device, artifact.image(device->imageKind()), artifact.manifest);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  artifact.report.times.push_back({"load", took.count()});
  artifact.report.totalMs += took.count();
}

} // namespace lathe::tools
