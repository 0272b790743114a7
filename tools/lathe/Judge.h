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

namespace lathe::tools {

/// The options' shape in the reference's terms.
reference::AttentionShape referenceShape(const ShapeOptions &options);

/// The description of a case. How a cache row divides into latent and rotated columns does not matter to the
/// kernel.
dsl::Kernel describe(const reference::AttentionShape &shape);

/// "gpu" or "cpu"; "auto" becomes the first where NVRTC is there. Throws DeviceError for "gpu" without NVRTC.
std::string chooseReference(const std::string &asked);

/// Plans and runs `entry` once on the kernel's device, synchronously, and compares. `sampleRows` not 0: the
/// CPU reference judges so many random rows only.
reference::Comparison judge(const runtime::Kernel &kernel, const reference::ShapeCase &entry,
                            const std::string &with, int sampleRows = 0);

} // namespace lathe::tools
