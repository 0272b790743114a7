#include "lathe/dsl/Print.h"

#include "lathe/dsl/Node.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <map>

using namespace lathe;
using namespace lathe::dsl;

namespace {
/// How tightly an expression binds, from the loosest.
enum Precedence { Or = 1, And, Comparison, Additive, Multiplicative, Prefix, Atom };

/// Writes expressions. Softmaxes with a name are written by it, others in place.
class Printer {
public:
  std::string text(const Expr &expr, int atLeast = Or) const;
  std::string softmax(const char *function, const SoftmaxTerm &term) const;

  std::map<const SoftmaxTerm *, std::string> names;

private:
  std::string plain(const Expr &expr) const;
  std::string call(std::string_view function, const std::vector<Expr> &arguments) const;
  std::string infix(std::string_view op, int precedence, const Expr &expr) const;
  std::string reduction(const Expr &expr) const;
};
} // namespace

//===- Leaves -----------------------------------------------------------------------------------------===//

static std::string joinDims(const std::vector<Dim> &dims) {
  std::vector<std::string> names;
  for (const Dim &dim : dims)
    names.push_back(dim.name());
  return fmt::format("{}", fmt::join(names, ", "));
}

/// The shortest text that reads back as the same number; floats have a point or an exponent.
static std::string constantText(const ConstantNode &node) {
  if (isInteger(node.dtype))
    return std::to_string(node.integer);
  std::string text = fmt::format("{}", node.real);
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

//===- Expressions ------------------------------------------------------------------------------------===//

static int precedenceOf(const Expr &expr) {
  if (auto *binary = expr.as<BinaryNode>()) {
    if (binary->op == BinaryOp::Add || binary->op == BinaryOp::Sub)
      return Additive;
    return binary->op == BinaryOp::Mul || binary->op == BinaryOp::Div ? Multiplicative : Atom;
  }
  if (auto *unary = expr.as<UnaryNode>())
    return unary->op == UnaryOp::Neg ? Prefix : Atom;
  if (auto *logical = expr.as<LogicalNode>())
    return logical->op == LogicalOp::And ? And : logical->op == LogicalOp::Or ? Or : Prefix;
  if (expr.as<CompareNode>())
    return Comparison;
  auto *constant = expr.as<ConstantNode>();
  return constant && (constant->integer < 0 || constant->real < 0) ? Prefix : Atom;
}

std::string Printer::call(std::string_view function, const std::vector<Expr> &arguments) const {
  std::vector<std::string> texts;
  for (const Expr &argument : arguments)
    texts.push_back(text(argument));
  return fmt::format("{}({})", function, fmt::join(texts, ", "));
}

/// Chains group to the left, so only a right operand of the same precedence needs parentheses.
std::string Printer::infix(std::string_view op, int precedence, const Expr &expr) const {
  const auto &operands = expr.node().operands;
  int left = precedence == Comparison ? Additive : precedence;
  return fmt::format("{} {} {}", text(operands[0], left), op, text(operands[1], precedence + 1));
}

std::string Printer::softmax(const char *function, const SoftmaxTerm &term) const {
  std::string score = text(term.score);
  if (term.mask)
    score = fmt::format("where({}, {})", text(*term.mask), score);
  return fmt::format("{}({}, {})", function, term.axis.name(), score);
}

std::string Printer::reduction(const Expr &expr) const {
  if (auto *sum = expr.as<SumNode>()) {
    std::string dims = joinDims(sum->dims);
    if (sum->dims.size() > 1)
      dims = "{" + dims + "}";
    return fmt::format("sum({}, {})", dims, text(sum->operands[0]));
  }
  if (auto *prob = expr.as<SoftmaxProbNode>()) {
    auto named = names.find(prob->softmax.get());
    return named != names.end() ? fmt::format("{}({})", named->second, prob->softmax->axis.name())
                                : softmax("softmax", *prob->softmax);
  }
  auto *logSumExp = expr.as<LogSumExpNode>();
  auto named = names.find(logSumExp->softmax.get());
  return named != names.end() ? fmt::format("logSumExp({})", named->second)
                              : softmax("logSumExp", *logSumExp->softmax);
}

std::string Printer::plain(const Expr &expr) const {
  const auto &operands = expr.node().operands;
  switch (expr.node().kind) {
  case NodeKind::Load:
    return call(expr.as<LoadNode>()->tensor->name, operands);
  case NodeKind::Param:
    return expr.as<ParamNode>()->param->name();
  case NodeKind::Constant:
    return constantText(*expr.as<ConstantNode>());
  case NodeKind::Index:
    return expr.as<IndexNode>()->dim().name();
  case NodeKind::Binary:
    if (precedenceOf(expr) == Atom)
      return call(spelling(expr.as<BinaryNode>()->op), operands);
    return infix(spelling(expr.as<BinaryNode>()->op), precedenceOf(expr), expr);
  case NodeKind::Unary:
    if (precedenceOf(expr) == Prefix)
      return "-" + text(operands[0], Atom);
    return call(spelling(expr.as<UnaryNode>()->op), operands);
  case NodeKind::Compare:
    return infix(spelling(expr.as<CompareNode>()->op), Comparison, expr);
  case NodeKind::Logical:
    if (operands.size() == 1)
      return "!" + text(operands[0], Atom);
    return infix(spelling(expr.as<LogicalNode>()->op), precedenceOf(expr), expr);
  case NodeKind::Select:
    return call("select", operands);
  case NodeKind::Sum:
  case NodeKind::SoftmaxProb:
  case NodeKind::LogSumExp:
    return reduction(expr);
  }
  return "";
}

std::string Printer::text(const Expr &expr, int atLeast) const {
  std::string inner = plain(expr);
  return precedenceOf(expr) < atLeast ? "(" + inner + ")" : inner;
}

std::string dsl::print(const Expr &expr) { return Printer().text(expr); }

std::string dsl::print(const TensorInfo &tensor, const std::vector<Expr> &indices) {
  std::vector<std::string> texts;
  for (const Expr &index : indices)
    texts.push_back(print(index));
  return fmt::format("{}({})", tensor.name, fmt::join(texts, ", "));
}

//===- Kernels ----------------------------------------------------------------------------------------===//

static std::string declaration(const std::string &name, Dtype dtype, const std::vector<Dim> &dims) {
  return fmt::format("{} {}[{}]", name, lathe::name(dtype), joinDims(dims));
}

static std::string declaration(const TensorInfo &tensor) {
  std::string text = declaration(tensor.name, tensor.dtype, tensor.dims);
  if (tensor.paged)
    text += fmt::format(" paged {{page = {}, table = {}, length = {}}}", tensor.paged->page,
                        tensor.paged->table, tensor.paged->length.info()->name);
  return text;
}

static std::string headerOf(const Kernel &kernel) {
  std::vector<std::string> dims, inputs, params;
  for (const Dim &dim : kernel.dims())
    dims.push_back(dim.isDynamic() ? dim.name() : fmt::format("{} = {}", dim.name(), dim.extent()));
  for (const TensorRef &tensor : kernel.inputs())
    inputs.push_back(declaration(*tensor));
  for (const Scalar &param : kernel.params())
    params.push_back(fmt::format("{} {}", param.name(), lathe::name(param.dtype())));
  std::string text = fmt::format("kernel {}\n", kernel.name());
  if (!dims.empty())
    text += fmt::format("  dims    {}\n", fmt::join(dims, ", "));
  if (!inputs.empty())
    text += fmt::format("  inputs  {}\n", fmt::join(inputs, "\n          "));
  if (!params.empty())
    text += fmt::format("  params  {}\n", fmt::join(params, ", "));
  return text + "\n";
}

/// All softmaxes of a kernel, those that others need first.
static std::vector<const SoftmaxTerm *> softmaxesOf(const Kernel &kernel) {
  std::vector<const SoftmaxTerm *> terms;
  std::function<void(const Expr &)> walk = [&](const Expr &expr) {
    for (const Expr &operand : expr.node().operands)
      walk(operand);
    auto *prob = expr.as<SoftmaxProbNode>();
    auto *logSumExp = expr.as<LogSumExpNode>();
    if (!prob && !logSumExp)
      return;
    const SoftmaxTerm *term = prob ? prob->softmax.get() : logSumExp->softmax.get();
    if (std::find(terms.begin(), terms.end(), term) == terms.end())
      terms.push_back(term);
  };
  for (const Output &output : kernel.outputs())
    walk(output.value);
  return terms;
}

/// A name for the softmax that nothing else in the kernel has.
static std::string freshName(const Kernel &kernel, size_t number) {
  std::string name = fmt::format("p{}", number);
  auto isTaken = [&] {
    auto named = [&](const auto &thing) { return thing.name() == name; };
    return std::any_of(kernel.dims().begin(), kernel.dims().end(), named) ||
           std::any_of(kernel.params().begin(), kernel.params().end(), named) ||
           std::any_of(kernel.inputs().begin(), kernel.inputs().end(),
                       [&](auto &in) { return in->name == name; });
  };
  while (isTaken())
    name += "_";
  return name;
}

std::string dsl::print(const Kernel &kernel) {
  if (kernel.outputs().empty())
    throw UserError({fmt::format("kernel '{}'", kernel.name()), "needs at least one output", "", ""});
  std::string text = headerOf(kernel);
  Printer printer;
  for (const SoftmaxTerm *term : softmaxesOf(kernel)) {
    std::string name = freshName(kernel, printer.names.size() + 1);
    text += fmt::format("  {}({}) = {}\n", name, term->axis.name(), printer.softmax("softmax", *term));
    printer.names[term] = name;
  }
  for (const Output &output : kernel.outputs())
    text += fmt::format("  {} = {}\n", declaration(output.name, output.dtype, output.dims),
                        printer.text(output.value));
  return text;
}
