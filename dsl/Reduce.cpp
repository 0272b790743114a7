//===- Reduce.cpp - Contraction and softmax -----------------------------------------------------------===//
//
// Sums over dimensions and softmax over an axis, with the rules that only they have: the body must depend on
// what is reduced, and both sides of a contraction must agree on its extent.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/dsl/Build.h"

#include "lathe/dsl/Print.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::dsl;

std::string dsl::describe(const Dim &dim) {
  return dim.isDynamic() ? fmt::format("'{}'", dim.name())
                         : fmt::format("'{}' ({})", dim.name(), dim.extent());
}

//===- Sum --------------------------------------------------------------------------------------------===//

/// Finds a load in `body` that has the dimension, indexed by another one of a different extent: one side of
/// the contraction would run over fewer elements than the other. Sums, softmaxes and routings inside are
/// their own business.
static void checkExtents(const Dim &dim, const Expr &body) {
  auto *load = body.as<LoadNode>();
  if (!load) {
    if (!body.as<SumNode>() && !body.as<SoftmaxProbNode>() && !body.as<LogSumExpNode>() &&
        !body.as<RoutedExpertNode>() && !body.as<RoutedWeightNode>())
      for (const Expr &operand : body.node().operands)
        checkExtents(dim, operand);
    return;
  }
  std::vector<Dim> dims = load->tensor->indexedDims();
  for (size_t i = 0; i < dims.size(); ++i) {
    const Dim *index = load->dimAt(i);
    if (dims[i].is(dim) && index && index->extent() != dim.extent())
      throw UserError({"", fmt::format("sum over {} needs the same extent on both sides", describe(dim)),
                       fmt::format("{} with {}", print(body), index->extent()),
                       fmt::format("index it with '{}'", dim.name())});
  }
}

Expr dsl::sum(const std::vector<Dim> &dims, const Expr &body) {
  if (dims.empty())
    throw UserError({"", "sum needs at least one dimension", "", ""});
  if (body.dtype() == Dtype::Bool)
    throw UserError({"", fmt::format("sum over {} needs numbers", describe(dims[0])),
                     fmt::format("the condition {}", print(body)), "use select(condition, 1, 0)"});
  for (size_t i = 0; i < dims.size(); ++i) {
    for (size_t j = 0; j < i; ++j)
      if (dims[i].is(dims[j]))
        throw UserError({"", fmt::format("sum names dimension '{}' twice", dims[i].name()), "", ""});
    checkExtents(dims[i], body);
    if (!contains(body.freeDims(), dims[i]))
      throw UserError({"", fmt::format("sum over {} needs a body that depends on it", describe(dims[i])),
                       print(body), "multiply by the extent if that is meant"});
  }
  Dtype dtype = isFloat(body.dtype()) && body.dtype() != Dtype::F64 ? Dtype::F32 : body.dtype();
  auto node = makeNode<SumNode>(dtype, without(body.freeDims(), dims), {body});
  node->dims = dims;
  return Expr(node);
}

Expr dsl::sum(std::initializer_list<Dim> dims, const Expr &body) { return sum(std::vector<Dim>(dims), body); }

Expr dsl::sum(const Dim &dim, const Expr &body) { return sum(std::vector<Dim>{dim}, body); }

//===- Softmax ----------------------------------------------------------------------------------------===//

static Softmax makeSoftmax(const Dim &axis, const Expr &score, std::optional<Expr> mask) {
  if (!isFloat(score.dtype()))
    throw UserError({"", fmt::format("softmax over {} needs a score of floats", describe(axis)),
                     fmt::format("{} of type {}", print(score), lathe::name(score.dtype())), ""});
  if (!contains(score.freeDims(), axis))
    throw UserError({"", fmt::format("softmax over {} needs a score that depends on it", describe(axis)),
                     print(score), ""});
  std::vector<Dim> dims = mask ? mergedDims({score, *mask}) : score.freeDims();
  return Softmax(std::make_shared<SoftmaxTerm>(SoftmaxTerm{axis, score, std::move(mask), std::move(dims)}));
}

Softmax dsl::softmax(const Dim &axis, const Expr &score) { return makeSoftmax(axis, score, std::nullopt); }

Softmax dsl::softmax(const Dim &axis, const Masked &score) {
  return makeSoftmax(axis, score.score, score.condition);
}

static std::vector<Expr> operandsOf(const SoftmaxTerm &term) {
  return term.mask ? std::vector<Expr>{term.score, *term.mask} : std::vector<Expr>{term.score};
}

static Dtype statisticsType(const SoftmaxTerm &term) {
  return term.score.dtype() == Dtype::F64 ? Dtype::F64 : Dtype::F32;
}

Expr dsl::makeProb(const std::shared_ptr<const SoftmaxTerm> &term) {
  auto node = makeNode<SoftmaxProbNode>(statisticsType(*term), term->freeDims, operandsOf(*term));
  node->softmax = term;
  return Expr(node);
}

Expr dsl::makeLogSumExp(const std::shared_ptr<const SoftmaxTerm> &term) {
  auto node = makeNode<LogSumExpNode>(statisticsType(*term), without(term->freeDims, {term->axis}),
                                      operandsOf(*term));
  node->softmax = term;
  return Expr(node);
}

Expr Softmax::operator()(const Dim &axis) const {
  if (!axis.is(term_->axis))
    throw UserError({"", fmt::format("softmax over {} is read at its own axis", describe(term_->axis)),
                     describe(axis), ""});
  return makeProb(term_);
}

Expr Softmax::logSumExp() const { return makeLogSumExp(term_); }
