//===- Judge.h - Running a kernel on a case and comparing it -------------------------------------------===//
//
// One way to decide whether a kernel is right, for `lathe verify` and for the candidates of `lathe tune`:
// make the random problem with its poisoned memory, plan, run, compare with the reference.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Options.h"

#include "lathe/reference/ShapeTable.h"
#include "lathe/runtime/Kernel.h"
#include "lathe/runtime/device/emulator/Emulator.h"

#include <optional>

namespace lathe::tools {

/// The options' shape in the reference's terms.
reference::AttentionShape referenceShape(const ShapeOptions &options);

/// The description of a case. How a cache row divides into latent and rotated columns does not matter to the
/// kernel.
dsl::Kernel describe(const reference::AttentionShape &shape);

/// "gpu", "cpu" or "emulator"; "auto" becomes the first where `device` is a GPU and NVRTC is there. Throws
/// UserError for "gpu" on the emulator, DeviceError for "gpu" without NVRTC.
std::string chooseReference(const std::string &asked, runtime::Device &device);

/// What became of one run.
struct Verdict {
  reference::Comparison comparison;
  std::optional<reference::Agreement>
      agreement;                           ///< With the emulator; `comparison` then has its verdict alone.
  runtime::emulator::FindingList findings; ///< Of an emulator that does not throw them; else empty.
  std::vector<runtime::emulator::LaunchRecord> launches; ///< Of an emulator.

  bool right() const { return comparison.passed && findings.empty(); }
  /// One line: how many findings and the first, what differs; empty where it is right.
  std::string fault() const;
};

/// Plans and runs `entry` once on the kernel's device and once, as `emulated`, on another one, which is an
/// emulator; both must agree element by element within what another order of additions can change.
Verdict judgeAgainst(const runtime::Kernel &kernel, const runtime::Kernel &emulated,
                     const reference::ShapeCase &entry);

struct JudgeOptions {
  int sampleRows = 0; ///< Not 0: the CPU reference judges so many random rows only.
  bool alone = false; ///< Also runs each sequence alone (Alone.h): batch-invariant kernels.
};

/// Plans and runs `entry` once on the kernel's device, synchronously, and compares.
Verdict judge(const runtime::Kernel &kernel, const reference::ShapeCase &entry, const std::string &with,
              const JudgeOptions &options = {});

} // namespace lathe::tools
