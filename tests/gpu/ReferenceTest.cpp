// The GPU reference against the CPU reference, and its power to see mistakes.
#include "Cases.h"

#include "lathe/reference/Bf16.h"

#include <gtest/gtest.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::gputest;
using reference::AttentionInstance;
using reference::ShapeCase;

/// Writes the CPU reference into the outputs of an instance, as a perfect kernel would.
static void writeCpuResult(AttentionInstance &instance) {
  const runtime::DecodeTensors t = instance.tensors();
  const reference::AttentionShape &shape = instance.shape();
  std::vector<uint16_t> bits(size_t(shape.valueDim));
  for (int b = 0; b < t.batch; ++b)
    for (int q = 0; q < shape.queryTokens; ++q)
      for (int h = 0; h < shape.heads; ++h) {
        const reference::ReferenceRow row = cpuReference(instance, b, q, h);
        std::transform(row.out.begin(), row.out.end(), bits.begin(), reference::toBf16);
        const int64_t out = b * t.outStrideBatch + q * t.outStrideQuery + h * t.outStrideHead;
        gpu()->copyToDevice(t.out + uint64_t(out) * 2, bits.data(), bits.size() * 2);
        const float lse = float(row.lse);
        const int64_t at = b * t.lseStrideBatch + h * t.lseStrideHead + q * t.lseStrideQuery;
        gpu()->copyToDevice(t.lse + uint64_t(at) * 4, &lse, 4);
      }
}

TEST(GpuReference, AgreesWithTheCpuReferenceOnSmallShapes) {
  if (!reference::nvrtcAvailable())
    GTEST_SKIP() << "libnvrtc is not installed";
  for (const ShapeCase &shape : reference::smallShapeTable()) {
    if (shape.work() > 20e6)
      continue;
    SCOPED_TRACE(testing::Message() << shape.name << ", seed " << shape.options.seed);
    AttentionInstance instance(*gpu(), shape.shape, shape.lengths, shape.options, true);
    writeCpuResult(instance);
    const reference::Comparison result = compareWithGpu(instance);
    ASSERT_TRUE(result.passed) << result.message;
    // Two float64 references may round one element to neighbouring bf16 numbers, no more.
    EXPECT_LT(result.worstRatio, 0.55);
    EXPECT_LT(result.worstLse, 0.01);
  }
}

TEST(GpuReference, SeesOneWrongElement) {
  if (!reference::nvrtcAvailable())
    GTEST_SKIP() << "libnvrtc is not installed";
  const ShapeCase &shape = reference::shapeCase("queries_2_heads_5_causal");
  AttentionInstance instance(*gpu(), shape.shape, shape.lengths, shape.options, true);
  writeCpuResult(instance);
  const runtime::DecodeTensors t = instance.tensors();
  const uint16_t wrong = reference::toBf16(9);
  gpu()->copyToDevice(
      t.out + uint64_t(11 * t.outStrideBatch + t.outStrideQuery + 3 * t.outStrideHead + 77) * 2, &wrong, 2);
  const reference::Comparison result = compareWithGpu(instance);
  EXPECT_FALSE(result.passed);
  EXPECT_NE(result.message.find("sequence 11, query 1, head 3, column 77: got 9"), std::string::npos)
      << result.message;
  instance.poisonOutputs();
  EXPECT_FALSE(compareWithGpu(instance).passed) << "poison must never pass";
}

TEST(GpuReference, LargeCachesAndSeveralGroupsAgree) {
  if (!reference::nvrtcAvailable())
    GTEST_SKIP() << "libnvrtc is not installed";
  // 21 million cache elements, so the random block repeats; scores of 250 sequences take more than one group.
  std::vector<int> lengths(250);
  for (size_t i = 0; i < lengths.size(); ++i)
    lengths[i] = int(i % 5);
  lengths[3] = 20000;
  lengths[249] = 17000;
  AttentionInstance instance(*gpu(), {.heads = 16}, lengths, {.seed = 5}, true);
  writeCpuResult(instance);
  const reference::Comparison result = compareWithGpu(instance);
  EXPECT_TRUE(result.passed) << result.message;
}
