//===- Reference.cpp - What a layer must compute -------------------------------------------------------===//
//
// Formulas, in the order of Layer.cpp. Nothing is rounded but weights and the cache's older rows, which are
// bfloat16.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Reference.h"

#include <algorithm>

using namespace lathe;
using namespace lathe::examples;
using reference::RandomMatrix;

const std::vector<Reference::Stage> &Reference::stages() {
  using R = RowTensors;
  static const std::vector<Stage> all = {{"norm", &Reference::norm, {&R::normed}},
                                         {"project", &Reference::project, {&R::query, &R::keyValue}},
                                         {"absorb", &Reference::absorb, {&R::absorbed}},
                                         {"append", &Reference::append, {&R::appended}},
                                         {"attend", &Reference::attend, {&R::attended}},
                                         {"output", &Reference::output, {&R::values, &R::projected}},
                                         {"residual", &Reference::residual, {&R::middle, &R::routed}},
                                         {"gate", &Reference::gate, {&R::logits}},
                                         {"experts", &Reference::experts, {&R::experts}},
                                         {"finish", &Reference::finish, {&R::out}}};
  return all;
}

/// `rows` rows of a matrix from `first` on, each times `vector`.
static Row multiply(const RandomMatrix &matrix, int64_t first, int64_t rows, std::span<const double> vector) {
  Row result;
  for (int64_t row = first; row < first + rows; ++row)
    result.push_back(dot(vector, matrix.row(row)));
  return result;
}

static void append(Row &to, const Row &more) { to.insert(to.end(), more.begin(), more.end()); }

static Row sum(Row a, const Row &b) {
  for (size_t i = 0; i < a.size(); ++i)
    a[i] += b[i];
  return a;
}

/// Columns of head `head` of a row of `heads` of them.
static std::span<const double> headOf(const Row &row, int head, int heads) {
  const size_t width = row.size() / size_t(heads);
  return std::span(row).subspan(size_t(head) * width, width);
}

//===- Attention ---------------------------------------------------------------------------------------===//

void Reference::norm(RowTensors &row, const RowCase &) const {
  row.normed = rmsNorm(row.x, w_.attentionGain.host.data());
}

void Reference::project(RowTensors &row, const RowCase &) const {
  row.query = multiply(w_.query.host, 0, w_.query.host.rows(), row.normed);
  row.keyValue = multiply(w_.keyValue.host, 0, w_.keyValue.host.rows(), row.normed);
}

void Reference::absorb(RowTensors &row, const RowCase &where) const {
  row.absorbed.clear();
  for (int head = 0; head < shape_.heads; ++head) {
    const std::span<const double> query = headOf(row.query, head, shape_.heads);
    ::append(row.absorbed, multiply(w_.absorbed.host, int64_t(head) * shape_.latent, shape_.latent,
                                    query.first(size_t(shape_.nope))));
    ::append(row.absorbed, rotate(query.subspan(size_t(shape_.nope)), cache_.position(where.sequence)));
  }
}

void Reference::append(RowTensors &row, const RowCase &where) const {
  const std::span<const double> keyValue(row.keyValue);
  row.appended = rmsNorm(keyValue.first(size_t(shape_.latent)), w_.cacheGain.host.data());
  ::append(row.appended, rotate(keyValue.subspan(size_t(shape_.latent)), cache_.position(where.sequence)));
}

/// softmax(scale · query · cache) · the cache's latent columns.
Row Reference::attendHead(std::span<const double> query, const RowTensors &row, int sequence) const {
  const int last = cache_.position(sequence);
  Row scores;
  for (int token = 0; token < last; ++token)
    scores.push_back(double(shape_.scale) * dot(query, cache_.row(sequence, token)));
  double own = 0;
  for (size_t i = 0; i < query.size(); ++i)
    own += query[i] * row.appended[i];
  scores.push_back(double(shape_.scale) * own);
  const double largest = *std::max_element(scores.begin(), scores.end());
  double total = 0;
  for (double &score : scores)
    total += score = std::exp(score - largest);
  Row result(static_cast<size_t>(shape_.latent), 0.0);
  for (int token = 0; token <= last; ++token) {
    const double weight = scores[size_t(token)] / total;
    const uint16_t *older = token < last ? cache_.row(sequence, token) : nullptr;
    for (size_t i = 0; i < result.size(); ++i)
      result[i] += weight * (older ? double(reference::fromBf16(older[i])) : row.appended[i]);
  }
  return result;
}

void Reference::attend(RowTensors &row, const RowCase &where) const {
  row.attended.clear();
  for (int head = 0; head < shape_.heads; ++head)
    ::append(row.attended, attendHead(headOf(row.absorbed, head, shape_.heads), row, where.sequence));
}

void Reference::output(RowTensors &row, const RowCase &) const {
  row.values.clear();
  for (int head = 0; head < shape_.heads; ++head)
    ::append(row.values, multiply(w_.values.host, int64_t(head) * shape_.value, shape_.value,
                                  headOf(row.attended, head, shape_.heads)));
  row.projected = multiply(w_.output.host, 0, shape_.hidden, row.values);
}

//===- Experts -----------------------------------------------------------------------------------------===//

void Reference::residual(RowTensors &row, const RowCase &) const {
  row.middle = sum(row.x, row.projected);
  row.routed = rmsNorm(row.middle, w_.expertsGain.host.data());
}

void Reference::gate(RowTensors &row, const RowCase &) const {
  row.logits = multiply(w_.gate.host, 0, shape_.moe.experts, row.routed);
}

/// silu(gate) · up.
static Row activate(const Row &gate, const Row &up) {
  Row result;
  for (size_t i = 0; i < gate.size(); ++i)
    result.push_back(gate[i] / (1 + std::exp(-gate[i])) * up[i]);
  return result;
}

void Reference::experts(RowTensors &row, const RowCase &where) const {
  const int64_t inner = shape_.moe.intermediate, shared = shape_.moe.shared;
  row.experts.assign(row.routed.size(), 0.0);
  for (size_t choice = 0; choice < where.ids.size(); ++choice) {
    const int64_t expert = where.ids[choice];
    const Row activated = activate(multiply(w_.w1.host, 2 * expert * inner, inner, row.routed),
                                   multiply(w_.w1.host, (2 * expert + 1) * inner, inner, row.routed));
    const Row out = multiply(w_.w2.host, expert * shape_.hidden, shape_.hidden, activated);
    for (size_t i = 0; i < out.size(); ++i)
      row.experts[i] += double(where.weights[choice]) * out[i];
  }
  if (shared == 0)
    return; // All shared experts are one that is as wide as they are together.
  const Row activated = activate(multiply(w_.shared1.host, 0, shared * inner, row.routed),
                                 multiply(w_.shared1.host, shared * inner, shared * inner, row.routed));
  row.experts = sum(row.experts, multiply(w_.shared2.host, 0, shape_.hidden, activated));
}

void Reference::finish(RowTensors &row, const RowCase &) const { row.out = sum(row.middle, row.experts); }
