// The judge of routing accepts what float32 makes of the rules and rejects planted mistakes.
#include "FloatRouter.h"
#include "HostDevice.h"

#include "lathe/reference/MoeInside.h"
#include "lathe/reference/MoeShapeTable.h"

#include <gtest/gtest.h>

using namespace lathe;
using namespace lathe::reference;

namespace {

/// One row of logits and what a kernel made of it, ready to be spoilt.
struct Row {
  MoeRouter router;
  std::vector<double> logits;
  std::vector<float> bias;
  FloatRouted routed;

  Row(const MoeRouter &rules, std::vector<double> values, std::vector<float> biases = {})
      : router(rules), logits(std::move(values)), bias(std::move(biases)) {
    routed = FloatRouter(router, {logits.begin(), logits.end()}, bias).route();
  }
  RoutedRowCheck check() const {
    return checkRoutedRow(router, {logits, {}, bias}, routed.ids, routed.weights);
  }
  void expectRight() const { EXPECT_EQ(check().fault, ""); }
  void expectFault(const std::string &fragment) const {
    const std::string fault = check().fault;
    EXPECT_NE(fault.find(fragment), std::string::npos) << fault;
  }
};

} // namespace

static void store(MoeInstance &instance, int64_t row, const FloatRouted &routed) {
  const MoeTensors t = instance.tensors();
  const uint64_t at = uint64_t(row) * routed.ids.size() * 4;
  instance.impl().device->copyToDevice(t.ids + at, routed.ids.data(), routed.ids.size() * 4);
  instance.impl().device->copyToDevice(t.weights + at, routed.weights.data(), routed.weights.size() * 4);
}

/// Where a gate makes the logits: those that the router was given, as floats.
static void storeLogits(MoeInstance &instance, int64_t row, const std::vector<float> &logits) {
  if (instance.shape().gate)
    instance.impl().device->copyToDevice(instance.tensors().logits + uint64_t(row) * logits.size() * 4,
                                         logits.data(), logits.size() * 4);
}

TEST(RoutingJudge, AcceptsFloatRoutersOnTheWholeTable) {
  HostDevice device;
  int64_t otherOrder = 0, rows = 0;
  for (const MoeCase &entry : smallMoeShapeTable()) {
    if (entry.options.wildIds)
      continue;
    SCOPED_TRACE(testing::Message() << entry.name << ", seed " << entry.options.seed);
    MoeInstance instance(device, entry.shape, entry.rows, entry.options);
    for (bool byLogits : {false, true}) {
      instance.poisonRouting();
      for (int row = 0; row < entry.rows; ++row) {
        const RowInputs inputs = routerInputs(instance.impl(), row);
        const std::vector<float> logits(inputs.logits.begin(), inputs.logits.end());
        storeLogits(instance, row, logits);
        store(instance, row, FloatRouter(entry.shape.router, logits, instance.impl().bias, byLogits).route());
      }
      const RoutingCheck check = checkRouting(instance);
      ASSERT_TRUE(check.passed) << check.message;
      EXPECT_EQ(check.rows, entry.rows);
      otherOrder += check.otherOrder;
      rows += check.rows;
    }
  }
  EXPECT_LT(otherOrder, rows / 200) << "rounding decides hardly ever";
}

TEST(RoutingJudge, FailsOnPoison) {
  HostDevice device;
  const MoeCase &entry = moeCase("router_noaux_f32");
  MoeInstance instance(device, entry.shape, entry.rows, entry.options);
  EXPECT_TRUE(checkRouting(instance).passed) << "the reference's own routing, rounded to float32";
  EXPECT_EQ(checkRouting(instance).otherOrder, 0);
  EXPECT_EQ(checkRouting(instance, 5).rows, 5);
  instance.poisonRouting();
  const RoutingCheck check = checkRouting(instance);
  EXPECT_NE(check.message.find("row 0, choice 0: got expert -1, there are 64; 33 positions"),
            std::string::npos)
      << check.message;
}

TEST(RoutingJudge, CatchesWritesBehindTheLastRow) {
  HostDevice device;
  const MoeCase &entry = moeCase("router_softmax_f32");
  MoeInstance instance(device, entry.shape, entry.rows, entry.options);
  const int32_t wrong = 3;
  device.copyToDevice(instance.tensors().ids + size_t(entry.rows) * 4 * 4, &wrong, 4);
  EXPECT_NE(checkRouting(instance).message.find("behind the last row"), std::string::npos);
}

TEST(RoutingJudge, CatchesASwappedTie) {
  Row row({.experts = 4, .topK = 2}, {1, 1, 1, 0});
  row.expectRight();
  std::swap(row.routed.ids[0], row.routed.ids[1]);
  row.expectFault("choice 0: expert 1 (key 0.296");
  Row other({.experts = 4, .topK = 2}, {1, 1, 1, 0});
  other.routed.ids[1] = 2;
  other.expectFault("was chosen and expert 1");
}

TEST(RoutingJudge, CatchesASwappedTieOfZeroes) {
  Row row({.experts = 2, .topK = 2}, {0.0, -0.0});
  row.expectRight();
  std::swap(row.routed.ids[0], row.routed.ids[1]);
  row.expectFault("must come first");
}

TEST(RoutingJudge, CatchesTheWrongNan) {
  const double nan = std::nan(""), lowest = -std::numeric_limits<double>::infinity();
  Row row({.experts = 4, .topK = 3}, {nan, 2, nan, lowest});
  row.expectRight();
  EXPECT_EQ(row.routed.ids, (std::vector<int32_t>{1, 0, 2}));
  row.routed.ids[1] = 3;
  row.expectFault("choice 1: expert 3 (key -inf) stands before expert 2 (key -inf)");
  Row weight({.experts = 2, .topK = 2}, {nan, 1});
  weight.routed.weights[1] = 1e-30f;
  weight.expectFault("choice 1: expert 0 weighs 1e-30, expected 0");
}

TEST(RoutingJudge, LeavesTheOrderOfNearKeysOpen) {
  const float next = std::nextafter(1.0f, 2.0f);
  Row row({.experts = 3, .topK = 2}, {1, double(next), 0});
  for (const std::vector<int32_t> &ids : {std::vector<int32_t>{0, 1}, {1, 0}}) {
    row.routed.ids = ids;
    row.expectRight();
    EXPECT_EQ(row.check().otherOrder, ids[0] == 0);
  }
  Row clear({.experts = 3, .topK = 2}, {1, 1.0001, 0});
  clear.routed.ids = {0, 1};
  clear.expectFault("must come first");
}

TEST(RoutingJudge, SaturatedSigmoidsMayBeEqual) {
  Row row({.experts = 3, .topK = 2, .scoring = Scoring::Sigmoid}, {30, 31, 32}); // All 1 in float32.
  EXPECT_EQ(row.routed.ids, (std::vector<int32_t>{0, 1}));
  row.expectRight();
  EXPECT_TRUE(row.check().otherOrder);
  Row tiny({.experts = 3, .topK = 2}, {0, -200, -120}); // Probabilities that float32 calls 0.
  EXPECT_EQ(tiny.routed.ids, (std::vector<int32_t>{0, 1}));
  tiny.expectRight();
}

TEST(RoutingJudge, CatchesAnExpertTwiceAndOutOfRange) {
  Row row({.experts = 4, .topK = 2}, {1, 3, 2, 0});
  row.routed.ids[1] = 1;
  row.expectFault("choice 1: expert 1 was chosen before");
  row.routed.ids[1] = 4;
  row.expectFault("choice 1: got expert 4, there are 4");
  row.routed.ids[1] = -1;
  row.expectFault("choice 1: got expert -1");
}

TEST(RoutingJudge, CatchesWrongWeights) {
  const MoeRouter router{
      .experts = 4, .topK = 2, .scoring = Scoring::Sigmoid, .renormalize = true, .bias = true};
  Row row(router, {1, 0.5, -1, -2}, {0, 1, 0, 0});
  row.expectRight();
  EXPECT_EQ(row.routed.ids, (std::vector<int32_t>{1, 0}));
  const std::vector<float> right = row.routed.weights;
  row.routed.weights[0] *= 1.00001f;
  row.expectFault("choice 0: expert 1 weighs 0.459");
  row.routed.weights = {right[1], right[0]};
  row.expectFault("choice 0");
  row.routed.weights = {right[0], std::nanf("")};
  row.expectFault("choice 1: expert 0 weighs nan");
  const float biased = 0.62246f + 1; // The bias in the weight.
  row.routed.weights = {biased / (biased + 0.73106f), 0.73106f / (biased + 0.73106f)};
  row.expectFault("choice 0");
  row.routed.weights = {0.62245935f, 0.7310586f}; // Not normalised.
  row.expectFault("choice 0");
}

TEST(RoutingJudge, CatchesIgnoredBias) {
  Row row({.experts = 3, .topK = 1, .scoring = Scoring::Sigmoid, .bias = true}, {1, 0, 0}, {0, 0, 0.5f});
  row.expectRight();
  EXPECT_EQ(row.routed.ids[0], 2);
  row.routed = {{0}, {0.7310586f}};
  row.expectFault("choice 0: expert 0 (key 0.73105858) was chosen and expert 2 (key 1) was not");
}

TEST(RoutingJudge, CatchesExpertsOfGroupsThatDoNotStay) {
  const MoeRouter router{.experts = 6, .topK = 2, .groups = 3, .topGroups = 1};
  Row row(router, {0, 5, 6, -9, 5, 5});
  row.expectRight();
  row.routed.ids = {2, 1};
  row.routed.weights = {float(row.logits[2]), 0};
  row.expectFault("choice 1: expert 1 (key 0.17");
  row.expectFault("is of group 0 (score 0.17");
}

TEST(RoutingJudge, CatchesTheWrongOfTwoEqualGroups) {
  MoeRouter router{.experts = 6, .topK = 2, .groups = 3, .topGroups = 1};
  for (GroupScore score : {GroupScore::Best, GroupScore::TwoBest}) {
    router.groupScore = score;
    Row row(router, {0, 1, 2, 1, 1, 2});
    row.expectRight();
    row.routed.ids = {5, 4};
    row.expectFault("is of group 2");
  }
}

TEST(RoutingJudge, LeavesNearGroupsOpen) {
  const MoeRouter router{.experts = 4,
                         .topK = 2,
                         .scoring = Scoring::Sigmoid,
                         .groups = 2,
                         .topGroups = 1,
                         .groupScore = GroupScore::TwoBest};
  Row row(router, {30, 0, 31, 0}); // Group 1 is better by less than float32 can tell.
  EXPECT_EQ(row.routed.ids, (std::vector<int32_t>{0, 1}));
  row.expectRight();
  EXPECT_TRUE(row.check().otherOrder);
  row.routed.ids = {2, 3};
  row.expectRight();
  row.routed.ids = {2, 1};
  row.expectFault("which does not stay");
}

TEST(RoutingJudge, TakesGateErrorsIntoAccount) {
  const std::vector<double> logits = {1, 1.001, 0}, errors(3, 1e-3);
  const MoeRouter router{.experts = 3, .topK = 1};
  const std::vector<int32_t> ids = {0};
  const std::vector<float> weights = {float(std::exp(1.0) / (std::exp(1.0) + std::exp(1.001) + 1))};
  EXPECT_EQ(checkRoutedRow(router, {logits, errors, {}}, ids, weights).fault, "");
  EXPECT_NE(checkRoutedRow(router, {logits, {}, {}}, ids, weights).fault, "");
}

TEST(RoutingJudge, RefusesArraysThatDoNotFit) {
  const std::vector<double> logits(4, 0.0);
  const std::vector<int32_t> ids(2);
  const std::vector<float> weights(2), bias(4);
  EXPECT_THROW(checkRoutedRow({.experts = 5, .topK = 2}, {logits, {}, {}}, ids, weights), UserError);
  EXPECT_THROW(checkRoutedRow({.experts = 4, .topK = 3}, {logits, {}, {}}, ids, weights), UserError);
  EXPECT_THROW(checkRoutedRow({.experts = 4, .topK = 2}, {logits, {}, bias}, ids, weights), UserError);
}
