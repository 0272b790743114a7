// Two runs of one problem: what passes as another order of additions, and what does not.
#include "HostDevice.h"

#include "lathe/reference/AttentionReference.h"
#include "lathe/reference/Bf16.h"

#include <gtest/gtest.h>

#include <random>

using namespace lathe;
using namespace lathe::reference;

namespace {

/// One problem twice, both outputs set to the reference's.
class TwoRuns : public testing::Test {
protected:
  TwoRuns() {
    for (AttentionInstance *instance : {&first, &second})
      for (int sequence = 0; sequence < 2; ++sequence)
        for (int head = 0; head < shape.heads; ++head)
          setRow(*instance, sequence, head, cpuReference(*instance, sequence, 0, head));
  }

  void setRow(AttentionInstance &instance, int sequence, int head, const ReferenceRow &row) {
    const runtime::DecodeTensors t = instance.tensors();
    std::vector<uint16_t> bits;
    for (double value : row.out)
      bits.push_back(toBf16(value));
    const auto lse = float(row.lse);
    device.copyToDevice(outAt(t, sequence, head, 0), bits.data(), bits.size() * 2);
    device.copyToDevice(t.lse + 4 * uint64_t(sequence * t.lseStrideBatch + head * t.lseStrideHead), &lse, 4);
  }
  static runtime::DevicePtr outAt(const runtime::DecodeTensors &t, int sequence, int head, int column) {
    return t.out + 2 * uint64_t(sequence * t.outStrideBatch + head * t.outStrideHead + column);
  }
  uint16_t element(int column) {
    uint16_t bits = 0;
    device.copyToHost(&bits, outAt(second.tensors(), 1, 2, column), 2);
    return bits;
  }
  void setElement(int column, uint16_t bits) {
    device.copyToDevice(outAt(second.tensors(), 1, 2, column), &bits, 2);
  }

  HostDevice device;
  unsigned seed = std::random_device()();
  AttentionShape shape{.heads = 4, .keyDim = 96, .valueDim = 64, .page = 16};
  AttentionInstance first{device, shape, {0, 77}, {.seed = seed}, true},
      second{device, shape, {0, 77}, {.seed = seed}, true};
};

} // namespace

TEST_F(TwoRuns, SameBitsAgreeCompletely) {
  const Agreement found = compareRuns(first, second);
  EXPECT_TRUE(found.passed) << found.message;
  EXPECT_EQ(found.elements, 2 * 4 * 64);
  EXPECT_EQ(found.identical, found.elements);
  EXPECT_EQ(found.worstRatio, 0);
  EXPECT_EQ(found.worstUlps, 0);
}

TEST_F(TwoRuns, OneUnitInTheLastPlaceIsWithinTheBound) {
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  setElement(5, element(5) + 1);
  const Agreement found = compareRuns(first, second);
  EXPECT_TRUE(found.passed) << found.message;
  EXPECT_EQ(found.identical, found.elements - 1);
  EXPECT_GT(found.worstRatio, 0);
  EXPECT_LE(found.worstUlps, 1);
}

TEST_F(TwoRuns, AWrongElementIsNamed) {
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  setElement(7, toBf16(double(fromBf16(element(7))) +
                       0.05)); // Values are about 0.1, probabilities spread over many.
  const Agreement found = compareRuns(first, second);
  EXPECT_FALSE(found.passed);
  EXPECT_GT(found.worstRatio, 1);
  EXPECT_NE(found.message.find("sequence 1, query 0, head 2, column 7"), std::string::npos) << found.message;
}

TEST_F(TwoRuns, NanAgainstANumberFails) {
  setElement(0, 0x7fff);
  EXPECT_FALSE(compareRuns(first, second).passed);
}

TEST_F(TwoRuns, LogSumExpIsBoundToo) {
  const runtime::DecodeTensors t = second.tensors();
  float lse = 0;
  const runtime::DevicePtr at = t.lse + 4 * uint64_t(t.lseStrideBatch + 2 * t.lseStrideHead);
  device.copyToHost(&lse, at, 4);
  lse += 0.05f;
  device.copyToDevice(at, &lse, 4);
  const Agreement found = compareRuns(first, second);
  EXPECT_FALSE(found.passed);
  EXPECT_NE(found.message.find("log-sum-exp of sequence 1"), std::string::npos) << found.message;
}

TEST_F(TwoRuns, OtherProblemsAreRefused) {
  AttentionInstance other(device, shape, {0, 78}, {.seed = seed}, true);
  EXPECT_THROW(compareRuns(first, other), UserError);
}
