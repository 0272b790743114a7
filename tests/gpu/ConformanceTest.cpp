// Every conformance case on the GPU, by the list that the emulator is tested with: what the PTX ISA leaves
// open, the hardware tells. Where a case has no bounds, GPU and emulator then have the same bits.
#include "GpuKernels.h"

#include "lathe/support/Error.h"
#include "lathe/tests/conformance/Cases.h"

#include <gtest/gtest.h>

#include <cctype>
#include <cstdio>
#include <random>
#include <string>

using namespace lathe;
using namespace lathe::conformance;

namespace {
class Conformance : public testing::TestWithParam<size_t> {};
} // namespace

TEST_P(Conformance, GpuDoesWhatTheEmulatorDoes) {
  const Case &entry = allCases().at(GetParam());
  const uint64_t seed = std::random_device()();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  SCOPED_TRACE(entry.question.empty() ? "" : "assumed: " + entry.question);
  const Data data = makeData(entry, seed);
  try {
    EXPECT_EQ(compare(entry, data, run(*gputest::gpu(), entry, data)), "");
  } catch (const Error &error) {
    // After a fault the context of the process is lost, and every later case fails too.
    FAIL() << error.what() << "\n" << entry.ptx;
  }
}

static std::string nameOf(const testing::TestParamInfo<size_t> &info) {
  const Case &entry = allCases().at(info.param);
  std::string name = entry.family + "_" + entry.name;
  for (char &c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)))
      c = '_';
  return name + "_" + std::to_string(info.param);
}
INSTANTIATE_TEST_SUITE_P(All, Conformance, testing::Range<size_t>(0, allCases().size()), nameOf);
