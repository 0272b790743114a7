//===- AttentionKernels.h - The three kernels of the paged-attention schedule ------------------------===//
//
// One builder a kernel; PagedAttention.cpp calls them in the order of a decode step.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Frontend/AttentionPattern.h"
#include "lathe/codegen/Schedule/MemoryPlan.h"
#include "lathe/support/Manifest.h"

#include "mlir/IR/Builders.h"

namespace lathe::codegen {

/// What all three kernels are built from.
struct AttentionBuild {
  const AttentionPattern &pattern;
  Config config;
  MemoryPlan memory;
  Resources resources;

  int unitTokens() const {
    return config.kvTile * config.consumers;
  } ///< KV tokens of one unit of the work list.
};

/// Lengths to work list. One CTA.
void buildPlanKernel(mlir::OpBuilder &builder, const AttentionBuild &build, KernelEntry &entry);
/// The main kernel. Grid: row blocks × workers.
void buildAttendKernel(mlir::OpBuilder &builder, const AttentionBuild &build, KernelEntry &entry);
/// Partial results to results, one warp a row of each split sequence.
void buildCombineKernel(mlir::OpBuilder &builder, const AttentionBuild &build, KernelEntry &entry);

} // namespace lathe::codegen
