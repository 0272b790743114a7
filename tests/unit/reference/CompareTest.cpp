// The comparison accepts rounding and catches planted mistakes, each by its own rule.
#include "DirectFormula.h"
#include "HostDevice.h"

#include "lathe/reference/Bf16.h"
#include "lathe/reference/Compare.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

using namespace lathe;
using namespace lathe::reference;

namespace {

/// A small problem whose outputs were "computed" from the direct formula, ready to be spoilt.
class CompareInstance : public testing::Test {
protected:
  static constexpr int heads = 3, queries = 2, valueDim = 48;

  CompareInstance()
      : instance(device,
                 {.heads = heads, .queryTokens = queries, .keyDim = 64, .valueDim = valueDim, .page = 16},
                 {40, 0, 1, 130}, {.seed = 31, .stridedOutputs = true}, true),
        t(instance.tensors()) {
    for (int b = 0; b < 4; ++b)
      for (int q = 0; q < queries; ++q)
        for (int h = 0; h < heads; ++h) {
          DirectRow row = directRow(instance, b, q, h);
          for (int column = 0; column < valueDim; ++column)
            out(b, q, h)[column] = toBf16(double(row.out[size_t(column)]));
          lse(b, q, h) = float(row.lse);
        }
  }

  uint16_t *out(int b, int q, int h) {
    return reinterpret_cast<uint16_t *>(t.out) + b * t.outStrideBatch + q * t.outStrideQuery +
           h * t.outStrideHead;
  }
  float &lse(int b, int q, int h) {
    return reinterpret_cast<float *>(
        t.lse)[b * t.lseStrideBatch + h * t.lseStrideHead + q * t.lseStrideQuery];
  }
  void expectFailure(const std::string &fragment) {
    Comparison result = compareWithCpu(instance);
    EXPECT_FALSE(result.passed);
    EXPECT_NE(result.message.find(fragment), std::string::npos) << result.message;
  }

  HostDevice device;
  AttentionInstance instance;
  runtime::DecodeTensors t;
};

} // namespace

TEST_F(CompareInstance, AcceptsTheRightOutputs) {
  Comparison result = compareWithCpu(instance);
  EXPECT_TRUE(result.passed) << result.message;
  EXPECT_TRUE(result.message.empty());
  EXPECT_LT(result.worstRatio, 1e-6);
  EXPECT_LT(result.worstLse, 0.5);
  EXPECT_TRUE(compareWithCpu(instance, 5).passed) << "a sample of right rows is right";
}

TEST_F(CompareInstance, AcceptsOneUnitOfBf16Noise) {
  std::mt19937 random(32);
  for (int b : {0, 3})
    for (int q = 0; q < queries; ++q)
      for (int h = 0; h < heads; ++h)
        for (int column = 0; column < valueDim; ++column)
          out(b, q, h)[column] = uint16_t(out(b, q, h)[column] + int(random() % 3) - 1);
  Comparison result = compareWithCpu(instance);
  EXPECT_TRUE(result.passed) << result.message;
  EXPECT_GT(result.worstRatio, 0.1) << "the noise must have been there";
  EXPECT_GT(result.cosineDifference, 0);
  EXPECT_GT(result.cosineAllowed, 5e-6) << "the bound of this size of output is told";
}

TEST_F(CompareInstance, CatchesOneWrongElement) {
  uint16_t &element = out(3, 1, 2)[17];
  element = toBf16(double(fromBf16(element)) + 0.1);
  expectFailure("output of sequence 3, query 1, head 2, column 17: got ");
}

TEST_F(CompareInstance, CatchesANan) {
  out(0, 1, 0)[47] = 0x7fc0;
  expectFailure("output of sequence 0, query 1, head 0, column 47: got nan");
}

TEST_F(CompareInstance, CatchesAnUnwrittenRow) {
  std::fill_n(out(2, 1, 1), valueDim, poisonBits);
  expectFailure("output of sequence 2, query 1, head 1, column 0: got ");
}

TEST_F(CompareInstance, CatchesSwappedRows) {
  std::swap_ranges(out(3, 0, 0), out(3, 0, 0) + valueDim, out(3, 0, 1));
  expectFailure("output of sequence 3, query 0, head 0");
}

TEST_F(CompareInstance, CatchesSwappedQueriesOfLse) {
  std::swap(lse(3, 0, 0), lse(3, 0, 1));
  expectFailure("log-sum-exp of sequence 3, query 0, head 0");
}

TEST_F(CompareInstance, CatchesLseInBaseTwo) {
  for (int b : {0, 2, 3})
    for (int q = 0; q < queries; ++q)
      for (int h = 0; h < heads; ++h)
        lse(b, q, h) *= 1.442695f;
  expectFailure("log-sum-exp of sequence 0, query 0, head 0: got ");
}

TEST_F(CompareInstance, CatchesTheWrongSignOfInfinity) {
  lse(1, 0, 2) = -std::numeric_limits<float>::infinity();
  expectFailure("log-sum-exp of sequence 1, query 0, head 2: got -inf, expected inf");
}

TEST_F(CompareInstance, CatchesNonzeroRowsThatAttendNothing) {
  out(1, 1, 1)[3] = toBf16(1e-5); // Within the tolerance of elements, yet not the zero that was promised.
  expectFailure("output of sequence 1, query 1, head 1, column 3: got ");
}

TEST_F(CompareInstance, CatchesWritesIntoGaps) {
  out(0, 0, 0)[valueDim] = 0;
  expectFailure("out: the kernel wrote into a gap");
  out(0, 0, 0)[valueDim] = poisonBits;
  (&lse(0, 0, 0))[1] = 0;
  expectFailure("lse: the kernel wrote into a gap");
}

TEST_F(CompareInstance, NamesPositionsBeforeNumbers) {
  out(0, 0, 0)[0] = toBf16(77);
  out(3, 1, 2)[5] = 0x7f80;
  expectFailure("output of sequence 3, query 1, head 2, column 5: got inf");
}

TEST_F(CompareInstance, CountsFailures) {
  for (int column : {1, 4, 9})
    out(3, 0, 0)[column] = toBf16(50);
  expectFailure("3 positions in all");
}

TEST_F(CompareInstance, FailsOnPoisonedOutputs) {
  instance.poisonOutputs();
  expectFailure("got nan");
}

/// Compares one row of `expected` with itself times `factor`, all elements equal.
static Comparison compareScaled(double expected, double factor) {
  std::vector<uint16_t> got(64, toBf16(expected * factor)), want(64, toBf16(expected));
  std::vector<RowName> names(1);
  const float gotLse = 1;
  const double wantLse = 1;
  return compareRows({64, names, got.data(), want.data(), &gotLse, &wantLse});
}

TEST(CompareRows, SeesADriftThatEveryElementTolerates) {
  // 1 % off is within 2.01/128 of each element, but not for the output as a whole.
  Comparison result = compareScaled(1.0, 1 + 1.0 / 128);
  EXPECT_LT(result.worstRatio, 1);
  EXPECT_FALSE(result.passed);
  EXPECT_NE(result.message.find("cosine difference"), std::string::npos) << result.message;
  EXPECT_TRUE(compareScaled(1.0, 1.0).passed);
}

TEST(CompareRows, ToleranceIsWhatItSays) {
  EXPECT_DOUBLE_EQ(outTolerance(-2), 8e-4 + 2.01 / 128 * 2);
  EXPECT_DOUBLE_EQ(lseTolerance(-3), 1e-6 + 8.0 / 65536 * 3);
  EXPECT_DOUBLE_EQ(cosineTolerance(64), 15e-6) << "few elements";
  EXPECT_NEAR(cosineTolerance(128 * 512 * 64), 5e-6, 5e-8);
  std::vector<RowName> names(1);
  const uint16_t zero = 0;
  for (double error : {0.9, 1.1}) {
    const double wantLse = 5;
    const float gotLse = float(5 + error * lseTolerance(5));
    EXPECT_EQ(compareRows({1, names, &zero, &zero, &gotLse, &wantLse}).passed, error < 1) << error;
  }
}

TEST(CompareRows, NothingToCompareIsRight) {
  EXPECT_TRUE(compareRows({.valueDim = 8, .names = {}}).passed);
  HostDevice device;
  AttentionInstance instance(device, {}, {}, {}, true);
  EXPECT_TRUE(compareWithCpu(instance).passed);
}
