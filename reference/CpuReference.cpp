//===- CpuReference.cpp - Paged attention decode in float64 on the host ------------------------------===//
//
// Three plain loops a row, in binary64, from the host copies of a random problem: scores, softmax, weighted
// sum of values. It is the judge of everything else in Lathe, so it knows no trick; rows are shared out among
// threads. compareWithCpu is called by tests, the tuner and `lathe verify`.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/reference/Bf16.h"
#include "lathe/reference/Compare.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <random>
#include <thread>

using namespace lathe;
using namespace lathe::reference;

/// Dot product of a query row (already binary64) and a cache row. Products of bf16 are exact, only sums
/// round.
static double dot(const std::vector<double> &query, const uint16_t *row) {
  constexpr size_t lanes = 8; // Independent sums, which the compiler can keep in vector registers.
  double sums[lanes] = {};
  for (size_t i = 0; i < query.size(); i += lanes) // keyDim is a multiple of 8.
    for (size_t lane = 0; lane < lanes; ++lane)
      sums[lane] += query[i + lane] * double(fromBf16(row[i + lane]));
  double sum = 0;
  for (double part : sums)
    sum += part;
  return sum;
}

/// The same of absolute values.
static double dotMagnitude(const std::vector<double> &query, const uint16_t *row) {
  double sum = 0;
  for (size_t i = 0; i < query.size(); ++i)
    sum += std::fabs(query[i] * double(fromBf16(row[i])));
  return sum;
}

static void addMagnitudes(const AttentionInstance::Impl &impl, const RowName &name,
                          const std::vector<double> &query, const std::vector<double> &weights, double sum,
                          ReferenceRow &result) {
  result.magnitude.assign(result.out.size(), 0.0);
  for (size_t token = 0; token < weights.size(); ++token) {
    const uint16_t *row = impl.cacheRow(name.sequence, int(token));
    result.scoreMagnitude =
        std::max(result.scoreMagnitude, double(impl.shape.scale) * dotMagnitude(query, row));
    for (size_t column = 0; column < result.magnitude.size(); ++column)
      result.magnitude[column] += weights[token] / sum * std::fabs(double(fromBf16(row[column])));
  }
}

ReferenceRow lathe::reference::computeRow(const AttentionInstance::Impl &impl, const RowName &name,
                                          bool magnitudes) {
  const AttentionShape &shape = impl.shape;
  ReferenceRow result;
  result.out.assign(size_t(shape.valueDim), 0.0);
  if (magnitudes)
    result.magnitude.assign(size_t(shape.valueDim), 0.0);
  const int visible = shape.visibleTokens(impl.lengths[size_t(name.sequence)], name.query);
  if (visible == 0) {
    result.lse = std::numeric_limits<double>::infinity();
    return result;
  }
  const uint16_t *queryBits = impl.queryRow(name.sequence, name.query, name.head);
  std::vector<double> query(size_t(shape.keyDim));
  std::transform(queryBits, queryBits + shape.keyDim, query.begin(), fromBf16);

  std::vector<double> weights(size_t(visible), 0.0);
  for (int token = 0; token < visible; ++token)
    weights[size_t(token)] = double(shape.scale) * dot(query, impl.cacheRow(name.sequence, token));
  const double top = *std::max_element(weights.begin(), weights.end());
  double sum = 0;
  for (double &weight : weights)
    sum += weight = std::exp(weight - top);
  for (int token = 0; token < visible; ++token) {
    const double weight = weights[size_t(token)];
    const uint16_t *value = impl.cacheRow(name.sequence, token);
    for (size_t column = 0; column < result.out.size(); ++column)
      result.out[column] += weight * double(fromBf16(value[column]));
  }
  for (double &element : result.out)
    element /= sum;
  result.lse = top + std::log(sum);
  if (magnitudes)
    addMagnitudes(impl, name, query, weights, sum, result);
  return result;
}

void lathe::reference::parallelFor(int64_t count, const std::function<void(int64_t)> &body) {
  std::atomic<int64_t> next = 0;
  auto work = [&] {
    for (int64_t i; (i = next.fetch_add(1)) < count;)
      body(i);
  };
  int64_t helpers = std::min<int64_t>(std::max(1u, std::thread::hardware_concurrency()), count) - 1;
  std::vector<std::thread> threads;
  for (int64_t i = 0; i < helpers; ++i)
    threads.emplace_back(work);
  work();
  for (std::thread &thread : threads)
    thread.join();
}

/// The rows to look at, ascending: all, or `sampleRows` different ones chosen by the problem's seed.
static std::vector<int64_t> chooseRows(const AttentionInstance::Impl &impl, int sampleRows) {
  std::vector<int64_t> rows(size_t(impl.totalRows()));
  for (size_t i = 0; i < rows.size(); ++i)
    rows[i] = int64_t(i);
  if (sampleRows <= 0 || size_t(sampleRows) >= rows.size())
    return rows;
  std::vector<int64_t> chosen;
  std::sample(rows.begin(), rows.end(), std::back_inserter(chosen), sampleRows,
              std::mt19937_64(impl.options.seed));
  return chosen;
}

ReferenceRow lathe::reference::cpuReference(const AttentionInstance &instance, int sequence, int query,
                                            int head) {
  const AttentionInstance::Impl &impl = instance.impl();
  impl.requireHost("cpu reference");
  if (sequence < 0 || sequence >= impl.batch() || query < 0 || query >= impl.shape.queryTokens || head < 0 ||
      head >= impl.shape.heads)
    throw UserError({"cpu reference", "the row must lie inside the problem",
                     fmt::format("sequence {}, query {}, head {}", sequence, query, head), ""});
  return computeRow(impl, {sequence, query, head});
}

Comparison lathe::reference::compareWithCpu(const AttentionInstance &instance, int sampleRows) {
  const AttentionInstance::Impl &impl = instance.impl();
  impl.requireHost("comparison with the cpu reference");
  Produced produced = download(impl);
  if (!produced.gapFault.empty())
    return {.message = produced.gapFault};

  const std::vector<int64_t> rows = chooseRows(impl, sampleRows);
  const size_t valueDim = size_t(impl.shape.valueDim);
  std::vector<RowName> names(rows.size());
  std::vector<uint16_t> gotOut(rows.size() * valueDim), expectedOut(rows.size() * valueDim);
  std::vector<float> gotLse(rows.size());
  std::vector<double> expectedLse(rows.size());
  parallelFor(int64_t(rows.size()), [&](int64_t i) {
    const size_t to = size_t(i), from = size_t(rows[to]);
    names[to] = impl.rowName(rows[to]);
    ReferenceRow row = computeRow(impl, names[to]);
    std::transform(row.out.begin(), row.out.end(), expectedOut.begin() + int64_t(to * valueDim), toBf16);
    expectedLse[to] = row.lse;
    std::copy_n(produced.out.begin() + int64_t(from * valueDim), valueDim,
                gotOut.begin() + int64_t(to * valueDim));
    gotLse[to] = produced.lse[from];
  });
  return compareRows(
      {impl.shape.valueDim, names, gotOut.data(), expectedOut.data(), gotLse.data(), expectedLse.data()});
}
