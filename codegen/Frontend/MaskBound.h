//===- MaskBound.h - Masks of the form `token < bound` -----------------------------------------------===//
//
// Reads the mask of a softmax as a linear inequality over coordinates and operands, whichever way it was
// written, and solves it for the softmax's axis. Called by the attention pattern.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/IR/LatheDialect.h"

#include "llvm/ADT/MapVector.h"

#include <optional>

namespace lathe::codegen {

/// constant + Σ factor · coordinate + Σ factor · operand, without terms of factor 0.
struct LinearForm {
  int64_t constant = 0;
  llvm::MapVector<mlir::StringAttr, int64_t> coordinates; ///< By dimension.
  llvm::MapVector<unsigned, int64_t> operands;            ///< By number of the mask operand.
};

/// The bound of a mask that means `axis < bound` for the softmax's axis; nullopt where the mask means
/// anything else, or more than one such inequality. The softmax must be masked.
std::optional<LinearForm> maskBound(lathe::ir::SoftmaxOp softmax);

} // namespace lathe::codegen
