// The table of expert layers covers what it promises, and NVRTC takes the reference kernels.
#include "lathe/reference/MoeShapeTable.h"
#include "lathe/reference/MoeGpuKernels.h"
#include "lathe/reference/Nvrtc.h"

#include "lathe/reference/AttentionReference.h"
#include "lathe/support/Error.h"

#include <gtest/gtest.h>

#include <set>

using namespace lathe;
using namespace lathe::reference;

/// All values of one property over a list of cases.
template <class Property>
static std::set<int> values(const std::vector<MoeCase> &table, const Property &property) {
  std::set<int> found;
  for (const MoeCase &entry : table)
    found.insert(int(property(entry)));
  return found;
}

static void expectContains(const std::set<int> &found, std::initializer_list<int> wanted, const char *what) {
  for (int value : wanted)
    EXPECT_TRUE(found.count(value)) << what << " " << value << " is missing";
}

TEST(MoeShapeTable, NamesAreUniqueIdentifiers) {
  std::set<std::string> names;
  std::set<uint64_t> seeds;
  for (const MoeCase &entry : moeShapeTable()) {
    EXPECT_TRUE(names.insert(entry.name).second) << entry.name;
    EXPECT_TRUE(seeds.insert(entry.options.seed).second) << entry.name;
    for (char c : entry.name)
      EXPECT_TRUE(std::isalnum(static_cast<unsigned char>(c)) || c == '_') << entry.name;
    EXPECT_EQ(moeCase(entry.name).options.seed, entry.options.seed);
    EXPECT_NO_THROW(checkRouter(entry.shape.router)) << entry.name;
    EXPECT_EQ(entry.shape.hidden % 64, 0) << entry.name;
    EXPECT_EQ(entry.shape.inner % 64, 0) << entry.name;
    EXPECT_LE(entry.shape.weightBytes(), 20e9) << entry.name;
  }
  EXPECT_THROW(moeCase("no_such_case"), UserError);
}

TEST(MoeShapeTable, SmallCasesCoverEveryAxis) {
  const std::vector<MoeCase> small = smallMoeShapeTable();
  EXPECT_LT(small.size(), moeShapeTable().size());
  for (const MoeCase &entry : small)
    EXPECT_LE(entry.work(), 60e6) << entry.name;
  expectContains(values(small, [](auto &c) { return c.rows; }), {0, 1, 3, 17, 64, 130, 257}, "rows");
  expectContains(values(small, [](auto &c) { return c.shape.router.topK; }), {1, 2, 3, 4, 6, 8}, "top-k");
  expectContains(values(small, [](auto &c) { return c.shape.router.experts; }),
                 {1, 4, 7, 8, 16, 32, 40, 64, 160, 256, 384}, "experts");
  expectContains(values(small, [](auto &c) { return c.shape.hidden; }),
                 {64, 128, 192, 256, 320, 512, 1088, 2048}, "hidden");
  expectContains(values(small, [](auto &c) { return c.shape.inner; }), {64, 128, 192, 256, 704}, "inner");
  expectContains(values(small, [](auto &c) { return c.shape.sharedExperts; }), {0, 1, 2}, "shared experts");
  expectContains(values(small, [](auto &c) { return c.shape.localExperts; }), {0, 1, 8}, "local experts");
  expectContains(values(small, [](auto &c) { return c.shape.firstExpert; }), {0, 8, 24, 31}, "first expert");
  expectContains(values(small, [](auto &c) { return int(c.shape.activation); }), {0, 1, 2}, "activation");
  expectContains(values(small, [](auto &c) { return int(c.options.spread); }), {0, 1, 2, 3, 4}, "spread");
  expectContains(values(small, [](auto &c) { return c.shape.router.groups; }), {1, 4, 8}, "groups");
  auto both = [&](const char *what, const auto &property) {
    EXPECT_EQ(values(small, property), (std::set<int>{0, 1})) << what;
  };
  both("scoring", [](auto &c) { return c.shape.router.scoring == Scoring::Sigmoid; });
  both("renormalize", [](auto &c) { return c.shape.router.renormalize; });
  both("scale", [](auto &c) { return c.shape.router.scale != 1; });
  both("bias", [](auto &c) { return c.shape.router.bias; });
  both("group score", [](auto &c) { return c.shape.router.groupScore == GroupScore::TwoBest; });
  both("bf16 logits", [](auto &c) { return c.shape.logits == Dtype::BF16; });
  both("gate", [](auto &c) { return c.shape.gate; });
  both("f32 gate", [](auto &c) { return c.shape.gate && c.shape.gateType == Dtype::F32; });
  both("ties", [](auto &c) { return c.options.ties; });
  both("nans", [](auto &c) { return c.options.nans; });
  both("wild ids", [](auto &c) { return c.options.wildIds; });
  both("strided x", [](auto &c) { return c.options.stridedX; });
  both("strided y", [](auto &c) { return c.options.stridedY; });
  both("poison", [](auto &c) { return c.options.poison; });
}

TEST(MoeShapeTable, PublishedModelsAndBenchmarksAreThere) {
  const MoeShape &v3 = moeCase("v3_slice_rows_128").shape;
  EXPECT_EQ(v3.router.experts, 256);
  EXPECT_EQ(v3.router.groups, 8);
  EXPECT_EQ(v3.router.scale, 2.5f);
  EXPECT_TRUE(v3.router.bias && v3.router.renormalize);
  EXPECT_FALSE(moeCase("v2_lite_rows_1").small());
  EXPECT_FALSE(moeCase("bench_64x1408_top_6_rows_1").small()) << "cheap, but a gigabyte of weights";
  EXPECT_EQ(moeCase("bench_64x1408_top_6_rows_8192").rows, 8192);
  EXPECT_EQ(moeCase("bench_32x2048_top_1_rows_16").shape.router.topK, 1);
  EXPECT_NEAR(moeCase("bench_64x2048_top_8_rows_64").shape.weightBytes(), 5.64e9, 0.01e9);
}

TEST(Nvrtc, CompilesTheReferenceKernelsOfExpertLayers) {
  if (!nvrtcAvailable())
    GTEST_SKIP() << "libnvrtc is not installed";
  const std::string cubin = compileCuda(moeGpuKernelSource, "moe_reference.cu", "sm_90");
  for (const char *name : {moeActivateName, moeProjectName, moeSumName})
    EXPECT_NE(cubin.find(name), std::string::npos) << name;
}
