//===- Compare.h - When two attention outputs count as equal -----------------------------------------===//
//
// The one place that knows the tolerances: the bounds on elements, on the direction of the whole output and
// on the log-sum-exp, and the rule that NaN and Inf positions are compared before any number. Called by both
// references.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/reference/Instance.h"

#include <cmath>
#include <span>

namespace lathe::reference {

/// Rows to compare. Row i of every array belongs to names[i]; out arrays are bfloat16 bits [rows, valueDim].
struct ComparisonRows {
  int valueDim = 0;
  std::span<const RowName> names;
  const uint16_t *gotOut = nullptr;
  const uint16_t *expectedOut = nullptr;
  const float *gotLse = nullptr;
  const double *expectedLse = nullptr;
};

/// Allowed |got - expected| of an output element and of a log-sum-exp.
inline double outTolerance(double expected) {
  return 8e-4 + 2.01 / 128 * (expected < 0 ? -expected : expected);
}
inline double lseTolerance(double expected) {
  return 1e-6 + 8.0 / 65536 * (expected < 0 ? -expected : expected);
}
/// Of an output of so many elements. The difference is a mean over their roundings, which chance makes larger
/// where there are few.
inline double cosineTolerance(int64_t elements) {
  return 5e-6 * (1 + 16 / std::sqrt(double(elements < 1 ? 1 : elements)));
}

/// Positions of NaN and Inf first (a row that attends nothing must be exactly 0 with lse +inf), then
/// elements, then the cosine difference over all rows, then log-sum-exps. The message tells the first failure
/// of the first rule broken and how many positions break that rule.
Comparison compareRows(const ComparisonRows &rows);

} // namespace lathe::reference
