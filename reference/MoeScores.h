//===- MoeScores.h - Scores and keys of one row, with their errors -----------------------------------===//
//
// What routing decides by, in float64, and how far a kernel's float32 may be off it: the one place that knows
// the roundings of a score. Shared by the routing reference and its judge, and by nobody else.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/reference/MoeRouting.h"

#include <utility>

namespace lathe::reference {

/// The experts of one row. Errors are absolute.
struct RowScores {
  std::vector<double> logits; ///< As the rules read them: no NaN, no plus infinity.
  std::vector<double> biases; ///< 0 without a bias.
  bool logitsExact = true;
  std::vector<double> scores, scoreErrors;
  /// A key's error leaves out what all keys of the row have in common.
  std::vector<double> keys, keyErrors;

  /// Whether a kernel must find both keys equal: the same inputs, or minus infinity both.
  bool tied(int a, int b) const;
  /// Whether a stands before b in every order that the rules and float32 allow.
  bool precedes(int a, int b) const;
  /// The order of float64.
  bool before(int a, int b) const {
    return keys[size_t(a)] != keys[size_t(b)] ? keys[size_t(a)] > keys[size_t(b)] : a < b;
  }
};

RowScores scoreRow(const MoeRouter &router, const RouterRow &row);

/// The groups of one row.
struct GroupScores {
  std::vector<double> scores, errors;
  /// Of each group, (logit, bias) of the experts that may be its best (its two best), sorted.
  std::vector<std::vector<std::pair<double, double>>> contenders;
  bool logitsExact = true;

  bool tied(int a, int b) const;
  bool precedes(int a, int b) const;
  bool before(int a, int b) const {
    return scores[size_t(a)] != scores[size_t(b)] ? scores[size_t(a)] > scores[size_t(b)] : a < b;
  }
};

GroupScores scoreGroups(const MoeRouter &router, const RowScores &row);

/// Weights of `ids` by the rules, and how far float32 may be off them.
struct RowWeights {
  std::vector<double> weights, errors;
};
RowWeights weighRow(const MoeRouter &router, const RowScores &row, std::span<const int32_t> ids);

} // namespace lathe::reference
