//===- MoeRouting.cpp - What a router of experts must choose -----------------------------------------===//
//
// The rules of MoeRouting.h in float64, as plainly as they are told there, and what a router must fulfil to
// be followed at all. The judge of kernels is MoeRoutingCheck.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/reference/MoeRouting.h"
#include "lathe/reference/MoeScores.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace lathe;
using namespace lathe::reference;

static void require(bool holds, const char *rule, const std::string &value) {
  if (!holds)
    throw UserError({"router of experts", rule, value, "correct the router"});
}

void lathe::reference::checkRouter(const MoeRouter &router) {
  require(router.experts >= 1, "experts must be at least 1", std::to_string(router.experts));
  require(router.topK >= 1, "top-k must be at least 1", std::to_string(router.topK));
  require(router.topK <= router.experts, "top-k must be at most the number of experts",
          fmt::format("{} of {}", router.topK, router.experts));
  require(router.groups >= 1, "groups must be at least 1", std::to_string(router.groups));
  require(router.experts % router.groups == 0, "groups must divide the experts evenly",
          fmt::format("{} for {} experts", router.groups, router.experts));
  require(router.topGroups >= 1 && router.topGroups <= router.groups,
          "groups that stay must be between 1 and the number of groups",
          fmt::format("{} of {}", router.topGroups, router.groups));
  require(router.topK <= router.experts / router.groups * router.topGroups,
          "the groups that stay must hold top-k experts",
          fmt::format("top-{} of {} groups of {}", router.topK, router.topGroups,
                      router.experts / router.groups));
  require(std::isfinite(router.scale), "the scale must be finite", fmt::format("{}", router.scale));
}

RoutedRow lathe::reference::routeRow(const MoeRouter &router, const RouterRow &row) {
  const RowScores scores = scoreRow(router, row);
  const GroupScores groups = scoreGroups(router, scores);
  std::vector<int> order(size_t(router.groups));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) { return groups.before(a, b); });

  const int size = router.experts / router.groups;
  std::vector<int32_t> experts;
  for (int i = 0; i < router.topGroups; ++i)
    for (int member = 0; member < size; ++member)
      experts.push_back(order[size_t(i)] * size + member);
  std::sort(experts.begin(), experts.end(), [&](int a, int b) { return scores.before(a, b); });
  experts.resize(size_t(router.topK));
  std::vector<double> weights = weighRow(router, scores, experts).weights;
  return {std::move(experts), std::move(weights)};
}
