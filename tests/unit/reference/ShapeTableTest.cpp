// The shape table covers what it promises, and NVRTC takes the reference kernel.
#include "lathe/reference/ShapeTable.h"
#include "lathe/reference/GpuKernels.h"
#include "lathe/reference/Nvrtc.h"

#include "lathe/support/Error.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

using namespace lathe;
using namespace lathe::reference;

/// All values of one property over a list of cases.
template <class Property>
static auto values(const std::vector<ShapeCase> &table, const Property &property) {
  std::set<decltype(property(table.front()))> found;
  for (const ShapeCase &entry : table)
    found.insert(property(entry));
  return found;
}

static void expectContains(const std::set<int> &found, std::initializer_list<int> wanted, const char *what) {
  for (int value : wanted)
    EXPECT_TRUE(found.count(value)) << what << " " << value << " is missing";
}

TEST(ShapeTable, NamesAreUniqueIdentifiers) {
  std::set<std::string> names;
  std::set<uint64_t> seeds;
  for (const ShapeCase &entry : shapeTable()) {
    EXPECT_TRUE(names.insert(entry.name).second) << entry.name;
    EXPECT_TRUE(seeds.insert(entry.options.seed).second) << entry.name;
    for (char c : entry.name)
      EXPECT_TRUE(std::isalnum(static_cast<unsigned char>(c)) || c == '_') << entry.name;
    EXPECT_EQ(shapeCase(entry.name).options.seed, entry.options.seed);
  }
  EXPECT_THROW(shapeCase("no_such_case"), UserError);
}

TEST(ShapeTable, CoversEveryAxis) {
  const std::vector<ShapeCase> &table = shapeTable();
  expectContains(values(table, [](auto &c) { return c.shape.heads; }), {1, 3, 5, 8, 16, 20, 63, 64, 126, 128},
                 "heads");
  expectContains(values(table, [](auto &c) { return c.shape.page; }), {16, 32, 64, 128, 256}, "page");
  expectContains(values(table, [](auto &c) { return c.shape.queryTokens * 2 + c.shape.causal; }),
                 {2, 3, 4, 5, 8, 9}, "2 * query tokens + causal");
  expectContains(values(table, [](auto &c) { return c.shape.keyDim * 1000 + c.shape.valueDim; }),
                 {576512, 288256, 192128, 64064, 80048}, "1000 * keyDim + valueDim");
  std::set<int> lengths;
  for (const ShapeCase &entry : table)
    lengths.insert(entry.lengths.begin(), entry.lengths.end());
  expectContains(lengths, {0, 1, 15, 63, 64, 65, 4096}, "length");
  EXPECT_EQ(values(table, [](auto &c) { return c.options.shufflePages; }).size(), 2u);
  EXPECT_EQ(values(table, [](auto &c) { return c.options.stridedTable; }).size(), 2u);
  EXPECT_EQ(values(table, [](auto &c) { return c.options.stridedCache; }).size(), 2u);
  for (const ShapeCase &entry : table) {
    EXPECT_TRUE(entry.options.poison) << entry.name;
    EXPECT_EQ(entry.shape.keyDim % 16, 0) << entry.name;
    EXPECT_EQ(entry.shape.valueDim % 16, 0) << entry.name;
    EXPECT_LE(entry.shape.keyDim, 576) << entry.name;
    EXPECT_LE(entry.shape.valueDim, 512) << entry.name;
  }
}

TEST(ShapeTable, SmallCasesAreCheapAndStillCover) {
  const std::vector<ShapeCase> small = smallShapeTable();
  EXPECT_LT(small.size(), shapeTable().size());
  for (const ShapeCase &entry : small)
    EXPECT_LE(entry.work(), 60e6) << entry.name;
  expectContains(values(small, [](auto &c) { return c.shape.heads; }), {1, 3, 5, 8, 16, 20, 63, 64, 128},
                 "heads");
  expectContains(values(small, [](auto &c) { return c.shape.page; }), {16, 32, 64, 128, 256}, "page");
  expectContains(values(small, [](auto &c) { return c.shape.queryTokens; }), {1, 2, 4}, "query tokens");
}

TEST(Nvrtc, CompilesTheReferenceKernel) {
  if (!nvrtcAvailable())
    GTEST_SKIP() << "libnvrtc is not installed";
  EXPECT_NE(nvrtcName().find("libnvrtc"), std::string::npos);
  const std::string cubin = compileCuda(gpuKernelSource, "reference.cu", "sm_90");
  ASSERT_GT(cubin.size(), 4u);
  EXPECT_EQ(cubin.substr(1, 3), "ELF");
  EXPECT_NE(cubin.find(gpuKernelName), std::string::npos);
}

TEST(Nvrtc, ReportsErrorsOfTheSource) {
  if (!nvrtcAvailable())
    GTEST_SKIP() << "libnvrtc is not installed";
  try {
    compileCuda("__global__ void f() { undeclared = 1; }", "bad.cu", "sm_90");
    FAIL() << "the source must be rejected";
  } catch (const CompileError &error) {
    EXPECT_NE(std::string(error.what()).find("undeclared"), std::string::npos) << error.what();
  }
}

TEST(Nvrtc, SaysWhatIsMissing) {
  // In a child process, as the library is looked for once.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        setenv("LATHE_NVRTC", "/nowhere/libnvrtc.so", 1);
        try {
          compileCuda("", "empty.cu", "sm_90");
          std::exit(1);
        } catch (const DeviceError &error) {
          std::exit(std::string(error.what()).find("/nowhere/libnvrtc.so") != std::string::npos ? 0 : 2);
        }
      },
      testing::ExitedWithCode(0), "");
}
