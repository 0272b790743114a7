//===- MoeCompare.h - When an output of a mixture-of-experts layer counts as right -------------------===//
//
// The one place that knows the tolerances of expert layers: what an element may be off, what the whole may be
// off, and that NaN and Inf positions come before any number. Called by both references.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/reference/MoeReference.h"

namespace lathe::reference {

/// What the sums of one element y = Σ c_k, c_k = weight_k · Σ_i activated_i · w2_i, are made of.
struct MoeSums {
  double value = 0;     ///< y.
  double magnitude = 0; ///< Σ |c_k|.
  double square = 0;    ///< Σ_k weight_k² · Σ_i (activated_i · w2_i)².
};

/// What an element may be off. bfloat16 rounds within u = 2^-8 of a number. The result is rounded once:
/// u·|y|. The activated products are: errors of random signs, whose sum scatters by at most u/√3·√square;
/// seven times that is allowed. A kernel may round each choice's part on the way and the partial sums of them
/// in memory: for nine choices that scatters by about u/2·Σ|c_k|; six times that is allowed. All else that a
/// kernel does is in float32 and vanishes beside it. Where nothing contributes: exactly 0.
double allowedError(const MoeSums &sums);

/// Allowed ||y - reference|| / ||reference||, over `elements` of them: 4e-3, and for few, whose norms
/// scatter, four standard deviations more.
double allowedRelativeError(int64_t elements);

/// Rows to compare; row i of every array belongs to rows[i].
struct MoeComparisonRows {
  int hidden = 0;
  std::span<const int64_t> rows;
  std::span<const uint16_t> got;            ///< bfloat16 bits [rows, hidden].
  std::span<const float> expected, allowed; ///< [rows, hidden].
};

/// Positions of NaN and Inf first, then elements, then the norm. The message tells the first failure of the
/// first rule broken and how many positions break it.
MoeComparison compareRows(const MoeComparisonRows &rows);

} // namespace lathe::reference
