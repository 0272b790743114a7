//===- InspectRun.h - lathe inspect --run -------------------------------------------------------------===//
//
// A kernel at work, on a desk without a GPU: runs it once on the PTX emulator and tells what it moved,
// multiplied and waited for, whether the result is right, and which rules of the hardware it broke. The PTX
// may come from a file, so that an edit by hand is tried in a second. Called by `lathe inspect`.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Lengths.h"
#include "Options.h"
#include "RunReport.h"

namespace lathe::tools {

/// --run, and the options that need it.
struct InspectRunOptions : RunOptions {
  LengthsOptions lengths;

  /// `emit` excludes --run.
  void add(CLI::App &command, CLI::Option *emit);
};

/// What is run.
struct RunSubject {
  const dsl::Kernel &description;
  const ShapeOptions &shape;
  codegen::Config config;
  codegen::Target target;
  std::string machine; ///< MachineOptions::name().
  bool json = false;
};

/// Compiles to PTX, runs plan, attend and combine once, prints. Throws CommandFailed when the result is wrong
/// or there are findings, UserError for a PTX file that cannot be read or does not fit.
void inspectRun(const InspectRunOptions &options, const RunSubject &subject);

} // namespace lathe::tools
