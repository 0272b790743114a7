//===- ResourceReport.h - What a PTX text and an assembler's log say about kernels -------------------===//
//
// Instruction counts come from the PTX, registers, spills, stack and shared memory from the assembler's
// verbose log. Lines that mean a slow kernel (ignored register budgets, serialised WGMMA) become findings,
// which the assembler chain turns into a failed compilation. Pure text in, numbers out; called by
// Assemble.cpp and by tests.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/support/Manifest.h"

#include <map>
#include <string>
#include <vector>

namespace lathe::codegen {

/// One broken rule: "kernel attend: must not spill registers, got 12 bytes spill stores, 8 bytes spill
/// loads".
struct LogFinding {
  std::string kernel; ///< Symbol; where the log names none, all symbols of the log, or "".
  std::string rule;
  std::string value; ///< The numbers, or the log line itself.
};

/// What an assembler said.
struct LogReport {
  std::map<std::string, KernelResources> resources; ///< By kernel; instruction counts are zero.
  std::vector<LogFinding> findings;                 ///< Empty for a good kernel.
};

/// Reads the verbose log of ptxas or of the PTX compiler library; unknown lines are ignored.
LogReport readAssemblerLog(const std::string &log);

} // namespace lathe::codegen
