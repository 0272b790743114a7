//===- MoePattern.h - Recognising mixtures of experts ------------------------------------------------===//
//
// Finds, in a lathe.kernel, a routing, contractions of the rows with weights that are gathered by it, an
// element-wise activation, a second such contraction, and the weighted sum over choices; also the gate
// product in front of the router and experts that every row goes to. Nothing is matched by name. Called by
// analyze() and by the schedules.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/IR/LatheDialect.h"
#include "lathe/codegen/Schedule/MoeProblem.h"

#include "llvm/ADT/SmallVector.h"

#include <string>

namespace lathe::codegen {

/// Two projections with an activation between them. Operations are owned by the module that was matched.
struct MoeExperts {
  /// Operand i of the activation: rows × first weights.
  llvm::SmallVector<lathe::ir::ContractOp> projections;
  llvm::SmallVector<int> halves; ///< The half of the first weights that operand i has; 0 where there is one.
  lathe::ir::MapOp activation;   ///< Element-wise, of the projections alone; for lowering.
  lathe::ir::ContractOp down;    ///< Activated columns × second weights.
  std::string w1, w2;            ///< Argument names.
};

/// The recognised pieces. Names are those of the description, empty where the kernel has no such thing.
struct MoePattern {
  MoeProblem problem;
  lathe::ir::KernelOp kernel;

  std::string x;                        ///< The rows.
  std::string logits, gate, bias;       ///< Inputs of the router.
  std::string ids, weights;             ///< Inputs of a given routing.
  std::string firstExpert;              ///< The parameter of its first expert.
  std::string output;                   ///< Of the experts.
  std::string idsOutput, weightsOutput; ///< Of the router.

  lathe::ir::ContractOp gateProduct; ///< rows × gate matrix.
  lathe::ir::SoftmaxOp softmax;      ///< Where scores are its probabilities.
  lathe::ir::RouteOp route;          ///< Null where the routing is given.
  lathe::ir::GivenOp given;          ///< The local part of a routing, where it is one.
  MoeExperts routed, shared;         ///< Shared without operations where there are none.
  lathe::ir::ContractOp combine;     ///< Weights × the routed experts' results, over choices.

  /// Dimensions: "row", "hidden" (of the rows; the result's may have another name), "inner", "expert",
  /// "choice".
  std::string rowDim, hiddenDim, innerDim, expertDim, choiceDim;
};

/// Whether the kernel routes: then matchMoe() is for it.
bool hasRouting(lathe::ir::KernelOp kernel);

/// Requires, in memory order: rows bf16 [row, hidden]; first weights bf16 [expert, half, inner, hidden] (half
/// may be missing); second ones bf16 [expert, hidden, inner]; of shared experts bf16 [half, shared, inner,
/// hidden] and [hidden, shared, inner] (half and shared may be missing); logits f32, bf16 or f16 [row,
/// expert]; gate bf16 or f32 [expert, hidden]; given ids i32 and weights f32 [row, choice]; output bf16 or
/// f32 [row, hidden]; ids i32 and weights f32 [row, choice]. Throws UserError naming the expression that no
/// schedule serves.
MoePattern matchMoe(lathe::ir::KernelOp kernel);

} // namespace lathe::codegen
