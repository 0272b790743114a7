//===- MoeJudge.h - Running a layer of experts on a case and comparing it ------------------------------===//
//
// As Judge.h, for mixtures of experts: make the random problem with its poisoned memory, run, judge routing
// and result. For `lathe verify moe` and the tests that run the shape table.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/dsl/models/Moe.h"
#include "lathe/reference/MoeShapeTable.h"
#include "lathe/runtime/Moe.h"
#include "lathe/runtime/device/emulator/Emulator.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>
#include <vector>

namespace lathe::tools {

/// Whether a case is for kernels that take ids and weights: no router makes its ids.
bool takesRouting(const reference::MoeCase &entry);

/// The layer's shape in the reference's terms.
reference::MoeShape referenceShape(const dsl::MoeShape &shape);

/// The layer of a case, whose kernel routes, or takes ids and weights where takesRouting().
dsl::Kernel describe(const reference::MoeCase &entry);

/// The problem's tensors as a kernel takes them.
runtime::MoeTensors tensorsOf(const reference::MoeInstance &instance);

/// What became of one run.
struct MoeVerdict {
  std::optional<reference::RoutingCheck> routing; ///< Where the kernel routed.
  reference::MoeComparison comparison;
  runtime::emulator::FindingList findings; ///< Of an emulator that does not throw them; else empty.
  std::vector<runtime::emulator::LaunchRecord> launches; ///< Of an emulator.

  bool right() const { return rightResult() && findings.empty(); }
  bool rightResult() const { return (!routing || routing->passed) && comparison.passed; }
  /// "y 0.123 of 1  error 1.2e-03  weights 0.010 of 1".
  std::string numbers() const;
  /// What routing and result have wrong; empty where nothing.
  std::string message() const;
};

/// Routing and comparison.
nlohmann::json toJson(const MoeVerdict &verdict);

/// How many rows the CPU reference judges in reasonable time; 0: all.
int cpuSampleRows(const reference::MoeCase &entry);

struct MoeJudgeOptions {
  int sampleRows = 0; ///< Not 0: the CPU reference judges so many random rows only.
  bool twice = false; ///< Runs again and expects the same bits, but of an atomic kernel's output.
};

/// Runs `entry` on the kernel's device, synchronously, and compares with "cpu" or "gpu".
MoeVerdict judge(const runtime::MoeKernel &kernel, const reference::MoeCase &entry, const std::string &with,
                 const MoeJudgeOptions &options = {});

} // namespace lathe::tools
