// Every expert layer of the shape table with the default configuration for its rows: right, and the same bits
// in two runs.
#include "GpuKernels.h"

#include "lathe/reference/AttentionReference.h"
#include "lathe/runtime/Jit.h"
#include "lathe/tests/unit/support/Helpers.h"
#include "lathe/tools/lathe/MoeJudge.h"

#include <algorithm>

using namespace lathe;
using namespace lathe::gputest;
using reference::MoeCase;

namespace {
class MoeTest : public testing::TestWithParam<MoeCase> {};
} // namespace

namespace lathe::reference {
// NOLINTNEXTLINE(readability-identifier-naming): GoogleTest's.
static void PrintTo(const MoeCase &entry, std::ostream *stream) { *stream << entry.name; }
} // namespace lathe::reference

TEST_P(MoeTest, MatchesReference) {
  const MoeCase &entry = GetParam();
  static const test::TempFolder folder; // Layers of the same shape share their kernels.
  static const runtime::Jit jit(folder.path());
  runtime::MoeJitRequest request;
  request.rows = std::max(1, entry.rows);
  const runtime::MoeKernel kernel = jit.load(tools::describe(entry), gpu(), request);
  const bool onGpu = reference::nvrtcAvailable();
  tools::MoeJudgeOptions options;
  options.sampleRows = tools::cpuSampleRows(entry);
  options.twice = true;
  const tools::MoeVerdict verdict = tools::judge(kernel, entry, onGpu ? "gpu" : "cpu", options);
  SCOPED_TRACE(testing::Message() << "seed " << entry.options.seed << ", "
                                  << kernel.manifest().config.dump());
  EXPECT_EQ(verdict.message(), "");
  EXPECT_TRUE(verdict.right());
}

INSTANTIATE_TEST_SUITE_P(MoeTable, MoeTest, testing::ValuesIn(reference::moeShapeTable()),
                         [](const testing::TestParamInfo<MoeCase> &info) { return info.param.name; });
