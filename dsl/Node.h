//===- Node.h - What is behind an expression ----------------------------------------------------------===//
//
// The nodes of an expression, immutable and shared, for those who read descriptions: printing, and the
// compiler's importer. Switch over Node::kind and look at the node with Expr::as<LoadNode>() and the like; no
// visitor needed.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/dsl/Expr.h"

#include <optional>
#include <string_view>
#include <variant>

namespace lathe::dsl {

enum class NodeKind {
  Load,
  Param,
  Constant,
  Index,
  Binary,
  Unary,
  Compare,
  Logical,
  Select,
  Sum,
  SoftmaxProb,
  LogSumExp,
  RoutedExpert,
  RoutedWeight
};

enum class BinaryOp { Add, Sub, Mul, Div, Max, Min };
enum class UnaryOp { Neg, Exp, Log, Tanh, Sigmoid, Silu, Gelu, ToFloat };
enum class CompareOp { Lt, Le, Gt, Ge, Eq, Ne };
enum class LogicalOp { And, Or, Not };
/// What a group of experts is chosen by: its best key, or the sum of its two best.
enum class GroupScore { Best, SumOfTwoBest };

/// Common part of all nodes.
struct Node {
  NodeKind kind;
  Dtype dtype;                ///< Bool, I32, I64, F32, F64; a Load has its tensor's.
  std::vector<Dim> freeDims;  ///< What the value depends on, in order of first appearance.
  std::vector<Expr> operands; ///< Children; each kind below says which.
  virtual ~Node() = default;
};

/// An element of an input. Operands: one integer expression for each of tensor->indexedDims() (a paged
/// input's batch comes first).
struct LoadNode : Node {
  static constexpr NodeKind tag = NodeKind::Load;
  TensorRef tensor;
  /// The dimension that index i is, when it is just a dimension; otherwise null.
  const Dim *dimAt(size_t i) const;
};

/// The value of a scalar argument. No operands.
struct ParamNode : Node {
  static constexpr NodeKind tag = NodeKind::Param;
  std::optional<Scalar> param; ///< Always set.
};

/// A number: `integer` when dtype is I32 or I64, `real` when it is F32 or F64. No operands.
struct ConstantNode : Node {
  static constexpr NodeKind tag = NodeKind::Constant;
  int64_t integer = 0;
  double real = 0;
};

/// The index of a dimension, i32, from 0. No operands; the dimension is freeDims[0].
struct IndexNode : Node {
  static constexpr NodeKind tag = NodeKind::Index;
  const Dim &dim() const { return freeDims.front(); }
};

/// Operands: both sides, both integer or both float. Div of integers is floor division by a positive
/// constant.
struct BinaryNode : Node {
  static constexpr NodeKind tag = NodeKind::Binary;
  BinaryOp op;
};

/// Operands: one. ToFloat takes an integer, Neg either, the others a float.
struct UnaryNode : Node {
  static constexpr NodeKind tag = NodeKind::Unary;
  UnaryOp op;
};

/// Bool. Operands: both sides, both integer or both float.
struct CompareNode : Node {
  static constexpr NodeKind tag = NodeKind::Compare;
  CompareOp op;
};

/// Bool. Operands: two booleans, or one for Not.
struct LogicalNode : Node {
  static constexpr NodeKind tag = NodeKind::Logical;
  LogicalOp op;
};

/// Operands: condition, value where it holds, value elsewhere.
struct SelectNode : Node {
  static constexpr NodeKind tag = NodeKind::Select;
};

/// Operands: the body, which depends on every one of `dims`.
struct SumNode : Node {
  static constexpr NodeKind tag = NodeKind::Sum;
  std::vector<Dim> dims;
};

/// One softmax, shared by its probabilities and its log-sum-exp. Not an expression itself.
struct SoftmaxTerm {
  Dim axis;
  Expr score;                ///< Float; depends on the axis.
  std::optional<Expr> mask;  ///< Bool; where it is false the score counts as -inf. Empty: nothing is masked.
  std::vector<Dim> freeDims; ///< Of score and mask together, the axis among them.
};

/// The probability at index axis. f32. Operands: the score and, if there is one, the mask.
struct SoftmaxProbNode : Node {
  static constexpr NodeKind tag = NodeKind::SoftmaxProb;
  std::shared_ptr<const SoftmaxTerm> softmax; ///< Compare pointers to find what shares a softmax.
};

/// Natural logarithm of the sum of exponentials over the axis. f32. Operands as SoftmaxProbNode.
struct LogSumExpNode : Node {
  static constexpr NodeKind tag = NodeKind::LogSumExp;
  std::shared_ptr<const SoftmaxTerm> softmax;
};

/// A routing that chooses experts by their scores (topK).
struct ChosenRouting {
  Expr score;               ///< bf16, f16 or f32; depends on the experts' dimension.
  std::optional<Expr> bias; ///< f32 over the experts; counts for the choice only.
  bool renormalize = false; ///< Weights are divided by their sum over the choices.
  double scale = 1;         ///< Then multiplied by this; positive.
  int groups = 1;           ///< Groups of consecutive experts; 1: all compete.
  int topGroups = 1;        ///< Groups that are chosen from; below `groups` unless both are 1.
  GroupScore groupScore = GroupScore::Best; ///< Best unless there are groups.
};

/// A routing that was made elsewhere (givenRouting).
struct GivenRouting {
  Expr ids;                  ///< i32; depends on the choice.
  Expr weights;              ///< bf16, f16 or f32; over dimensions of the ids.
  std::optional<Expr> first; ///< An i32 parameter: the id of expert 0. Empty: 0.
};

/// One routing, shared by its experts and its weights. Not an expression itself.
struct RoutingTerm {
  Dim choice;  ///< Static extent: choices a row.
  Dim experts; ///< Static extent: what is chosen from.
  std::variant<ChosenRouting, GivenRouting> source;
  std::vector<Dim> dims; ///< Of experts and weights, the choice among them.

  const ChosenRouting *chosen() const { return std::get_if<ChosenRouting>(&source); }
  const GivenRouting *given() const { return std::get_if<GivenRouting>(&source); }
  /// Score and bias, or ids, weights and first.
  std::vector<Expr> operands() const;
};

/// The expert of a choice: i32, in [0, experts), or -1 where a given choice takes no part. Operands: the
/// term's.
struct RoutedExpertNode : Node {
  static constexpr NodeKind tag = NodeKind::RoutedExpert;
  std::shared_ptr<const RoutingTerm> routing; ///< Compare pointers to find what shares a routing.
};

/// The weight of a choice: f32. Operands: the term's.
struct RoutedWeightNode : Node {
  static constexpr NodeKind tag = NodeKind::RoutedWeight;
  std::shared_ptr<const RoutingTerm> routing;
};

template <typename T>
const T *Expr::as() const {
  return node_->kind == T::tag ? static_cast<const T *>(node_.get()) : nullptr;
}

bool isFloat(Dtype type);   ///< bf16, f16, f32, f64.
bool isInteger(Dtype type); ///< i32, i64.

/// "+ - * / max min", "-, exp, …", "< <= …", "&& || !": as printed.
std::string_view spelling(BinaryOp op);
std::string_view spelling(UnaryOp op);
std::string_view spelling(CompareOp op);
std::string_view spelling(LogicalOp op);
/// "best", "sumOfTwoBest".
std::string_view spelling(GroupScore score);

} // namespace lathe::dsl
