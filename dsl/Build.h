//===- Build.h - Making nodes -------------------------------------------------------------------------===//
//
// What the files that build expressions share: one way to allocate a node, and one checked constructor for
// each kind that is made from more than one place. Private to this room: Expr.cpp, Tensor.cpp, Reduce.cpp,
// Routing.cpp and Canonical.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/dsl/Node.h"

namespace lathe::dsl {

/// A node with its common part set; the caller fills in the rest before it becomes an Expr.
template <typename T>
std::shared_ptr<T> makeNode(Dtype dtype, std::vector<Dim> freeDims, std::vector<Expr> operands) {
  auto node = std::make_shared<T>();
  node->kind = T::tag;
  node->dtype = dtype;
  node->freeDims = std::move(freeDims);
  node->operands = std::move(operands);
  return node;
}

/// Free dimensions of several expressions, each once, in order of first appearance.
std::vector<Dim> mergedDims(const std::vector<Expr> &exprs);
/// `dims` without those in `gone`.
std::vector<Dim> without(const std::vector<Dim> &dims, const std::vector<Dim> &gone);

/// Checked constructors, as the operators of Expr.h.
Expr makeBinary(BinaryOp op, const Expr &a, const Expr &b);
Expr makeUnary(UnaryOp op, const Expr &a);
Expr makeCompare(CompareOp op, const Expr &a, const Expr &b);
Expr makeLogical(LogicalOp op, const std::vector<Expr> &operands);
Expr makeLoad(const TensorRef &tensor, const std::vector<Expr> &indices);
Expr makeProb(const std::shared_ptr<const SoftmaxTerm> &term);
Expr makeLogSumExp(const std::shared_ptr<const SoftmaxTerm> &term);
Expr makeRoutedExpert(const std::shared_ptr<const RoutingTerm> &term);
Expr makeRoutedWeight(const std::shared_ptr<const RoutingTerm> &term);

/// "'key' (576)", "'token'": a dimension in a message.
std::string describe(const Dim &dim);

/// Throws UserError unless `name` is an identifier; `what` is "dimension", "input", ….
void checkIdentifier(const char *what, const std::string &name);

} // namespace lathe::dsl
