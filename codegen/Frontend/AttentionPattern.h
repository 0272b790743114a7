//===- AttentionPattern.h - Recognising contraction, softmax, contraction ----------------------------===//
//
// Finds, in a lathe.kernel, scores (a contraction of an input with a paged input), a softmax over the paged
// axis, and a contraction of the probabilities with the leading columns of the same paged input. Nothing is
// matched by name: MLA, and later MHA, GQA and MQA, are descriptions of the same pattern. Called by analyze()
// and by the schedule.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/IR/LatheDialect.h"
#include "lathe/codegen/Schedule/Config.h"

#include "llvm/ADT/SmallVector.h"

#include <string>

namespace lathe::codegen {

/// The recognised pieces. Operations are owned by the module that was matched.
struct AttentionPattern {
  AttentionProblem problem;
  lathe::ir::KernelOp kernel;

  /// Argument names as described: "q", "kv", "block_table", "lengths", "scale", "out", "lse". `scale` is
  /// empty unless pureScale; `logSumExp` is empty where the description does not return it.
  std::string query, cache, table, length, scale, output, logSumExp;

  lathe::ir::ContractOp scores; ///< query × cache.
  lathe::ir::SoftmaxOp softmax;
  lathe::ir::ContractOp values; ///< probabilities × leading columns of the cache.

  /// Dimensions of the description: "batch", "query" (empty where the query has none), "head", "token",
  /// "value".
  std::string batchDim, queryDim, headDim, tokenDim, valueDim;

  /// Element-wise score expression between the contraction and the softmax: the lathe.map ops in order (often
  /// one multiplication by `scale`). Each has the scores among its inputs, once, and otherwise parameters
  /// only.
  llvm::SmallVector<lathe::ir::MapOp> maps;
  /// Exactly a product with the f32 parameter `scale`, so it folds into base 2.
  bool pureScale = false;

  /// The mask `token < bound`, where bound = length(batch) + boundOffset + boundQueryFactor * query. It never
  /// reaches past the length. Without a mask, or with one that only repeats the length: false, 0, 0.
  bool masked = false;
  int boundOffset = 0;
  int boundQueryFactor = 0;
};

/// Requires: query input bf16 in memory order [batch, query, head, key] (query may be missing), cache bf16
/// [token, row], output bf16 [batch, query, head, value], logarithm f32 [batch, head, query]; the order of
/// dimensions of extent 1 is free. Throws UserError naming the expression that no schedule serves.
AttentionPattern matchAttention(lathe::ir::KernelOp kernel);

} // namespace lathe::codegen
