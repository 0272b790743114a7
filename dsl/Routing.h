//===- Routing.h - Which experts a row goes to --------------------------------------------------------===//
//
// Routing of mixtures of experts: the best of the experts by their scores, or a routing that was made
// elsewhere. A routing gives an expert, which indexes weights, and a weight, for each row and choice, so the
// layer itself is an ordinary sum over choices. Descriptions in dsl/models and in applications include it.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/dsl/Expr.h"

#include <optional>

namespace lathe::dsl {

/// For each row and choice, an expert and its weight.
class Routing {
public:
  explicit Routing(std::shared_ptr<const RoutingTerm> term) : term_(std::move(term)) {}

  /// i32 in [0, experts), or -1 where a given choice takes no part. As an index it has a known range; an
  /// element that is indexed by -1 is 0. `dims` are the routing's own, the choice last. Throws UserError
  /// otherwise.
  template <std::same_as<Dim>... Index>
  Expr expert(const Index &...dims) const {
    return expert(std::vector<Dim>{dims...});
  }
  Expr expert(const std::vector<Dim> &dims) const;

  /// f32. Throws UserError as expert().
  template <std::same_as<Dim>... Index>
  Expr weight(const Index &...dims) const {
    return weight(std::vector<Dim>{dims...});
  }
  Expr weight(const std::vector<Dim> &dims) const;

  const std::shared_ptr<const RoutingTerm> &term() const { return term_; }

private:
  std::shared_ptr<const RoutingTerm> term_;
};

/// How experts are chosen and weighed.
struct RoutingOptions {
  bool renormalize = false; ///< Divide the weights of a row by their sum; where that is 0 they are 0.
  double scale = 1;         ///< Then multiply them by this. Finite and positive.
  std::optional<Tensor> bias = std::nullopt; ///< f32 [experts], added to scores for the choice only.
  int groups = 1;                            ///< Groups of equally many consecutive experts.
  int topGroups = 1;                         ///< Choose from the best of the groups only.
  GroupScore groupScore = GroupScore::Best;  ///< What makes a group the best.
};

/// The `choice` best of the experts, best first. The dimensions are those of the score, with the choice for
/// the experts.
///
/// An expert's key is its score plus bias. First the topGroups groups with the best group score are taken,
/// then the experts of these groups with the best keys; between equals the lowest index wins. Keys count as
/// real numbers where there is no bias: probabilities of a softmax, and sigmoids, are ordered as their
/// logits; with a bias they are computed in f32.
///
/// Under a softmax or a sigmoid, a logit that is NaN counts as minus infinity, and plus infinity as the
/// largest finite f32. The key of minus infinity is minus infinity whatever the bias, and so is a key or a
/// group score that is NaN: such an expert is chosen only when nothing else is left of the chosen groups.
///
/// A choice's weight is its score without bias, 0 where that is NaN; then renormalised, then scaled.
///
/// Throws UserError unless choice and experts have known extents, choice the smaller; the score is bf16, f16
/// or f32 and depends on the experts and not on the choice; groups divide the experts, and the chosen groups
/// hold enough of them.
Routing topK(const Dim &choice, const Dim &experts, const Expr &score, const RoutingOptions &options = {});
/// The same over the axis of a softmax, by its probabilities.
Routing topK(const Dim &choice, const Softmax &scores, const RoutingOptions &options = {});

struct GivenOptions {
  std::optional<Scalar> firstExpert = std::nullopt; ///< i32: the id of this GPU's expert 0. Empty: 0.
};

/// A routing that was made elsewhere: by the router of a serving framework, or, for expert parallelism, by
/// another Routing. `ids` i32 and `weights` (bf16, f16, f32) are expressions over rows and choice.
///
/// The expert of a choice is its id less firstExpert. A choice outside [0, experts) takes no part: its expert
/// is -1, its weight 0, elements indexed by it are 0. An expert may be chosen twice by a row: then it counts
/// twice.
///
/// Throws UserError unless choice and experts have known extents, ids depend on the choice and not on the
/// experts, and the weights' dimensions are among those of the ids.
Routing givenRouting(const Dim &choice, const Dim &experts, const Expr &ids, const Expr &weights,
                     const GivenOptions &options = {});

} // namespace lathe::dsl
