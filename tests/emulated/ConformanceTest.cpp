// Every conformance case on the emulator: the result that the PTX ISA states, and no finding. And every text
// assembles.
#include "lathe/codegen/Target/Assemble.h"
#include "lathe/runtime/device/emulator/Emulator.h"
#include "lathe/support/Error.h"
#include "lathe/tests/conformance/Cases.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <set>

using namespace lathe;
using namespace lathe::conformance;

namespace {
class Conformance : public testing::TestWithParam<std::string> {};
} // namespace

static void expectConforms(runtime::Emulator &device, const Case &entry, uint64_t seed) {
  SCOPED_TRACE(testing::Message() << entry.family << "/" << entry.name << ", seed " << seed);
  const Data data = makeData(entry, seed);
  try {
    const Bytes after = run(device, entry, data);
    EXPECT_EQ(compare(entry, data, after), "") << entry.ptx;
  } catch (const Error &error) {
    ADD_FAILURE() << error.what() << "\n" << entry.ptx;
  }
  const runtime::emulator::FindingList findings = device.takeFindings();
  EXPECT_TRUE(findings.empty()) << findings.text();
}

/// In the usual order of warps and of arriving copies, and in a random one.
TEST_P(Conformance, MatchesTheIsaWithoutFindings) {
  const uint64_t seed = std::random_device()();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  const auto ordered = runtime::openEmulator({.throwFindings = false});
  const auto shuffled = runtime::openEmulator({.seed = seed | 1, .throwFindings = false});
  size_t count = 0;
  for (const Case &entry : allCases())
    if (entry.family == GetParam())
      expectConforms(++count % 2 ? *ordered : *shuffled, entry, seed);
  EXPECT_GT(count, 0u);
}

TEST_P(Conformance, Assembles) {
  if (codegen::chosenAssembler() == "driver")
    GTEST_SKIP() << "there is neither the PTX compiler library nor ptxas";
  const auto assembled = codegen::assemble(moduleOf(GetParam()), "sm_90a");
  EXPECT_FALSE(assembled.cubin.empty());
}

INSTANTIATE_TEST_SUITE_P(All, Conformance, testing::ValuesIn(families()),
                         [](const testing::TestParamInfo<std::string> &info) { return info.param; });

TEST(ConformanceList, NamesAreUnique) {
  std::set<std::string> names;
  for (const Case &entry : allCases())
    EXPECT_TRUE(names.insert(entry.family + "/" + entry.name).second) << entry.family << "/" << entry.name;
}
