#include "lathe/dsl/Print.h"

#include "lathe/dsl/Node.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

using namespace lathe;
using namespace lathe::dsl;

namespace {
/// How tightly an expression binds, from the loosest.
enum Precedence { Or = 1, And, Comparison, Additive, Multiplicative, Prefix, Atom };

/// Writes expressions. Softmaxes and routings with a name are written by it, others in place.
class Printer {
public:
  std::string text(const Expr &expr, int atLeast = Or) const;
  std::string softmax(const char *function, const SoftmaxTerm &term) const;
  std::string routing(const RoutingTerm &term) const;

  std::map<const void *, std::string> names; ///< By SoftmaxTerm or RoutingTerm.

private:
  std::string plain(const Expr &expr) const;
  std::string call(std::string_view function, const std::vector<Expr> &arguments) const;
  std::string infix(std::string_view op, int precedence, const Expr &expr) const;
  std::string reduction(const Expr &expr) const;
  std::string choice(const char *what, const RoutingTerm &term) const;
};
} // namespace

//===- Leaves -----------------------------------------------------------------------------------------===//

static std::string joinDims(const std::vector<Dim> &dims) {
  std::vector<std::string> names;
  for (const Dim &dim : dims)
    names.push_back(dim.name());
  return fmt::format("{}", fmt::join(names, ", "));
}

/// The shortest text that reads back as the same number, with a point or an exponent.
static std::string realText(double value) {
  std::string text = fmt::format("{}", value);
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

static std::string constantText(const ConstantNode &node) {
  return isInteger(node.dtype) ? std::to_string(node.integer) : realText(node.real);
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

/// Options that differ from their defaults follow the operands.
std::string Printer::routing(const RoutingTerm &term) const {
  std::vector<std::string> parts{term.choice.name(), term.experts.name()};
  if (auto *given = term.given()) {
    parts.insert(parts.end(), {text(given->ids), text(given->weights)});
    if (given->first)
      parts.push_back("firstExpert = " + text(*given->first));
    return fmt::format("givenRouting({})", fmt::join(parts, ", "));
  }
  const ChosenRouting &chosen = *term.chosen();
  parts.push_back(text(chosen.score));
  if (chosen.bias)
    parts.push_back("bias = " + text(*chosen.bias));
  if (chosen.groups > 1)
    parts.push_back(fmt::format("groups = {}, topGroups = {}, groupScore = {}", chosen.groups,
                                chosen.topGroups, spelling(chosen.groupScore)));
  if (chosen.renormalize)
    parts.push_back("renormalize");
  if (chosen.scale != 1)
    parts.push_back("scale = " + realText(chosen.scale));
  return fmt::format("topK({})", fmt::join(parts, ", "));
}

std::string Printer::choice(const char *what, const RoutingTerm &term) const {
  auto named = names.find(&term);
  return fmt::format("{}.{}({})", named != names.end() ? named->second : routing(term), what,
                     joinDims(term.dims));
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
  case NodeKind::RoutedExpert:
    return choice("expert", *expr.as<RoutedExpertNode>()->routing);
  case NodeKind::RoutedWeight:
    return choice("weight", *expr.as<RoutedWeightNode>()->routing);
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

namespace {
/// A softmax or a routing: the other is null.
struct Term {
  const SoftmaxTerm *softmax = nullptr;
  const RoutingTerm *routing = nullptr;
  const void *id() const { return softmax ? static_cast<const void *>(softmax) : routing; }
};
} // namespace

static Term termOf(const Expr &expr) {
  if (auto *prob = expr.as<SoftmaxProbNode>())
    return {.softmax = prob->softmax.get()};
  if (auto *logSumExp = expr.as<LogSumExpNode>())
    return {.softmax = logSumExp->softmax.get()};
  if (auto *expert = expr.as<RoutedExpertNode>())
    return {.routing = expert->routing.get()};
  if (auto *weight = expr.as<RoutedWeightNode>())
    return {.routing = weight->routing.get()};
  return {};
}

/// All softmaxes and routings of a kernel, those that others need first.
static std::vector<Term> termsOf(const Kernel &kernel) {
  std::vector<Term> terms;
  std::set<const void *> seen;
  std::function<void(const Expr &)> walk = [&](const Expr &expr) {
    if (!seen.insert(&expr.node()).second)
      return;
    for (const Expr &operand : expr.node().operands)
      walk(operand);
    Term term = termOf(expr);
    if (term.id() && seen.insert(term.id()).second)
      terms.push_back(term);
  };
  for (const Output &output : kernel.outputs())
    walk(output.value);
  return terms;
}

/// A name that nothing else in the kernel has.
static std::string freshName(const Kernel &kernel, std::string name) {
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

std::string dsl::print(const Kernel &kernel, const Expr &expr) {
  Printer printer;
  int routings = 0;
  for (const Term &term : termsOf(kernel))
    if (term.routing)
      printer.names[term.id()] = freshName(kernel, fmt::format("r{}", ++routings));
  return printer.text(expr);
}

std::string dsl::print(const Kernel &kernel) {
  if (kernel.outputs().empty())
    throw UserError({fmt::format("kernel '{}'", kernel.name()), "needs at least one output", "", ""});
  std::string text = headerOf(kernel);
  Printer printer;
  int softmaxes = 0, routings = 0;
  for (const Term &term : termsOf(kernel)) {
    std::string name =
        freshName(kernel, term.softmax ? fmt::format("p{}", ++softmaxes) : fmt::format("r{}", ++routings));
    text += term.softmax ? fmt::format("  {}({}) = {}\n", name, term.softmax->axis.name(),
                                       printer.softmax("softmax", *term.softmax))
                         : fmt::format("  {}({}) = {}\n", name, joinDims(term.routing->dims),
                                       printer.routing(*term.routing));
    printer.names[term.id()] = name;
  }
  for (const Output &output : kernel.outputs())
    text += fmt::format("  {} = {}\n", declaration(output.name, output.dtype, output.dims),
                        printer.text(output.value));
  return text;
}
