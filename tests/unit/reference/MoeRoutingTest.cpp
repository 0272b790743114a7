// The rules of routing against examples computed by hand, and the routers that are refused.
#include "lathe/reference/MoeRouting.h"

#include "lathe/support/Error.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

using namespace lathe;
using namespace lathe::reference;

using Ids = std::vector<int32_t>;

static constexpr double infinity = std::numeric_limits<double>::infinity();
static const double notANumber = std::nan("");

static RoutedRow route(const MoeRouter &router, const std::vector<double> &logits,
                       const std::vector<float> &bias = {}) {
  return routeRow(router, {logits, {}, bias});
}

static void expectWeights(const RoutedRow &row, const std::vector<double> &expected) {
  ASSERT_EQ(row.weights.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(row.weights[i], expected[i], 1e-7) << "choice " << i;
}

static double sigmoid(double logit) { return 1 / (1 + std::exp(-logit)); }

TEST(MoeRouting, SoftmaxOverAllExperts) {
  // exp: 1, 2, 4, 1 of 8.
  const std::vector<double> logits = {0, std::log(2.0), std::log(4.0), 0};
  const RoutedRow row = route({.experts = 4, .topK = 2}, logits);
  EXPECT_EQ(row.ids, (Ids{2, 1}));
  expectWeights(row, {0.5, 0.25});
  expectWeights(route({.experts = 4, .topK = 2, .scale = 16}, logits), {8, 4});
  expectWeights(route({.experts = 4, .topK = 2, .renormalize = true, .scale = 3}, logits), {2, 1});
}

TEST(MoeRouting, SigmoidScoresStandAlone) {
  const RoutedRow row = route({.experts = 3, .topK = 2, .scoring = Scoring::Sigmoid}, {-1, 1, 0});
  EXPECT_EQ(row.ids, (Ids{1, 2}));
  expectWeights(row, {0.7310585786, 0.5});
}

TEST(MoeRouting, EqualKeysComeLowestIndexFirst) {
  EXPECT_EQ(route({.experts = 6, .topK = 4}, {1, 2, 1, 2, 2, 1}).ids, (Ids{1, 3, 4, 0}));
  EXPECT_EQ(route({.experts = 4, .topK = 2}, {0.0, -0.0, 0.0, -0.0}).ids, (Ids{0, 1}));
  EXPECT_EQ(route({.experts = 4, .topK = 4, .scoring = Scoring::Sigmoid}, {3, 3, 3, 3}).ids,
            (Ids{0, 1, 2, 3}));
}

TEST(MoeRouting, BiasServesTheChoiceOnly) {
  const MoeRouter router{.experts = 3, .topK = 2, .scoring = Scoring::Sigmoid, .bias = true};
  const RoutedRow row = route(router, {2, 1, 0}, {-1, 0, 1});
  EXPECT_EQ(row.ids, (Ids{2, 1})); // Keys -0.12, 0.73, 1.5.
  expectWeights(row, {0.5, sigmoid(1)});
}

TEST(MoeRouting, NanCountsAsMinusInfinity) {
  const MoeRouter router{.experts = 4, .topK = 2, .renormalize = true};
  RoutedRow row = route(router, {notANumber, 0, notANumber, 0});
  EXPECT_EQ(row.ids, (Ids{1, 3}));
  expectWeights(row, {0.5, 0.5});
  row =
      route(router, {notANumber, notANumber, -5, -infinity}); // One is left; the first of the others follows.
  EXPECT_EQ(row.ids, (Ids{2, 0}));
  expectWeights(row, {1, 0});
  for (bool renormalize : {false, true})
    for (Scoring scoring : {Scoring::Softmax, Scoring::Sigmoid}) {
      row = route({.experts = 4, .topK = 3, .scoring = scoring, .renormalize = renormalize},
                  {notANumber, -infinity, notANumber, notANumber});
      EXPECT_EQ(row.ids, (Ids{0, 1, 2}));
      expectWeights(row, {0, 0, 0});
    }
}

TEST(MoeRouting, NoBiasSavesNan) {
  const MoeRouter router{.experts = 3, .topK = 2, .scoring = Scoring::Sigmoid, .bias = true};
  EXPECT_EQ(route(router, {notANumber, -infinity, -3}, {5, 4, -2}).ids, (Ids{2, 0}));
  const RoutedRow row = route(router, {1, 0, 2}, {0, 0, std::nanf("")});
  EXPECT_EQ(row.ids, (Ids{0, 1})) << "a bias that is NaN loses";
}

TEST(MoeRouting, PlusInfinityIsTheLargestNumber) {
  const RoutedRow row = route({.experts = 3, .topK = 2}, {0, infinity, infinity});
  EXPECT_EQ(row.ids, (Ids{1, 2}));
  expectWeights(row, {0.5, 0.5});
}

TEST(MoeRouting, GroupsCountByTheirBest) {
  const MoeRouter router{.experts = 6, .topK = 2, .groups = 3, .topGroups = 1};
  EXPECT_EQ(route(router, {0, 5, 6, -9, 5, 5}).ids, (Ids{2, 3})) << "both of the best expert's group";
  MoeRouter two = router;
  two.topGroups = 2;
  EXPECT_EQ(route(two, {1, 1, 6, -9, 5, 5}).ids, (Ids{2, 4}));
}

TEST(MoeRouting, GroupsCountByTheSumOfTheirTwoBest) {
  MoeRouter router{.experts = 6,
                   .topK = 2,
                   .scoring = Scoring::Sigmoid,
                   .groups = 2,
                   .topGroups = 1,
                   .groupScore = GroupScore::TwoBest};
  EXPECT_EQ(route(router, {4, -4, -4, 1, 1, 1}).ids, (Ids{3, 4})); // 0.982 + 0.018 against 0.731 · 2.
  router.groupScore = GroupScore::Best;
  EXPECT_EQ(route(router, {4, -4, -4, 1, 1, 1}).ids, (Ids{0, 1}));
}

TEST(MoeRouting, BiasCountsForGroupsToo) {
  const MoeRouter router{.experts = 4,
                         .topK = 1,
                         .scoring = Scoring::Sigmoid,
                         .renormalize = true,
                         .scale = 2.5f,
                         .bias = true,
                         .groups = 2,
                         .topGroups = 1,
                         .groupScore = GroupScore::TwoBest};
  const RoutedRow row = route(router, {0, 0, 0, -1}, {0, 0, 0.5f, 0});
  EXPECT_EQ(row.ids, (Ids{2}));
  expectWeights(row, {2.5});
}

TEST(MoeRouting, EqualGroupsComeLowestIndexFirst) {
  const MoeRouter router{.experts = 6, .topK = 2, .groups = 3, .topGroups = 1};
  EXPECT_EQ(route(router, {0, 1, 2, 0, 0, 2}).ids, (Ids{2, 3}));
}

TEST(MoeRouting, AGroupWithOneNumberLosesBySumsOfTwo) {
  const MoeRouter router{
      .experts = 4, .topK = 2, .groups = 2, .topGroups = 1, .groupScore = GroupScore::TwoBest};
  EXPECT_EQ(route(router, {notANumber, 9, -3, -3}).ids, (Ids{2, 3}));
  EXPECT_EQ(route(router, {notANumber, 9, -3, notANumber}).ids, (Ids{1, 0})) << "both lose: the lower one";
}

TEST(MoeRouting, AGroupOfOneCountsByItsBest) {
  const MoeRouter router{
      .experts = 3, .topK = 2, .groups = 3, .topGroups = 2, .groupScore = GroupScore::TwoBest};
  EXPECT_EQ(route(router, {1, 3, 2}).ids, (Ids{1, 2}));
}

TEST(MoeRouting, RefusesRoutersThatCannotBe) {
  auto refused = [](const MoeRouter &router, const char *rule) {
    try {
      checkRouter(router);
      ADD_FAILURE() << rule;
    } catch (const UserError &error) {
      EXPECT_NE(std::string(error.what()).find(rule), std::string::npos) << error.what();
    }
  };
  refused({.experts = 0}, "experts must be at least 1");
  refused({.topK = 0}, "top-k must be at least 1");
  refused({.experts = 4, .topK = 5}, "at most the number of experts");
  refused({.experts = 10, .topK = 2, .groups = 4}, "divide the experts evenly");
  refused({.groups = 4, .topGroups = 5}, "between 1 and the number of groups");
  refused({.groups = 4, .topGroups = 0}, "between 1 and the number of groups");
  refused({.experts = 16, .topK = 6, .groups = 4, .topGroups = 1}, "must hold top-k experts");
  refused({.scale = std::numeric_limits<float>::infinity()}, "the scale must be finite");
  checkRouter({.experts = 1, .topK = 1});
  checkRouter({.experts = 256, .topK = 8, .groups = 8, .topGroups = 4});
}
