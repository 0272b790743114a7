//===- Importer.h - The state of one import ----------------------------------------------------------===//
//
// Every expression of a description becomes one value, found again by its text. Import.cpp walks the
// expressions, ImportReads.cpp makes arguments, what is read of them, and routings. Private to the import.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/IR/LatheDialect.h"
#include "lathe/dsl/Kernel.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"

namespace lathe::codegen {

class Importer {
public:
  Importer(const dsl::Kernel &kernel, mlir::MLIRContext &context) : kernel_(kernel), builder_(&context) {}
  mlir::OwningOpRef<mlir::ModuleOp> run();

private:
  struct Routed {
    mlir::Value ids, weights;
  };

  mlir::Value argument(const dsl::TensorRef &tensor);
  mlir::Value parameter(const dsl::Scalar &param);
  mlir::Value operand(const dsl::Expr &expr);
  mlir::Value array(const dsl::Expr &expr);
  /// The expression in f32, over these dimensions, which are all that it has or more.
  mlir::Value single(const dsl::Expr &expr, const std::vector<dsl::Dim> &dims);
  mlir::Value build(const dsl::Expr &expr);
  mlir::Value load(const dsl::Expr &expr);
  mlir::Value readAs(mlir::Value source, const dsl::Dim &declared, const dsl::Dim &index,
                     const dsl::Expr &expr);
  mlir::Value readAt(mlir::Value source, const dsl::Dim &declared, int64_t index, const dsl::Expr &expr);
  mlir::Value gather(mlir::Value source, const dsl::Dim &declared, const dsl::Expr &index,
                     const dsl::Expr &expr);
  mlir::Value sum(const dsl::Expr &expr);
  mlir::Value map(const dsl::Expr &expr, Dtype dtype, const std::vector<dsl::Dim> &dims);
  ir::SoftmaxOp softmax(const dsl::SoftmaxTerm &term, const dsl::Expr &expr);
  Routed routing(const dsl::RoutingTerm &term, const dsl::Expr &expr);
  Routed chosen(const dsl::RoutingTerm &term, mlir::Location loc);
  Routed given(const dsl::RoutingTerm &term, mlir::Location loc);
  void output(const dsl::Output &output);

  ir::ArrayType arrayType(Dtype dtype, const std::vector<dsl::Dim> &dims);
  mlir::Location location(const dsl::Expr &expr);
  [[noreturn]] void fail(const dsl::Expr &expr, std::string rule, std::string wayOut);

  const dsl::Kernel &kernel_;
  mlir::OpBuilder builder_;
  llvm::StringMap<mlir::Value> arguments_; ///< Inputs and parameters by name.
  llvm::StringMap<mlir::Value> arrays_;    ///< Expressions by key.
  llvm::DenseMap<const dsl::SoftmaxTerm *, ir::SoftmaxOp> softmaxes_;
  llvm::DenseMap<const dsl::RoutingTerm *, Routed> routings_;
};

} // namespace lathe::codegen
