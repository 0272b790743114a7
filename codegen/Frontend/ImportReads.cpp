//===- ImportReads.cpp - Arguments, what is read of them, and routings -------------------------------===//
//
// An element of an input becomes the array of all that its indices reach: columns of a dimension, one
// coordinate of it, or what data says. Part of Importer.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Frontend/Importer.h"

#include "lathe/codegen/Frontend/ElementRegion.h"
#include "lathe/dsl/Print.h"

#include <fmt/format.h>

using namespace mlir;
using namespace lathe;
using codegen::Importer;

//===- Arguments --------------------------------------------------------------------------------------===//

Value Importer::argument(const dsl::TensorRef &tensor) {
  if (auto known = arguments_.find(tensor->name); known != arguments_.end())
    return known->second;
  Location loc = NameLoc::get(builder_.getStringAttr(tensor->name));
  Type type = arrayType(tensor->dtype, tensor->indexedDims());
  Value value;
  if (tensor->isPaged()) {
    Value lengths = argument(tensor->paged->length.info());
    value = ir::PagedOp::create(builder_, loc, type, tensor->name, tensor->paged->page, tensor->paged->table,
                                lengths);
  } else {
    value = ir::InputOp::create(builder_, loc, type, tensor->name);
  }
  arguments_[tensor->name] = value;
  return value;
}

Value Importer::parameter(const dsl::Scalar &param) {
  if (auto known = arguments_.find(param.name()); known != arguments_.end())
    return known->second;
  Location loc = NameLoc::get(builder_.getStringAttr(param.name()));
  Type type = codegen::mlirType(builder_.getContext(), param.dtype());
  Value value = ir::ParamOp::create(builder_, loc, type, param.name());
  arguments_[param.name()] = value;
  return value;
}

//===- Loads ------------------------------------------------------------------------------------------===//

/// Reads dimension `declared` of an input under the name, and up to the extent, of the dimension that indexes
/// it. Both are static where they differ: the DSL sees to it.
Value Importer::readAs(Value source, const dsl::Dim &declared, const dsl::Dim &index, const dsl::Expr &expr) {
  if (declared.is(index))
    return source;
  auto type = cast<ir::ArrayType>(source.getType());
  if (type.has(index.name()))
    fail(expr, fmt::format("no operation reads two dimensions by the one index '{}'", index.name()),
         "index each dimension by its own");
  SmallVector<StringAttr> names(type.getNames());
  SmallVector<int64_t> extents(type.getExtents());
  size_t position = *type.find(declared.name());
  names[position] = builder_.getStringAttr(index.name());
  extents[position] = index.extent();
  auto result = ir::ArrayType::get(builder_.getContext(), type.getElementType(), names, extents);
  return ir::SliceOp::create(builder_, location(expr), result, source, declared.name(), 0, index.extent(),
                             index.name());
}

Value Importer::readAt(Value source, const dsl::Dim &declared, int64_t index, const dsl::Expr &expr) {
  auto type = cast<ir::ArrayType>(source.getType());
  return ir::AtOp::create(builder_, location(expr), type.without(declared.name()), source, declared.name(),
                          index);
}

/// Whether an index is read from an input or a routing.
static bool dependsOnData(const dsl::Expr &expr) {
  return expr.as<dsl::LoadNode>() || expr.as<dsl::RoutedExpertNode>() ||
         llvm::any_of(expr.node().operands, dependsOnData);
}

/// Reads by an index that depends on data. Other dimensions have the names that index them already.
Value Importer::gather(Value source, const dsl::Dim &declared, const dsl::Expr &index,
                       const dsl::Expr &expr) {
  auto type = cast<ir::ArrayType>(source.getType());
  if (index.dtype() != Dtype::I32 || dsl::contains(index.freeDims(), declared))
    fail(expr,
         fmt::format("no operation gathers along '{}' by the index '{}'", declared.name(),
                     dsl::print(kernel_, index)),
         "index it by i32 data that does not depend on that dimension");
  Value ids = array(index);
  auto idsType = cast<ir::ArrayType>(ids.getType());
  SmallVector<StringAttr> names(idsType.getNames());
  SmallVector<int64_t> extents(idsType.getExtents());
  for (auto [name, extent] : llvm::zip(type.getNames(), type.getExtents())) {
    if (name == declared.name() || idsType.has(name))
      continue;
    names.push_back(name);
    extents.push_back(extent);
  }
  auto result = ir::ArrayType::get(builder_.getContext(), type.getElementType(), names, extents);
  return ir::GatherOp::create(builder_, location(expr), result, source, declared.name(), ids);
}

Value Importer::load(const dsl::Expr &expr) {
  auto *node = expr.as<dsl::LoadNode>();
  Value value = argument(node->tensor);
  std::vector<dsl::Dim> dims = node->tensor->indexedDims();
  SmallVector<size_t> gathered;
  for (auto [position, declared] : llvm::enumerate(dims)) {
    const dsl::Expr &index = node->operands[position];
    bool dense = !node->tensor->isPaged();
    if (auto *constant = index.as<dsl::ConstantNode>(); constant && dense)
      value = readAt(value, declared, constant->integer, expr);
    else if (const dsl::Dim *dim = node->dimAt(position))
      value = readAs(value, declared, *dim, expr);
    else if (dependsOnData(index) && dense)
      gathered.push_back(position);
    else
      fail(expr,
           fmt::format("no operation gathers along '{}' by the index '{}'", declared.name(),
                       dsl::print(kernel_, index)),
           "index each dimension by a dimension, a constant, or data");
  }
  for (size_t position : gathered)
    value = gather(value, dims[position], node->operands[position], expr);
  return value;
}

//===- Routings ---------------------------------------------------------------------------------------===//

Importer::Routed Importer::chosen(const dsl::RoutingTerm &term, Location loc) {
  const dsl::ChosenRouting &from = *term.chosen();
  Value scores = single(from.score, from.score.freeDims());
  Value bias = from.bias ? array(*from.bias) : Value();
  auto rows = cast<ir::ArrayType>(scores.getType()).without(term.experts.name());
  SmallVector<StringAttr> names(rows.getNames());
  SmallVector<int64_t> extents(rows.getExtents());
  names.push_back(builder_.getStringAttr(term.choice.name()));
  extents.push_back(term.choice.extent());
  auto typed = [&](Type element) {
    return ir::ArrayType::get(builder_.getContext(), element, names, extents);
  };
  auto op = ir::RouteOp::create(builder_, loc, typed(builder_.getI32Type()), typed(builder_.getF32Type()),
                                scores, term.experts.name(), term.choice.name(), bias, from.groups,
                                from.topGroups, from.groupScore == dsl::GroupScore::SumOfTwoBest,
                                from.renormalize, llvm::APFloat(from.scale));
  return {op.getIds(), op.getWeights()};
}

Importer::Routed Importer::given(const dsl::RoutingTerm &term, Location loc) {
  const dsl::GivenRouting &from = *term.given();
  Value ids = array(from.ids), weights = single(from.weights, from.ids.freeDims());
  Value first = from.first ? operand(*from.first) : Value();
  auto op = ir::GivenOp::create(builder_, loc, ids.getType(), weights.getType(), ids, weights,
                                term.experts.extent(), first);
  return {op.getLocalIds(), op.getLocalWeights()};
}

Importer::Routed Importer::routing(const dsl::RoutingTerm &term, const dsl::Expr &expr) {
  if (auto known = routings_.find(&term); known != routings_.end())
    return known->second;
  Location loc = NameLoc::get(builder_.getStringAttr(dsl::print(expr))); // Itself and not by its name.
  Routed routed = term.chosen() ? chosen(term, loc) : given(term, loc);
  routings_[&term] = routed;
  return routed;
}
