//===- EmulatedKernels.h - Compiled kernels on the emulator ------------------------------------------===//
//
// Compiles to PTX without assembling, runs a decode step on an emulator of few SMs, so that rings wrap and
// sequences are cut, and gives findings and comparison. What the tests of this folder share.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Compiler.h"
#include "lathe/reference/ShapeTable.h"
#include "lathe/runtime/Kernel.h"
#include "lathe/runtime/device/emulator/Emulator.h"

#include <functional>
#include <string>

namespace lathe::emulatedtest {

/// A kernel of MLA decode as PTX; compiled once for each shape and configuration.
const codegen::Artifact &compiled(const reference::AttentionShape &shape, const codegen::Config &config);
codegen::AttentionProblem problemOf(const reference::AttentionShape &shape);

/// What a run of plan, attend and combine gave.
struct RunResult {
  runtime::emulator::FindingList findings;
  std::vector<runtime::emulator::LaunchRecord> launches;
  reference::Comparison comparison;
  std::string error; ///< Of loading or launching; empty: none.

  bool has(runtime::emulator::FindingKind kind) const;
};

struct RunOptions {
  int smCount = 3;
  uint64_t seed = 0;                                                ///< Of the emulator's order.
  std::function<void(reference::AttentionInstance &)> prepare = {}; ///< Changes the instance before the run.
};

/// Runs a PTX text with a manifest on a random instance of a case.
RunResult run(const std::string &ptx, const Manifest &manifest, const reference::ShapeCase &shape,
              const RunOptions &options = {});

} // namespace lathe::emulatedtest
