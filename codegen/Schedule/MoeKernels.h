//===- MoeKernels.h - The kernels of the mixture-of-experts schedule ---------------------------------===//
//
// One builder a kernel; Moe.cpp calls them in the order of a step: where the description has one, gate (rows
// times a gate matrix to logits); route (logits to choices and the map of rows by expert), permute (rows in
// that order), up (first projection and activation), down (second projection), or both as experts, combine
// (weighted sum over a row's choices).
//
// The map, all i32, in the workspace of the runtime:
//   counts[experts]        choices of each local expert
//   offsets[experts + 1]   first slot of each expert, a multiple of moeSlotTile; then the number of slots
//   slots[…]               row · topK + choice of each slot, ascending within an expert; -1 for padding at an
//                          expert's end. From shared_start on, for shared expert s and row r, slot
//                          shared_start + s · (rows rounded up to moeSlotTile) + r holds r · topK.
//   places[rows · topK]    slot of each choice, -1 where it takes no part
//   tiles[…][4]            {expert, its first slot, its rows, number of its tiles · 2^16 + the tile's number
//                          among them}; expert `experts + s` is shared expert s. In order of experts, shared
//                          ones last. An expert's tiles are equal parts of whole units of moeSlotTile slots,
//                          the first ones a unit longer (units of moeWidthStep rows with several widths);
//                          none has more than config.tokenTile rows.
//   tile_count[3]          the number of tiles; then, with config.dynamic, how many items CTAs of `up` (with
//                          config.oneLaunch of both), and of `down`, have been given beyond their first one
//                          each: 0 at first, and again after `combine`
//   ready[…]               with config.oneLaunch, of a tile that begins at slot s, at s / moeSlotTile: how
//   many
//                          parts of its rows of activated are written, a consumer's of an item each; 0 at
//                          first, and again after `combine`
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Frontend/MoePattern.h"
#include "lathe/codegen/Schedule/MoeConfig.h"
#include "lathe/support/Manifest.h"

#include "mlir/IR/Builders.h"

namespace lathe::codegen {

/// What all kernels are built from.
struct MoeBuild {
  const MoePattern &pattern;
  MoeConfig config;
  MoeMemory memory;
  const MoeProblem &problem() const { return pattern.problem; }
};

/// Words of 4 bytes of an entry of `tiles`.
inline constexpr int moeTileWords = 4;

/// logits[row][expert] = x[row] · gate[expert] in float32. Arguments: x, x_stride, rows, gate, logits.
void buildGateKernel(mlir::OpBuilder &builder, const MoeBuild &build, KernelEntry &entry);
/// Choices of each row and the map. Arguments: logits, bias (those of the problem), ids, weights, rows,
/// first_expert, counts, offsets, slots, places, tiles, tile_count, scratch, shared_start. With a given
/// routing ids and weights are read, else written.
void buildRouteKernel(mlir::OpBuilder &builder, const MoeBuild &build, KernelEntry &entry);
/// expert_out[slot] = x[row of slot], with config.permute, for `up`, after which `down` writes it. Arguments:
/// x, x_stride, rows, places, shared_start, expert_out.
void buildPermuteKernel(mlir::OpBuilder &builder, const MoeBuild &build, KernelEntry &entry);
/// activated[slot] = activation(w1[expert] · x[row of slot]). Arguments: w1, shared1 (tensor maps), tiles,
/// tile_count, activated_base; x, x_stride, slots, or the tensor map permuted; w1_base with
/// config.prefetchUp.
void buildUpKernel(mlir::OpBuilder &builder, const MoeBuild &build, KernelEntry &entry);
/// expert_out[slot] = w2[expert] · activated[slot]. Arguments: w2, shared2, activated (tensor maps), tiles,
/// tile_count, expert_out. With config.atomic, instead of expert_out: sums[row] += weight of the slot's
/// choice · w2[expert] · activated[slot], in float32; slots, weights, sums. With config.prefetchDown w2_base.
void buildDownKernel(mlir::OpBuilder &builder, const MoeBuild &build, KernelEntry &entry);
/// Both in one, with config.oneLaunch: arguments of both, and ready.
void buildExpertsKernel(mlir::OpBuilder &builder, const MoeBuild &build, KernelEntry &entry);
/// y[row] = sum over choices of weight · expert_out[place], in order of choices, then of shared experts.
/// Arguments: expert_out, places, weights, shared_start, rows, y, y_stride; tile_count with config.dynamic,
/// ready with config.oneLaunch. With config.atomic y[row] = sums[row], and zero to sums[row]; sums instead of
/// the first four.
void buildMoeCombineKernel(mlir::OpBuilder &builder, const MoeBuild &build, KernelEntry &entry);

} // namespace lathe::codegen
