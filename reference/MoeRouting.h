//===- MoeRouting.h - What a router of experts must choose -------------------------------------------===//
//
// The router's rules in float64 on the host: scores, groups, choice, weights, and the judge of what a kernel
// that computes them in float32 chose instead. It takes plain arrays, so that a hand-computed example and a
// problem on the device are judged alike. Called by tests, the tuner and through MoeReference.h.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lathe::reference {

enum class Scoring { Softmax, Sigmoid };
enum class GroupScore { Best, TwoBest }; ///< A group counts by its best key, or by the sum of its two best.

/// How rows choose experts. The rules, in this order:
///  - A logit that is NaN counts as minus infinity, plus infinity as the largest finite float32.
///  - An expert's score is the softmax over all experts, or the sigmoid of its own logit. Minus infinity
///    scores 0.
///  - Its key is the score, plus its bias where there is one; minus infinity where the logit is, or where the
///    bias is NaN. The bias serves the choice only.
///  - With several groups, of experts / groups neighbours each, the topGroups groups of the highest group
///    score stay and the experts of all others are never chosen. A group of one expert counts by its best.
///  - The topK experts of the highest keys are chosen and stand in descending order of their keys. Among
///    equals, experts and groups alike, the lowest index comes first.
///  - A weight is the score without the bias, divided by the sum of the row's chosen scores where
///    `renormalize` says so (by a sum of 0: 0), times `scale`.
struct MoeRouter {
  int experts = 64;
  int topK = 6;
  Scoring scoring = Scoring::Softmax;
  bool renormalize = false;
  float scale = 1;
  bool bias = false;
  int groups = 1, topGroups = 1;
  GroupScore groupScore = GroupScore::Best;
};

/// Throws UserError, naming the rule that the router breaks: counts that do not fit each other, above all
/// topK above the experts of topGroups groups.
void checkRouter(const MoeRouter &router);

/// What one row is routed by.
struct RouterRow {
  std::span<const double> logits; ///< [experts].
  /// [experts]: how far a logit that the kernel computed itself may be off, absolute. Empty: given, exact.
  std::span<const double> logitErrors;
  std::span<const float> bias; ///< [experts]; empty without one.
};

/// The choice of the rules in float64, descending.
struct RoutedRow {
  std::vector<int32_t> ids;    ///< [topK].
  std::vector<double> weights; ///< [topK].
};
RoutedRow routeRow(const MoeRouter &router, const RouterRow &row);

/// How a row that a kernel routed stands to the rules.
struct RoutedRowCheck {
  std::string fault;           ///< Empty when the row is right.
  bool otherOrder = false;     ///< The ids differ from routeRow(), by what rounding allows.
  double worstWeightRatio = 0; ///< Largest |got - expected| over what rounding allows; right at 1 or less.
};

/// Judges one row. Where the inputs of two experts are equal, or keys differ by more than float32 can be off,
/// the order must be that of the rules; keys closer than that may stand either way, and groups likewise.
/// Float32 is allowed two roundings of a score's argument, two units of the exponential and of the division,
/// a sum in any order, and numbers below the smallest normal one as zeros: a few millionths of a score.
/// Weights are judged for the ids that were chosen, within the same errors; where a score is 0, so is its
/// weight, exactly. Ids must be in range and differ from each other.
RoutedRowCheck checkRoutedRow(const MoeRouter &router, const RouterRow &row, std::span<const int32_t> ids,
                              std::span<const float> weights);

/// The sorted map from which grouped matrix products take their rows, as a routing kernel leaves it.
struct SortedMap {
  int tile = 1; ///< An expert's slots are padded to a multiple of it; none where it has no row.
  std::vector<int32_t> counts;  ///< [local experts]: chosen (row, choice) pairs of each expert.
  std::vector<int32_t> offsets; ///< [local experts + 1]: first slot of each expert, then the number of slots.
  std::vector<int32_t> slots; ///< row * topK + choice, or -1 for padding, which ends an expert's slots. Slots
                              ///< behind the last offset are nobody's and may hold anything.
};

/// Which experts a map serves. Ids outside [firstExpert, firstExpert + localExperts) are skipped, whatever
/// they are; an id that stands twice in a row has two slots.
struct LocalExperts {
  int first = 0, count = 0;
};

/// The map of `ids` ([rows, topK], flat), ascending within an expert.
SortedMap makeSortedMap(std::span<const int32_t> ids, const LocalExperts &experts, int tile);

/// Empty when `map` is the map of `ids`, else the first fault: a count, an offset, a pair that is missing,
/// stands twice or belongs elsewhere, padding that is none. `anyOrder`: pairs of one expert may stand in any
/// order; otherwise they ascend.
std::string checkSortedMap(const SortedMap &map, std::span<const int32_t> ids, const LocalExperts &experts,
                           bool anyOrder = false);

} // namespace lathe::reference
