//===- Canonical.h - One form for expressions that mean the same --------------------------------------===//
//
// Sorts the operands of commutative operations, joins sums of sums, and shares equal softmaxes and routings,
// nothing cleverer, so that the order in which a description was written does not show in its text, its code
// or its key. Private to this
// room; Kernel calls it on each output. + and * of floats are thereby taken as those of real numbers: their
// grouping may change.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/dsl/Node.h"

#include <map>
#include <string>

namespace lathe::dsl {

/// Rewrites expressions of one kernel. Equal softmaxes, and equal routings, become one term across all calls
/// on the same object. Names must be unique (the kernel has checked): terms are compared by their text.
class Canonicalizer {
public:
  Expr operator()(const Expr &expr);

private:
  Expr rewrite(const Expr &expr);
  Expr rewriteCommutative(const Expr &expr);
  std::shared_ptr<const SoftmaxTerm> shared(const SoftmaxTerm &term);
  std::shared_ptr<const RoutingTerm> shared(const RoutingTerm &term);

  std::map<const Node *, Expr> done_;
  std::vector<Expr> kept_; ///< Keeps the keys of done_ alive.
  std::map<std::string, std::shared_ptr<const SoftmaxTerm>> softmaxes_;
  std::map<std::string, std::shared_ptr<const RoutingTerm>> routings_;
};

} // namespace lathe::dsl
