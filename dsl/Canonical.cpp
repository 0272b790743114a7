#include "lathe/dsl/Canonical.h"

#include "lathe/dsl/Build.h"
#include "lathe/dsl/Print.h"

#include <algorithm>
#include <functional>
#include <tuple>

using namespace lathe;
using namespace lathe::dsl;

//===- Commutative operations -------------------------------------------------------------------------===//

/// Whether two nodes are the same commutative and associative operation.
static bool isSameChain(const Expr &a, const Expr &b) {
  if (auto *binary = a.as<BinaryNode>()) {
    auto *other = b.as<BinaryNode>();
    return other && other->op == binary->op;
  }
  auto *logical = a.as<LogicalNode>();
  auto *other = b.as<LogicalNode>();
  return logical && other && other->op == logical->op;
}

static bool isCommutative(const Expr &expr) {
  if (auto *binary = expr.as<BinaryNode>())
    return binary->op != BinaryOp::Sub && binary->op != BinaryOp::Div;
  if (auto *logical = expr.as<LogicalNode>())
    return logical->op != LogicalOp::Not;
  return false;
}

/// Reading order: factors from the simple to the compound, paged inputs after dense ones; constants of a sum
/// at its end.
static int rank(const Expr &operand, bool ofProduct) {
  if (operand.as<ConstantNode>())
    return ofProduct ? 0 : 9;
  if (!ofProduct)
    return 1;
  if (operand.as<ParamNode>())
    return 1;
  if (operand.as<SoftmaxProbNode>() || operand.as<RoutedWeightNode>())
    return 2;
  if (auto *load = operand.as<LoadNode>())
    return load->tensor->isPaged() ? 4 : 3;
  return 5;
}

static void sortOperands(std::vector<Expr> &operands, bool ofProduct) {
  auto key = [&](const Expr &expr) { return std::tuple(rank(expr, ofProduct), print(expr)); };
  std::sort(operands.begin(), operands.end(), [&](const Expr &a, const Expr &b) { return key(a) < key(b); });
}

Expr Canonicalizer::rewriteCommutative(const Expr &expr) {
  std::vector<Expr> operands;
  std::function<void(const Expr &)> flatten = [&](const Expr &inner) {
    for (const Expr &operand : inner.node().operands)
      isSameChain(expr, operand) ? flatten(operand) : operands.push_back((*this)(operand));
  };
  flatten(expr);
  auto *binary = expr.as<BinaryNode>();
  sortOperands(operands, binary && binary->op == BinaryOp::Mul);
  Expr chain = operands.front();
  for (size_t i = 1; i < operands.size(); ++i)
    chain = binary ? makeBinary(binary->op, chain, operands[i])
                   : makeLogical(expr.as<LogicalNode>()->op, {chain, operands[i]});
  return chain;
}

//===- Everything else --------------------------------------------------------------------------------===//

static Expr rebuildCompare(CompareOp op, std::vector<Expr> operands) {
  if (op == CompareOp::Eq || op == CompareOp::Ne)
    sortOperands(operands, false);
  return makeCompare(op, operands[0], operands[1]);
}

/// A sum of a sum is one sum.
static Expr rebuildSum(std::vector<Dim> dims, const Expr &body) {
  if (auto *inner = body.as<SumNode>()) {
    dims.insert(dims.end(), inner->dims.begin(), inner->dims.end());
    return rebuildSum(std::move(dims), inner->operands[0]);
  }
  std::sort(dims.begin(), dims.end(), [](const Dim &a, const Dim &b) { return a.name() < b.name(); });
  return sum(dims, body);
}

std::shared_ptr<const SoftmaxTerm> Canonicalizer::shared(const SoftmaxTerm &term) {
  Expr score = (*this)(term.score);
  Softmax rebuilt =
      term.mask ? softmax(term.axis, where((*this)(*term.mask), score)) : softmax(term.axis, score);
  return softmaxes_.emplace(print(rebuilt(term.axis)), rebuilt.term()).first->second;
}

std::shared_ptr<const RoutingTerm> Canonicalizer::shared(const RoutingTerm &term) {
  RoutingTerm rebuilt = term;
  if (auto *chosen = std::get_if<ChosenRouting>(&rebuilt.source)) {
    chosen->score = (*this)(chosen->score);
    rebuilt.dims = without(chosen->score.freeDims(), {term.experts});
  } else {
    auto &given = std::get<GivenRouting>(rebuilt.source);
    given.ids = (*this)(given.ids);
    given.weights = (*this)(given.weights);
    rebuilt.dims = without(given.ids.freeDims(), {term.choice});
  }
  rebuilt.dims.push_back(term.choice);
  auto routing = std::make_shared<const RoutingTerm>(std::move(rebuilt));
  return routings_.emplace(print(makeRoutedExpert(routing)), routing).first->second;
}

Expr Canonicalizer::rewrite(const Expr &expr) {
  if (isCommutative(expr))
    return rewriteCommutative(expr);
  if (auto *prob = expr.as<SoftmaxProbNode>())
    return makeProb(shared(*prob->softmax));
  if (auto *logSumExp = expr.as<LogSumExpNode>())
    return makeLogSumExp(shared(*logSumExp->softmax));
  if (auto *expert = expr.as<RoutedExpertNode>())
    return makeRoutedExpert(shared(*expert->routing));
  if (auto *weight = expr.as<RoutedWeightNode>())
    return makeRoutedWeight(shared(*weight->routing));

  std::vector<Expr> operands;
  for (const Expr &operand : expr.node().operands)
    operands.push_back((*this)(operand));
  if (auto *load = expr.as<LoadNode>())
    return makeLoad(load->tensor, operands);
  if (auto *binary = expr.as<BinaryNode>())
    return makeBinary(binary->op, operands[0], operands[1]);
  if (auto *unary = expr.as<UnaryNode>())
    return makeUnary(unary->op, operands[0]);
  if (auto *compare = expr.as<CompareNode>())
    return rebuildCompare(compare->op, operands);
  if (auto *logical = expr.as<LogicalNode>())
    return makeLogical(logical->op, operands);
  if (expr.as<SelectNode>())
    return select(operands[0], operands[1], operands[2]);
  if (auto *summed = expr.as<SumNode>())
    return rebuildSum(summed->dims, operands[0]);
  return expr; // Param, Constant, Index
}

Expr Canonicalizer::operator()(const Expr &expr) {
  if (auto known = done_.find(&expr.node()); known != done_.end())
    return known->second;
  Expr result = rewrite(expr);
  kept_.push_back(expr);
  done_.emplace(&expr.node(), result);
  return result;
}
