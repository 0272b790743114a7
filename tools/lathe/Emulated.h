//===- Emulated.h - What the emulator saw, for people and programs -----------------------------------===//
//
// Findings and counters of runs on the PTX emulator, as JSON and as tables. One spelling for every command
// that runs kernels there: `lathe inspect --run`, `lathe verify`.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/reference/AttentionReference.h"
#include "lathe/runtime/device/emulator/Counters.h"
#include "lathe/runtime/device/emulator/Finding.h"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace lathe::tools {

/// An array of objects, one a finding.
nlohmann::json toJson(const runtime::emulator::FindingList &list);
/// Kernel, launch shape and every counter of one launch.
nlohmann::json toJson(const runtime::emulator::LaunchRecord &launch);
nlohmann::json toJson(const reference::Comparison &comparison);
nlohmann::json toJson(const reference::Agreement &agreement);
/// "same bits 99.98 %, worst 0.031 of its bound, 1 ulp, lse 0.002".
std::string agreementText(const reference::Agreement &agreement);

/// "no finding", "1 finding", "2 findings", …; those that were not kept count too.
std::string findingCount(const runtime::emulator::FindingList &list);
/// All counters, a column a launch: shape, bytes by the way they moved, products, waits, instructions by
/// kind.
std::string countersText(const std::vector<runtime::emulator::LaunchRecord> &launches);
/// "out 0.123 of 1  cosine 1.2e-07 of 5.1e-06  lse 0.010 of 1".
std::string comparisonText(const reference::Comparison &comparison);

} // namespace lathe::tools
