//===- Expr.cpp - Building element-wise expressions ---------------------------------------------------===//
//
// Operators, comparisons, functions and select: each checks the element types of its operands and makes a
// node. Inputs and indexing are in Tensor.cpp, contraction and softmax in Reduce.cpp, routing in Routing.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/dsl/Build.h"

#include "lathe/dsl/Print.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::dsl;

bool dsl::isFloat(Dtype type) {
  return type == Dtype::BF16 || type == Dtype::F16 || type == Dtype::F32 || type == Dtype::F64;
}

bool dsl::isInteger(Dtype type) { return type == Dtype::I32 || type == Dtype::I64; }

std::string_view dsl::spelling(BinaryOp op) {
  static constexpr std::string_view names[] = {"+", "-", "*", "/", "max", "min"};
  return names[static_cast<size_t>(op)];
}

std::string_view dsl::spelling(UnaryOp op) {
  static constexpr std::string_view names[] = {"-",       "exp",  "log",  "tanh",
                                               "sigmoid", "silu", "gelu", "toFloat"};
  return names[static_cast<size_t>(op)];
}

std::string_view dsl::spelling(CompareOp op) {
  static constexpr std::string_view names[] = {"<", "<=", ">", ">=", "==", "!="};
  return names[static_cast<size_t>(op)];
}

std::string_view dsl::spelling(LogicalOp op) {
  static constexpr std::string_view names[] = {"&&", "||", "!"};
  return names[static_cast<size_t>(op)];
}

std::string_view dsl::spelling(GroupScore score) {
  return score == GroupScore::Best ? "best" : "sumOfTwoBest";
}

//===- Leaves -----------------------------------------------------------------------------------------===//

static Expr makeConstant(Dtype dtype, int64_t integer, double real) {
  auto node = makeNode<ConstantNode>(dtype, {}, {});
  node->integer = integer;
  node->real = real;
  return Expr(node);
}

Expr Expr::integer(int64_t value) {
  bool fits = value >= INT32_MIN && value <= INT32_MAX;
  return makeConstant(fits ? Dtype::I32 : Dtype::I64, value, 0);
}

Expr Expr::real(double value) { return makeConstant(Dtype::F32, 0, value); }

Expr::Expr(const Dim &dim) : node_(makeNode<IndexNode>(Dtype::I32, {dim}, {})) {}

Expr::Expr(const Scalar &param) {
  auto node = makeNode<ParamNode>(param.dtype(), {}, {});
  node->param = param;
  node_ = node;
}

Dtype Expr::dtype() const { return node_->dtype; }

const std::vector<Dim> &Expr::freeDims() const { return node_->freeDims; }

//===- Element types ----------------------------------------------------------------------------------===//

/// An integer constant beside a float becomes a float constant; everything else stays.
static Expr besideFloat(const Expr &expr, const Expr &other) {
  auto *constant = expr.as<ConstantNode>();
  if (!constant || !isInteger(expr.dtype()) || !isFloat(other.dtype()))
    return expr;
  return makeConstant(Dtype::F32, 0, static_cast<double>(constant->integer));
}

/// The element type of arithmetic on two operands of one class.
static Dtype promoted(Dtype a, Dtype b) {
  if (isFloat(a))
    return a == Dtype::F64 || b == Dtype::F64 ? Dtype::F64 : Dtype::F32;
  return a == Dtype::I64 || b == Dtype::I64 ? Dtype::I64 : Dtype::I32;
}

/// Both must be numbers and of one class. `text` is the expression as it would read.
static void checkSameClass(const Expr &a, const Expr &b, const std::string &text) {
  for (const Expr *side : {&a, &b})
    if (side->dtype() == Dtype::Bool)
      throw UserError({"", fmt::format("'{}' needs numbers on both sides", text),
                       fmt::format("the condition {}", print(*side)), "use select(condition, a, b)"});
  if (isFloat(a.dtype()) != isFloat(b.dtype()))
    throw UserError({"", fmt::format("'{}' needs integers or floats on both sides", text),
                     fmt::format("{} and {}", lathe::name(a.dtype()), lathe::name(b.dtype())),
                     "convert the integer with toFloat()"});
}

static void checkBool(const Expr &expr, const std::string &where) {
  if (expr.dtype() != Dtype::Bool)
    throw UserError({"", fmt::format("{} needs a condition", where),
                     fmt::format("{} of type {}", print(expr), lathe::name(expr.dtype())),
                     "compare it, for example t < length(b)"});
}

//===- Binary -----------------------------------------------------------------------------------------===//

/// A dimension such as h / group must stay an affine index: only positive constants divide integers.
static void checkIntegerDivision(const Expr &divisor, const std::string &text) {
  auto *constant = divisor.as<ConstantNode>();
  if (!constant || constant->integer <= 0)
    throw UserError({"", fmt::format("'{}' divides integers, which needs a positive constant divisor", text),
                     print(divisor), "for a quotient of numbers convert both with toFloat()"});
}

Expr dsl::makeBinary(BinaryOp op, const Expr &left, const Expr &right) {
  Expr a = besideFloat(left, right), b = besideFloat(right, left);
  auto node = makeNode<BinaryNode>(Dtype::F32, mergedDims({a, b}), {a, b});
  node->op = op;
  Expr expr(node);
  checkSameClass(a, b, print(expr));
  if (op == BinaryOp::Div && isInteger(a.dtype()))
    checkIntegerDivision(b, print(expr));
  node->dtype = promoted(a.dtype(), b.dtype());
  return expr;
}

Expr dsl::operator+(const Expr &a, const Expr &b) { return makeBinary(BinaryOp::Add, a, b); }
Expr dsl::operator-(const Expr &a, const Expr &b) { return makeBinary(BinaryOp::Sub, a, b); }
Expr dsl::operator*(const Expr &a, const Expr &b) { return makeBinary(BinaryOp::Mul, a, b); }
Expr dsl::operator/(const Expr &a, const Expr &b) { return makeBinary(BinaryOp::Div, a, b); }
Expr dsl::max(const Expr &a, const Expr &b) { return makeBinary(BinaryOp::Max, a, b); }
Expr dsl::min(const Expr &a, const Expr &b) { return makeBinary(BinaryOp::Min, a, b); }

//===- Unary ------------------------------------------------------------------------------------------===//

static void checkUnaryOperand(UnaryOp op, const Expr &a) {
  bool legal = op == UnaryOp::Neg       ? a.dtype() != Dtype::Bool
               : op == UnaryOp::ToFloat ? isInteger(a.dtype())
                                        : isFloat(a.dtype());
  if (legal)
    return;
  std::string_view wanted = op == UnaryOp::Neg       ? "a number"
                            : op == UnaryOp::ToFloat ? "an integer"
                                                     : "a float";
  std::string wayOut = isInteger(a.dtype()) ? "convert it with toFloat()" : "";
  std::string what = op == UnaryOp::Neg ? "negation" : fmt::format("{}()", spelling(op));
  throw UserError({"", fmt::format("{} needs {}", what, wanted),
                   fmt::format("{} of type {}", print(a), lathe::name(a.dtype())), wayOut});
}

Expr dsl::makeUnary(UnaryOp op, const Expr &a) {
  checkUnaryOperand(op, a);
  Dtype dtype = isFloat(a.dtype()) || op == UnaryOp::Neg ? promoted(a.dtype(), a.dtype()) : Dtype::F32;
  auto node = makeNode<UnaryNode>(dtype, a.freeDims(), {a});
  node->op = op;
  return Expr(node);
}

Expr dsl::operator-(const Expr &a) { return makeUnary(UnaryOp::Neg, a); }
Expr dsl::exp(const Expr &a) { return makeUnary(UnaryOp::Exp, a); }
Expr dsl::log(const Expr &a) { return makeUnary(UnaryOp::Log, a); }
Expr dsl::tanh(const Expr &a) { return makeUnary(UnaryOp::Tanh, a); }
Expr dsl::sigmoid(const Expr &a) { return makeUnary(UnaryOp::Sigmoid, a); }
Expr dsl::silu(const Expr &a) { return makeUnary(UnaryOp::Silu, a); }
Expr dsl::gelu(const Expr &a) { return makeUnary(UnaryOp::Gelu, a); }
Expr dsl::toFloat(const Expr &a) { return makeUnary(UnaryOp::ToFloat, a); }

//===- Conditions -------------------------------------------------------------------------------------===//

Expr dsl::makeCompare(CompareOp op, const Expr &left, const Expr &right) {
  Expr a = besideFloat(left, right), b = besideFloat(right, left);
  auto node = makeNode<CompareNode>(Dtype::Bool, mergedDims({a, b}), {a, b});
  node->op = op;
  Expr expr(node);
  checkSameClass(a, b, print(expr));
  return expr;
}

Expr dsl::operator<(const Expr &a, const Expr &b) { return makeCompare(CompareOp::Lt, a, b); }
Expr dsl::operator<=(const Expr &a, const Expr &b) { return makeCompare(CompareOp::Le, a, b); }
Expr dsl::operator>(const Expr &a, const Expr &b) { return makeCompare(CompareOp::Gt, a, b); }
Expr dsl::operator>=(const Expr &a, const Expr &b) { return makeCompare(CompareOp::Ge, a, b); }
Expr dsl::operator==(const Expr &a, const Expr &b) { return makeCompare(CompareOp::Eq, a, b); }
Expr dsl::operator!=(const Expr &a, const Expr &b) { return makeCompare(CompareOp::Ne, a, b); }

Expr dsl::makeLogical(LogicalOp op, const std::vector<Expr> &operands) {
  for (const Expr &operand : operands)
    checkBool(operand, fmt::format("'{}'", spelling(op)));
  auto node = makeNode<LogicalNode>(Dtype::Bool, mergedDims(operands), operands);
  node->op = op;
  return Expr(node);
}

Expr dsl::operator&&(const Expr &a, const Expr &b) { return makeLogical(LogicalOp::And, {a, b}); }
Expr dsl::operator||(const Expr &a, const Expr &b) { return makeLogical(LogicalOp::Or, {a, b}); }
Expr dsl::operator!(const Expr &a) { return makeLogical(LogicalOp::Not, {a}); }

Expr dsl::select(const Expr &condition, const Expr &left, const Expr &right) {
  checkBool(condition, "select()");
  Expr a = besideFloat(left, right), b = besideFloat(right, left);
  auto node = makeNode<SelectNode>(Dtype::F32, mergedDims({condition, a, b}), {condition, a, b});
  Expr expr(node);
  checkSameClass(a, b, print(expr));
  node->dtype = promoted(a.dtype(), b.dtype());
  return expr;
}

Masked dsl::where(const Expr &condition, const Expr &score) {
  checkBool(condition, "where()");
  return {condition, score};
}

Masked dsl::where(const Expr &condition, const Masked &score) {
  return where(condition && score.condition, score.score);
}
