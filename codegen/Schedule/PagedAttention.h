//===- PagedAttention.h - The schedule for attention over a paged cache ------------------------------===//
//
// Builds the three kernels of paged attention decode in the tile dialect: plan (lengths to work list), attend
// (the main kernel) and combine (merges split sequences). docs/schedules/paged-attention.md has the bound,
// the steps by role and the timeline. Called by the compiler.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Frontend/AttentionPattern.h"
#include "lathe/codegen/Schedule/Config.h"
#include "lathe/support/Manifest.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace lathe::codegen {

/// The module, and in `manifest` all that a launch needs (resources are filled in after assembling). Throws
/// UserError where check() rejects the config or the score expression is not one the schedule serves.
mlir::OwningOpRef<mlir::ModuleOp> buildPagedAttention(const AttentionPattern &pattern, const Config &config,
                                                      const Target &target, Manifest &manifest);

} // namespace lathe::codegen
