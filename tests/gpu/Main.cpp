//===- Main.cpp - lathe_gpu_tests --------------------------------------------------------------------===//
//
// Runs the GPU tests, or says why it cannot and exits with 77, which CTest takes for "skipped". Before the
// first test it starts compiling the kernels of all selected tests on all cores.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Cases.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <set>

using namespace lathe;
using namespace lathe::gputest;

static constexpr int skipped = 77;

namespace {

class Compilation : public testing::Environment {
public:
  void SetUp() override {
    std::set<std::string> selected;
    const testing::UnitTest &all = *testing::UnitTest::GetInstance();
    for (int i = 0; i < all.total_test_suite_count(); ++i)
      for (int j = 0; j < all.GetTestSuite(i)->total_test_count(); ++j)
        if (const testing::TestInfo &test = *all.GetTestSuite(i)->GetTestInfo(j); test.should_run()) {
          const std::string name = test.name();
          selected.insert(name.substr(name.rfind('/') + 1));
        }
    std::vector<KernelRequest> requests;
    for (const auto *cases : {&tableCases(), &configCases()})
      for (const KernelCase &entry : *cases)
        if (selected.count(entry.name))
          requests.push_back(entry.request());
    compileAhead(std::move(requests));
  }
  void TearDown() override { shutDown(); }
};

} // namespace

int main(int argc, char **argv) {
  testing::InitGoogleTest(&argc, argv);
  if (!GTEST_FLAG_GET(list_tests)) {
    if (!gpu()) {
      std::printf("[  SKIPPED ] all GPU tests: %s\n", unavailableReason().c_str());
      return skipped;
    }
    std::printf("GPU: %s, compiler: %s\n", gpu()->properties().name.c_str(),
                codegen::compilerVersion().c_str());
    testing::AddGlobalTestEnvironment(new Compilation);
  }
  return RUN_ALL_TESTS();
}
