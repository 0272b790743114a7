#include "lathe/support/MoeManifest.h"

#include "lathe/tests/unit/support/ManifestHelpers.h"

using namespace lathe;
using namespace lathe::test;
using nlohmann::json;

static MoeManifest randomManifest(std::mt19937_64 &random) {
  MoeManifest manifest;
  for (std::string *text :
       {&manifest.description, &manifest.arch, &manifest.router, &manifest.logits, &manifest.assembler})
    *text = randomText(random);
  manifest.bias = random() % 2 == 0;
  manifest.offset = random() % 2 == 0;
  for (int *number :
       {&manifest.routedExperts, &manifest.experts, &manifest.topK, &manifest.hidden, &manifest.intermediate,
        &manifest.halves, &manifest.shared, &manifest.slotTile, &manifest.tokenTile, &manifest.ctasPerSm,
        &manifest.routeRows, &manifest.routeBlocks, &manifest.routeScratchWords})
    *number = randomInt(random);
  manifest.config = {{"tokenTile", randomInt(random)}, {"list", {1, 2.5, nullptr}}};
  manifest.tensorMaps = randomMaps(random);
  manifest.oneLaunch = random() % 2 == 0;
  for (KernelEntry *kernel : {&manifest.gateKernel, &manifest.route, &manifest.up, &manifest.down,
                              &manifest.expertsKernel, &manifest.combine})
    *kernel = randomKernel(random);
  return manifest;
}

static void expectSame(const MoeManifest &a, const MoeManifest &b) {
  EXPECT_EQ(a.version, b.version);
  EXPECT_EQ(a.family, b.family);
  EXPECT_EQ(a.description, b.description);
  EXPECT_EQ(a.arch, b.arch);
  EXPECT_EQ(a.router, b.router);
  EXPECT_EQ(a.logits, b.logits);
  EXPECT_EQ(a.bias, b.bias);
  EXPECT_EQ(a.offset, b.offset);
  EXPECT_EQ(a.routedExperts, b.routedExperts);
  EXPECT_EQ(a.experts, b.experts);
  EXPECT_EQ(a.topK, b.topK);
  EXPECT_EQ(a.hidden, b.hidden);
  EXPECT_EQ(a.intermediate, b.intermediate);
  EXPECT_EQ(a.halves, b.halves);
  EXPECT_EQ(a.shared, b.shared);
  EXPECT_EQ(a.slotTile, b.slotTile);
  EXPECT_EQ(a.tokenTile, b.tokenTile);
  EXPECT_EQ(a.ctasPerSm, b.ctasPerSm);
  EXPECT_EQ(a.routeRows, b.routeRows);
  EXPECT_EQ(a.routeBlocks, b.routeBlocks);
  EXPECT_EQ(a.routeScratchWords, b.routeScratchWords);
  EXPECT_EQ(a.config, b.config);
  expectSame(a.tensorMaps, b.tensorMaps);
  expectSame(a.route, b.route);
  expectSame(a.up, b.up);
  expectSame(a.down, b.down);
  EXPECT_EQ(a.oneLaunch, b.oneLaunch);
  expectSame(a.expertsKernel, b.expertsKernel);
  expectSame(a.combine, b.combine);
  expectSame(a.gateKernel, b.gateKernel);
  EXPECT_EQ(a.gate, b.gate);
  EXPECT_EQ(a.gateRows, b.gateRows);
  EXPECT_EQ(a.gateExperts, b.gateExperts);
  EXPECT_EQ(a.assembler, b.assembler);
}

TEST(MoeManifest, RoundTripsThroughText) {
  std::mt19937_64 random(freshSeed());
  for (int round = 0; round < 50; ++round) {
    const MoeManifest manifest = randomManifest(random);
    const std::string text = json(manifest).dump();
    const MoeManifest read = json::parse(text).get<MoeManifest>();
    expectSame(manifest, read);
    EXPECT_EQ(json(read).dump(), text);
  }
}

TEST(MoeManifest, DefaultsRoundTrip) { expectSame(json(MoeManifest()).get<MoeManifest>(), MoeManifest()); }

TEST(MoeManifest, EveryFieldIsRequiredAndTyped) {
  MoeManifest manifest;
  manifest.tensorMaps.resize(1);
  manifest.up.arguments.resize(2);
  manifest.config = json::object();
  expectFieldsRequiredAndTyped(manifest, 60);
}

TEST(MoeManifest, MessagesNameThePlace) {
  MoeManifest manifest;
  manifest.down.arguments.resize(3);
  json bad = manifest;
  bad["down"]["arguments"][2]["kind"] = 7;
  EXPECT_TRUE(contains(userErrorOf([&] { bad.get<MoeManifest>(); }),
                       "field 'down.arguments[2].kind' must be a string, got 7"));
  bad = manifest;
  bad["topK"] = int64_t(1) << 40;
  EXPECT_TRUE(contains(userErrorOf([&] { bad.get<MoeManifest>(); }), "'topK' must fit 32 bits"));
  bad = manifest;
  bad["bias"] = 1;
  EXPECT_TRUE(contains(userErrorOf([&] { bad.get<MoeManifest>(); }), "'bias' must be true or false, got 1"));
  EXPECT_THROW(json::array().get<MoeManifest>(), UserError);
}

TEST(MoeManifest, ForeignVersionsAndFamiliesAreRefused) {
  json foreign = MoeManifest();
  foreign["version"] = MoeManifest::currentVersion + 1;
  EXPECT_TRUE(contains(userErrorOf([&] { foreign.get<MoeManifest>(); }), "version must be 4, got 5"));
  const json attention = Manifest();
  EXPECT_TRUE(contains(userErrorOf([&] { attention.get<MoeManifest>(); }),
                       "family must be moe, got paged_attention"));
}
