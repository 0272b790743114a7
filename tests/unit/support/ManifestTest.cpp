#include "lathe/support/Manifest.h"

#include "lathe/tests/unit/support/Helpers.h"

using namespace lathe;
using nlohmann::json;

static std::string randomText(std::mt19937_64 &random) { return "name_" + std::to_string(random() % 100000); }
static int randomInt(std::mt19937_64 &random) { return int(random()); }

static KernelEntry randomKernel(std::mt19937_64 &random) {
  KernelEntry kernel;
  kernel.name = randomText(random);
  kernel.threads = randomInt(random);
  kernel.sharedBytes = randomInt(random);
  kernel.cluster = randomInt(random);
  for (size_t i = 0, count = random() % 5; i < count; ++i)
    kernel.arguments.push_back({randomText(random), randomText(random)});
  kernel.resources = {randomInt(random), randomInt(random), randomInt(random), randomInt(random),
                      randomInt(random), randomInt(random), randomInt(random), random() % 2 == 0};
  return kernel;
}

static Manifest randomManifest(std::mt19937_64 &random) {
  Manifest manifest;
  manifest.family = randomText(random);
  manifest.description = randomText(random);
  manifest.arch = randomText(random);
  for (int *number :
       {&manifest.heads, &manifest.queryTokens, &manifest.keyDim, &manifest.valueDim, &manifest.page,
        &manifest.kvTile, &manifest.rowBlocks, &manifest.splitPolicy, &manifest.fixedSplits})
    *number = randomInt(random);
  manifest.config = {
      {"kvTile", randomInt(random)}, {"split", randomText(random)}, {"list", {1, 2.5, nullptr}}};
  for (size_t i = 0, count = random() % 3; i < count; ++i)
    manifest.tensorMaps.push_back({randomText(random), randomInt(random), randomInt(random)});
  manifest.plan = randomKernel(random);
  manifest.attend = randomKernel(random);
  manifest.combine = randomKernel(random);
  manifest.assembler = randomText(random);
  return manifest;
}

static void expectSame(const KernelEntry &a, const KernelEntry &b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.threads, b.threads);
  EXPECT_EQ(a.sharedBytes, b.sharedBytes);
  EXPECT_EQ(a.cluster, b.cluster);
  ASSERT_EQ(a.arguments.size(), b.arguments.size());
  for (size_t i = 0; i < a.arguments.size(); ++i) {
    EXPECT_EQ(a.arguments[i].kind, b.arguments[i].kind);
    EXPECT_EQ(a.arguments[i].name, b.arguments[i].name);
  }
  const KernelResources &r = a.resources, &s = b.resources;
  EXPECT_EQ(r.registers, s.registers);
  EXPECT_EQ(r.spillBytes, s.spillBytes);
  EXPECT_EQ(r.stackBytes, s.stackBytes);
  EXPECT_EQ(r.staticSharedBytes, s.staticSharedBytes);
  EXPECT_EQ(r.wgmmaCount, s.wgmmaCount);
  EXPECT_EQ(r.tmaLoadCount, s.tmaLoadCount);
  EXPECT_EQ(r.mbarrierWaitCount, s.mbarrierWaitCount);
  EXPECT_EQ(r.usesSetmaxnreg, s.usesSetmaxnreg);
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
  ASSERT_EQ(a.tensorMaps.size(), b.tensorMaps.size());
  for (size_t i = 0; i < a.tensorMaps.size(); ++i) {
    EXPECT_EQ(a.tensorMaps[i].name, b.tensorMaps[i].name);
    EXPECT_EQ(a.tensorMaps[i].boxColumns, b.tensorMaps[i].boxColumns);
    EXPECT_EQ(a.tensorMaps[i].boxRows, b.tensorMaps[i].boxRows);
  }
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

/// All JSON pointers to fields of objects in `value`.
static void collectFields(const json &value, const std::string &path, std::vector<std::string> &paths) {
  if (value.is_object())
    for (const auto &[name, field] : value.items()) {
      const std::string inner = path + "/" + name;
      paths.push_back(inner);
      if (inner != "/config")
        collectFields(field, inner, paths);
    }
  if (value.is_array())
    for (size_t i = 0; i < value.size(); ++i)
      collectFields(value[i], path + "/" + std::to_string(i), paths);
}

TEST(Manifest, EveryFieldIsRequiredAndTyped) {
  Manifest manifest;
  manifest.tensorMaps.resize(1);
  manifest.plan.arguments.resize(2);
  manifest.config = json::object();
  const json good = manifest;
  std::vector<std::string> paths;
  collectFields(good, "", paths);
  ASSERT_GT(paths.size(), 50u);
  for (const std::string &path : paths) {
    const json::json_pointer pointer(path);
    const std::string name = pointer.back();
    json missing = good;
    missing.at(pointer.parent_pointer()).erase(name);
    const std::string message = test::userErrorOf([&] { missing.get<Manifest>(); });
    EXPECT_TRUE(test::contains(message, name + "' is required")) << path;
    if (path == "/config")
      continue; // Any JSON is a config here.
    for (const json &wrong : {json(nullptr), json(1.5), json({{"x", 1}})}) {
      json changed = good;
      changed[pointer] = wrong;
      EXPECT_THROW(changed.get<Manifest>(), UserError) << path << " = " << wrong.dump();
    }
  }
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
  foreign["version"] = 1; // The one before: its kernels read other work items.
  const std::string message = test::userErrorOf([&] { foreign.get<Manifest>(); });
  EXPECT_TRUE(test::contains(message, "version must be 2, got 1"));
}
