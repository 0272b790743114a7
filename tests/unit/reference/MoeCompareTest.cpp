// The judge of expert layers accepts the roundings of kernels and catches planted mistakes.
#include "HostDevice.h"
#include "MoeFormula.h"

#include "lathe/reference/MoeCompare.h"
#include "lathe/reference/MoeShapeTable.h"

#include <gtest/gtest.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::reference;

namespace {

/// A slice of experts with a shared one, whose outputs were "computed" by the reference, ready to be spoilt.
class MoeOutputs : public testing::Test {
protected:
  static constexpr int rows = 40;

  MoeOutputs()
      : instance(device,
                 {.hidden = 128,
                  .inner = 64,
                  .localExperts = 8,
                  .firstExpert = 4,
                  .router = {.experts = 16, .topK = 4, .renormalize = true}},
                 rows, {.seed = 41, .stridedX = true, .stridedY = true}),
        t(instance.tensors()) {
    writeReference(instance);
  }
  uint16_t *y(int row) { return hostPointer<uint16_t>(t.y) + row * t.yStrideRow; }
  int32_t &id(int row, int choice) { return hostPointer<int32_t>(t.ids)[row * 4 + choice]; }
  bool local(int row, int choice) { return id(row, choice) >= 4 && id(row, choice) < 12; }
  /// A row with a local choice, and which.
  std::pair<int, int> localChoice() {
    for (int row = 0; row < rows; ++row)
      for (int choice = 0; choice < 4; ++choice)
        if (local(row, choice))
          return {row, choice};
    return {};
  }
  void expectFailure(const std::string &fragment) {
    const MoeComparison result = compareWithCpu(instance);
    EXPECT_FALSE(result.passed);
    EXPECT_NE(result.message.find(fragment), std::string::npos) << result.message;
  }
  /// y computed with the weights or ids that are in memory now, which are then restored.
  void writeWithSpoiltRouting() {
    for (int row = 0; row < rows; ++row) {
      const std::vector<long double> wrong = formulaRow(instance, row);
      for (int h = 0; h < 128; ++h)
        y(row)[h] = toBf16(double(wrong[size_t(h)]));
    }
    instance.restoreRouting();
  }

  HostDevice device;
  MoeInstance instance;
  MoeTensors t;
};

} // namespace

TEST_F(MoeOutputs, AcceptsTheRightOutputs) {
  const MoeComparison result = compareWithCpu(instance);
  EXPECT_TRUE(result.passed) << result.message;
  EXPECT_EQ(result.rows, rows);
  EXPECT_LT(result.worstRatio, 0.3);
  EXPECT_LT(result.relativeError, 2e-3) << "one rounding to bfloat16";
  EXPECT_GT(result.relativeError, 1e-3);
  EXPECT_EQ(compareWithCpu(instance, 7).rows, 7);
  EXPECT_TRUE(compareWithCpu(instance, 7).passed);
}

TEST_F(MoeOutputs, AcceptsRoundedActivations) {
  writeReference(instance, {.roundActivated = true});
  const MoeComparison exact = compareWithCpu(instance);
  EXPECT_TRUE(exact.passed) << exact.message;
  const MoeComparison rounded = compareWithCpu(instance, 0, {.roundActivated = true});
  EXPECT_TRUE(rounded.passed) << rounded.message;
  EXPECT_LT(rounded.relativeError, exact.relativeError);
}

TEST_F(MoeOutputs, CatchesOneWrongElement) {
  uint16_t &element = y(17)[101];
  element = toBf16(double(fromBf16(element)) + 1);
  expectFailure("row 17, column 101: got ");
}

TEST_F(MoeOutputs, CatchesAMissingRow) {
  std::fill_n(y(23), 128, uint16_t(0xffff));
  expectFailure("row 23, column 0: got nan");
  std::fill_n(y(23), 128, uint16_t(0));
  expectFailure("row 23, column");
}

TEST_F(MoeOutputs, CatchesADuplicateRow) {
  std::copy_n(y(5), 128, y(6));
  expectFailure("row 6, column");
}

TEST_F(MoeOutputs, CatchesAMissingChoice) {
  const auto [row, choice] = localChoice();
  id(row, choice) = -1;
  writeWithSpoiltRouting();
  expectFailure("row " + std::to_string(row) + ", column");
}

TEST_F(MoeOutputs, CatchesTheNeighboursExpert) {
  const auto [row, choice] = localChoice();
  id(row, choice) = id(row, choice) == 11 ? 10 : id(row, choice) + 1;
  writeWithSpoiltRouting();
  expectFailure("row " + std::to_string(row) + ", column");
}

TEST_F(MoeOutputs, CatchesAWrongWeight) {
  const auto [row, choice] = localChoice();
  float &weight = hostPointer<float>(t.weights)[row * 4 + choice];
  weight += 0.5f;
  writeWithSpoiltRouting();
  expectFailure("row " + std::to_string(row) + ", column");
}

TEST_F(MoeOutputs, CatchesADriftThatEveryElementTolerates) {
  for (int row = 0; row < rows; ++row)
    for (int h = 0; h < 128; ++h)
      y(row)[h] = toBf16(double(fromBf16(y(row)[h])) * 1.008);
  expectFailure("output as a whole: relative error 0.008");
  EXPECT_LT(compareWithCpu(instance).worstRatio, 1);
}

TEST_F(MoeOutputs, CatchesWritesIntoGapsAndBehindTheLastRow) {
  y(3)[128] = 0;
  expectFailure("y: the kernel wrote into the gap behind row 3, column 128");
  y(3)[128] = 0xffff;
  y(rows)[5] = 0;
  expectFailure("y: the kernel wrote into row 40, column 5");
}

TEST_F(MoeOutputs, NamesPositionsBeforeNumbers) {
  y(0)[0] = toBf16(77);
  y(39)[127] = 0x7f80;
  expectFailure("row 39, column 127: got inf");
}

TEST_F(MoeOutputs, JudgesByTheRoutingInMemory) {
  id(2, 0) = id(2, 0) == 5 ? 6 : 5;
  EXPECT_FALSE(compareWithCpu(instance).passed) << "the outputs are of the other routing";
  instance.restoreRouting();
  EXPECT_TRUE(compareWithCpu(instance).passed);
}

TEST_F(MoeOutputs, FailsOnPoison) {
  instance.poisonOutputs();
  expectFailure("got nan");
  EXPECT_EQ(downloadOutput(instance), std::vector<uint16_t>(size_t(rows) * 128, 0xffff));
}

TEST(MoeCompare, RowsWithoutExpertsAreExactlyZero) {
  HostDevice device;
  const MoeCase &entry = moeCase("slice_none_local_shared_0");
  MoeInstance instance(device, entry.shape, entry.rows, entry.options);
  writeReference(instance);
  EXPECT_TRUE(compareWithCpu(instance).passed);
  const MoeTensors t = instance.tensors();
  hostPointer<uint16_t>(t.y)[3 * t.yStrideRow + 4] = toBf16(1e-20);
  const MoeComparison result = compareWithCpu(instance);
  EXPECT_NE(result.message.find("row 3, column 4: got 1.0005577e-20"), std::string::npos) << result.message;
  EXPECT_NE(result.message.find("exactly, as nothing contributes"), std::string::npos) << result.message;
}

TEST(MoeCompare, NothingToCompareIsRight) {
  HostDevice device;
  const MoeCase &entry = moeCase("rows_0_top_2");
  MoeInstance instance(device, entry.shape, entry.rows, entry.options);
  EXPECT_TRUE(compareWithCpu(instance).passed);
  EXPECT_TRUE(checkRouting(instance).passed);
  EXPECT_TRUE(downloadOutput(instance).empty());
  hostPointer<uint16_t>(instance.tensors().y)[0] = 0;
  EXPECT_FALSE(compareWithCpu(instance).passed) << "a row that is not there was written";
}

/// Rounds every part of a row, and their sums on the way, as adding in bfloat16 memory does.
TEST(MoeCompare, AcceptsSumsInBfloat16Memory) {
  HostDevice device;
  MoeShape shape{.hidden = 256, .inner = 64, .router = {.experts = 16, .topK = 8, .renormalize = true}};
  MoeInstance instance(device, shape, 24, {.seed = 43});
  const MoeTensors t = instance.tensors();
  for (int row = 0; row < 24; ++row) {
    std::vector<double> sum(256, 0.0);
    for (int choice = 0; choice < 8; ++choice) {
      const int64_t at = row * 8 + choice;
      const MoeRow part =
          computeMoeRow(instance.impl(), row, std::span(instance.ids()).subspan(size_t(at), 1),
                        std::span(instance.weights()).subspan(size_t(at), 1), {.roundActivated = true});
      for (size_t h = 0; h < 256; ++h)
        sum[h] = double(fromBf16(toBf16(sum[h] + double(fromBf16(toBf16(part.out[h]))))));
    }
    for (size_t h = 0; h < 256; ++h)
      hostPointer<uint16_t>(t.y)[row * t.yStrideRow + int64_t(h)] = toBf16(sum[h]);
  }
  const MoeComparison result = compareWithCpu(instance);
  EXPECT_LT(result.worstRatio, 1);
  EXPECT_GT(result.worstRatio, 0.1);
}

TEST(MoeCompare, ToleranceIsWhatItSays) {
  EXPECT_EQ(allowedError({}), 0);
  EXPECT_DOUBLE_EQ(allowedError({-2, 4, 3}), (2 + 12 + 7.0) / 256);
  EXPECT_DOUBLE_EQ(allowedRelativeError(1000000), 4e-3 * 1.002);
  EXPECT_EQ(allowedRelativeError(0), 0);
  const std::vector<int64_t> names = {7};
  const std::vector<float> expected = {1}, allowed = {0.25f};
  for (double error : {0.2421875, 0.2578125}) {
    const std::vector<uint16_t> got = {toBf16(1 + error)};
    const MoeComparison result = compareRows({1, names, got, expected, allowed});
    EXPECT_EQ(result.message.find("row 7, column 0: got 1.2578125, expected 1 (error 0.258, allowed 0.25)") !=
                  std::string::npos,
              error > 0.25)
        << result.message;
  }
}
