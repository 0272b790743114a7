//===- Import.cpp - dsl::Kernel to the lathe dialect -------------------------------------------------===//
//
// Walks the outputs from above; every expression becomes one value, found again by its text. The location of
// an operation is the text of its expression, so that later stages can name it in their errors.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Frontend/Import.h"

#include "lathe/codegen/Frontend/ElementRegion.h"
#include "lathe/codegen/Frontend/Importer.h"
#include "lathe/dsl/Print.h"
#include "lathe/support/Error.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"

#include <fmt/format.h>

using namespace mlir;
using namespace lathe;
using codegen::Importer;

void Importer::fail(const dsl::Expr &expr, std::string rule, std::string wayOut) {
  throw UserError(Fault{fmt::format("kernel {}", kernel_.name()), std::move(rule),
                        fmt::format("'{}'", dsl::print(kernel_, expr)), std::move(wayOut)});
}

Location Importer::location(const dsl::Expr &expr) {
  return NameLoc::get(builder_.getStringAttr(dsl::print(kernel_, expr)));
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

Value Importer::single(const dsl::Expr &expr, const std::vector<dsl::Dim> &dims) {
  bool direct = expr.dtype() == Dtype::F32 && expr.freeDims().size() == dims.size();
  return direct ? array(expr) : map(expr, Dtype::F32, dims);
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
  case dsl::NodeKind::RoutedExpert:
    return routing(*expr.as<dsl::RoutedExpertNode>()->routing, expr).ids;
  case dsl::NodeKind::RoutedWeight:
    return routing(*expr.as<dsl::RoutedWeightNode>()->routing, expr).weights;
  default:
    return map(expr, expr.dtype(), expr.freeDims());
  }
}

static bool dependsOnAll(const dsl::Expr &expr, const std::vector<dsl::Dim> &dims) {
  return llvm::all_of(dims, [&](const dsl::Dim &dim) { return dsl::contains(expr.freeDims(), dim); });
}

/// Whether one of the factors has a dimension that none of the others has.
static bool hasItsOwn(ArrayRef<dsl::Expr> factors, size_t which) {
  return llvm::any_of(factors[which].freeDims(), [&](const dsl::Dim &dim) {
    return llvm::count_if(factors, [&](auto &other) { return dsl::contains(other.freeDims(), dim); }) == 1;
  });
}

/// The two sides of a contraction over `dims`, empty where the product is none. Of several factors, the last
/// load that has a dimension of its own is one side, as it lies in memory; the product of the others is the
/// other one: `sum(f, w(c, f) * silu(a(n, f)) * b(n, f))` contracts w with an element-wise product.
static SmallVector<dsl::Expr> sidesOf(ArrayRef<dsl::Expr> factors, const std::vector<dsl::Dim> &dims) {
  SmallVector<dsl::Expr> sides(factors);
  for (size_t which = factors.size(); sides.size() > 2 && which-- > 0;) {
    if (!factors[which].as<dsl::LoadNode>() || !hasItsOwn(factors, which))
      continue;
    SmallVector<dsl::Expr> others(factors);
    others.erase(others.begin() + which);
    sides = {factors[which], codegen::productOf(others)};
  }
  bool fits = sides.size() == 2 && llvm::all_of(sides, [&](const dsl::Expr &side) {
                return dependsOnAll(side, dims) && dsl::isFloat(side.dtype());
              });
  return fits ? sides : SmallVector<dsl::Expr>();
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
  SmallVector<dsl::Expr> sides = sidesOf(codegen::factorsOf(body), node->dims);
  if (!sides.empty()) {
    Value lhs = array(sides[0]), rhs = array(sides[1]);
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
  Value scores = single(term.score, term.freeDims);
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
