#include "Correctness.h"

#include <algorithm>
#include <random>

using namespace lathe;
using namespace lathe::emulatedtest;

void emulatedtest::expectRight(const Case &entry, const RunOptions &options) {
  const codegen::Artifact &artifact = compiled(entry.shape.shape, entry.config);
  const RunResult result = run(artifact.ptx, artifact.manifest, entry.shape, options);
  SCOPED_TRACE(testing::Message() << entry.name << ", seed " << entry.shape.options.seed << ", order "
                                  << options.seed << ", " << options.smCount << " SMs");
  EXPECT_EQ(result.error, "");
  EXPECT_TRUE(result.findings.empty()) << result.findings.text();
  EXPECT_TRUE(result.comparison.passed) << result.comparison.message;
}

/// As many workers as an H100 has, and three, so that each has several items and its ring wraps; then in a
/// random order of warps and of arriving copies, of which the result must not depend.
TEST_P(Emulated, MatchesReferenceWithoutFindings) {
  for (int smCount : {132, 3})
    expectRight(GetParam(), {.smCount = smCount});
  expectRight(GetParam(), {.smCount = 3, .seed = std::max(std::random_device()(), 1u)});
}
