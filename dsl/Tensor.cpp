//===- Tensor.cpp - Dimensions, inputs and indexing ---------------------------------------------------===//
//
// Declares dimensions, dense and paged inputs and parameters, and checks each index of an element against the
// dimension it goes into. The range of an index is interval arithmetic over dimensions and constants.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/dsl/Build.h"

#include "lathe/dsl/Print.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

using namespace lathe;
using namespace lathe::dsl;

void dsl::checkIdentifier(const char *what, const std::string &name) {
  auto isWord = [](unsigned char c) { return std::isalnum(c) || c == '_'; };
  bool legal = !name.empty() && std::all_of(name.begin(), name.end(), isWord) &&
               !std::isdigit(static_cast<unsigned char>(name[0]));
  if (!legal)
    throw UserError({"", fmt::format("{} name must be an identifier of letters, digits and _", what),
                     fmt::format("'{}'", name), ""});
}

//===- Dimensions -------------------------------------------------------------------------------------===//

Dim::Dim(std::string name) : info_(std::make_shared<Info>(Info{std::move(name), 0})) {
  checkIdentifier("dimension", info_->name);
}

Dim::Dim(std::string name, int64_t extent) : info_(std::make_shared<Info>(Info{std::move(name), extent})) {
  checkIdentifier("dimension", info_->name);
  if (extent <= 0)
    throw UserError({"", fmt::format("dimension '{}' needs a positive extent", info_->name),
                     std::to_string(extent), "leave the extent out if it is known only at run time"});
}

bool dsl::contains(const std::vector<Dim> &dims, const Dim &dim) {
  return std::any_of(dims.begin(), dims.end(), [&](const Dim &other) { return other.is(dim); });
}

std::vector<Dim> dsl::mergedDims(const std::vector<Expr> &exprs) {
  std::vector<Dim> merged;
  for (const Expr &expr : exprs)
    for (const Dim &dim : expr.freeDims())
      if (!contains(merged, dim))
        merged.push_back(dim);
  return merged;
}

std::vector<Dim> dsl::without(const std::vector<Dim> &dims, const std::vector<Dim> &gone) {
  std::vector<Dim> rest;
  std::copy_if(dims.begin(), dims.end(), std::back_inserter(rest),
               [&](const Dim &dim) { return !contains(gone, dim); });
  return rest;
}

//===- Declarations -----------------------------------------------------------------------------------===//

static void checkDeclaration(const std::string &name, Dtype dtype, const std::vector<Dim> &dims) {
  checkIdentifier("input", name);
  if (dtype == Dtype::Bool)
    throw UserError(
        {"", fmt::format("input '{}' cannot be of type bool", name), "", "use i32 and compare with 0"});
  if (dims.empty())
    throw UserError(
        {"", fmt::format("input '{}' needs at least one dimension", name), "", "use param() for a scalar"});
  for (size_t i = 0; i < dims.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (dims[i].is(dims[j]))
        throw UserError({"", fmt::format("input '{}' has dimension '{}' twice", name, dims[i].name()), "",
                         "give the second one a dimension of its own"});
}

Tensor dsl::input(std::string name, Dtype dtype, std::vector<Dim> dims) {
  checkDeclaration(name, dtype, dims);
  return Tensor(std::make_shared<TensorInfo>(TensorInfo{std::move(name), dtype, std::move(dims), nullptr}));
}

static void checkLayout(const std::string &name, const std::vector<Dim> &dims, const PagedLayout &layout) {
  auto fail = [&](std::string rule, std::string value, std::string wayOut) {
    throw UserError(
        {"", fmt::format("paged input '{}' {}", name, rule), std::move(value), std::move(wayOut)});
  };
  if (layout.page <= 0)
    fail("needs a positive page size in tokens", std::to_string(layout.page), "");
  checkIdentifier("page table", layout.table);
  if (!dims.front().isDynamic())
    fail("is paged over its first dimension, which must be dynamic",
         fmt::format("'{}' ({})", dims.front().name(), dims.front().extent()), "leave its extent out");
  for (size_t i = 1; i < dims.size(); ++i)
    if (dims[i].isDynamic())
      fail("needs known extents after its first dimension", fmt::format("dynamic '{}'", dims[i].name()), "");
  const TensorInfo &length = *layout.length.info();
  if (length.dtype != Dtype::I32 || length.dims.size() != 1 || !length.dims[0].isDynamic())
    fail("needs lengths of type i32 over one dynamic dimension",
         fmt::format("{} '{}' with {} dimension(s)", lathe::name(length.dtype), length.name,
                     length.dims.size()),
         "declare input(\"lengths\", i32, {b})");
  if (contains(dims, length.dims[0]))
    fail(fmt::format("must not have the batch dimension '{}' of its lengths", length.dims[0].name()), "",
         "pages are found by the table; the batch is the first index of an element");
}

Paged dsl::paged(std::string name, Dtype dtype, std::vector<Dim> dims, PagedLayout layout) {
  checkDeclaration(name, dtype, dims);
  checkLayout(name, dims, layout);
  auto shared = std::make_shared<PagedLayout>(std::move(layout));
  return Paged(
      std::make_shared<TensorInfo>(TensorInfo{std::move(name), dtype, std::move(dims), std::move(shared)}));
}

Scalar::Scalar(std::string name, Dtype dtype) : info_(std::make_shared<Info>(Info{std::move(name), dtype})) {
  checkIdentifier("parameter", info_->name);
  if (dtype != Dtype::F32 && dtype != Dtype::F64 && !isInteger(dtype))
    throw UserError({"", fmt::format("parameter '{}' must be f32, f64, i32 or i64", info_->name),
                     std::string(lathe::name(dtype)), ""});
}

Scalar dsl::param(std::string name, Dtype dtype) { return Scalar(std::move(name), dtype); }

std::vector<Dim> TensorInfo::indexedDims() const {
  std::vector<Dim> indexed;
  if (paged)
    indexed.push_back(paged->length.info()->dims[0]);
  indexed.insert(indexed.end(), dims.begin(), dims.end());
  return indexed;
}

//===- Range of an index ------------------------------------------------------------------------------===//

namespace {
/// Bounds of an index expression, inclusive. Not `known` when it depends on data or a dynamic dimension; the
/// experts of a routing are known.
struct Range {
  bool known = false;
  int64_t low = 0, high = 0;
};
} // namespace

static Range rangeOf(const Expr &expr);

static int64_t floorDivide(int64_t a, int64_t b) { return a / b - (a % b != 0 && a < 0); }

static Range rangeOfBinary(const BinaryNode &node) {
  Range a = rangeOf(node.operands[0]), b = rangeOf(node.operands[1]);
  if (!a.known || !b.known)
    return {};
  auto [low, high] = std::minmax({a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high});
  switch (node.op) {
  case BinaryOp::Add:
    return {true, a.low + b.low, a.high + b.high};
  case BinaryOp::Sub:
    return {true, a.low - b.high, a.high - b.low};
  case BinaryOp::Mul:
    return {true, low, high};
  case BinaryOp::Div:
    return {true, floorDivide(a.low, b.low), floorDivide(a.high, b.low)};
  case BinaryOp::Max:
    return {true, std::max(a.low, b.low), std::max(a.high, b.high)};
  case BinaryOp::Min:
    return {true, std::min(a.low, b.low), std::min(a.high, b.high)};
  }
  return {};
}

static Range rangeOf(const Expr &expr) {
  if (auto *constant = expr.as<ConstantNode>())
    return {true, constant->integer, constant->integer};
  if (auto *index = expr.as<IndexNode>())
    return {!index->dim().isDynamic(), 0, index->dim().extent() - 1};
  if (auto *expert = expr.as<RoutedExpertNode>())
    return {true, 0, expert->routing->experts.extent() - 1};
  if (auto *binary = expr.as<BinaryNode>())
    return rangeOfBinary(*binary);
  return {};
}

/// Whether the expression reads an input or a parameter: then its range is the caller's promise. A routing
/// reads both, but gives experts of its own.
static bool dependsOnData(const Expr &expr) {
  if (expr.as<LoadNode>() || expr.as<ParamNode>())
    return true;
  if (expr.as<RoutedExpertNode>())
    return false;
  const auto &operands = expr.node().operands;
  return std::any_of(operands.begin(), operands.end(), dependsOnData);
}

//===- Elements ---------------------------------------------------------------------------------------===//

const Dim *LoadNode::dimAt(size_t i) const {
  auto *index = operands.at(i).as<IndexNode>();
  return index ? &index->dim() : nullptr;
}

/// A dynamic dimension is indexed by itself or through data; a static one by anything within its extent.
static void checkIndex(const std::string &element, size_t position, const Expr &index, const Dim &dim) {
  std::string place = fmt::format("index {} of {}", position + 1, element);
  if (!isInteger(index.dtype()))
    throw UserError({"", fmt::format("{} must be an integer", place),
                     fmt::format("{} of type {}", print(index), lathe::name(index.dtype())), ""});
  if (dependsOnData(index))
    return;
  auto *bare = index.as<IndexNode>();
  if (dim.isDynamic()) {
    if (!bare || !bare->dim().is(dim))
      throw UserError(
          {"",
           fmt::format("{} goes into the dynamic dimension '{}', which takes that dimension itself "
                       "or an index read from an input",
                       place, dim.name()),
           print(index), ""});
    return;
  }
  Range range = rangeOf(index);
  std::string rule = fmt::format("{} must stay within dimension '{}' ({})", place, dim.name(), dim.extent());
  if (!range.known)
    throw UserError({"", rule, fmt::format("{}, whose range is not known", print(index)), ""});
  if (range.low < 0 || range.high >= dim.extent())
    throw UserError({"", rule, fmt::format("{} in {} to {}", print(index), range.low, range.high), ""});
}

Expr dsl::makeLoad(const TensorRef &tensor, const std::vector<Expr> &indices) {
  std::string element = print(*tensor, indices);
  std::vector<Dim> dims = tensor->indexedDims();
  if (indices.size() != dims.size()) {
    std::vector<std::string> names;
    for (const Dim &dim : dims)
      names.push_back(dim.name());
    throw UserError(
        {"",
         fmt::format("'{}' has {} dimensions ({}{})", tensor->name, dims.size(), fmt::join(names, ", "),
                     tensor->isPaged() ? "; a paged input is indexed with the batch first" : ""),
         fmt::format("{} indices in {}", indices.size(), element), ""});
  }
  for (size_t i = 0; i < indices.size(); ++i)
    checkIndex(element, i, indices[i], dims[i]);
  auto node = makeNode<LoadNode>(tensor->dtype, mergedDims(indices), indices);
  node->tensor = tensor;
  return Expr(node);
}

Expr Tensor::load(const std::vector<Expr> &indices) const { return makeLoad(info_, indices); }

Expr Paged::load(const std::vector<Expr> &indices) const { return makeLoad(info_, indices); }
