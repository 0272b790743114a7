// Every conformance case on the GPU, by the list that the emulator is tested with: what the PTX ISA leaves
// open, the hardware tells. Where a case has no bounds, GPU and emulator then have the same bits.
#include "GpuKernels.h"

#include "lathe/support/Error.h"
#include "lathe/tests/conformance/Cases.h"

#include <gtest/gtest.h>

#include <cstdio>

using namespace lathe;
using namespace lathe::conformance;

namespace {
class Conformance : public testing::TestWithParam<std::string> {};
} // namespace

TEST_P(Conformance, GpuDoesWhatTheIsaStates) {
  const uint64_t seed = std::random_device()();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  size_t count = 0;
  for (const Case &entry : allCases()) {
    if (entry.family != GetParam())
      continue;
    ++count;
    SCOPED_TRACE(testing::Message() << entry.family << "/" << entry.name << ", seed " << seed
                                    << (entry.question.empty() ? "" : "; assumed: " + entry.question));
    const Data data = makeData(entry, seed);
    try {
      EXPECT_EQ(compare(entry, data, run(*gputest::gpu(), entry, data)), "");
    } catch (const Error &error) {
      // After a fault the context of the process is lost.
      FAIL() << error.what() << "\n" << entry.ptx;
    }
  }
  EXPECT_GT(count, 0u);
}

INSTANTIATE_TEST_SUITE_P(All, Conformance, testing::ValuesIn(families()),
                         [](const testing::TestParamInfo<std::string> &info) { return info.param; });
