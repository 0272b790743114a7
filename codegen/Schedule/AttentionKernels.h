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

class KernelBuilder;

/// What all three kernels are built from.
struct AttentionBuild {
  const AttentionPattern &pattern;
  Config config;
  MemoryPlan memory;
  Resources resources;

  int unitTokens() const {
    return config.kvTile * config.consumers;
  } ///< KV tokens of one unit of the work list.
  CombinePlan combine() const { return combinePlan(pattern.problem); }
};

/// Words of 4 bytes of an entry of the work list: sequence, first KV unit, end, slot for partial results or
/// -1, length, and three unused.
inline constexpr int workItemWords = 8;
/// Words of 4 bytes of an entry of the list of split sequences: sequence, first slot, parts, and an unused
/// one.
inline constexpr int splitWords = 4;
/// Entries of that list, from the arguments batch and workers: those of split sequences in order of the
/// batch, then some without parts. Not under the whole policy.
mlir::Value splitEntries(KernelBuilder &k, SplitPolicy policy);

/// Lengths to work list. One CTA.
void buildPlanKernel(mlir::OpBuilder &builder, const AttentionBuild &build, KernelEntry &entry);
/// The main kernel. Grid: row blocks × workers.
void buildAttendKernel(mlir::OpBuilder &builder, const AttentionBuild &build, KernelEntry &entry);
/// The main kernel with operands exchanged, as buildAttendKernel; `entry` is filled in.
void buildSwappedKernel(mlir::OpBuilder &builder, const AttentionBuild &build, const KernelEntry &entry);
/// The main kernel with two consumers in turns, as buildAttendKernel; `entry` is filled in.
void buildSeesawKernel(mlir::OpBuilder &builder, const AttentionBuild &build, const KernelEntry &entry);
/// Partial results to results, one warp a row of each split sequence.
void buildCombineKernel(mlir::OpBuilder &builder, const AttentionBuild &build, KernelEntry &entry);

} // namespace lathe::codegen
