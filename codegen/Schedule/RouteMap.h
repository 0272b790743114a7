//===- RouteMap.h - Choices to the map of rows by expert ---------------------------------------------===//
//
// Counts, offsets, slots, places and tiles (MoeKernels.h) from the ids of all rows, as operations of the
// routing kernel: one CTA alone, or several that exchange their counts. Called by RouteKernel.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/KernelBuilder.h"
#include "lathe/codegen/Schedule/RoutePlan.h"

namespace lathe::codegen {

/// Which rows a CTA and a warp take: consecutive ones, so that an expert's choices ascend with CTA, warp and
/// step.
struct RouteRange {
  mlir::Value block, blocks;        ///< The CTA and how many there are.
  mlir::Value blockBegin, blockEnd; ///< Rows of the CTA.
  mlir::Value begin, end;           ///< Rows of the warp.
};

class RouteMap {
public:
  /// Tiles that the thread of an expert writes itself.
  static constexpr int ownTiles = 4;

  RouteMap(KernelBuilder &k, const MoeProblem &problem, int tokenTile, const RouteRange &range);

  /// Zeros the warps' counts.
  void clear();
  /// What does not hang on choices, while the first logits are on their way; then counts may begin.
  void begin();
  /// One choice a lane, where `inside`.
  void count(mlir::Value id, mlir::Value inside);
  /// All the rest, when the warp's choices are counted and `ids` holds them.
  void finish();

private:
  using Value = mlir::Value;

  Value word(int first, Value index) { return k.at(k.shared(), k.mul(k.add(index, first), 4)); }
  Value read(int first, Value index) { return k.load(k.i32(), word(first, index)); }
  void write(Value value, int first, Value index) { k.store(value, word(first, index)); }
  Value warpCount(Value expert) { return k.add(k.mul(warp, problem.experts), expert); }
  Value localExpert(Value id);
  Value expertOf(Value choice, Value inside);

  struct Tally {
    Value before, total; ///< Choices of an expert: of the CTAs before, of all.
  };
  /// What the entries of an expert's tiles have in common.
  struct Owner {
    Value expert, firstSlot, rows, tiles;
  };
  void storeShared();
  Value sumWarps();
  Value published(Value block);
  void awaitCounts(Value firstBlock, llvm::SmallVectorImpl<Value> &counts);
  Tally sumBlocks(Value own);
  Tally tally();
  void scanExperts(const Tally &expert);
  void storeExpert(const Tally &expert, Value first, Value tilesBefore, Value tiles);
  void place(Value firstExperts);
  void storeTile(const Owner &owner, Value index, Value at);
  void storeManyTiles(Value routed);
  void storeTiles();

  KernelBuilder &k;
  const MoeProblem &problem;
  const RouteMemory memory;
  const int tokenTile;
  RouteRange range;
  Value thread, lane, warp;
  Value paddedRows; ///< Slots of a shared expert.
  Owner shared;     ///< Of the first shared expert.
  Value isExpert;   ///< Whether there is an expert of the thread's number.
};

} // namespace lathe::codegen
