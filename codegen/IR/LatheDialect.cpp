//===- LatheDialect.cpp - The dialect and its array type ---------------------------------------------===//
//
// Registration, and parsing, printing and checking of !lathe.array. Verifiers of the operations are in
// LatheOps.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/IR/LatheDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace lathe::ir;

#include "LatheDialect.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "LatheTypes.cpp.inc"

void LatheDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "LatheTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "LatheOps.cpp.inc"
      >();
}

void lathe::ir::registerLatheDialect(DialectRegistry &registry) {
  registry.insert<LatheDialect, arith::ArithDialect, math::MathDialect>();
}

Type lathe::ir::elementType(Type arrayOrScalar) {
  if (auto array = dyn_cast<ArrayType>(arrayOrScalar))
    return array.getElementType();
  return arrayOrScalar;
}

std::optional<size_t> ArrayType::find(StringRef name) const {
  for (auto [position, candidate] : llvm::enumerate(getNames()))
    if (candidate.getValue() == name)
      return position;
  return std::nullopt;
}

ArrayType ArrayType::without(StringRef name) const {
  SmallVector<StringAttr> names;
  SmallVector<int64_t> extents;
  for (auto [candidate, extent] : llvm::zip(getNames(), getExtents())) {
    if (candidate.getValue() == name)
      continue;
    names.push_back(candidate);
    extents.push_back(extent);
  }
  return get(getContext(), getElementType(), names, extents);
}

static bool isElement(Type type) {
  return type.isBF16() || type.isF16() || type.isF32() || type.isF64() || type.isSignlessInteger(32) ||
         type.isSignlessInteger(64) || type.isSignlessInteger(1);
}

LogicalResult ArrayType::verify(function_ref<InFlightDiagnostic()> emitError, Type elementType,
                                ArrayRef<StringAttr> names, ArrayRef<int64_t> extents) {
  if (!isElement(elementType))
    return emitError() << "element type must be bf16, f16, f32, f64, i32, i64 or i1, got " << elementType;
  if (names.size() != extents.size())
    return emitError() << "needs one extent a dimension, got " << extents.size() << " for " << names.size();
  DenseSet<StringAttr> seen;
  for (auto [name, extent] : llvm::zip(names, extents)) {
    if (name.getValue().empty())
      return emitError() << "a dimension needs a name";
    if (!seen.insert(name).second)
      return emitError() << "dimension names must be distinct, got " << name << " twice";
    if (extent != dynamic && extent <= 0)
      return emitError() << "extent of " << name << " must be positive or '?', got " << extent;
  }
  return success();
}

/// One `name=extent`.
static ParseResult parseDimension(AsmParser &parser, SmallVectorImpl<StringAttr> &names,
                                  SmallVectorImpl<int64_t> &extents) {
  std::string name;
  int64_t extent = ArrayType::dynamic;
  if (parser.parseKeywordOrString(&name) || parser.parseEqual())
    return failure();
  if (failed(parser.parseOptionalQuestion()) && parser.parseInteger(extent))
    return failure();
  names.push_back(parser.getBuilder().getStringAttr(name));
  extents.push_back(extent);
  return success();
}

Type ArrayType::parse(AsmParser &parser) {
  Type elementType;
  SmallVector<StringAttr> names;
  SmallVector<int64_t> extents;
  SMLoc location = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseType(elementType))
    return {};
  while (succeeded(parser.parseOptionalComma()))
    if (parseDimension(parser, names, extents))
      return {};
  if (parser.parseGreater())
    return {};
  return getChecked([&] { return parser.emitError(location); }, parser.getContext(), elementType, names,
                    extents);
}

void ArrayType::print(AsmPrinter &printer) const {
  printer << "<" << getElementType();
  for (auto [name, extent] : llvm::zip(getNames(), getExtents())) {
    printer << ", ";
    printer.printKeywordOrString(name.getValue());
    printer << "=";
    if (extent == dynamic)
      printer << "?";
    else
      printer << extent;
  }
  printer << ">";
}
