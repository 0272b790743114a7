//===- Agreement.cpp - The same kernel on two devices ------------------------------------------------===//
//
// Compares what two devices made of one problem, each element against the most that another order of its
// additions can change. Nothing here is fitted: every constant is a unit of rounding of the format in which a
// step is computed. Called by `lathe verify` and the GPU tests, for the emulator against a GPU.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/reference/Bf16.h"
#include "lathe/reference/Instance.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <mutex>

using namespace lathe;
using namespace lathe::reference;

/// Tensor cores may cut where float32 would round: one unit, not half of one.
static constexpr double floatUnit = 0x1p-23;
/// exp2 of the special function unit (PTX ISA: 2 units), its argument's product with log2 e, the rescaling of
/// sums.
static constexpr double exponentialUnits = 8 * floatUnit;
/// Neighbouring bf16 numbers.
static constexpr double bf16Unit = 0x1p-7;
/// An element this small is one rounding of a probability away from any other.
static constexpr double ulpFloor = 1e-3;

namespace {
struct Bounds {
  double probability = 0; ///< Relative change of one probability before it is rounded.
  double lse = 0;         ///< Absolute.
};
} // namespace

static Bounds boundsOf(const AttentionShape &shape, const ReferenceRow &row) {
  // Both sides may be off by this much in opposite directions.
  const double score = 2 * shape.keyDim * floatUnit * row.scoreMagnitude;
  const double probability = std::expm1(score) + 2 * exponentialUnits;
  return {probability, score + probability + 4 * floatUnit * std::fabs(row.lse)};
}

/// A probability may be rounded up on one side and down on the other; sums and normalisation add their own.
static double elementBound(const Bounds &bounds, int tokens, double magnitude, double value) {
  const double relative = 2 * bounds.probability + bf16Unit + 2 * (tokens + 64) * floatUnit;
  return relative * magnitude + bf16Unit * std::fabs(value) + 1e-30;
}

static int ulpDistance(uint16_t a, uint16_t b) {
  auto ordered = [](uint16_t bits) { return bits & 0x8000 ? 0x8000 - int(bits) : int(bits); };
  return std::abs(ordered(a) - ordered(b));
}

namespace {
/// One row's part of an agreement.
class RowAgreement {
public:
  RowAgreement(const AttentionInstance::Impl &impl, int64_t row) : impl_(impl), name_(impl.rowName(row)) {}

  Agreement compare(const Produced &first, const Produced &second, int64_t row) {
    const ReferenceRow reference = computeRow(impl_, name_, true);
    const Bounds bounds = boundsOf(impl_.shape, reference);
    const int tokens = impl_.lengths[size_t(name_.sequence)];
    const size_t width = size_t(impl_.shape.valueDim);
    for (size_t column = 0; column < width; ++column) {
      const uint16_t a = first.out[size_t(row) * width + column],
                     b = second.out[size_t(row) * width + column];
      addElement(a, b, elementBound(bounds, tokens, reference.magnitude[column], reference.out[column]),
                 column);
    }
    addLse(double(first.lse[size_t(row)]), double(second.lse[size_t(row)]), bounds.lse);
    result_.passed = result_.message.empty();
    return result_;
  }

private:
  void addElement(uint16_t a, uint16_t b, double bound, size_t column) {
    ++result_.elements;
    result_.identical += a == b;
    const double x = double(fromBf16(a)), y = double(fromBf16(b)), difference = std::fabs(x - y);
    const double ratio = a == b ? 0 : std::isfinite(difference) ? difference / bound : HUGE_VAL;
    result_.worstRatio = std::max(result_.worstRatio, ratio);
    result_.meanRatio += ratio;
    if (std::max(std::fabs(x), std::fabs(y)) > ulpFloor)
      result_.worstUlps = std::max(result_.worstUlps, ulpDistance(a, b));
    if (ratio > 1 && result_.message.empty())
      result_.message =
          fmt::format("sequence {}, query {}, head {}, column {}: {:.8g} and {:.8g}, the bound is {:.3g}",
                      name_.sequence, name_.query, name_.head, column, x, y, bound);
  }
  void addLse(double a, double b, double bound) {
    const double ratio = a == b || (std::isnan(a) && std::isnan(b)) ? 0 : std::fabs(a - b) / bound;
    result_.worstLseRatio = std::isfinite(ratio) ? std::max(result_.worstLseRatio, ratio) : HUGE_VAL;
    if (!(ratio <= 1) && result_.message.empty())
      result_.message =
          fmt::format("log-sum-exp of sequence {}, query {}, head {}: {:.8g} and {:.8g}, the bound is {:.3g}",
                      name_.sequence, name_.query, name_.head, a, b, bound);
  }

  const AttentionInstance::Impl &impl_;
  RowName name_;
  Agreement result_;
};
} // namespace

static void requireSame(const AttentionInstance::Impl &a, const AttentionInstance::Impl &b) {
  const AttentionShape &s = a.shape, &t = b.shape;
  const bool same = s.heads == t.heads && s.queryTokens == t.queryTokens && s.keyDim == t.keyDim &&
                    s.valueDim == t.valueDim && s.page == t.page && s.causal == t.causal &&
                    s.scale == t.scale && a.lengths == b.lengths && a.options.seed == b.options.seed;
  if (!same)
    throw UserError({"comparing two runs", "both must be of one problem", "two different ones",
                     "make both instances with the same shape, lengths and options"});
}

static void merge(Agreement &total, const Agreement &row) {
  total.elements += row.elements;
  total.identical += row.identical;
  total.worstRatio = std::max(total.worstRatio, row.worstRatio);
  total.meanRatio += row.meanRatio;
  total.worstUlps = std::max(total.worstUlps, row.worstUlps);
  total.worstLseRatio = std::max(total.worstLseRatio, row.worstLseRatio);
  if (total.message.empty())
    total.message = row.message;
}

Agreement lathe::reference::compareRuns(const AttentionInstance &first, const AttentionInstance &second) {
  const AttentionInstance::Impl &impl = first.impl();
  impl.requireHost("comparison of two runs");
  requireSame(impl, second.impl());
  const Produced a = download(impl), b = download(second.impl());
  Agreement total;
  total.message = a.gapFault.empty() ? b.gapFault : a.gapFault;
  std::mutex mutex;
  parallelFor(impl.totalRows(), [&](int64_t row) {
    const Agreement one = RowAgreement(impl, row).compare(a, b, row);
    std::lock_guard lock(mutex);
    merge(total, one);
  });
  if (total.elements > 0)
    total.meanRatio /= double(total.elements);
  total.passed = total.message.empty();
  return total;
}
