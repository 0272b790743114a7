//===- MoeCpuReference.cpp - The expert layer in float64 on the host ---------------------------------===//
//
// Two plain matrix-vector products for each expert of a row, in binary64, from the host copies of a random
// problem. It is the judge of everything else in Lathe, so it knows no trick; rows are shared out among
// threads. compareWithCpu is called by tests, the tuner and `lathe verify`.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/reference/Instance.h"
#include "lathe/reference/MoeCompare.h"
#include "lathe/reference/MoeInside.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

using namespace lathe;
using namespace lathe::reference;

static constexpr size_t lanes = 8; // Independent sums, which the compiler can keep in vector registers.

/// Products of bf16 are exact, only sums round. The length is a multiple of 8.
static double dot(const std::vector<double> &vector, const uint16_t *row) {
  double sums[lanes] = {};
  for (size_t i = 0; i < vector.size(); i += lanes)
    for (size_t lane = 0; lane < lanes; ++lane)
      sums[lane] += vector[i + lane] * double(fromBf16(row[i + lane]));
  double sum = 0;
  for (double part : sums)
    sum += part;
  return sum;
}

/// The same of squared products.
static double dotSquare(const std::vector<double> &vector, const uint16_t *row) {
  double sums[lanes] = {};
  for (size_t i = 0; i < vector.size(); i += lanes)
    for (size_t lane = 0; lane < lanes; ++lane) {
      const double product = vector[i + lane] * double(fromBf16(row[i + lane]));
      sums[lane] += product * product;
    }
  double sum = 0;
  for (double part : sums)
    sum += part;
  return sum;
}

static double activate(Activation activation, double gate, double up) {
  const double silu = gate / (1 + std::exp(-gate));
  switch (activation) {
  case Activation::SwiGlu:
    return silu * up;
  case Activation::Silu:
    return silu;
  case Activation::Gelu:
    return gate * (1 + std::erf(gate / std::numbers::sqrt2)) / 2;
  }
  return 0;
}

namespace {

/// One row: experts are added one by one.
class RowSum {
public:
  RowSum(const MoeInstance::Impl &impl, int64_t row, const MoeReferenceOptions &options)
      : shape_(impl.shape), options_(options), x_(size_t(shape_.hidden)), activated_(size_t(shape_.inner)),
        sums_(size_t(shape_.hidden)) {
    std::transform(impl.x.row(row), impl.x.row(row) + shape_.hidden, x_.begin(), fromBf16);
  }

  /// gate(i) and up(i): rows of the first matrix; down(h): of the second.
  template <class Gate, class Up, class Down>
  void add(double weight, const Gate &gate, const Up &up, const Down &down) {
    for (int i = 0; i < shape_.inner; ++i) {
      const double upValue = shape_.halves() == 2 ? dot(x_, up(i)) : 0;
      const double value = activate(shape_.activation, dot(x_, gate(i)), upValue);
      activated_[size_t(i)] = options_.roundActivated ? double(fromBf16(toBf16(value))) : value;
    }
    for (int h = 0; h < shape_.hidden; ++h) {
      const double part = weight * dot(activated_, down(h));
      MoeSums &sums = sums_[size_t(h)];
      sums.value += part;
      sums.magnitude += std::fabs(part);
      sums.square += weight * weight * dotSquare(activated_, down(h));
    }
  }

  MoeRow result() const {
    MoeRow row;
    for (const MoeSums &sums : sums_) {
      row.out.push_back(sums.value);
      row.allowed.push_back(allowedError(sums));
    }
    return row;
  }

private:
  const MoeShape &shape_;
  MoeReferenceOptions options_;
  std::vector<double> x_, activated_;
  std::vector<MoeSums> sums_;
};

} // namespace

MoeRow lathe::reference::computeMoeRow(const MoeInstance::Impl &impl, int64_t row,
                                       std::span<const int32_t> ids, std::span<const float> weights,
                                       const MoeReferenceOptions &options) {
  const MoeShape &shape = impl.shape;
  RowSum sum(impl, row, options);
  for (size_t choice = 0; choice < ids.size(); ++choice) {
    const int64_t expert = int64_t(ids[choice]) - shape.firstExpert;
    if (expert < 0 || expert >= shape.localExperts)
      continue;
    const int64_t first1 = impl.firstRow1(int(expert), 0), first2 = impl.firstRow2(int(expert));
    sum.add(
        double(weights[choice]), [&](int i) { return impl.w1.row(first1 + i); },
        [&](int i) { return impl.w1.row(first1 + shape.inner + i); },
        [&](int h) { return impl.w2.row(first2 + h); });
  }
  for (int expert = 0; expert < shape.sharedExperts; ++expert)
    sum.add(
        1, [&](int i) { return impl.shared1.row(impl.firstSharedRow1(expert, 0) + i); },
        [&](int i) { return impl.shared1.row(impl.firstSharedRow1(expert, 1) + i); },
        [&](int h) { return impl.shared2.row(h) + int64_t(expert) * shape.inner; });
  return sum.result();
}

MoeRow lathe::reference::cpuReference(const MoeInstance &instance, int row,
                                      const MoeReferenceOptions &options) {
  const MoeInstance::Impl &impl = instance.impl();
  if (row < 0 || row >= impl.rows())
    throw UserError({"cpu reference", "the row must lie inside the problem", std::to_string(row), ""});
  const size_t topK = size_t(impl.topK()), first = size_t(row) * topK;
  return computeMoeRow(impl, row, std::span(impl.ids).subspan(first, topK),
                       std::span(impl.weights).subspan(first, topK), options);
}

MoeComparison lathe::reference::compareWithCpu(const MoeInstance &instance, int sampleRows,
                                               const MoeReferenceOptions &options) {
  const MoeInstance::Impl &impl = instance.impl();
  const MoeProduced produced = downloadMoe(impl);
  if (!produced.outFault.empty())
    return {.message = produced.outFault};
  const std::vector<int64_t> rows = chooseMoeRows(impl, sampleRows);
  const size_t hidden = size_t(impl.shape.hidden), topK = size_t(impl.topK());
  std::vector<uint16_t> got(rows.size() * hidden);
  std::vector<float> expected(got.size()), allowed(got.size());
  parallelFor(int64_t(rows.size()), [&](int64_t i) {
    const size_t from = size_t(rows[size_t(i)]);
    const int64_t to = i * int64_t(hidden);
    const MoeRow row = computeMoeRow(impl, int64_t(from), std::span(produced.ids).subspan(from * topK, topK),
                                     std::span(produced.weights).subspan(from * topK, topK), options);
    std::copy(row.out.begin(), row.out.end(), expected.begin() + to);
    std::copy(row.allowed.begin(), row.allowed.end(), allowed.begin() + to);
    std::copy_n(produced.out.begin() + int64_t(from * hidden), hidden, got.begin() + to);
  });
  return compareRows({impl.shape.hidden, rows, got, expected, allowed});
}
