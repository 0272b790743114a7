//===- LatheOps.cpp - Rules of the lathe operations --------------------------------------------------===//
//
// One verifier an operation, each rule with its own message; tests/ir/lathe-errors.mlir breaks every rule
// once. Called by MLIR after parsing, import and every pass.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/IR/LatheDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace lathe::ir;

#define GET_OP_CLASSES
#include "LatheOps.cpp.inc"

static std::string extentText(int64_t extent) {
  return extent == ArrayType::dynamic ? "?" : std::to_string(extent);
}

/// Every dimension of `part` is one of `whole`, with the same extent. `what` begins the message.
static LogicalResult checkWithin(Operation *op, ArrayType part, ArrayType whole, const Twine &what,
                                 StringRef wholeName) {
  for (auto [name, extent] : llvm::zip(part.getNames(), part.getExtents())) {
    if (!whole.has(name))
      return op->emitOpError() << what << " has dimension " << name << ", " << wholeName << " has none";
    if (int64_t other = whole.getExtent(name); other != extent)
      return op->emitOpError() << what << " has extent " << extentText(extent) << " along " << name << ", "
                               << wholeName << " has " << extentText(other);
  }
  return success();
}

/// `result` has exactly the dimensions of `expected`, in any order.
static LogicalResult checkSameDims(Operation *op, ArrayType result, ArrayType expected,
                                   StringRef expectedName) {
  if (failed(checkWithin(op, result, expected, "result", expectedName)))
    return failure();
  return checkWithin(op, expected, result, expectedName, "result");
}

/// The names of `dims` are distinct dimensions of `array`.
static LogicalResult checkNames(Operation *op, ArrayAttr dims, ArrayType array, StringRef arrayName) {
  llvm::StringSet<> seen;
  for (StringRef name : dims.getAsValueRange<StringAttr>()) {
    if (!seen.insert(name).second)
      return op->emitOpError() << "names dimension \"" << name << "\" twice";
    if (!array.has(name))
      return op->emitOpError() << arrayName << " has no dimension \"" << name << "\"";
  }
  return success();
}

static ArrayType withoutAll(ArrayType array, ArrayAttr dims) {
  for (StringRef name : dims.getAsValueRange<StringAttr>())
    array = array.without(name);
  return array;
}

static bool isFloat(ArrayType array) { return isa<FloatType>(array.getElementType()); }

//===- The kernel and its arguments -------------------------------------------------------------------===//

LogicalResult KernelOp::verifyRegions() {
  llvm::StringSet<> seen, tables;
  bool hasOutput = false;
  auto claim = [&](Operation &op, StringRef name) -> LogicalResult {
    return seen.insert(name).second ? success()
                                    : op.emitOpError() << "argument name \"" << name << "\" is already taken";
  };
  if (getBody().getNumArguments() != 0)
    return emitOpError("body takes no block arguments");
  for (Operation &op : getBody().front()) {
    hasOutput |= isa<OutputOp>(op);
    if (!isa_and_nonnull<LatheDialect>(op.getDialect()))
      return op.emitOpError("is not an operation of the lathe dialect, which a lathe.kernel holds alone");
    if (auto paged = dyn_cast<PagedOp>(op); paged && tables.insert(paged.getTable()).second)
      if (failed(claim(op, paged.getTable()))) // Paged inputs may share a table.
        return failure();
    if (!isa<InputOp, PagedOp, ParamOp, OutputOp>(op))
      continue;
    if (failed(claim(op, op.getAttrOfType<StringAttr>("name").getValue())))
      return failure();
  }
  return hasOutput ? success() : emitOpError("needs at least one lathe.output");
}

LogicalResult InputOp::verify() {
  return getName().empty() ? emitOpError("needs a non-empty argument name") : LogicalResult(success());
}

LogicalResult ParamOp::verify() {
  return getName().empty() ? emitOpError("needs a non-empty argument name") : LogicalResult(success());
}

LogicalResult PagedOp::verify() {
  ArrayType lengths = getLengths().getType(), result = getResult().getType();
  if (getName().empty() || getTable().empty())
    return emitOpError("needs non-empty names for the rows and their table");
  if (static_cast<int64_t>(getPage()) <= 0)
    return emitOpError() << "page size must be positive, got " << static_cast<int64_t>(getPage());
  if (!lengths.getElementType().isInteger(32))
    return emitOpError() << "lengths must be i32, got " << lengths.getElementType();
  if (result.getRank() < lengths.getRank() + 2)
    return emitOpError(
        "result needs the dimensions of the lengths, the paged axis and at least one row dimension");
  for (size_t i = 0; i < lengths.getRank(); ++i)
    if (result.getNames()[i] != lengths.getNames()[i] || result.getExtents()[i] != lengths.getExtents()[i])
      return emitOpError() << "result must begin with the dimensions of the lengths, got "
                           << result.getNames()[i] << " for " << lengths.getNames()[i];
  if (result.getExtents()[lengths.getRank()] != ArrayType::dynamic)
    return emitOpError() << "paged axis " << result.getNames()[lengths.getRank()]
                         << " must have extent '?', got " << result.getExtents()[lengths.getRank()];
  return success();
}

LogicalResult OutputOp::verify() {
  ArrayType value = getValue().getType();
  if (getName().empty())
    return emitOpError("needs a non-empty argument name");
  if (isa<FloatType>(getDtype()) != isFloat(value) || !getDtype().isIntOrFloat())
    return emitOpError() << "cannot write " << value.getElementType() << " as " << getDtype();
  if (failed(checkNames(*this, getDims(), value, "value")))
    return failure();
  if (getDims().size() != value.getRank())
    return emitOpError() << "must order all " << value.getRank() << " dimensions of the value, got "
                         << getDims().size();
  return success();
}

//===- Mathematics ------------------------------------------------------------------------------------===//

LogicalResult SliceOp::verify() {
  ArrayType source = getSource().getType(), result = getResult().getType();
  int64_t begin = getBegin(), end = getEnd();
  if (!source.has(getDim()))
    return emitOpError() << "source has no dimension \"" << getDim() << "\"";
  int64_t extent = source.getExtent(getDim());
  if (extent == ArrayType::dynamic)
    return emitOpError() << "dimension \"" << getDim() << "\" must have a static extent";
  if (begin < 0 || begin >= end || end > extent)
    return emitOpError() << "range [" << begin << " to " << end << "] must be non-empty and within the "
                         << extent << " elements of \"" << getDim() << "\"";
  SmallVector<StringAttr> names(source.getNames());
  SmallVector<int64_t> extents(source.getExtents());
  names[*source.find(getDim())] = getAsAttr();
  extents[*source.find(getDim())] = end - begin;
  ArrayType expected =
      ArrayType::getChecked([&] { return emitOpError(); }, getContext(), source.getElementType(),
                            ArrayRef<StringAttr>(names), ArrayRef<int64_t>(extents));
  if (!expected)
    return failure();
  if (result != expected)
    return emitOpError() << "result must be " << expected << ", got " << result;
  return success();
}

/// Dimensions of both arrays, those of `lhs` first. Shared dimensions must agree.
static FailureOr<ArrayType> unionOf(Operation *op, ArrayType lhs, ArrayType rhs) {
  SmallVector<StringAttr> names(lhs.getNames());
  SmallVector<int64_t> extents(lhs.getExtents());
  for (auto [name, extent] : llvm::zip(rhs.getNames(), rhs.getExtents())) {
    if (!lhs.has(name)) {
      names.push_back(name);
      extents.push_back(extent);
      continue;
    }
    if (int64_t other = lhs.getExtent(name); other != extent)
      return op->emitOpError() << "extents along " << name << " must agree, got " << extentText(other)
                               << " and " << extentText(extent);
  }
  return ArrayType::get(lhs.getContext(), lhs.getElementType(), names, extents);
}

LogicalResult ContractOp::verify() {
  ArrayType lhs = getLhs().getType(), rhs = getRhs().getType(), result = getResult().getType();
  if (!isFloat(lhs) || !isFloat(rhs))
    return emitOpError() << "operands must be floating-point, got " << lhs.getElementType() << " and "
                         << rhs.getElementType();
  if (!result.getElementType().isF32())
    return emitOpError() << "accumulates in f32, got a result of " << result.getElementType();
  if (getOver().empty())
    return emitOpError("must sum over at least one dimension");
  if (failed(checkNames(*this, getOver(), lhs, "left operand")) ||
      failed(checkNames(*this, getOver(), rhs, "right operand")))
    return failure();
  FailureOr<ArrayType> all = unionOf(*this, lhs, rhs);
  if (failed(all))
    return failure();
  return checkSameDims(*this, result, withoutAll(*all, getOver()),
                       "the operands without the summed dimensions");
}

LogicalResult SumOp::verify() {
  ArrayType source = getSource().getType(), result = getResult().getType();
  if (!isFloat(source))
    return emitOpError() << "source must be floating-point, got " << source.getElementType();
  if (!result.getElementType().isF32())
    return emitOpError() << "accumulates in f32, got a result of " << result.getElementType();
  if (getOver().empty())
    return emitOpError("must sum over at least one dimension");
  if (failed(checkNames(*this, getOver(), source, "source")))
    return failure();
  return checkSameDims(*this, result, withoutAll(source, getOver()),
                       "the source without the summed dimensions");
}

/// A region that computes one element: arguments as the operands, arith and math only, a yield of `yielded`.
static LogicalResult checkElementRegion(Operation *op, Region &region, ValueRange inputs, Type yielded) {
  if (!region.hasOneBlock())
    return op->emitOpError("region must have one block");
  if (region.getNumArguments() != inputs.size())
    return op->emitOpError() << "region needs one argument an operand, got " << region.getNumArguments()
                             << " for " << inputs.size();
  for (auto [argument, input] : llvm::zip(region.getArguments(), inputs))
    if (argument.getType() != elementType(input.getType()))
      return op->emitOpError() << "region argument " << argument.getArgNumber() << " must be "
                               << elementType(input.getType()) << ", got " << argument.getType();
  for (Operation &inner : region.front())
    if (!isa<IndexOp, YieldOp>(inner) &&
        !isa_and_nonnull<arith::ArithDialect, math::MathDialect>(inner.getDialect()))
      return op->emitOpError() << "region may hold arith, math and lathe.index only, got " << inner.getName();
  auto yield = cast<YieldOp>(region.front().getTerminator());
  if (yield.getValue().getType() != yielded)
    return op->emitOpError() << "region must yield " << yielded << ", got " << yield.getValue().getType();
  return success();
}

/// Array operands of an element-wise region broadcast into `whole`.
static LogicalResult checkBroadcast(Operation *op, ValueRange inputs, ArrayType whole, StringRef wholeName) {
  for (auto [number, input] : llvm::enumerate(inputs))
    if (auto array = dyn_cast<ArrayType>(input.getType()))
      if (failed(checkWithin(op, array, whole, "operand " + Twine(number), wholeName)))
        return failure();
  return success();
}

LogicalResult MapOp::verifyRegions() {
  ArrayType result = getResult().getType();
  if (failed(checkBroadcast(*this, getInputs(), result, "the result")))
    return failure();
  return checkElementRegion(*this, getBody(), getInputs(), result.getElementType());
}

LogicalResult SoftmaxOp::verify() {
  ArrayType scores = getScores().getType();
  if (!scores.getElementType().isF32())
    return emitOpError() << "scores must be f32, got " << scores.getElementType();
  if (!scores.has(getAxis()))
    return emitOpError() << "scores have no dimension \"" << getAxis() << "\"";
  if (getProbabilities().getType() != scores)
    return emitOpError() << "probabilities must have the type of the scores, got "
                         << getProbabilities().getType();
  if (ArrayType expected = scores.without(getAxis()); getLogSumExp().getType() != expected)
    return emitOpError() << "logarithm must be " << expected << ", got " << getLogSumExp().getType();
  if (!isMasked() && !getMaskInputs().empty())
    return emitOpError("has mask operands but no mask");
  return success();
}

LogicalResult SoftmaxOp::verifyRegions() {
  if (!isMasked())
    return success();
  if (failed(checkBroadcast(*this, getMaskInputs(), getScores().getType(), "the scores")))
    return failure();
  return checkElementRegion(*this, getMask(), getMaskInputs(), IntegerType::get(getContext(), 1));
}

LogicalResult IndexOp::verify() {
  Operation *parent = (*this)->getParentOp();
  auto map = dyn_cast<MapOp>(parent);
  ArrayType whole = map ? map.getResult().getType() : cast<SoftmaxOp>(parent).getScores().getType();
  if (!whole.has(getDim()))
    return emitOpError() << "the surrounding " << parent->getName() << " has no dimension \"" << getDim()
                         << "\"";
  return success();
}

//===- Regions as text --------------------------------------------------------------------------------===//

/// `(%x = %a : type, …)`: operands bound to region arguments of their element types.
static ParseResult parseBindings(OpAsmParser &parser, OperationState &state,
                                 SmallVectorImpl<OpAsmParser::Argument> &arguments) {
  return parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Paren, [&]() -> ParseResult {
    OpAsmParser::Argument argument;
    OpAsmParser::UnresolvedOperand operand;
    Type type;
    if (parser.parseArgument(argument) || parser.parseEqual() || parser.parseOperand(operand) ||
        parser.parseColonType(type) || parser.resolveOperand(operand, type, state.operands))
      return failure();
    argument.type = elementType(type);
    arguments.push_back(argument);
    return success();
  });
}

static void printBindings(OpAsmPrinter &printer, Region &region, ValueRange inputs) {
  printer << "(";
  llvm::interleaveComma(llvm::zip(region.getArguments(), inputs), printer, [&](auto pair) {
    auto [argument, input] = pair;
    printer << argument << " = " << input << " : " << input.getType();
  });
  printer << ") ";
}

ParseResult MapOp::parse(OpAsmParser &parser, OperationState &state) {
  SmallVector<OpAsmParser::Argument> arguments;
  Type result;
  if (parseBindings(parser, state, arguments) || parser.parseArrow() || parser.parseType(result) ||
      parser.parseOptionalAttrDictWithKeyword(state.attributes))
    return failure();
  state.addTypes(result);
  return parser.parseRegion(*state.addRegion(), arguments);
}

void MapOp::print(OpAsmPrinter &printer) {
  printer << " ";
  printBindings(printer, getBody(), getInputs());
  printer << "-> " << getResult().getType();
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs());
  printer << " ";
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

ParseResult SoftmaxOp::parse(OpAsmParser &parser, OperationState &state) {
  OpAsmParser::UnresolvedOperand scores;
  SmallVector<OpAsmParser::Argument> arguments;
  StringAttr axis;
  Type scoresType, probabilities, logSumExp;
  OperationState mask(state.location, state.name);
  Region *region = state.addRegion();
  if (parser.parseOperand(scores) || parser.parseKeyword("over") ||
      parser.parseAttribute(axis, NoneType::get(parser.getContext()), "axis", state.attributes))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("where")) &&
      (parseBindings(parser, mask, arguments) || parser.parseRegion(*region, arguments)))
    return failure();
  if (parser.parseOptionalAttrDict(state.attributes) || parser.parseColonType(scoresType) ||
      parser.parseArrow() || parser.parseType(probabilities) || parser.parseComma() ||
      parser.parseType(logSumExp) || parser.resolveOperand(scores, scoresType, state.operands))
    return failure();
  state.addOperands(mask.operands);
  state.addTypes({probabilities, logSumExp});
  return success();
}

void SoftmaxOp::print(OpAsmPrinter &printer) {
  printer << " " << getScores() << " over " << getAxisAttr();
  if (isMasked()) {
    printer << " where ";
    printBindings(printer, getMask(), getMaskInputs());
    printer.printRegion(getMask(), /*printEntryBlockArgs=*/false);
  }
  printer.printOptionalAttrDict((*this)->getAttrs(), {getAxisAttrName()});
  printer << " : " << getScores().getType() << " -> " << getProbabilities().getType() << ", "
          << getLogSumExp().getType();
}
