//===- MaskBound.cpp - Masks of the form `token < bound` ---------------------------------------------===//
//
// Integer arithmetic of the region becomes linear forms; a comparison becomes `form < 0`; the axis is moved
// to the left. Masks are small, so forms are copied freely.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Frontend/MaskBound.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace lathe;
using namespace lathe::codegen;

template <typename Map>
static void accumulate(Map &into, const Map &terms, int64_t factor) {
  for (auto [key, value] : terms)
    into[key] += factor * value;
  into.remove_if([](const auto &term) { return term.second == 0; });
}

/// a + factor · b.
static LinearForm combine(LinearForm a, const LinearForm &b, int64_t factor) {
  a.constant += factor * b.constant;
  accumulate(a.coordinates, b.coordinates, factor);
  accumulate(a.operands, b.operands, factor);
  return a;
}

static bool isConstant(const LinearForm &form) { return form.coordinates.empty() && form.operands.empty(); }

static std::optional<LinearForm> linear(Value value);

static std::optional<LinearForm> linearBinary(Operation *op) {
  auto a = linear(op->getOperand(0)), b = linear(op->getOperand(1));
  if (!a || !b)
    return std::nullopt;
  if (isa<arith::AddIOp>(op))
    return combine(*a, *b, 1);
  if (isa<arith::SubIOp>(op))
    return combine(*a, *b, -1);
  if (isConstant(*b))
    return combine({}, *a, b->constant);
  if (isConstant(*a))
    return combine({}, *b, a->constant);
  return std::nullopt;
}

static std::optional<LinearForm> linear(Value value) {
  LinearForm form;
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    form.operands[argument.getArgNumber()] = 1;
    return form;
  }
  Operation *op = value.getDefiningOp();
  APInt constant;
  if (matchPattern(value, m_ConstantInt(&constant))) {
    form.constant = constant.getSExtValue();
    return form;
  }
  if (auto index = dyn_cast<ir::IndexOp>(op)) {
    form.coordinates[index.getDimAttr()] = 1;
    return form;
  }
  if (isa<arith::ExtSIOp>(op))
    return linear(op->getOperand(0));
  if (isa<arith::AddIOp, arith::SubIOp, arith::MulIOp>(op))
    return linearBinary(op);
  return std::nullopt;
}

/// The condition as `form < 0`, or its negation.
static std::optional<LinearForm> belowZero(Value condition, bool negated) {
  if (auto flip = condition.getDefiningOp<arith::XOrIOp>()) {
    if (matchPattern(flip.getRhs(), m_One()))
      return belowZero(flip.getLhs(), !negated);
    return std::nullopt;
  }
  auto compare = condition.getDefiningOp<arith::CmpIOp>();
  if (!compare)
    return std::nullopt;
  auto predicate = compare.getPredicate();
  if (negated)
    predicate = arith::invertPredicate(predicate);
  auto a = linear(compare.getLhs()), b = linear(compare.getRhs());
  if (!a || !b)
    return std::nullopt;
  using P = arith::CmpIPredicate;
  bool swapped = predicate == P::sgt || predicate == P::sge;
  bool orEqual = predicate == P::sle || predicate == P::sge;
  if (!swapped && !orEqual && predicate != P::slt)
    return std::nullopt;
  LinearForm form = swapped ? combine(*b, *a, -1) : combine(*a, *b, -1);
  form.constant -= orEqual; // a <= b is a - b - 1 < 0
  return form;
}

std::optional<LinearForm> codegen::maskBound(ir::SoftmaxOp softmax) {
  auto yield = cast<ir::YieldOp>(softmax.getMask().front().getTerminator());
  std::optional<LinearForm> form = belowZero(yield.getValue(), /*negated=*/false);
  if (!form)
    return std::nullopt;
  auto axis = form->coordinates.find(softmax.getAxisAttr());
  if (axis == form->coordinates.end() || axis->second != 1)
    return std::nullopt;
  form->coordinates.erase(axis); // axis + rest < 0 is axis < -rest
  return combine({}, *form, -1);
}
