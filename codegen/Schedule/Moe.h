//===- Moe.h - The schedule for mixtures of experts --------------------------------------------------===//
//
// Builds the kernels of a mixture-of-experts layer in the tile dialect (MoeKernels.h). docs/schedules/moe.md
// has the bound, the steps by role and the timeline. Called by the compiler.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Frontend/MoePattern.h"
#include "lathe/codegen/Schedule/MoeConfig.h"
#include "lathe/support/MoeManifest.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace lathe::codegen {

/// The module, and in `manifest` all that a launch needs (resources are filled in after assembling). Throws
/// UserError where check() rejects the config or the description is not one the schedule serves.
mlir::OwningOpRef<mlir::ModuleOp> buildMoe(const MoePattern &pattern, const MoeConfig &config,
                                           const Target &target, MoeManifest &manifest);

} // namespace lathe::codegen
