// The float64 reference of expert layers against results by hand and against the formula read from memory.
#include "HostDevice.h"
#include "MoeFormula.h"

#include "lathe/reference/MoeShapeTable.h"

#include <gtest/gtest.h>

using namespace lathe;
using namespace lathe::reference;

/// A matrix of zeros but for some elements.
static RandomMatrix sparse(int64_t rows, int64_t width,
                           std::initializer_list<std::tuple<int64_t, int64_t, double>> elements) {
  std::vector<uint16_t> bits(size_t(rows * width), 0);
  for (auto [row, column, value] : elements)
    bits[size_t(row * width + column)] = toBf16(value);
  return {std::move(bits), width};
}

namespace {

/// One row of two experts of 8 by 8, whose content tests write by hand.
class ByHand : public testing::Test {
protected:
  MoeInstance make(Activation activation, int shared = 0, int local = 0) {
    MoeShape shape{.hidden = 8, .inner = 8, .localExperts = local, .sharedExperts = shared};
    shape.activation = activation;
    shape.router = {.experts = 2, .topK = 2};
    MoeInstance instance(device, shape, 1, {});
    instance.impl().x = sparse(1, 8, {{0, 0, 1}, {0, 1, 2}});
    instance.impl().ids = {1, 0};
    instance.impl().weights = {0.25f, 0.5f};
    return instance;
  }
  HostDevice device;
};

} // namespace

TEST_F(ByHand, GateHalfThenUpHalf) {
  MoeInstance instance = make(Activation::SwiGlu);
  // Expert 0: gate 1·1, up 2·3 at inner 0. Expert 1: gate 2·(-1), up 1·4 at inner 5.
  instance.impl().w1 = sparse(32, 8, {{0, 0, 1}, {8, 1, 3}, {16 + 5, 1, -1}, {24 + 5, 0, 4}});
  instance.impl().w2 = sparse(16, 8, {{2, 0, 2}, {8 + 2, 5, 1}, {8 + 7, 5, 10}});
  const MoeRow row = cpuReference(instance, 0);
  const double first = 6 * 0.7310585786300049, second = 4 * -2 * 0.11920292202211755;
  EXPECT_NEAR(row.out[2], 0.5 * 2 * first + 0.25 * second, 1e-14);
  EXPECT_NEAR(row.out[7], 0.25 * 10 * second, 1e-14);
  EXPECT_EQ(row.out[0], 0);
  EXPECT_EQ(row.allowed[0], 0) << "nothing contributes";
  const double magnitude = first + 0.25 * -second, square = first * first + second * second / 16;
  EXPECT_NEAR(row.allowed[2],
              (std::fabs(row.out[2]) + 3 * magnitude + 7 / std::sqrt(3.0) * std::sqrt(square)) / 256, 1e-12);
}

TEST_F(ByHand, PlainActivationsHaveOneHalf) {
  for (Activation activation : {Activation::Silu, Activation::Gelu}) {
    MoeInstance instance = make(activation);
    instance.impl().w1 = sparse(16, 8, {{3, 0, 1}, {8 + 3, 1, -0.5}}); // 1 and -1.
    instance.impl().w2 = sparse(16, 8, {{4, 3, 1}, {8 + 4, 3, 8}});
    const bool silu = activation == Activation::Silu;
    const double one = silu ? 0.7310585786300049 : 0.8413447460685429;
    const double minusOne = silu ? -0.2689414213699951 : -0.15865525393145707;
    EXPECT_NEAR(cpuReference(instance, 0).out[4], 0.5 * one + 0.25 * 8 * minusOne, 1e-14);
  }
}

TEST_F(ByHand, SharedExpertsWeighOne) {
  MoeInstance instance = make(Activation::SwiGlu, 2, 1);
  instance.impl().w1 = sparse(16, 8, {});
  instance.impl().w2 = sparse(8, 8, {});
  // Rows: gate of both, then up of both. Columns of a row of the second: expert 0, then expert 1.
  instance.impl().shared1 = sparse(32, 8, {{0, 0, 1}, {8, 1, 0.5}, {16, 0, 3}, {24, 1, 5}});
  instance.impl().shared2 = sparse(8, 16, {{6, 0, 1}, {6, 8, 2}});
  EXPECT_NEAR(cpuReference(instance, 0).out[6], 0.7310585786300049 * (3 + 2 * 10), 1e-13);
}

TEST_F(ByHand, ForeignExpertsAreSkipped) {
  MoeInstance instance = make(Activation::Silu, 0, 1); // Only expert 0 is here.
  instance.impl().w1 = sparse(8, 8, {{0, 0, 1}});
  instance.impl().w2 = sparse(8, 8, {{0, 0, 1}});
  EXPECT_NEAR(cpuReference(instance, 0).out[0], 0.5 * 0.7310585786300049, 1e-14);
  instance.impl().ids = {-1, std::numeric_limits<int32_t>::min()};
  EXPECT_EQ(cpuReference(instance, 0).out[0], 0);
  instance.impl().ids = {0, 0}; // Twice in a row counts twice.
  EXPECT_NEAR(cpuReference(instance, 0).out[0], 0.75 * 0.7310585786300049, 1e-14);
}

TEST_F(ByHand, TheActivatedHalfIsRoundedOnRequest) {
  MoeInstance instance = make(Activation::Silu);
  instance.impl().w1 = sparse(16, 8, {{0, 0, 1}});
  instance.impl().w2 = sparse(16, 8, {{0, 0, 1}});
  EXPECT_EQ(cpuReference(instance, 0, {.roundActivated = true}).out[0],
            0.5 * double(fromBf16(toBf16(0.7310585786300049))));
}

TEST_F(ByHand, RefusesRowsOutside) {
  MoeInstance instance = make(Activation::Silu);
  EXPECT_THROW(cpuReference(instance, 1), UserError);
  EXPECT_THROW(cpuReference(instance, -1), UserError);
}

TEST(MoeCpuReference, AgreesWithTheFormulaInMemory) {
  HostDevice device;
  for (const MoeCase &entry : smallMoeShapeTable()) {
    SCOPED_TRACE(testing::Message() << entry.name << ", seed " << entry.options.seed);
    MoeInstance instance(device, entry.shape, entry.rows, entry.options);
    for (int row = 0; row < entry.rows; row += 1 + entry.rows / 3) {
      const MoeRow got = cpuReference(instance, row);
      const std::vector<long double> expected = formulaRow(instance, row);
      for (size_t h = 0; h < expected.size(); ++h)
        ASSERT_NEAR(got.out[h], double(expected[h]), 1e-13 + 1e-10 * got.allowed[h])
            << "row " << row << ", column " << h;
    }
  }
}
