//===- LatheRoutingOps.cpp - The rules of routing and of arrays indexed by data ----------------------===//
//
// Verifiers of route, given, gather and at, each rule with its own message;
// tests/ir/lathe-routing-errors.mlir breaks every rule once. As LatheOps.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/IR/LatheDialect.h"

#include "mlir/IR/Builders.h"

#include <cmath>

using namespace mlir;
using namespace lathe::ir;

//===- Routing ----------------------------------------------------------------------------------------===//

/// Whether the array has known extents along the dimension; complains otherwise. `what` begins the message.
static LogicalResult checkStatic(Operation *op, ArrayType array, StringRef dim, StringRef what) {
  if (!array.has(dim))
    return op->emitOpError() << what << " no dimension \"" << dim << "\"";
  if (array.getExtent(dim) == ArrayType::dynamic)
    return op->emitOpError() << "dimension \"" << dim << "\" must have a static extent";
  return success();
}

/// The ids and weights of a choice: the scores' rows, then the choice.
static LogicalResult checkChoice(RouteOp op) {
  ArrayType scores = op.getScores().getType(), ids = op.getIds().getType();
  if (scores.has(op.getChoice()))
    return op.emitOpError() << "scores have the dimension \"" << op.getChoice() << "\" of the choices";
  if (failed(checkStatic(op, ids, op.getChoice(), "ids have")))
    return failure();
  int64_t choices = ids.getExtent(op.getChoice()), all = scores.getExtent(op.getAxis());
  if (choices > all)
    return op.emitOpError() << "chooses " << choices << " of \"" << op.getAxis() << "\", which has " << all;
  ArrayType rows = scores.without(op.getAxis());
  SmallVector<StringAttr> names(rows.getNames());
  SmallVector<int64_t> extents(rows.getExtents());
  names.push_back(op.getChoiceAttr());
  extents.push_back(choices);
  Builder builder(op.getContext());
  auto expected = [&](Type element) { return ArrayType::get(op.getContext(), element, names, extents); };
  if (ArrayType wanted = expected(builder.getI32Type()); ids != wanted)
    return op.emitOpError() << "ids must be " << wanted << ", got " << ids;
  if (ArrayType wanted = expected(builder.getF32Type()); op.getWeights().getType() != wanted)
    return op.emitOpError() << "weights must be " << wanted << ", got " << op.getWeights().getType();
  return success();
}

static LogicalResult checkGroups(RouteOp op) {
  int64_t all = op.getScores().getType().getExtent(op.getAxis());
  int64_t choices = op.getIds().getType().getExtent(op.getChoice());
  int64_t groups = op.getGroups(), chosen = op.getTopGroups();
  if (groups < 1 || all % groups)
    return op.emitOpError() << "groups must divide the " << all << " of \"" << op.getAxis() << "\", got "
                            << groups;
  if (chosen < 1 || chosen > groups)
    return op.emitOpError() << "must choose from 1 to " << groups << " groups, got " << chosen;
  if (chosen * (all / groups) < choices)
    return op.emitOpError() << "chosen groups must hold " << choices << " choices, got " << chosen << " of "
                            << all / groups;
  if (op.getSumOfTwoBest() && all / groups < 2)
    return op.emitOpError("scores a group by its two best, which needs groups of at least 2");
  return success();
}

LogicalResult RouteOp::verify() {
  ArrayType scores = getScores().getType();
  if (!scores.getElementType().isF32())
    return emitOpError() << "scores must be f32, got " << scores.getElementType();
  if (failed(checkStatic(*this, scores, getAxis(), "scores have")) || failed(checkChoice(*this)) ||
      failed(checkGroups(*this)))
    return failure();
  if (getBias()) {
    auto expected =
        ArrayType::get(getContext(), scores.getElementType(), getAxisAttr(), scores.getExtent(getAxis()));
    if (getBias().getType() != expected)
      return emitOpError() << "bias must be " << expected << ", got " << getBias().getType();
  }
  double scale = getScale().convertToDouble();
  if (!std::isfinite(scale) || scale <= 0)
    return emitOpError() << "scale must be finite and positive, got " << getScaleAttr();
  return success();
}

/// Whether both have the same dimensions, in any order.
static bool sameDims(ArrayType a, ArrayType b) {
  return a.getRank() == b.getRank() && llvm::all_of(llvm::zip(a.getNames(), a.getExtents()), [&](auto dim) {
           auto [name, extent] = dim;
           return b.has(name) && b.getExtent(name) == extent;
         });
}

LogicalResult GivenOp::verify() {
  ArrayType ids = getIds().getType(), weights = getWeights().getType();
  if (!ids.getElementType().isInteger(32))
    return emitOpError() << "ids must be i32, got " << ids.getElementType();
  if (!weights.getElementType().isF32())
    return emitOpError() << "weights must be f32, got " << weights.getElementType();
  if (!sameDims(ids, weights))
    return emitOpError() << "weights must have the dimensions of the ids, got " << weights << " for " << ids;
  if (static_cast<int64_t>(getExperts()) <= 0)
    return emitOpError() << "number of experts must be positive, got " << static_cast<int64_t>(getExperts());
  return success();
}

//===- Arrays indexed by data -------------------------------------------------------------------------===//

LogicalResult GatherOp::verify() {
  ArrayType source = getSource().getType(), ids = getIds().getType();
  if (!ids.getElementType().isInteger(32))
    return emitOpError() << "ids must be i32, got " << ids.getElementType();
  if (!source.has(getDim()))
    return emitOpError() << "source has no dimension \"" << getDim() << "\"";
  if (ids.has(getDim()))
    return emitOpError() << "ids have the dimension \"" << getDim() << "\" that they index";
  SmallVector<StringAttr> names(ids.getNames());
  SmallVector<int64_t> extents(ids.getExtents());
  ArrayType rest = source.without(getDim());
  for (auto [name, extent] : llvm::zip(rest.getNames(), rest.getExtents())) {
    if (!ids.has(name)) {
      names.push_back(name);
      extents.push_back(extent);
    } else if (ids.getExtent(name) != extent) {
      return emitOpError() << "extents along " << name << " must agree";
    }
  }
  auto expected = ArrayType::get(getContext(), source.getElementType(), names, extents);
  if (getResult().getType() != expected)
    return emitOpError() << "result must be " << expected << ", got " << getResult().getType();
  return success();
}

LogicalResult AtOp::verify() {
  ArrayType source = getSource().getType();
  if (failed(checkStatic(*this, source, getDim(), "source has")))
    return failure();
  int64_t index = getIndex(), extent = source.getExtent(getDim());
  if (index < 0 || index >= extent)
    return emitOpError() << "index must be within the " << extent << " elements of \"" << getDim()
                         << "\", got " << index;
  if (ArrayType expected = source.without(getDim()); getResult().getType() != expected)
    return emitOpError() << "result must be " << expected << ", got " << getResult().getType();
  return success();
}
