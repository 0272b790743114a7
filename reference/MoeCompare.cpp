//===- MoeCompare.cpp - Downloading what a kernel made of an expert layer, and judging it ------------===//
//
// Fetches outputs and routing, checks that gaps and the memory behind the last row are untouched, and applies
// the rules of MoeCompare.h in their order. It is apart from the references so that tests can feed it planted
// mistakes.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/reference/MoeCompare.h"
#include "lathe/reference/Faults.h"
#include "lathe/reference/Instance.h"
#include "lathe/reference/MoeInside.h"

#include <algorithm>
#include <cmath>
#include <numbers>

using namespace lathe;
using namespace lathe::reference;

/// Largest relative error of a number rounded to bfloat16.
static constexpr double bf16Rounding = 0x1p-8;
/// What no float32 sum resolves beside flushed numbers.
static constexpr double smallestResult = 1e-36;

double lathe::reference::allowedError(const MoeSums &sums) {
  if (sums.magnitude == 0)
    return 0;
  const double scatter = 7 / std::numbers::sqrt3 * std::sqrt(sums.square);
  return bf16Rounding * (std::fabs(sums.value) + 3 * sums.magnitude + scatter) + smallestResult;
}

double lathe::reference::allowedRelativeError(int64_t elements) {
  // The square of one element's error scatters by about its mean, so the norm of n by half of 1/√n.
  return elements == 0 ? 0 : 4e-3 * (1 + 4 * 0.5 / std::sqrt(double(elements)));
}

static std::string place(const MoeComparisonRows &rows, size_t at) {
  const size_t hidden = size_t(rows.hidden);
  return fmt::format("row {}, column {}: got {}, expected {}", rows.rows[at / hidden], at % hidden,
                     number(double(fromBf16(rows.got[at]))), number(double(rows.expected[at])));
}

MoeComparison lathe::reference::compareRows(const MoeComparisonRows &rows) {
  MoeComparison result;
  result.rows = int64_t(rows.rows.size());
  Faults positions, elements;
  double errors = 0, squares = 0;
  for (size_t at = 0; at < rows.got.size(); ++at) {
    const double got = double(fromBf16(rows.got[at])), expected = double(rows.expected[at]);
    if (!sameClass(got, expected))
      positions.add([&] { return place(rows, at); });
    if (!std::isfinite(got) || !std::isfinite(expected))
      continue;
    const double error = std::fabs(got - expected), allowed = double(rows.allowed[at]);
    errors += error * error;
    squares += expected * expected;
    result.worstRatio = std::max(result.worstRatio, error == 0 ? 0 : error / allowed);
    if (error > allowed)
      elements.add([&] {
        return place(rows, at) + (allowed == 0
                                      ? " exactly, as nothing contributes"
                                      : fmt::format(" (error {:.3g}, allowed {:.3g})", error, allowed));
      });
  }
  result.relativeError = squares == 0 ? 0 : std::sqrt(errors / squares);
  const double limit = allowedRelativeError(int64_t(rows.got.size()));
  if (positions.count)
    result.message = positions.message();
  else if (elements.count)
    result.message = elements.message();
  else if (result.relativeError > limit)
    result.message = fmt::format("output as a whole: relative error {:.3g}, must be at most {:.3g}",
                                 result.relativeError, limit);
  result.passed = result.message.empty();
  return result;
}

/// Packs rows of y; the first element outside them that lost its poison becomes the fault.
static void downloadY(const MoeInstance::Impl &impl, MoeProduced &produced) {
  const int64_t hidden = impl.shape.hidden, stride = impl.tensors.yStrideRow;
  std::vector<uint16_t> all(impl.yBuffer.bytes() / 2);
  impl.device->copyToHost(all.data(), impl.tensors.y, all.size() * 2);
  produced.out.resize(size_t(impl.rows() * hidden));
  for (int64_t row = 0; row < impl.rows(); ++row)
    std::copy_n(all.begin() + row * stride, hidden, produced.out.begin() + row * hidden);
  for (int64_t at = 0; at < int64_t(all.size()) && produced.outFault.empty(); ++at)
    if (all[size_t(at)] != poisonBits && (at / stride >= impl.rows() || at % stride >= hidden))
      produced.outFault =
          fmt::format("y: the kernel wrote into {} {}, column {}",
                      at / stride >= impl.rows() ? "row" : "the gap behind row", at / stride, at % stride);
}

static void downloadRouting(const MoeInstance::Impl &impl, MoeProduced &produced) {
  const size_t choices = size_t(impl.choices());
  produced.ids.resize(choices + spareChoices);
  produced.weights.resize(choices + spareChoices);
  impl.device->copyToHost(produced.ids.data(), impl.tensors.ids, produced.ids.size() * 4);
  impl.device->copyToHost(produced.weights.data(), impl.tensors.weights, produced.weights.size() * 4);
  for (size_t i = choices; i < produced.ids.size(); ++i)
    if (produced.ids[i] != impl.shape.firstExpert || !std::isnan(produced.weights[i]))
      produced.routingFault = "ids or weights: the kernel wrote behind the last row";
  produced.ids.resize(choices);
  produced.weights.resize(choices);
  if (!impl.shape.gate)
    return;
  produced.logits.resize(impl.logits.size() + spareChoices);
  impl.device->copyToHost(produced.logits.data(), impl.tensors.logits, produced.logits.size() * 4);
  for (size_t i = impl.logits.size(); i < produced.logits.size(); ++i)
    if (!std::isnan(produced.logits[i]))
      produced.routingFault = "logits: the kernel wrote behind the last row";
}

MoeProduced lathe::reference::downloadMoe(const MoeInstance::Impl &impl) {
  MoeProduced produced;
  impl.device->synchronize();
  downloadY(impl, produced);
  downloadRouting(impl, produced);
  return produced;
}

std::vector<uint16_t> lathe::reference::downloadOutput(const MoeInstance &instance) {
  MoeProduced produced;
  instance.impl().device->synchronize();
  downloadY(instance.impl(), produced);
  return std::move(produced.out);
}

std::vector<int32_t> lathe::reference::downloadIds(const MoeInstance &instance) {
  MoeProduced produced;
  instance.impl().device->synchronize();
  downloadRouting(instance.impl(), produced);
  return std::move(produced.ids);
}

SortedMap lathe::reference::downloadSortedMap(const MoeInstance &instance, runtime::DevicePtr counts,
                                              runtime::DevicePtr offsets, runtime::DevicePtr slots,
                                              int64_t slotCapacity, int tile) {
  const MoeInstance::Impl &impl = instance.impl();
  impl.device->synchronize();
  auto fetch = [&](runtime::DevicePtr from, size_t count) {
    std::vector<int32_t> values(count);
    if (count > 0)
      impl.device->copyToHost(values.data(), from, count * 4);
    return values;
  };
  const size_t experts = size_t(impl.shape.localExperts);
  return {tile, fetch(counts, experts), fetch(offsets, experts + 1), fetch(slots, size_t(slotCapacity))};
}

std::vector<int64_t> lathe::reference::chooseMoeRows(const MoeInstance::Impl &impl, int sampleRows) {
  // Selection sampling: each row with the chance that what is still wanted has among what is still there.
  Random random(impl.options.seed);
  const int64_t wanted = sampleRows <= 0 ? impl.rows() : std::min(sampleRows, impl.rows());
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < impl.rows(); ++row)
    if (random.below(impl.rows() - row) < wanted - int64_t(rows.size()))
      rows.push_back(row);
  return rows;
}

RoutedRow lathe::reference::referenceRouting(const MoeInstance &instance, int row) {
  return routeRow(instance.shape().router, routerInputs(instance.impl(), row).row);
}

namespace {
/// One row: the gate's logits, where there is one, then what follows from them.
struct RowVerdict {
  RoutedRowCheck routed;
  double worstLogitRatio = 0;
  std::string logitFault;
};
} // namespace

/// Compares a gate's logits with those of float64, in whose place they then stand, without an error.
static void takeLogits(std::span<const float> made, RowInputs &inputs, RowVerdict &verdict) {
  for (size_t expert = 0; expert < made.size(); ++expert) {
    const double got = double(made[expert]), expected = inputs.logits[expert];
    const double error = std::fabs(got - expected), allowed = inputs.errors[expert];
    if (!(error <= allowed) && verdict.logitFault.empty())
      verdict.logitFault =
          fmt::format("expert {}: the gate's logit is {}, expected {} (error {:.3g}, allowed {:.3g})", expert,
                      number(got), number(expected), error, allowed);
    const double ratio = error == 0 ? 0 : error / allowed;
    verdict.worstLogitRatio = std::isnan(ratio) ? HUGE_VAL : std::max(verdict.worstLogitRatio, ratio);
  }
  inputs.logits.assign(made.begin(), made.end());
  inputs.errors.clear();
  inputs.row.logits = inputs.logits;
  inputs.row.logitErrors = inputs.errors;
}

static RowVerdict judgeRow(const MoeInstance::Impl &impl, const MoeProduced &produced, int64_t row) {
  const size_t topK = size_t(impl.topK()), first = size_t(row) * topK;
  const size_t experts = size_t(impl.shape.router.experts);
  RowVerdict verdict;
  RowInputs inputs = routerInputs(impl, row);
  if (impl.shape.gate)
    takeLogits(std::span(produced.logits).subspan(size_t(row) * experts, experts), inputs, verdict);
  verdict.routed = checkRoutedRow(impl.shape.router, inputs.row, std::span(produced.ids).subspan(first, topK),
                                  std::span(produced.weights).subspan(first, topK));
  return verdict;
}

RoutingCheck lathe::reference::checkRouting(const MoeInstance &instance, int sampleRows) {
  const MoeInstance::Impl &impl = instance.impl();
  const MoeProduced produced = downloadMoe(impl);
  const std::vector<int64_t> rows = chooseMoeRows(impl, sampleRows);
  std::vector<RowVerdict> verdicts(rows.size());
  parallelFor(int64_t(rows.size()),
              [&](int64_t i) { verdicts[size_t(i)] = judgeRow(impl, produced, rows[size_t(i)]); });
  RoutingCheck result;
  result.rows = int64_t(rows.size());
  Faults faults;
  for (size_t i = 0; i < verdicts.size(); ++i) {
    const auto &[routed, worstLogitRatio, logitFault] = verdicts[i];
    result.otherOrder += routed.otherOrder;
    result.worstWeightRatio = std::max(result.worstWeightRatio, routed.worstWeightRatio);
    result.worstLogitRatio = std::max(result.worstLogitRatio, worstLogitRatio);
    if (const std::string &fault = logitFault.empty() ? routed.fault : logitFault; !fault.empty())
      faults.add([&] { return fmt::format("row {}, {}", rows[i], fault); });
  }
  result.message = produced.routingFault.empty() ? faults.message() : produced.routingFault;
  result.passed = result.message.empty();
  return result;
}
