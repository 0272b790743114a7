//===- MoeJudgeTest.cpp - The judge of expert layers on the emulator ----------------------------------===//
//
// Kernels of the case's own description are right; kernels of a description with one mistake in it must be
// caught, by the router's judge or by that of the result.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/tools/lathe/MoeJudge.h"

#include "lathe/runtime/Jit.h"
#include "lathe/tests/unit/support/Helpers.h"

#include <algorithm>

using namespace lathe;
using namespace lathe::tools;
using reference::MoeCase;

namespace {
class MoeJudge : public ::testing::Test {
protected:
  /// What the judge says of `entry` when the kernel was made for `described`.
  MoeVerdict judged(const MoeCase &entry, const MoeCase &described, bool twice = false) {
    const auto device = runtime::openEmulator({.throwFindings = false, .smCount = 4});
    runtime::MoeJitRequest request;
    request.rows = std::max(1, entry.rows);
    const runtime::MoeKernel kernel = jit_.load(describe(described), device, request);
    return judge(kernel, entry, "cpu", {.twice = twice});
  }

  test::TempFolder folder_;
  runtime::Jit jit_{folder_.path()};
};
} // namespace

TEST_F(MoeJudge, AcceptsTheLayerItself) {
  const MoeCase &entry = reference::moeCase("rows_17_top_2");
  const MoeVerdict verdict = judged(entry, entry, /*twice=*/true);
  EXPECT_TRUE(verdict.comparison.passed) << verdict.message();
  ASSERT_TRUE(verdict.routing);
  EXPECT_TRUE(verdict.routing->passed);
  EXPECT_EQ(verdict.routing->rows, 17);
  EXPECT_EQ(verdict.message(), "");
}

TEST_F(MoeJudge, GivesTheRoutingWhereTheKernelCannotMakeIt) {
  const MoeCase &entry = reference::moeCase("wild_ids_one_row");
  EXPECT_TRUE(takesRouting(entry));
  const MoeVerdict verdict = judged(entry, entry);
  EXPECT_FALSE(verdict.routing);
  EXPECT_TRUE(verdict.comparison.passed) << verdict.message();
}

TEST_F(MoeJudge, JudgesTheLogitsOfAGate) {
  const MoeCase &entry = reference::moeCase("gate_f32_rows_17_x_strided");
  EXPECT_FALSE(takesRouting(entry));
  MoeVerdict verdict = judged(entry, entry, /*twice=*/true);
  EXPECT_TRUE(verdict.right()) << verdict.message();
  ASSERT_TRUE(verdict.routing);
  EXPECT_GT(verdict.routing->worstLogitRatio, 0);
  // Of a float32 gate all 24 bits count: 16 of them would come to 0.2.
  EXPECT_LE(verdict.routing->worstLogitRatio, 0.1);
  EXPECT_TRUE(test::contains(verdict.numbers(), "logits")) << verdict.numbers();
  MoeCase wrong = entry; // Takes the halves of float32 for bf16.
  wrong.shape.gateType = Dtype::BF16;
  verdict = judged(entry, wrong);
  EXPECT_FALSE(verdict.routing->passed);
  EXPECT_TRUE(test::contains(verdict.message(), "the gate's logit is")) << verdict.message();
}

TEST_F(MoeJudge, SeesAWrongRouter) {
  const MoeCase &entry = reference::moeCase("rows_17_top_2");
  MoeCase wrong = entry;
  wrong.shape.router.scale = 1.1F;
  const MoeVerdict verdict = judged(entry, wrong);
  EXPECT_FALSE(verdict.right());
  EXPECT_FALSE(verdict.routing->passed);
  EXPECT_NE(verdict.message(), "");
  EXPECT_TRUE(verdict.comparison.passed) << "the result is judged for the weights that the kernel chose";
}

TEST_F(MoeJudge, SeesAWrongActivation) {
  const MoeCase &entry = reference::moeCase("silu_shared_0");
  MoeCase wrong = entry;
  wrong.shape.activation = reference::Activation::Gelu;
  const MoeVerdict verdict = judged(entry, wrong);
  EXPECT_FALSE(verdict.comparison.passed);
  EXPECT_TRUE(test::contains(verdict.message(), "row")) << verdict.message();
}
