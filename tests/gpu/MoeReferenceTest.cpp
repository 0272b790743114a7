// The GPU reference of expert layers against the CPU reference, and its power to see mistakes.
#include "GpuKernels.h"

#include "lathe/reference/AttentionReference.h"
#include "lathe/reference/MoeShapeTable.h"
#include "lathe/tests/unit/reference/MoeFormula.h"

#include <gtest/gtest.h>

#include <chrono>

using namespace lathe;
using namespace lathe::gputest;
using namespace lathe::reference;

namespace {

class MoeGpuReference : public testing::Test {
protected:
  void SetUp() override {
    if (!nvrtcAvailable())
      GTEST_SKIP() << "libnvrtc is not installed";
    device = gpu();
  }
  std::shared_ptr<runtime::Device> device;
};

} // namespace

TEST_F(MoeGpuReference, AgreesWithTheCpuReferenceOnSmallShapes) {
  for (const MoeCase &entry : smallMoeShapeTable())
    for (bool rounded : {false, true}) {
      if (rounded && entry.work() > 5e6)
        continue;
      SCOPED_TRACE(testing::Message() << entry.name << ", seed " << entry.options.seed);
      MoeInstance instance(*device, entry.shape, entry.rows, entry.options);
      writeReference(instance, {.roundActivated = rounded});
      const MoeComparison result = compareWithGpu(instance, {.roundActivated = rounded});
      ASSERT_TRUE(result.passed) << result.message;
      EXPECT_LT(result.relativeError, 2.2e-3) << "one rounding to bfloat16";
      if (entry.rows == 0)
        continue;
      const auto &expected = *instance.impl().gpuExpected;
      const MoeRow row = cpuReference(instance, 0, {.roundActivated = rounded});
      for (size_t h = 0; h < row.out.size(); ++h)
        ASSERT_NEAR(double(expected.allowed[h]), row.allowed[h], 1e-5 * row.allowed[h]) << "column " << h;
    }
}

TEST_F(MoeGpuReference, SeesPlantedMistakes) {
  const MoeCase &entry = moeCase("shared_2_rows_130");
  MoeInstance instance(*device, entry.shape, entry.rows, entry.options);
  writeReference(instance);
  ASSERT_TRUE(compareWithGpu(instance).passed);
  const MoeTensors t = instance.tensors();
  const uint16_t wrong = toBf16(9);
  device->copyToDevice(t.y + uint64_t(77 * t.yStrideRow + 55) * 2, &wrong, 2);
  const MoeComparison result = compareWithGpu(instance);
  EXPECT_NE(result.message.find("row 77, column 55: got 9"), std::string::npos) << result.message;
  writeReference(instance);
  const int32_t foreign = -1;
  device->copyToDevice(t.ids + 40, &foreign, 4);
  EXPECT_FALSE(compareWithGpu(instance).passed) << "another routing, so another reference";
  instance.restoreRouting();
  EXPECT_TRUE(compareWithGpu(instance).passed);
  instance.poisonOutputs();
  EXPECT_FALSE(compareWithGpu(instance).passed) << "poison must never pass";
}

TEST_F(MoeGpuReference, LargeShapesAgreeOnASample) {
  for (const char *name : {"v2_lite_rows_1024", "v3_slice_rows_128", "bench_64x2048_top_8_rows_4096"}) {
    const MoeCase &entry = moeCase(name);
    MoeInstance instance(*device, entry.shape, entry.rows, entry.options);
    const auto start = std::chrono::steady_clock::now();
    EXPECT_FALSE(compareWithGpu(instance).passed) << "y is poison";
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    RecordProperty(name, std::to_string(seconds.count()));
    const auto &expected = *instance.impl().gpuExpected;
    for (int row : {0, entry.rows / 2, entry.rows - 1}) {
      const MoeRow reference = cpuReference(instance, row);
      for (size_t h = 0; h < reference.out.size(); ++h)
        ASSERT_NEAR(double(expected.out[size_t(row) * reference.out.size() + h]), reference.out[h],
                    1e-6 + 1e-4 * reference.allowed[h])
            << name << ", row " << row << ", column " << h;
    }
  }
}
