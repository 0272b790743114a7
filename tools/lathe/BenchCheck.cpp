//===- BenchCheck.cpp - Whether a contender of a benchmark is right ------------------------------------===//
//
// The sampled rows are computed from the host's copies of query, table and cache, straight from the formula.
//
//===--------------------------------------------------------------------------------------------------===//
#include "BenchCheck.h"

#include "lathe/reference/Bf16.h"
#include "lathe/reference/Compare.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

using namespace lathe;
using namespace lathe::tools;
using reference::AttentionShape;
using reference::RowName;

static constexpr double sampleWork = 4e8; ///< Multiply-adds.

Outputs lathe::tools::fetchOutputs(runtime::Device &device, const BenchTensors &tensors, LseOrder order) {
  const AttentionShape &shape = tensors.shape();
  const size_t rows = size_t(tensors.batch()) * size_t(shape.rows());
  Outputs outputs;
  outputs.out.resize(rows * size_t(shape.valueDim));
  device.synchronize();
  const runtime::DecodeTensors layer = tensors.layer(0);
  device.copyToHost(outputs.out.data(), layer.out, outputs.out.size() * 2);
  if (order == LseOrder::None)
    return outputs;
  std::vector<float> lse(rows);
  device.copyToHost(lse.data(), layer.lse, lse.size() * 4);
  if (order == LseOrder::TokensFirst) {
    outputs.lse = std::move(lse);
    return outputs;
  }
  outputs.lse.resize(rows);
  const size_t heads = size_t(shape.heads), queries = size_t(shape.queryTokens);
  for (size_t row = 0; row < rows; ++row) {
    const size_t sequence = row / (heads * queries), query = row / heads % queries, head = row % heads;
    outputs.lse[row] = lse[(sequence * heads + head) * queries + query];
  }
  return outputs;
}

namespace {
/// One output row in float64.
struct ExactRow {
  std::vector<double> out;
  double lse = std::numeric_limits<double>::infinity();
};
} // namespace

static double dot(const std::vector<float> &a, const std::vector<float> &b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += double(a[i]) * double(b[i]);
  return sum;
}

/// Softmax in one pass over the tokens with a running maximum.
static ExactRow exactRow(const BenchTensors &tensors, const RowName &name) {
  const AttentionShape &shape = tensors.shape();
  const int visible = shape.visibleTokens(tensors.lengths()[size_t(name.sequence)], name.query);
  ExactRow row{std::vector<double>(size_t(shape.valueDim), 0)};
  std::vector<float> query, key;
  tensors.queryRow(name.sequence, name.query, name.head, query);
  double most = -std::numeric_limits<double>::infinity(), sum = 0;
  for (int token = 0; token < visible; ++token) {
    tensors.cacheRow(name.sequence, token, key);
    const double score = dot(query, key) * double(shape.scale);
    if (score > most) {
      const double shrink = std::exp(most - score);
      sum *= shrink;
      for (double &value : row.out)
        value *= shrink;
      most = score;
    }
    const double weight = std::exp(score - most);
    sum += weight;
    for (size_t i = 0; i < row.out.size(); ++i)
      row.out[i] += weight * double(key[i]);
  }
  if (visible == 0)
    return row;
  for (double &value : row.out)
    value /= sum;
  row.lse = most + std::log(sum);
  return row;
}

static int sampleSize(const AttentionShape &shape, const std::vector<int> &lengths) {
  const double longest = std::max(1, *std::max_element(lengths.begin(), lengths.end()));
  return int(std::clamp(sampleWork / (longest * (shape.keyDim + shape.valueDim)), 2.0, 16.0));
}

static RowName rowName(const AttentionShape &shape, size_t row) {
  const int inSequence = int(row % size_t(shape.rows()));
  return {int(row / size_t(shape.rows())), inSequence / shape.heads, inSequence % shape.heads};
}

/// Both sides of a comparison, gathered row by row.
namespace {
struct Gathered {
  std::vector<RowName> names;
  std::vector<uint16_t> got, expected;
  std::vector<float> gotLse;
  std::vector<double> expectedLse;
};
} // namespace

static std::string faultOf(const AttentionShape &shape, const Gathered &rows) {
  reference::ComparisonRows comparison;
  comparison.valueDim = shape.valueDim;
  comparison.names = rows.names;
  comparison.gotOut = rows.got.data();
  comparison.expectedOut = rows.expected.data();
  comparison.gotLse = rows.gotLse.data();
  comparison.expectedLse = rows.expectedLse.data();
  return reference::compareRows(comparison).message;
}

ExactSample lathe::tools::exactSample(const BenchTensors &tensors, uint64_t seed) {
  const AttentionShape &shape = tensors.shape();
  const size_t all = size_t(tensors.batch()) * size_t(shape.rows());
  std::mt19937_64 random(seed);
  ExactSample sample;
  sample.rows.push_back(all - 1);
  for (int i = sampleSize(shape, tensors.lengths()); i > 1; --i)
    sample.rows.push_back(random() % all);
  std::vector<ExactRow> exact(sample.rows.size());
  reference::parallelFor(int64_t(exact.size()), [&](int64_t i) {
    exact[size_t(i)] = exactRow(tensors, rowName(shape, sample.rows[size_t(i)]));
  });
  for (const ExactRow &row : exact) {
    for (double value : row.out)
      sample.out.push_back(reference::toBf16(value));
    sample.lse.push_back(row.lse);
  }
  return sample;
}

std::string lathe::tools::faultOfSample(const AttentionShape &shape, const Outputs &outputs,
                                        const ExactSample &sample) {
  const size_t columns = size_t(shape.valueDim);
  Gathered gathered;
  gathered.expected = sample.out;
  gathered.expectedLse = sample.lse;
  for (size_t i = 0; i < sample.rows.size(); ++i) {
    const size_t at = sample.rows[i];
    gathered.names.push_back(rowName(shape, at));
    gathered.got.insert(gathered.got.end(), outputs.out.begin() + ptrdiff_t(at * columns),
                        outputs.out.begin() + ptrdiff_t((at + 1) * columns));
    gathered.gotLse.push_back(outputs.lse.empty() ? float(sample.lse[i]) : outputs.lse[at]);
  }
  return faultOf(shape, gathered);
}

std::string lathe::tools::faultAgainst(const AttentionShape &shape, const Outputs &outputs,
                                       const Outputs &trusted) {
  Gathered gathered;
  const size_t rows = trusted.lse.size();
  for (size_t row = 0; row < rows; ++row)
    gathered.names.push_back(rowName(shape, row));
  gathered.got = outputs.out;
  gathered.expected = trusted.out;
  gathered.gotLse = outputs.lse.empty() ? trusted.lse : outputs.lse;
  gathered.expectedLse.assign(trusted.lse.begin(), trusted.lse.end());
  return faultOf(shape, gathered);
}
