//===- MoeLogits.cpp - Random routings of chosen shapes ----------------------------------------------===//
//
// Draws the logits and biases from which a spread of rows over experts comes about, with ties and NaN where
// they are asked for, and ids that no router would make. Called while a random problem is made; routerInputs
// by the judges as well.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/reference/MoeInside.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

using namespace lathe;
using namespace lathe::reference;

/// Correction biases are small beside sigmoids.
static constexpr double biasDeviation = 0.05;
/// A logit that loses against every drawn one, and a bias that loses or wins against every score.
static constexpr float losingLogit = -20, losingBias = -1, winningBias = 2;

/// log of the chance of each expert; adding Gumbel noise and taking the topK largest draws without
/// replacement.
static std::vector<double> logChances(const MoeInstance::Impl &impl, Random &random) {
  const size_t experts = size_t(impl.shape.router.experts);
  std::vector<size_t> rank(experts);
  std::iota(rank.begin(), rank.end(), size_t(0));
  for (size_t i = experts - 1; i > 0; --i)
    std::swap(rank[i], rank[size_t(random.below(int64_t(i) + 1))]);
  std::vector<double> chances(experts, 0.0);
  if (impl.options.spread == Spread::Zipf)
    for (size_t i = 0; i < experts; ++i)
      chances[i] = -impl.options.zipf * std::log(double(rank[i] + 1));
  return chances;
}

static float nanOrMinusInfinity(Random &random) {
  switch (random.below(4)) {
  case 0:
    return std::bit_cast<float>(0x7fc00000u);
  case 1:
    return std::bit_cast<float>(0xffc00000u); // Sorts below everything where bits are compared as integers.
  default:
    return -std::numeric_limits<float>::infinity();
  }
}

static void drawRow(const MoeInstance::Impl &impl, Random &random, const std::vector<double> &chances,
                    int special, std::span<float> row) {
  const MoeOptions &options = impl.options;
  const MoeShape &shape = impl.shape;
  for (size_t i = 0; i < row.size(); ++i)
    row[i] = options.ties ? float(random.below(3)) - 1
                          : float(chances[i] - std::log(-std::log(random.unit() * (1 - 1e-9))));
  for (size_t i = 0; options.ties && i < row.size(); ++i)
    if (row[i] == 0 && random.below(2))
      row[i] = -0.0f; // Equal to 0, with other bits.
  if (options.spread == Spread::OneTakesAll) {
    row[size_t(special)] = *std::max_element(row.begin(), row.end()) + 2;
  } else if (options.spread == Spread::SkipOne) {
    row[size_t(special)] = losingLogit;
  } else if (options.spread == Spread::NoneLocal) {
    std::fill_n(row.begin() + shape.firstExpert, shape.localExperts, losingLogit);
  }
}

static void drawBias(MoeInstance::Impl &impl, Random &random, int special) {
  const MoeOptions &options = impl.options;
  impl.bias.resize(size_t(impl.shape.router.experts));
  for (float &bias : impl.bias)
    bias = options.ties ? float(random.below(2)) / 8 : float(biasDeviation * random.normal());
  if (options.spread == Spread::OneTakesAll)
    impl.bias[size_t(special)] = winningBias;
  else if (options.spread == Spread::SkipOne)
    impl.bias[size_t(special)] = losingBias;
  else if (options.spread == Spread::NoneLocal)
    std::fill_n(impl.bias.begin() + impl.shape.firstExpert, impl.shape.localExperts, losingBias);
}

/// The first row has nothing but NaN, the second one number, the others a few of either.
static void plantNans(MoeInstance::Impl &impl, Random &random) {
  const int64_t experts = impl.shape.router.experts;
  for (int64_t row = 0; row < impl.rows(); ++row)
    for (int64_t expert = 0; expert < experts; ++expert)
      if (row == 0)
        impl.logits[size_t(expert)] = std::numeric_limits<float>::quiet_NaN();
      else if (row == 1 ? expert != experts / 2 : random.below(6) == 0)
        impl.logits[size_t(row * experts + expert)] = nanOrMinusInfinity(random);
}

void lathe::reference::drawLogits(MoeInstance::Impl &impl, Random &random) {
  const size_t experts = size_t(impl.shape.router.experts);
  const std::vector<double> chances = logChances(impl, random);
  // The expert that takes all or is skipped is a local one.
  const int special = impl.shape.firstExpert + int(random.below(impl.shape.localExperts));
  if (impl.shape.router.bias)
    drawBias(impl, random, special);
  if (impl.shape.gate)
    return;
  impl.logits.resize(size_t(impl.rows()) * experts);
  for (size_t first = 0; first < impl.logits.size(); first += experts)
    drawRow(impl, random, chances, special, std::span(impl.logits).subspan(first, experts));
  if (impl.options.nans)
    plantNans(impl, random);
  if (impl.shape.logits == Dtype::BF16)
    for (float &logit : impl.logits)
      logit = fromBf16(toBf16(double(logit)));
}

void lathe::reference::drawWildIds(MoeInstance::Impl &impl, Random &random) {
  const MoeShape &shape = impl.shape;
  const int32_t wild[] = {-1,
                          std::numeric_limits<int32_t>::min(),
                          std::numeric_limits<int32_t>::max(),
                          shape.router.experts,
                          shape.firstExpert - 1,
                          shape.firstExpert + shape.localExperts};
  for (size_t i = 0; i < impl.ids.size(); ++i)
    if (const int64_t what = random.below(8); what == 0)
      impl.ids[i] = wild[random.below(std::size(wild))];
    else if (what == 1 && i % size_t(impl.topK()) != 0)
      impl.ids[i] = impl.ids[i - 1];
}

/// A gate's logit in float64, and how far a float32 sum in any order may be off: n roundings of the sum of
/// magnitudes at the most, and four times √n of them at most in practice, as roundings have random signs.
static void gateLogits(const MoeInstance::Impl &impl, int64_t row, RowInputs &inputs) {
  const uint16_t *x = impl.x.row(row);
  const double width = double(impl.shape.hidden), roundings = std::min(width, 4 * std::sqrt(width));
  for (int64_t expert = 0; expert < impl.shape.router.experts; ++expert) {
    double sum = 0, magnitude = 0;
    for (int i = 0; i < impl.shape.hidden; ++i) {
      const double product = double(fromBf16(x[i])) * double(impl.gateAt(expert, i));
      sum += product;
      magnitude += std::fabs(product);
    }
    inputs.logits.push_back(sum);
    inputs.errors.push_back(roundings * magnitude * 0x1p-23);
  }
}

RowInputs lathe::reference::routerInputs(const MoeInstance::Impl &impl, int64_t row) {
  RowInputs inputs;
  if (impl.shape.gate) {
    gateLogits(impl, row, inputs);
  } else {
    const auto first = impl.logits.begin() + row * impl.shape.router.experts;
    inputs.logits.assign(first, first + impl.shape.router.experts);
  }
  inputs.row = {inputs.logits, inputs.errors, impl.bias};
  return inputs;
}
