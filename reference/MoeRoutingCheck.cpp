//===- MoeRoutingCheck.cpp - The judge of what a kernel chose ----------------------------------------===//
//
// Asks of every pair of experts whether the rules and float32 leave their order open, and of every set of
// groups that rounding leaves possible whether the choice could have come from it. Called for each row that
// a routing kernel made.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/reference/Faults.h"
#include "lathe/reference/MoeRouting.h"
#include "lathe/reference/MoeScores.h"

#include "lathe/support/Error.h"

#include <algorithm>
#include <numeric>

using namespace lathe;
using namespace lathe::reference;

namespace {

/// One row of one kernel.
class RowJudge {
public:
  RowJudge(const MoeRouter &router, const RouterRow &row, std::span<const int32_t> ids)
      : router_(router), ids_(ids), scores_(scoreRow(router, row)), groups_(scoreGroups(router, scores_)),
        chosen_(size_t(router.experts)) {}

  const RowScores &scores() const { return scores_; }
  /// Ids in range, none twice. The other rules assume it.
  std::string checkIds();
  /// Empty when some set of groups explains the choice; else the fault by the set of float64.
  std::string checkChoice() const;

private:
  int groupOf(int expert) const { return expert / (router_.experts / router_.groups); }
  std::string order(int choice) const;
  std::string left(const std::vector<bool> &stays) const;
  std::string describe(int expert) const;
  bool explained(const std::vector<int> &order, size_t at, int open, std::vector<bool> &stays) const;

  const MoeRouter &router_;
  std::span<const int32_t> ids_;
  RowScores scores_;
  GroupScores groups_;
  std::vector<bool> chosen_;
};

} // namespace

std::string RowJudge::checkIds() {
  for (size_t i = 0; i < ids_.size(); ++i) {
    const int32_t id = ids_[i];
    if (id < 0 || id >= router_.experts)
      return fmt::format("choice {}: got expert {}, there are {}", i, id, router_.experts);
    if (chosen_[size_t(id)])
      return fmt::format("choice {}: expert {} was chosen before", i, id);
    chosen_[size_t(id)] = true;
  }
  return "";
}

std::string RowJudge::describe(int expert) const {
  return fmt::format("expert {} (key {})", expert, number(scores_.keys[size_t(expert)]));
}

/// Chosen experts stand in descending order.
std::string RowJudge::order(int choice) const {
  for (size_t later = size_t(choice) + 1; later < ids_.size(); ++later)
    if (scores_.precedes(ids_[later], ids_[size_t(choice)]))
      return fmt::format("choice {}: {} stands before {}, which must come first", choice,
                         describe(ids_[size_t(choice)]), describe(ids_[later]));
  return "";
}

/// Nothing better was left out, of the groups that stay.
std::string RowJudge::left(const std::vector<bool> &stays) const {
  for (size_t choice = 0; choice < ids_.size(); ++choice) {
    const int id = ids_[choice];
    if (!stays[size_t(groupOf(id))])
      return fmt::format("choice {}: {} is of group {} (score {}), which does not stay", choice, describe(id),
                         groupOf(id), number(groups_.scores[size_t(groupOf(id))]));
    for (int other = 0; other < router_.experts; ++other)
      if (!chosen_[size_t(other)] && stays[size_t(groupOf(other))] && scores_.precedes(other, id))
        return fmt::format("choice {}: {} was chosen and {} was not", choice, describe(id), describe(other));
  }
  return "";
}

/// Whether a set of topGroups groups explains the choice: one that holds all chosen experts, before none of
/// which a group outside must stand, and from which nothing better was left. `stays` and the groups outside,
/// order[0 … at), are decided; `open` groups more are wanted.
bool RowJudge::explained(const std::vector<int> &order, size_t at, int open, std::vector<bool> &stays) const {
  if (open == 0)
    return left(stays).empty();
  if (order.size() - at < size_t(open))
    return false;
  const int group = order[at];
  const bool possible = std::none_of(order.begin(), order.begin() + int64_t(at), [&](int other) {
    return !stays[size_t(other)] && groups_.precedes(other, group);
  });
  if (possible) {
    stays[size_t(group)] = true;
    if (explained(order, at + 1, open - 1, stays))
      return true;
    stays[size_t(group)] = false;
  }
  const bool needed = std::any_of(ids_.begin(), ids_.end(), [&](int32_t id) { return groupOf(id) == group; });
  return !needed && explained(order, at + 1, open, stays);
}

std::string RowJudge::checkChoice() const {
  for (int choice = 0; choice + 1 < int(ids_.size()); ++choice)
    if (std::string fault = order(choice); !fault.empty())
      return fault;
  std::vector<int> order(size_t(router_.groups));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) { return groups_.before(a, b); });
  std::vector<bool> stays(order.size(), false);
  if (explained(order, 0, router_.topGroups, stays))
    return "";
  stays.assign(order.size(), false);
  for (int i = 0; i < router_.topGroups; ++i)
    stays[size_t(order[size_t(i)])] = true;
  return left(stays);
}

RoutedRowCheck lathe::reference::checkRoutedRow(const MoeRouter &router, const RouterRow &row,
                                                std::span<const int32_t> ids,
                                                std::span<const float> weights) {
  const size_t experts = size_t(router.experts), topK = size_t(router.topK);
  if (row.logits.size() != experts || (!row.logitErrors.empty() && row.logitErrors.size() != experts) ||
      row.bias.size() != (router.bias ? experts : 0) || ids.size() != topK || weights.size() != topK)
    throw UserError(
        {"judge of routing", "a row must have a logit an expert, and an id and a weight a choice",
         fmt::format("{} logits, {} ids, {} weights", row.logits.size(), ids.size(), weights.size()), ""});
  RoutedRowCheck result;
  RowJudge judge(router, row, ids);
  result.fault = judge.checkIds();
  if (result.fault.empty())
    result.fault = judge.checkChoice();
  if (!result.fault.empty())
    return result;
  result.otherOrder = !std::equal(ids.begin(), ids.end(), routeRow(router, row).ids.begin());

  const RowWeights expected = weighRow(router, judge.scores(), ids);
  for (size_t i = 0; i < topK; ++i) {
    const double got = double(weights[i]), error = std::fabs(got - expected.weights[i]);
    const double ratio = error == 0 ? 0 : error / expected.errors[i];
    if (!(ratio <= 1) && result.fault.empty())
      result.fault =
          fmt::format("choice {}: expert {} weighs {}, expected {} (error {:.3g}, allowed {:.3g})", i, ids[i],
                      number(got), number(expected.weights[i]), error, expected.errors[i]);
    result.worstWeightRatio = std::isnan(ratio) ? HUGE_VAL : std::max(result.worstWeightRatio, ratio);
  }
  return result;
}
