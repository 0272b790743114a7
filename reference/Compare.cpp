//===- Compare.cpp - Downloading outputs and judging them --------------------------------------------===//
//
// Fetches what a kernel wrote, checks that the gaps of strided outputs are untouched, and applies the rules
// of Compare.h in their order. It is apart from the references so that tests can feed it planted mistakes.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/reference/Compare.h"
#include "lathe/reference/Bf16.h"
#include "lathe/reference/Faults.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

using namespace lathe;
using namespace lathe::reference;

static std::string place(const char *what, const RowName &row) {
  return fmt::format("{} of sequence {}, query {}, head {}", what, row.sequence, row.query, row.head);
}

static Faults comparePositions(const ComparisonRows &rows) {
  Faults faults;
  for (size_t i = 0; i < rows.names.size(); ++i) {
    const RowName &name = rows.names[i];
    const bool empty = rows.expectedLse[i] == std::numeric_limits<double>::infinity();
    if (!sameClass(double(rows.gotLse[i]), rows.expectedLse[i]))
      faults.add([&] {
        return fmt::format("{}: got {}, expected {}", place("log-sum-exp", name),
                           number(double(rows.gotLse[i])), number(rows.expectedLse[i]));
      });
    for (int column = 0; column < rows.valueDim; ++column) {
      const size_t at = i * size_t(rows.valueDim) + size_t(column);
      const double got = fromBf16(rows.gotOut[at]), expected = fromBf16(rows.expectedOut[at]);
      if (!sameClass(got, expected) || (empty && got != 0))
        faults.add([&] {
          return fmt::format("{}, column {}: got {}, expected {}{}", place("output", name), column,
                             number(got), number(expected),
                             empty ? " exactly, as the row attends to nothing" : "");
        });
    }
  }
  return faults;
}

/// Elements within tolerance, and the sums for the cosine difference, over finite positions.
static Faults compareElements(const ComparisonRows &rows, Comparison &result) {
  Faults faults;
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < rows.names.size(); ++i)
    for (int column = 0; column < rows.valueDim; ++column) {
      const size_t at = i * size_t(rows.valueDim) + size_t(column);
      const double got = fromBf16(rows.gotOut[at]), expected = fromBf16(rows.expectedOut[at]);
      if (!std::isfinite(expected) || !std::isfinite(got))
        continue;
      ab += got * expected;
      aa += got * got;
      bb += expected * expected;
      const double error = std::abs(got - expected), allowed = outTolerance(expected);
      result.worstRatio = std::max(result.worstRatio, error / allowed);
      if (error > allowed)
        faults.add([&] {
          return fmt::format("{}, column {}: got {}, expected {} (error {:.3g}, allowed {:.3g})",
                             place("output", rows.names[i]), column, number(got), number(expected), error,
                             allowed);
        });
    }
  result.cosineDifference = aa + bb == 0 ? 0 : 1 - 2 * ab / (aa + bb);
  return faults;
}

static Faults compareLse(const ComparisonRows &rows, Comparison &result) {
  Faults faults;
  for (size_t i = 0; i < rows.names.size(); ++i) {
    const double got = double(rows.gotLse[i]), expected = rows.expectedLse[i];
    if (!std::isfinite(expected) || !std::isfinite(got))
      continue;
    const double error = std::abs(got - expected), allowed = lseTolerance(expected);
    result.worstLse = std::max(result.worstLse, error / allowed);
    if (error > allowed)
      faults.add([&] {
        return fmt::format("{}: got {}, expected {} (error {:.3g}, allowed {:.3g})",
                           place("log-sum-exp", rows.names[i]), number(got), number(expected), error,
                           allowed);
      });
  }
  return faults;
}

Comparison lathe::reference::compareRows(const ComparisonRows &rows) {
  Comparison result;
  const Faults positions = comparePositions(rows);
  const Faults elements = compareElements(rows, result);
  const Faults lse = compareLse(rows, result);
  result.cosineAllowed = cosineTolerance(int64_t(rows.names.size()) * rows.valueDim);
  if (positions.count)
    result.message = positions.message();
  else if (elements.count)
    result.message = elements.message();
  else if (!(result.cosineDifference < result.cosineAllowed))
    result.message = fmt::format("output as a whole: cosine difference {:.3g}, must be below {:.3g}",
                                 result.cosineDifference, result.cosineAllowed);
  else if (lse.count)
    result.message = lse.message();
  result.passed = result.message.empty();
  return result;
}

/// The first element of a gap that no longer holds the poison of poisonOutputs(), or -1.
template <class Element>
static int64_t firstWritten(const std::vector<Element> &elements, Element poison) {
  for (size_t i = 0; i < elements.size(); ++i)
    if (elements[i] != poison)
      return int64_t(i);
  return -1;
}

Produced lathe::reference::download(const AttentionInstance::Impl &impl) {
  const runtime::DecodeTensors &t = impl.tensors;
  std::vector<uint16_t> out(size_t(impl.outElements), 0);
  std::vector<uint32_t> lse(size_t(impl.lseElements), 0);
  impl.device->synchronize();
  if (!out.empty()) {
    impl.device->copyToHost(out.data(), t.out, out.size() * 2);
    impl.device->copyToHost(lse.data(), t.lse, lse.size() * 4);
  }

  Produced produced;
  produced.out.resize(size_t(impl.totalRows() * impl.shape.valueDim));
  produced.lse.resize(size_t(impl.totalRows()));
  // What belongs to a row is moved out and poisoned again, so that only the gaps can differ from poison.
  for (int64_t row = 0; row < impl.totalRows(); ++row) {
    const RowName name = impl.rowName(row);
    uint16_t *from = &out[size_t(name.sequence * t.outStrideBatch + name.query * t.outStrideQuery +
                                 name.head * t.outStrideHead)];
    std::copy_n(from, impl.shape.valueDim, produced.out.data() + row * impl.shape.valueDim);
    std::fill_n(from, impl.shape.valueDim, poisonBits);
    uint32_t &bits = lse[size_t(name.sequence * t.lseStrideBatch + name.head * t.lseStrideHead +
                                name.query * t.lseStrideQuery)];
    produced.lse[size_t(row)] = std::bit_cast<float>(std::exchange(bits, 0xffffffffu));
  }
  if (int64_t at = firstWritten(out, poisonBits); at >= 0)
    produced.gapFault = fmt::format("out: the kernel wrote into a gap between rows, at element {}", at);
  else if (int64_t at = firstWritten(lse, 0xffffffffu); at >= 0)
    produced.gapFault = fmt::format("lse: the kernel wrote into a gap between rows, at element {}", at);
  return produced;
}
