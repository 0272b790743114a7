//===- FloatRouter.h - Routing as a kernel would do it -----------------------------------------------===//
//
// The rules of routing in float32, in the steps that a GPU takes: exp2 of a scaled difference, a sum, a
// division, stable selection by key. The judge must accept all that it makes; tests spoil its results.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/reference/MoeRouting.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace lathe::reference {

struct FloatRouted {
  std::vector<int32_t> ids;
  std::vector<float> weights;
};

class FloatRouter {
public:
  /// `byLogits`: order by logits instead of scores where the exponential keeps the order: no bias, no sums.
  FloatRouter(const MoeRouter &router, std::vector<float> logits, std::span<const float> bias,
              bool byLogits = false)
      : router_(router), logits_(std::move(logits)) {
    for (float &logit : logits_)
      logit = std::isnan(logit) ? lowest : std::min(logit, std::numeric_limits<float>::max());
    router.scoring == Scoring::Softmax ? softmax() : sigmoid();
    const bool monotonous = router.scoring == Scoring::Softmax && !router.bias &&
                            (router.groups == 1 || router.groupScore == GroupScore::Best);
    keys_ = byLogits && monotonous ? logits_ : scores_;
    for (size_t i = 0; i < keys_.size(); ++i)
      keys_[i] = logits_[i] == lowest ? lowest : keys_[i] + (router.bias ? bias[i] : 0);
  }

  FloatRouted route() const {
    const int size = router_.experts / router_.groups;
    std::vector<float> groupKeys;
    for (int group = 0; group < router_.groups; ++group) {
      std::vector<float> members(keys_.begin() + int64_t(group) * size,
                                 keys_.begin() + int64_t(group + 1) * size);
      std::sort(members.rbegin(), members.rend());
      groupKeys.push_back(members[0] +
                          (router_.groupScore == GroupScore::TwoBest && size > 1 ? members[1] : 0.0f));
    }
    const std::vector<int32_t> groups = descending(groupKeys);
    std::vector<int32_t> rank(size_t(router_.groups));
    for (size_t i = 0; i < groups.size(); ++i)
      rank[size_t(groups[i])] = int32_t(i);
    FloatRouted result;
    for (int32_t id : descending(keys_))
      if (int(result.ids.size()) < router_.topK && rank[size_t(id / size)] < router_.topGroups)
        result.ids.push_back(id);
    float sum = 0;
    for (int32_t id : result.ids)
      sum += scores_[size_t(id)];
    for (int32_t id : result.ids) {
      float weight = scores_[size_t(id)];
      if (router_.renormalize)
        weight = sum == 0 ? 0 : weight / sum;
      result.weights.push_back(weight * router_.scale);
    }
    return result;
  }

private:
  static constexpr float lowest = -std::numeric_limits<float>::infinity();
  static constexpr float log2e = 1.44269504f;

  static std::vector<int32_t> descending(const std::vector<float> &keys) {
    std::vector<int32_t> order(keys.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return keys[size_t(a)] != keys[size_t(b)] ? keys[size_t(a)] > keys[size_t(b)] : a < b;
    });
    return order;
  }
  void softmax() {
    scores_.assign(logits_.size(), 0.0f);
    const float top = *std::max_element(logits_.begin(), logits_.end());
    if (top == lowest)
      return;
    float sum = 0;
    for (size_t i = 0; i < logits_.size(); ++i)
      sum += scores_[i] = std::exp2((logits_[i] - top) * log2e);
    for (float &score : scores_)
      score /= sum;
  }
  void sigmoid() {
    for (float logit : logits_)
      scores_.push_back(1 / (1 + std::exp2(-logit * log2e)));
  }

  MoeRouter router_;
  std::vector<float> logits_, scores_, keys_;
};

} // namespace lathe::reference
