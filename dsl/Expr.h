//===- Expr.h - Index expressions over named dimensions -----------------------------------------------===//
//
// What a description is written with: dimensions, inputs, paged inputs, parameters, and expressions over
// them, with the four operators, comparisons, contraction (sum) and softmax over an axis. It is mathematics:
// no tile, thread or stage, and each mistake is found when the expression is built and told in its own terms
// (UserError). Descriptions in dsl/models and in applications include it; the compiler's importer reads the
// nodes behind it (Node.h).
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/support/Dtype.h"

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

namespace lathe::dsl {

inline constexpr Dtype bf16 = Dtype::BF16, f16 = Dtype::F16, f32 = Dtype::F32, f64 = Dtype::F64;
inline constexpr Dtype i32 = Dtype::I32, i64 = Dtype::I64;

struct Node;        // Node.h
struct TensorInfo;  // below
struct SoftmaxTerm; // Node.h
struct RoutingTerm; // Node.h

/// A named dimension. Identity is the object that was constructed (copies are the same dimension), so a
/// kernel must not use two different dimensions of one name.
class Dim {
public:
  /// A dimension whose extent is known only at run time (batch, token).
  explicit Dim(std::string name);
  /// A dimension of `extent` elements. Throws UserError unless extent is positive.
  Dim(std::string name, int64_t extent);

  const std::string &name() const { return info_->name; }
  int64_t extent() const { return info_->extent; } ///< 0: dynamic.
  bool isDynamic() const { return info_->extent == 0; }
  /// Whether both are the same dimension (`==` builds an expression).
  bool is(const Dim &other) const { return info_ == other.info_; }

private:
  struct Info {
    std::string name;
    int64_t extent;
  };
  std::shared_ptr<const Info> info_;
};

/// Whether `dims` holds `dim`.
bool contains(const std::vector<Dim> &dims, const Dim &dim);

/// A scalar argument of the kernel, given at each run. Converts to Expr.
class Scalar {
public:
  Scalar(std::string name, Dtype dtype);
  const std::string &name() const { return info_->name; }
  Dtype dtype() const { return info_->dtype; }
  bool is(const Scalar &other) const { return info_ == other.info_; }

private:
  struct Info {
    std::string name;
    Dtype dtype;
  };
  std::shared_ptr<const Info> info_;
};

/// An immutable expression. Copies share the node. Element types: arithmetic on bf16, f16 and f32 gives f32
/// (f64 if an operand is f64), on i32 gives i32 (i64 if an operand is i64); an integer constant beside a
/// float becomes float; any other mixture of integers and floats needs toFloat().
class Expr {
public:
  Expr(const Dim &dim);      ///< The value of a dimension's index, i32.
  Expr(const Scalar &param); ///< The value of a parameter.
  template <std::integral T>
    requires(!std::same_as<T, bool>)
  Expr(T value) : Expr(integer(static_cast<int64_t>(value))) {} ///< An i32 constant.
  template <std::floating_point T>
  Expr(T value) : Expr(real(static_cast<double>(value))) {} ///< An f32 constant.
  explicit Expr(std::shared_ptr<const Node> node) : node_(std::move(node)) {}

  const Node &node() const { return *node_; }
  Dtype dtype() const;
  /// Dimensions that the value depends on, in order of first appearance.
  const std::vector<Dim> &freeDims() const;
  /// Whether both are the very same node (`==` builds an expression).
  bool is(const Expr &other) const { return node_ == other.node_; }
  /// The node as a T (LoadNode, SumNode, …), or null when it is of another kind.
  template <typename T>
  const T *as() const;

private:
  static Expr integer(int64_t value);
  static Expr real(double value);
  std::shared_ptr<const Node> node_;
};

//===- Inputs -----------------------------------------------------------------------------------------===//

/// An input tensor, dense and row-major over its dimensions.
class Tensor {
public:
  explicit Tensor(std::shared_ptr<const TensorInfo> info) : info_(std::move(info)) {}
  /// One index for each dimension. An index is a dimension, an integer expression (`h / group`), or one read
  /// from an input or a routing (Routing.h). A dimension of smaller extent reads the leading elements. Throws
  /// UserError for a wrong number of indices or one out of range; what data says is the caller's promise.
  template <typename... Index>
  Expr operator()(const Index &...index) const {
    return load({Expr(index)...});
  }
  Expr load(const std::vector<Expr> &indices) const;
  const std::shared_ptr<const TensorInfo> &info() const { return info_; }

private:
  std::shared_ptr<const TensorInfo> info_;
};

/// A paged input: rows of a pool of pages, found through a page table. Indexed with the batch first: cache(b,
/// t, d).
class Paged {
public:
  explicit Paged(std::shared_ptr<const TensorInfo> info) : info_(std::move(info)) {}
  template <typename... Index>
  Expr operator()(const Index &...index) const {
    return load({Expr(index)...});
  }
  Expr load(const std::vector<Expr> &indices) const;
  const std::shared_ptr<const TensorInfo> &info() const { return info_; }

private:
  std::shared_ptr<const TensorInfo> info_;
};

/// How a paged input is laid out.
struct PagedLayout {
  int page;          ///< Tokens a page.
  std::string table; ///< Name of the page table, an i32 [batch, pages] argument. Paged inputs may share one.
  Tensor length;     ///< i32 [batch], valid tokens.
};

/// What is known of an input. `paged` is null for a dense tensor. The pool of a paged input declared over {t,
/// d…} has the shape [pages, page, d…].
struct TensorInfo {
  std::string name;
  Dtype dtype;
  std::vector<Dim> dims; ///< As declared; a paged input's batch is not among them.
  std::shared_ptr<const PagedLayout> paged;

  bool isPaged() const { return paged != nullptr; }
  /// Dimensions as they are indexed: for a paged input the batch of its lengths, then dims.
  std::vector<Dim> indexedDims() const;
};
using TensorRef = std::shared_ptr<const TensorInfo>;

/// Throws UserError for an ill-formed name, no dimensions or a repeated one.
Tensor input(std::string name, Dtype dtype, std::vector<Dim> dims);
/// The first dimension is the paged one and must be dynamic, all others static; page positive; length i32
/// over one dynamic dimension. Throws UserError otherwise.
Paged paged(std::string name, Dtype dtype, std::vector<Dim> dims, PagedLayout layout);
/// f32, f64, i32 or i64. Throws UserError otherwise.
Scalar param(std::string name, Dtype dtype);

//===- Element-wise expressions -----------------------------------------------------------------------===//

Expr operator+(const Expr &a, const Expr &b);
Expr operator-(const Expr &a, const Expr &b);
Expr operator*(const Expr &a, const Expr &b);
/// Of integers: floor division by a positive constant only.
Expr operator/(const Expr &a, const Expr &b);
Expr operator-(const Expr &a);
Expr max(const Expr &a, const Expr &b);
Expr min(const Expr &a, const Expr &b);

Expr exp(const Expr &a);
Expr log(const Expr &a); ///< Natural.
Expr tanh(const Expr &a);
Expr sigmoid(const Expr &a);
Expr silu(const Expr &a);    ///< a * sigmoid(a).
Expr gelu(const Expr &a);    ///< a / 2 * (1 + erf(a / sqrt(2))).
Expr toFloat(const Expr &a); ///< An integer expression as f32.

Expr operator<(const Expr &a, const Expr &b);
Expr operator<=(const Expr &a, const Expr &b);
Expr operator>(const Expr &a, const Expr &b);
Expr operator>=(const Expr &a, const Expr &b);
Expr operator==(const Expr &a, const Expr &b);
Expr operator!=(const Expr &a, const Expr &b);
Expr operator&&(const Expr &a, const Expr &b); ///< Both operands are evaluated, as all expressions.
Expr operator||(const Expr &a, const Expr &b);
Expr operator!(const Expr &a);

/// `a` where the condition holds, `b` elsewhere.
Expr select(const Expr &condition, const Expr &a, const Expr &b);

//===- Contraction and softmax ------------------------------------------------------------------------===//

/// Sum over one or several dimensions, accumulated in f32 (f64 for f64). The body must depend on each of
/// them.
Expr sum(const Dim &dim, const Expr &body);
Expr sum(std::initializer_list<Dim> dims, const Expr &body);
Expr sum(const std::vector<Dim> &dims, const Expr &body);

/// A score that counts only where the condition holds (elsewhere it is -inf). Only softmax takes it;
/// elsewhere use select().
struct Masked {
  Expr condition;
  Expr score;
};
Masked where(const Expr &condition, const Expr &score);
Masked where(const Expr &condition, const Masked &score); ///< Both conditions must hold.

/// A softmax over one axis: its probabilities and its log-sum-exp share one term. Where every element of the
/// axis is masked, probabilities are 0 and the log-sum-exp is +inf.
class Softmax {
public:
  explicit Softmax(std::shared_ptr<const SoftmaxTerm> term) : term_(std::move(term)) {}
  Expr operator()(
      const Dim &axis) const; ///< The probability at the axis' index; `axis` must be the softmax's own.
  Expr logSumExp() const;     ///< Natural logarithm of the sum of exponentials; the axis is gone.
  const std::shared_ptr<const SoftmaxTerm> &term() const { return term_; }

private:
  std::shared_ptr<const SoftmaxTerm> term_;
};

/// Throws UserError when the score does not depend on the axis, is not float, or the mask is not boolean.
Softmax softmax(const Dim &axis, const Expr &score);
Softmax softmax(const Dim &axis, const Masked &score);

} // namespace lathe::dsl

#include "lathe/dsl/Node.h"
