//===- MoeParts.h - What the halves of the pattern share ---------------------------------------------===//
//
// The router's half of the pattern, element-wise functions by their structure, and the memory order of
// inputs. Private to MoePattern.cpp, MoeRouter.cpp and MoeElements.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Frontend/MoePattern.h"

namespace lathe::codegen {

/// The routing that the results of `op` are: lathe.route or lathe.given. Sets what MoePattern has of routers,
/// rowDim, expertDim, choiceDim, and x where there is a gate.
void matchRouter(MoePattern &pattern, mlir::Operation *op);

/// The activation that a map of projections computes.
MoeActivation activationOf(lathe::ir::MapOp map);
/// Whether the map is the sigmoid of its only operand, narrow floats widened before.
bool isSigmoid(lathe::ir::MapOp map);
/// Whether the map only widens its only operand to f32.
bool isWidening(lathe::ir::MapOp map);
/// Whether the map is the sum of its two operands.
bool isSumOfTwo(lathe::ir::MapOp map);

/// Refuses an input that has not one of the element types, or whose dimensions are not these in memory order.
/// `what` is "rows", "logits", ….
void checkInput(lathe::ir::InputOp input, const std::string &what, llvm::ArrayRef<Dtype> types,
                llvm::ArrayRef<std::string> dims);
/// The element type, which is one of the DSL's.
Dtype dtypeOf(mlir::Type type);

/// The input that is an operand of the contraction, and its other operand. Null where none is.
struct InputSide {
  lathe::ir::InputOp input;
  mlir::Value other;
};
InputSide inputSide(lathe::ir::ContractOp contract);

/// The only dimension that the contraction sums over; empty where it sums over several.
std::string summedDim(lathe::ir::ContractOp contract);

inline std::string str(mlir::StringAttr name) { return name.getValue().str(); }

} // namespace lathe::codegen
