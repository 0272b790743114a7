//===- ElementRegion.cpp - Element-wise expressions as regions ---------------------------------------===//
//
// One function a kind of node. Arithmetic follows the types that the DSL gave: narrow floats are widened
// before they are computed with, integers are signed, integer division rounds down.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Frontend/ElementRegion.h"

#include "lathe/codegen/IR/LatheDialect.h"
#include "lathe/dsl/Print.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <fmt/format.h>

#include <numbers>

using namespace mlir;
using namespace lathe;
using namespace lathe::codegen;

Type codegen::mlirType(MLIRContext *context, Dtype type) {
  Builder builder(context);
  switch (type) {
  case Dtype::BF16:
    return builder.getBF16Type();
  case Dtype::F16:
    return builder.getF16Type();
  case Dtype::F32:
    return builder.getF32Type();
  case Dtype::F64:
    return builder.getF64Type();
  case Dtype::I32:
    return builder.getI32Type();
  case Dtype::I64:
    return builder.getI64Type();
  case Dtype::Bool:
    return builder.getI1Type();
  }
  llvm_unreachable("all element types are covered");
}

std::string codegen::expressionKey(const dsl::Expr &expr) {
  return fmt::format("{} {}", name(expr.dtype()), dsl::print(expr));
}

SmallVector<dsl::Expr> codegen::factorsOf(const dsl::Expr &expr) {
  auto *product = expr.as<dsl::BinaryNode>();
  if (!product || product->op != dsl::BinaryOp::Mul)
    return {expr};
  SmallVector<dsl::Expr> factors;
  for (const dsl::Expr &side : product->operands)
    factors.append(factorsOf(side));
  return factors;
}

static bool dependsOn(const dsl::Expr &expr, const std::vector<dsl::Dim> &dims) {
  return llvm::any_of(dims, [&](const dsl::Dim &dim) { return dsl::contains(expr.freeDims(), dim); });
}

dsl::Expr codegen::productOf(ArrayRef<dsl::Expr> factors) {
  dsl::Expr result = factors.front();
  for (const dsl::Expr &factor : factors.drop_front())
    result = result * factor;
  return result;
}

dsl::Expr codegen::hoistFactors(const dsl::Expr &expr) {
  auto *node = expr.as<dsl::SumNode>();
  SmallVector<dsl::Expr> inside, outside;
  for (const dsl::Expr &factor : factorsOf(node->operands.front()))
    (dependsOn(factor, node->dims) ? inside : outside).push_back(factor);
  if (outside.empty() || inside.empty())
    return expr;
  outside.insert(outside.begin(), dsl::sum(node->dims, productOf(inside)));
  return productOf(outside);
}

static bool isLeaf(const dsl::Expr &expr) {
  switch (expr.node().kind) {
  case dsl::NodeKind::Load:
  case dsl::NodeKind::Param:
  case dsl::NodeKind::Sum:
  case dsl::NodeKind::SoftmaxProb:
  case dsl::NodeKind::LogSumExp:
  case dsl::NodeKind::RoutedExpert:
  case dsl::NodeKind::RoutedWeight:
    return true;
  default:
    return false;
  }
}

/// A sum that has factors to give away counts as their product.
static dsl::Expr hoistIfSum(const dsl::Expr &expr) {
  return expr.as<dsl::SumNode>() ? hoistFactors(expr) : expr;
}

ElementRegion::ElementRegion(const dsl::Expr &expr) : expr_(expr) { collect(expr); }

void ElementRegion::collect(const dsl::Expr &original) {
  dsl::Expr expr = hoistIfSum(original);
  if (isLeaf(expr)) {
    if (positions_.try_emplace(expressionKey(expr), leaves_.size()).second)
      leaves_.push_back(expr);
    return;
  }
  for (const dsl::Expr &child : expr.node().operands)
    collect(child);
}

void ElementRegion::emit(OpBuilder builder, Location loc, Region &region, Dtype result) {
  OpBuilder::InsertionGuard guard(builder);
  Block *block = builder.createBlock(&region);
  values_.clear();
  for (const dsl::Expr &leaf : leaves_)
    values_[expressionKey(leaf)] = block->addArgument(mlirType(builder.getContext(), leaf.dtype()), loc);
  builder_ = &builder;
  loc_ = loc;
  ir::YieldOp::create(builder, loc, convert(value(expr_), expr_.dtype(), result));
}

Value ElementRegion::value(const dsl::Expr &original) {
  dsl::Expr expr = hoistIfSum(original);
  std::string key = expressionKey(expr);
  if (auto known = values_.find(key); known != values_.end())
    return known->second;
  Value result = compute(expr);
  values_[key] = result;
  return result;
}

Value ElementRegion::compute(const dsl::Expr &expr) {
  switch (expr.node().kind) {
  case dsl::NodeKind::Constant: {
    auto *node = expr.as<dsl::ConstantNode>();
    return constant(node->dtype, node->real, node->integer);
  }
  case dsl::NodeKind::Index:
    return ir::IndexOp::create(*builder_, *loc_, builder_->getI32Type(),
                               expr.as<dsl::IndexNode>()->dim().name());
  case dsl::NodeKind::Binary:
    return binary(expr);
  case dsl::NodeKind::Unary:
    return unary(expr);
  case dsl::NodeKind::Compare:
    return compare(expr);
  case dsl::NodeKind::Logical:
    return logical(expr);
  case dsl::NodeKind::Select:
    return arith::SelectOp::create(*builder_, *loc_, operand(expr, 0, Dtype::Bool),
                                   operand(expr, 1, expr.dtype()), operand(expr, 2, expr.dtype()));
  default:
    llvm_unreachable("leaves have region arguments");
  }
}

Value ElementRegion::operand(const dsl::Expr &expr, size_t number, Dtype type) {
  const dsl::Expr &child = expr.node().operands[number];
  return convert(value(child), child.dtype(), type);
}

Value ElementRegion::constant(Dtype dtype, double real, int64_t integer) {
  Type type = mlirType(builder_->getContext(), dtype);
  TypedAttr attribute = dsl::isFloat(dtype) ? TypedAttr(builder_->getFloatAttr(type, real))
                                            : builder_->getIntegerAttr(type, integer);
  return arith::ConstantOp::create(*builder_, *loc_, attribute);
}

Value ElementRegion::convert(Value value, Dtype from, Dtype to) {
  if (from == to)
    return value;
  Type type = mlirType(builder_->getContext(), to);
  if (dsl::isFloat(from) && dsl::isFloat(to))
    return byteSize(from) < byteSize(to) ? arith::ExtFOp::create(*builder_, *loc_, type, value).getResult()
                                         : arith::TruncFOp::create(*builder_, *loc_, type, value).getResult();
  if (dsl::isFloat(to))
    return arith::SIToFPOp::create(*builder_, *loc_, type, value);
  return arith::ExtSIOp::create(*builder_, *loc_, type, value);
}

Value ElementRegion::binary(const dsl::Expr &expr) {
  Value a = operand(expr, 0, expr.dtype()), b = operand(expr, 1, expr.dtype());
  bool real = dsl::isFloat(expr.dtype());
  auto choose = [&]<typename Real, typename Integer>() -> Value {
    return real ? Real::create(*builder_, *loc_, a, b).getResult()
                : Integer::create(*builder_, *loc_, a, b).getResult();
  };
  switch (expr.as<dsl::BinaryNode>()->op) {
  case dsl::BinaryOp::Add:
    return choose.operator()<arith::AddFOp, arith::AddIOp>();
  case dsl::BinaryOp::Sub:
    return choose.operator()<arith::SubFOp, arith::SubIOp>();
  case dsl::BinaryOp::Mul:
    return choose.operator()<arith::MulFOp, arith::MulIOp>();
  case dsl::BinaryOp::Div:
    return choose.operator()<arith::DivFOp, arith::FloorDivSIOp>();
  case dsl::BinaryOp::Max:
    return choose.operator()<arith::MaximumFOp, arith::MaxSIOp>();
  case dsl::BinaryOp::Min:
    return choose.operator()<arith::MinimumFOp, arith::MinSIOp>();
  }
  llvm_unreachable("all binary operations are covered");
}

Value ElementRegion::sigmoid(Value x, Dtype type) {
  Value one = constant(type, 1.0, 1);
  Value decay = math::ExpOp::create(*builder_, *loc_, arith::NegFOp::create(*builder_, *loc_, x).getResult());
  return arith::DivFOp::create(*builder_, *loc_, one, arith::AddFOp::create(*builder_, *loc_, one, decay));
}

/// x / 2 * (1 + erf(x / sqrt(2))).
Value ElementRegion::gelu(Value x, Dtype type) {
  Value scaled = arith::MulFOp::create(*builder_, *loc_, x, constant(type, std::numbers::sqrt2 / 2, 0));
  Value both = arith::AddFOp::create(*builder_, *loc_, constant(type, 1.0, 1),
                                     math::ErfOp::create(*builder_, *loc_, scaled).getResult());
  Value half = arith::MulFOp::create(*builder_, *loc_, x, constant(type, 0.5, 0));
  return arith::MulFOp::create(*builder_, *loc_, half, both);
}

Value ElementRegion::unary(const dsl::Expr &expr) {
  Dtype type = expr.dtype();
  Value x = operand(expr, 0, type);
  switch (expr.as<dsl::UnaryNode>()->op) {
  case dsl::UnaryOp::Neg:
    return dsl::isFloat(type) ? arith::NegFOp::create(*builder_, *loc_, x).getResult()
                              : arith::SubIOp::create(*builder_, *loc_, constant(type, 0, 0), x).getResult();
  case dsl::UnaryOp::Exp:
    return math::ExpOp::create(*builder_, *loc_, x);
  case dsl::UnaryOp::Log:
    return math::LogOp::create(*builder_, *loc_, x);
  case dsl::UnaryOp::Tanh:
    return math::TanhOp::create(*builder_, *loc_, x);
  case dsl::UnaryOp::Sigmoid:
    return sigmoid(x, type);
  case dsl::UnaryOp::Silu:
    return arith::MulFOp::create(*builder_, *loc_, x, sigmoid(x, type));
  case dsl::UnaryOp::Gelu:
    return gelu(x, type);
  case dsl::UnaryOp::ToFloat:
    return x; // operand() converted it.
  }
  llvm_unreachable("all unary operations are covered");
}

/// The type in which two sides of a comparison meet.
static Dtype commonType(Dtype a, Dtype b) {
  if (a == Dtype::F64 || b == Dtype::F64)
    return Dtype::F64;
  if (dsl::isFloat(a) || dsl::isFloat(b))
    return Dtype::F32;
  return a == Dtype::I64 || b == Dtype::I64 ? Dtype::I64 : Dtype::I32;
}

Value ElementRegion::compare(const dsl::Expr &expr) {
  using Int = arith::CmpIPredicate;
  using Real = arith::CmpFPredicate;
  static constexpr std::pair<Int, Real> predicates[] = {
      {Int::slt, Real::OLT}, {Int::sle, Real::OLE}, {Int::sgt, Real::OGT},
      {Int::sge, Real::OGE}, {Int::eq, Real::OEQ},  {Int::ne, Real::UNE},
  };
  auto *node = expr.as<dsl::CompareNode>();
  Dtype type = commonType(node->operands[0].dtype(), node->operands[1].dtype());
  auto [integer, real] = predicates[static_cast<size_t>(node->op)];
  Value a = operand(expr, 0, type), b = operand(expr, 1, type);
  if (dsl::isFloat(type))
    return arith::CmpFOp::create(*builder_, *loc_, real, a, b);
  return arith::CmpIOp::create(*builder_, *loc_, integer, a, b);
}

Value ElementRegion::logical(const dsl::Expr &expr) {
  Value a = operand(expr, 0, Dtype::Bool);
  switch (expr.as<dsl::LogicalNode>()->op) {
  case dsl::LogicalOp::And:
    return arith::AndIOp::create(*builder_, *loc_, a, operand(expr, 1, Dtype::Bool));
  case dsl::LogicalOp::Or:
    return arith::OrIOp::create(*builder_, *loc_, a, operand(expr, 1, Dtype::Bool));
  case dsl::LogicalOp::Not:
    return arith::XOrIOp::create(*builder_, *loc_, a, constant(Dtype::Bool, 0, 1));
  }
  llvm_unreachable("all logical operations are covered");
}
