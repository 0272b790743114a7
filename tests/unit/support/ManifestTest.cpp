#include "lathe/support/Manifest.h"

#include "lathe/tests/unit/support/ManifestHelpers.h"

using namespace lathe;
using namespace lathe::test;
using nlohmann::json;

static Manifest randomManifest(std::mt19937_64 &random) {
  Manifest manifest;
  manifest.family = randomText(random);
  manifest.description = randomText(random);
  manifest.arch = randomText(random);
  for (int *number : {&manifest.heads, &manifest.queryTokens, &manifest.keyDim, &manifest.valueDim,
                      &manifest.page, &manifest.kvTile, &manifest.rowBlocks, &manifest.splitPolicy,
                      &manifest.fixedSplits, &manifest.combineColumns})
    *number = randomInt(random);
  manifest.config = {
      {"kvTile", randomInt(random)}, {"split", randomText(random)}, {"list", {1, 2.5, nullptr}}};
  manifest.tensorMaps = randomMaps(random);
  manifest.plan = randomKernel(random);
  manifest.attend = randomKernel(random);
  manifest.combine = randomKernel(random);
  manifest.assembler = randomText(random);
  return manifest;
}

static void expectSame(const Manifest &a, const Manifest &b) {
  EXPECT_EQ(a.version, b.version);
  EXPECT_EQ(a.family, b.family);
  EXPECT_EQ(a.description, b.description);
  EXPECT_EQ(a.arch, b.arch);
  EXPECT_EQ(a.heads, b.heads);
  EXPECT_EQ(a.queryTokens, b.queryTokens);
  EXPECT_EQ(a.keyDim, b.keyDim);
  EXPECT_EQ(a.valueDim, b.valueDim);
  EXPECT_EQ(a.page, b.page);
  EXPECT_EQ(a.config, b.config);
  EXPECT_EQ(a.kvTile, b.kvTile);
  EXPECT_EQ(a.rowBlocks, b.rowBlocks);
  EXPECT_EQ(a.splitPolicy, b.splitPolicy);
  EXPECT_EQ(a.fixedSplits, b.fixedSplits);
  EXPECT_EQ(a.combineColumns, b.combineColumns);
  expectSame(a.tensorMaps, b.tensorMaps);
  expectSame(a.plan, b.plan);
  expectSame(a.attend, b.attend);
  expectSame(a.combine, b.combine);
  EXPECT_EQ(a.assembler, b.assembler);
}

TEST(Manifest, RoundTripsThroughText) {
  std::mt19937_64 random(test::freshSeed());
  for (int round = 0; round < 50; ++round) {
    const Manifest manifest = randomManifest(random);
    const std::string text = json(manifest).dump();
    const Manifest read = json::parse(text).get<Manifest>();
    expectSame(manifest, read);
    EXPECT_EQ(json(read).dump(), text);
  }
}

TEST(Manifest, DefaultsRoundTrip) { expectSame(json(Manifest()).get<Manifest>(), Manifest()); }

TEST(Manifest, EveryFieldIsRequiredAndTyped) {
  Manifest manifest;
  manifest.tensorMaps.resize(1);
  manifest.plan.arguments.resize(2);
  manifest.config = json::object();
  expectFieldsRequiredAndTyped(manifest, 50);
}

TEST(Manifest, MessagesNameThePlace) {
  Manifest manifest;
  manifest.attend.arguments.resize(3);
  json bad = manifest;
  bad["attend"]["arguments"][2]["kind"] = 7;
  EXPECT_TRUE(test::contains(test::userErrorOf([&] { bad.get<Manifest>(); }),
                             "field 'attend.arguments[2].kind' must be a string, got 7"));
  bad = manifest;
  bad["heads"] = int64_t(1) << 40;
  EXPECT_TRUE(test::contains(test::userErrorOf([&] { bad.get<Manifest>(); }), "'heads' must fit 32 bits"));
  for (const json &number :
       {json(uint64_t(1) << 63), json(int64_t(1) << 31), json(-(int64_t(1) << 31) - 1)}) {
    bad["heads"] = number;
    EXPECT_THROW(bad.get<Manifest>(), UserError) << number.dump();
  }
  EXPECT_THROW(json::array().get<Manifest>(), UserError);
}

TEST(Manifest, ForeignVersionsAreRefused) {
  json foreign = Manifest();
  foreign["version"] = 2; // The one before: its kernels read another list of split sequences.
  const std::string message = test::userErrorOf([&] { foreign.get<Manifest>(); });
  EXPECT_TRUE(test::contains(message, "version must be 3, got 2"));
}
