//===- Import.cpp - dsl::Kernel to the lathe dialect -------------------------------------------------===//
//
// Walks the outputs from above; every expression becomes one value, found again by its text. The location of
// an operation is the text of its expression, so that later stages can name it in their errors.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Frontend/Import.h"

#include "lathe/codegen/Frontend/ElementRegion.h"
#include "lathe/codegen/IR/LatheDialect.h"
#include "lathe/dsl/Print.h"
#include "lathe/support/Error.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"

#include <fmt/format.h>

using namespace mlir;
using namespace lathe;

namespace {
class Importer {
public:
  Importer(const dsl::Kernel &kernel, MLIRContext &context) : kernel_(kernel), builder_(&context) {}
  OwningOpRef<ModuleOp> run();

private:
  Value argument(const dsl::TensorRef &tensor);
  Value parameter(const dsl::Scalar &param);
  Value operand(const dsl::Expr &expr);
  Value array(const dsl::Expr &expr);
  Value build(const dsl::Expr &expr);
  Value load(const dsl::Expr &expr);
  Value readAs(Value source, const dsl::Dim &declared, const dsl::Dim &index, const dsl::Expr &expr);
  Value sum(const dsl::Expr &expr);
  Value map(const dsl::Expr &expr, Dtype dtype, const std::vector<dsl::Dim> &dims);
  ir::SoftmaxOp softmax(const dsl::SoftmaxTerm &term, const dsl::Expr &expr);
  void output(const dsl::Output &output);

  ir::ArrayType arrayType(Dtype dtype, const std::vector<dsl::Dim> &dims);
  Location location(const dsl::Expr &expr);
  [[noreturn]] void fail(const dsl::Expr &expr, std::string rule, std::string wayOut);

  const dsl::Kernel &kernel_;
  OpBuilder builder_;
  llvm::StringMap<Value> arguments_; ///< Inputs and parameters by name.
  llvm::StringMap<Value> arrays_;    ///< Expressions by key.
  llvm::DenseMap<const dsl::SoftmaxTerm *, ir::SoftmaxOp> softmaxes_;
};
} // namespace

void Importer::fail(const dsl::Expr &expr, std::string rule, std::string wayOut) {
  throw UserError(Fault{fmt::format("kernel {}", kernel_.name()), std::move(rule),
                        fmt::format("'{}'", dsl::print(expr)), std::move(wayOut)});
}

Location Importer::location(const dsl::Expr &expr) {
  return NameLoc::get(builder_.getStringAttr(dsl::print(expr)));
}

ir::ArrayType Importer::arrayType(Dtype dtype, const std::vector<dsl::Dim> &dims) {
  SmallVector<StringAttr> names;
  SmallVector<int64_t> extents;
  for (const dsl::Dim &dim : dims) {
    names.push_back(builder_.getStringAttr(dim.name()));
    extents.push_back(dim.isDynamic() ? ir::ArrayType::dynamic : dim.extent());
  }
  return ir::ArrayType::get(builder_.getContext(), codegen::mlirType(builder_.getContext(), dtype), names,
                            extents);
}

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

//===- Expressions ------------------------------------------------------------------------------------===//

Value Importer::operand(const dsl::Expr &expr) {
  if (auto *param = expr.as<dsl::ParamNode>())
    return parameter(*param->param);
  return array(expr);
}

Value Importer::array(const dsl::Expr &expr) {
  std::string key = codegen::expressionKey(expr);
  if (auto known = arrays_.find(key); known != arrays_.end())
    return known->second;
  Value value = build(expr);
  arrays_[key] = value;
  return value;
}

Value Importer::build(const dsl::Expr &expr) {
  switch (expr.node().kind) {
  case dsl::NodeKind::Load:
    return load(expr);
  case dsl::NodeKind::Sum:
    if (dsl::Expr hoisted = codegen::hoistFactors(expr); !hoisted.is(expr))
      return array(hoisted);
    return sum(expr);
  case dsl::NodeKind::SoftmaxProb:
    return softmax(*expr.as<dsl::SoftmaxProbNode>()->softmax, expr).getProbabilities();
  case dsl::NodeKind::LogSumExp:
    return softmax(*expr.as<dsl::LogSumExpNode>()->softmax, expr).getLogSumExp();
  default:
    return map(expr, expr.dtype(), expr.freeDims());
  }
}

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

Value Importer::load(const dsl::Expr &expr) {
  auto *node = expr.as<dsl::LoadNode>();
  Value value = argument(node->tensor);
  for (auto [position, declared] : llvm::enumerate(node->tensor->indexedDims())) {
    const dsl::Dim *index = node->dimAt(position);
    if (!index)
      fail(expr,
           fmt::format("no operation gathers along '{}' by the index '{}'", declared.name(),
                       dsl::print(node->operands[position])),
           "index each dimension by a dimension");
    value = readAs(value, declared, *index, expr);
  }
  return value;
}

static bool dependsOnAll(const dsl::Expr &expr, const std::vector<dsl::Dim> &dims) {
  return llvm::all_of(dims, [&](const dsl::Dim &dim) { return dsl::contains(expr.freeDims(), dim); });
}

Value Importer::sum(const dsl::Expr &expr) {
  auto *node = expr.as<dsl::SumNode>();
  const dsl::Expr &body = node->operands.front();
  if (expr.dtype() != Dtype::F32)
    fail(expr, fmt::format("sums are accumulated in f32, not in {}", name(expr.dtype())),
         "sum a bf16, f16 or f32 expression; toFloat() converts an integer one");
  SmallVector<StringRef> over;
  for (const dsl::Dim &dim : node->dims)
    over.push_back(dim.name());
  Type type = arrayType(Dtype::F32, expr.freeDims());
  SmallVector<dsl::Expr> factors = codegen::factorsOf(body);
  if (factors.size() == 2 && llvm::all_of(factors, [&](const dsl::Expr &factor) {
        return dependsOnAll(factor, node->dims) && dsl::isFloat(factor.dtype());
      })) {
    Value lhs = array(factors[0]), rhs = array(factors[1]);
    return ir::ContractOp::create(builder_, location(expr), type, lhs, rhs, builder_.getStrArrayAttr(over));
  }
  return ir::SumOp::create(builder_, location(expr), type, array(body), builder_.getStrArrayAttr(over));
}

Value Importer::map(const dsl::Expr &expr, Dtype dtype, const std::vector<dsl::Dim> &dims) {
  codegen::ElementRegion region(expr);
  SmallVector<Value> inputs;
  for (const dsl::Expr &leaf : region.leaves())
    inputs.push_back(operand(leaf));
  auto map = ir::MapOp::create(builder_, location(expr), arrayType(dtype, dims), inputs);
  region.emit(builder_, map.getLoc(), map.getBody(), dtype);
  return map.getResult();
}

ir::SoftmaxOp Importer::softmax(const dsl::SoftmaxTerm &term, const dsl::Expr &expr) {
  if (auto known = softmaxes_.find(&term); known != softmaxes_.end())
    return known->second;
  if (term.score.dtype() == Dtype::F64)
    fail(expr, "softmax is computed in f32, not in f64", "use f32 parameters and inputs in the score");
  bool direct = term.score.dtype() == Dtype::F32 && term.score.freeDims().size() == term.freeDims.size();
  Value scores = direct ? array(term.score) : map(term.score, Dtype::F32, term.freeDims);
  auto type = cast<ir::ArrayType>(scores.getType());

  SmallVector<Value> inputs;
  std::optional<codegen::ElementRegion> mask;
  if (term.mask) {
    mask.emplace(*term.mask);
    for (const dsl::Expr &leaf : mask->leaves())
      inputs.push_back(operand(leaf));
  }
  auto op = ir::SoftmaxOp::create(builder_, location(expr), type, type.without(term.axis.name()), scores,
                                  term.axis.name(), inputs);
  if (mask)
    mask->emit(builder_, location(*term.mask), op.getMask(), Dtype::Bool);
  softmaxes_[&term] = op;
  return op;
}

void Importer::output(const dsl::Output &output) {
  SmallVector<StringRef> dims;
  for (const dsl::Dim &dim : output.dims)
    dims.push_back(dim.name());
  Value value = array(output.value);
  ir::OutputOp::create(builder_, location(output.value), output.name, value,
                       codegen::mlirType(builder_.getContext(), output.dtype),
                       builder_.getStrArrayAttr(dims));
}

OwningOpRef<ModuleOp> Importer::run() {
  Location loc = NameLoc::get(builder_.getStringAttr(kernel_.name()));
  OwningOpRef<ModuleOp> module(ModuleOp::create(loc));
  builder_.setInsertionPointToStart(module->getBody());
  auto kernel = ir::KernelOp::create(builder_, loc, kernel_.name());
  builder_.createBlock(&kernel.getBody());
  for (const dsl::TensorRef &tensor : kernel_.inputs())
    argument(tensor);
  for (const dsl::Scalar &param : kernel_.params())
    parameter(param);
  for (const dsl::Output &each : kernel_.outputs())
    output(each);
  return module;
}

OwningOpRef<ModuleOp> codegen::importKernel(const dsl::Kernel &kernel, MLIRContext &context) {
  OwningOpRef<ModuleOp> module = Importer(kernel, context).run();
  std::string text;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) { text += diagnostic.str() + " "; });
  if (failed(verify(*module)))
    throw CompileError(Fault{fmt::format("kernel {}", kernel.name()),
                             "the import broke a rule of the lathe dialect", text,
                             "please report the description"});
  return module;
}
