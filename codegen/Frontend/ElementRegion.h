//===- ElementRegion.h - Element-wise expressions as regions -----------------------------------------===//
//
// Writes the element-wise part of an expression as the region of a lathe.map or of a softmax's mask. Loads,
// parameters, sums, softmaxes and routings are its leaves: the importer makes them operands. Called by
// Import.cpp alone.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/dsl/Kernel.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"

namespace lathe::codegen {

mlir::Type mlirType(mlir::MLIRContext *context, Dtype type);

/// What an expression is called wherever it appears: type and text. Equal keys mean equal values within a
/// kernel.
std::string expressionKey(const dsl::Expr &expr);

/// A sum whose factors that do not depend on the summed dimensions stand outside: `sum(d, q * k * scale)`
/// becomes `sum(d, q * k) * scale`. The expression itself where nothing moves.
dsl::Expr hoistFactors(const dsl::Expr &sum);

/// The factors of a product, left to right; the expression itself where it is none.
llvm::SmallVector<dsl::Expr> factorsOf(const dsl::Expr &expr);
/// Their product, grouped to the left; at least one factor.
dsl::Expr productOf(llvm::ArrayRef<dsl::Expr> factors);

class ElementRegion {
public:
  explicit ElementRegion(const dsl::Expr &expr);

  /// Loads, parameters, sums, softmaxes and routings below the expression, each once, in order of appearance.
  llvm::ArrayRef<dsl::Expr> leaves() const { return leaves_; }

  /// Writes the region's only block: one scalar argument a leaf, the computation, a yield of `result`.
  void emit(mlir::OpBuilder builder, mlir::Location loc, mlir::Region &region, Dtype result);

private:
  void collect(const dsl::Expr &expr);
  mlir::Value value(const dsl::Expr &expr);
  mlir::Value compute(const dsl::Expr &expr);
  mlir::Value binary(const dsl::Expr &expr);
  mlir::Value unary(const dsl::Expr &expr);
  mlir::Value compare(const dsl::Expr &expr);
  mlir::Value logical(const dsl::Expr &expr);
  mlir::Value constant(Dtype type, double real, int64_t integer);
  mlir::Value sigmoid(mlir::Value x, Dtype type);
  mlir::Value gelu(mlir::Value x, Dtype type);
  mlir::Value convert(mlir::Value value, Dtype from, Dtype to);
  mlir::Value operand(const dsl::Expr &expr, size_t number, Dtype type);

  dsl::Expr expr_;
  llvm::SmallVector<dsl::Expr> leaves_;
  llvm::StringMap<unsigned> positions_; ///< Leaf number by key.
  llvm::StringMap<mlir::Value> values_; ///< What was computed, by key; valid during emit().
  mlir::OpBuilder *builder_ = nullptr;  ///< Valid during emit().
  std::optional<mlir::Location> loc_;
};

} // namespace lathe::codegen
