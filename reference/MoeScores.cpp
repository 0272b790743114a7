//===- MoeScores.cpp - Scores and keys of one row, with their errors ---------------------------------===//
//
// Softmax and sigmoid in float64, group scores and weights, each with the bound on what float32 makes of it.
// Nothing here is fitted: the constants are units of rounding of the operations that a kernel needs.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/reference/MoeScores.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

using namespace lathe;
using namespace lathe::reference;

static constexpr double infinity = std::numeric_limits<double>::infinity();
/// Neighbouring float32 numbers; twice the error of a rounded operation.
static constexpr double floatUnit = 0x1p-23;
/// Below this a kernel may have flushed a number to zero.
static constexpr double smallestScore = 0x1p-125;
/// exp2 of the special function unit is off by two units (PTX ISA), the division by two; two for what is
/// left.
static constexpr double exponentialUnits = 4, divisionUnits = 2;
/// Roundings of an exponential's argument: the difference, the product with log2 e, and that constant.
static constexpr double argumentUnits = 2;

bool RowScores::tied(int a, int b) const {
  const size_t i = size_t(a), j = size_t(b);
  if (keys[i] == -infinity || keys[j] == -infinity)
    return keys[i] == keys[j];
  return logitsExact && logits[i] == logits[j] && biases[i] == biases[j];
}

/// For numbers that may be minus infinity, of which none is off.
static bool clearlyAbove(double a, double aError, double b, double bError) {
  if (a == -infinity || b == -infinity)
    return a > b;
  return a - aError > b + bError;
}

bool RowScores::precedes(int a, int b) const {
  const size_t i = size_t(a), j = size_t(b);
  return tied(a, b) ? a < b : clearlyAbove(keys[i], keyErrors[i], keys[j], keyErrors[j]);
}

bool GroupScores::tied(int a, int b) const {
  const size_t i = size_t(a), j = size_t(b);
  if (scores[i] == -infinity || scores[j] == -infinity)
    return scores[i] == scores[j];
  return logitsExact && contenders[i] == contenders[j];
}

bool GroupScores::precedes(int a, int b) const {
  const size_t i = size_t(a), j = size_t(b);
  return tied(a, b) ? a < b : clearlyAbove(scores[i], errors[i], scores[j], errors[j]);
}

static double readLogit(double logit) {
  if (std::isnan(logit))
    return -infinity;
  return logit == infinity ? double(std::numeric_limits<float>::max()) : logit;
}

/// Scores, their errors, and in keyErrors what two scores of the row can be off against each other.
static void softmax(const RouterRow &row, RowScores &result) {
  const size_t experts = result.logits.size();
  const double top = *std::max_element(result.logits.begin(), result.logits.end());
  if (top == -infinity)
    return;
  double sum = 0, sumError = 0;
  for (size_t i = 0; i < experts; ++i) {
    const double argument = result.logits[i] - top;
    const double exponential = result.scores[i] = std::exp(argument);
    double relative = (argumentUnits * std::fabs(argument) + exponentialUnits) * floatUnit;
    if (!row.logitErrors.empty())
      relative += std::expm1(row.logitErrors[i]);
    result.keyErrors[i] = exponential == 0 ? smallestScore : exponential * relative + smallestScore;
    sum += exponential;
    sumError += result.keyErrors[i];
  }
  const double common = sumError / sum + double(experts) / 2 * floatUnit;
  for (size_t i = 0; i < experts; ++i) {
    const double score = result.scores[i] /= sum;
    result.keyErrors[i] = result.keyErrors[i] / sum + divisionUnits * floatUnit * score + smallestScore;
    result.scoreErrors[i] = result.keyErrors[i] + common * score;
  }
}

static void sigmoid(const RouterRow &row, RowScores &result) {
  for (size_t i = 0; i < result.logits.size(); ++i) {
    const double logit = result.logits[i];
    if (logit == -infinity)
      continue;
    const double exponential = std::exp(-logit), score = 1 / (1 + exponential);
    // An error of the exponential counts by its share of the denominator: 1 - score.
    const double share = logit < -700 ? 1 : exponential * score;
    double relative = (argumentUnits * std::fabs(logit) + exponentialUnits) * share * floatUnit;
    relative += (1 + divisionUnits) * floatUnit;
    if (!row.logitErrors.empty())
      relative += share * std::expm1(row.logitErrors[i]);
    result.scores[i] = score;
    result.scoreErrors[i] = result.keyErrors[i] = (score == 0 ? 0 : score * relative) + smallestScore;
  }
}

RowScores lathe::reference::scoreRow(const MoeRouter &router, const RouterRow &row) {
  const size_t experts = size_t(router.experts);
  RowScores result;
  result.logits.resize(experts);
  std::transform(row.logits.begin(), row.logits.end(), result.logits.begin(), readLogit);
  result.logitsExact = row.logitErrors.empty();
  result.biases.assign(experts, 0.0);
  result.scores.assign(experts, 0.0);
  result.scoreErrors.assign(experts, 0.0);
  result.keyErrors.assign(experts, 0.0);
  if (router.scoring == Scoring::Softmax)
    softmax(row, result);
  else
    sigmoid(row, result);

  if (router.bias)
    std::copy(row.bias.begin(), row.bias.end(), result.biases.begin());
  result.keys.resize(experts);
  for (size_t i = 0; i < experts; ++i) {
    const double key = result.scores[i] + result.biases[i];
    const bool last = result.logits[i] == -infinity || std::isnan(key);
    result.keys[i] = last ? -infinity : key;
    if (router.bias) // What scores have in common counts once something else is added to them.
      result.keyErrors[i] = last ? 0 : result.scoreErrors[i] + floatUnit * std::fabs(key);
  }
  return result;
}

GroupScores lathe::reference::scoreGroups(const MoeRouter &router, const RowScores &row) {
  GroupScores result;
  result.logitsExact = row.logitsExact;
  const int size = router.experts / router.groups;
  const int taken = router.groupScore == GroupScore::Best || size == 1 ? 1 : 2;
  for (int group = 0; group < router.groups; ++group) {
    std::vector<int> members(static_cast<size_t>(size));
    std::iota(members.begin(), members.end(), group * size);
    std::sort(members.begin(), members.end(), [&](int a, int b) { return row.before(a, b); });
    double score = 0, widest = 0;
    for (int i = 0; i < taken; ++i)
      score += row.keys[size_t(members[size_t(i)])];
    for (int member : members)
      widest = std::max(widest, row.keyErrors[size_t(member)]);
    result.scores.push_back(score);
    result.errors.push_back(taken * widest + (taken == 2 ? floatUnit * std::fabs(score) : 0));

    const int last = members[size_t(taken - 1)];
    std::vector<std::pair<double, double>> contenders;
    for (int member : members)
      if (member == last || !row.precedes(last, member))
        contenders.emplace_back(row.logits[size_t(member)], row.biases[size_t(member)]);
    std::sort(contenders.begin(), contenders.end());
    result.contenders.push_back(std::move(contenders));
  }
  return result;
}

RowWeights lathe::reference::weighRow(const MoeRouter &router, const RowScores &row,
                                      std::span<const int32_t> ids) {
  double sum = 0, sumError = 0;
  for (int32_t id : ids) {
    sum += row.scores[size_t(id)];
    sumError += row.scoreErrors[size_t(id)];
  }
  const double scale = double(router.scale);
  RowWeights result;
  for (int32_t id : ids) {
    const double score = row.scores[size_t(id)], scoreError = row.scoreErrors[size_t(id)];
    double weight = score, error = scoreError;
    if (router.renormalize) {
      weight = sum == 0 ? 0 : score / sum;
      const double relative = sumError / sum + (double(ids.size()) + divisionUnits) * floatUnit;
      error = sum == 0 ? 0 : scoreError / sum + weight * relative;
    }
    result.weights.push_back(weight * scale);
    error = (error + weight * floatUnit) * std::fabs(scale) + smallestScore;
    result.errors.push_back(score == 0 ? 0 : error); // A weight of nothing is nothing.
  }
  return result;
}
