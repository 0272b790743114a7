//===- Weights.cpp - A layer's random weights ----------------------------------------------------------===//
//
// Deviations of one over the root of the columns, so that products are about N(0, 1) again.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Weights.h"

#include <cmath>

using namespace lathe;
using namespace lathe::examples;
using reference::Random;
using runtime::Device;

Matrix::Matrix(Device &device, Random &random, int64_t rows, int64_t width, double deviation)
    : host(random, rows, width, deviation), memory(device, size_t(rows * width) * 2) {
  host.upload(device, memory.get(), width);
}

static Vector<uint16_t> gain(Device &device, Random &random, int width) {
  std::vector<uint16_t> values;
  for (int i = 0; i < width; ++i)
    values.push_back(reference::toBf16(1 + 0.1 * random.normal()));
  return {device, std::move(values)};
}

static Vector<float> correction(Device &device, Random &random, const dsl::MoeShape &shape) {
  std::vector<float> values;
  for (int i = 0; shape.bias && i < shape.experts; ++i)
    values.push_back(float(0.05 * random.normal()));
  return {device, std::move(values)};
}

Weights::Weights(Device &device, const LayerShape &s, Random &random) {
  const dsl::MoeShape &m = s.moe;
  const double ofHidden = 1 / std::sqrt(s.hidden), ofLatent = 1 / std::sqrt(s.latent),
               ofInner = 1.7 / std::sqrt(m.intermediate); // Activations are smaller than what went in.
  const auto matrix = [&](int64_t rows, int64_t width, double deviation) {
    return Matrix(device, random, rows, width, deviation);
  };
  attentionGain = gain(device, random, s.hidden);
  cacheGain = gain(device, random, s.latent);
  expertsGain = gain(device, random, s.hidden);
  query = matrix(s.queryColumns(), s.hidden, ofHidden);
  keyValue = matrix(s.keyDim(), s.hidden, ofHidden);
  absorbed = matrix(int64_t(s.heads) * s.latent, s.nope, ofLatent);
  values = matrix(s.valueColumns(), s.latent, ofLatent);
  output = matrix(s.hidden, s.valueColumns(), 1 / std::sqrt(double(s.valueColumns())));
  gate = matrix(m.experts, s.hidden, 1.5 * ofHidden);
  bias = correction(device, random, m);
  w1 = matrix(int64_t(m.experts) * 2 * m.intermediate, s.hidden, ofHidden);
  w2 = matrix(int64_t(m.experts) * s.hidden, m.intermediate, ofInner);
  if (m.shared == 0)
    return;
  shared1 = matrix(int64_t(2) * m.shared * m.intermediate, s.hidden, ofHidden);
  shared2 = matrix(s.hidden, int64_t(m.shared) * m.intermediate, ofInner);
}
