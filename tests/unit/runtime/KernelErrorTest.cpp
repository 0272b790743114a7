#include "FakeDevice.h"

#include "lathe/runtime/Kernel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

using namespace lathe;
using namespace lathe::runtime;
using namespace lathe::runtime::test;
using ::testing::HasSubstr;

namespace {
struct KernelErrorTest : ::testing::Test {
  std::shared_ptr<FakeDevice> device = std::make_shared<FakeDevice>();
  Manifest manifest = exampleManifest();
  Stream stream{};
  std::vector<int32_t> lengths{100, 0, 129, 64}, table = std::vector<int32_t>(4 * 10, -1);

  Kernel load() {
    device->kernels = {manifest.plan, manifest.attend, manifest.combine};
    return Kernel(device, "image", manifest);
  }
  std::string loadError() {
    return messageOf<UserError>([&] { load(); });
  }
  DecodeTensors tensors() {
    DecodeTensors t;
    t.batch = 4;
    t.q = 0x10000;
    t.kv = 0x20000;
    t.numPages = 512;
    t.blockTable = reinterpret_cast<DevicePtr>(table.data());
    t.blockTableStride = 10;
    t.lengths = reinterpret_cast<DevicePtr>(lengths.data());
    t.out = 0x50000;
    t.lse = 0x60000;
    t.scale = 0.1f;
    return t;
  }
  /// The message of run() after `spoil`; nothing may be launched.
  std::string runError(const std::function<void(DecodeTensors &)> &spoil) {
    Kernel kernel = load();
    Plan plan = kernel.makePlan(8);
    DecodeTensors t = tensors();
    kernel.plan(plan, t.lengths, t.batch, stream);
    device->launches.clear();
    spoil(t);
    std::string message = messageOf<UserError>([&] { kernel.run(plan, t, stream); });
    EXPECT_TRUE(device->launches.empty());
    return message;
  }
  std::string validateError(int maxPages = 10) {
    Kernel kernel = load();
    Plan plan = kernel.makePlan(8);
    return messageOf<UserError>([&] { kernel.validate(plan, tensors(), maxPages, stream); });
  }
};
} // namespace

TEST_F(KernelErrorTest, TensorsAreCheckedBeforeAnythingIsLaunched) {
  struct Case {
    std::function<void(DecodeTensors &)> spoil;
    std::vector<std::string> words;
  };
  const std::vector<Case> cases = {
      {[](auto &t) { t.q = 0; }, {"q", "null"}},
      {[](auto &t) { t.q += 8; }, {"q", "multiple of 16 bytes", "0x10008"}},
      {[](auto &t) { t.kv = 0; }, {"kv", "null"}},
      {[](auto &t) { t.kv += 2; }, {"kv", "multiple of 16 bytes"}},
      {[](auto &t) { t.out = 0; }, {"out", "null"}},
      {[](auto &t) { t.out += 4; }, {"out", "multiple of 16 bytes"}},
      {[](auto &t) { t.lse = 0; }, {"lse", "null"}},
      {[](auto &t) { t.lse += 2; }, {"lse", "multiple of 4 bytes"}},
      {[](auto &t) { t.lengths = 0; }, {"lengths", "null"}},
      {[](auto &t) { t.blockTable = 0; }, {"block table", "null"}},
      {[](auto &t) { t.blockTable += 1; }, {"block table", "multiple of 4 bytes"}},
      {[](auto &t) { t.blockTableStride = 0; }, {"blockTableStride", "at least 1"}},
      {[](auto &t) { t.numPages = 0; }, {"numPages", "got 0"}},
      {[](auto &t) { t.numPages = int64_t(1) << 31; }, {"numPages", "2147483648"}},
      {[](auto &t) { t.qStrideRow = 580; }, {"merge", "qStrideRow", "multiple of 8", "580"}},
      {[](auto &t) { t.qStrideRow = 512; }, {"qStrideRow", "at least 576", "512"}},
      {[](auto &t) { t.qStrideBatch = -576; }, {"qStrideBatch", "-576"}},
      {[](auto &t) { t.kvStrideToken = 577; }, {"kvStrideToken", "multiple of 8", "577"}},
      {[](auto &t) { t.kvStridePage = 64 * 576 + 4; }, {"kvStridePage", "36868"}},
      {[](auto &t) { t.outStrideHead = 256; }, {"outStrideHead", "at least 512"}},
      {[](auto &t) { t.outStrideBatch = 16 * 512 + 1; }, {"outStrideBatch", "8193"}},
      {[](auto &t) { t.lseStrideHead = -1; }, {"lseStrideHead", "-1"}},
      {[](auto &t) { t.scale = 0; }, {"scale", "positive", "got 0"}},
      {[](auto &t) { t.scale = std::nanf(""); }, {"scale", "nan"}},
      {[](auto &t) { t.scale = INFINITY; }, {"scale", "inf"}},
      {[](auto &t) { t.batch = 9; }, {"plan's 8", "got 9"}},
      {[](auto &t) { t.batch = -1; }, {"got -1"}},
      {[](auto &t) { t.batch = 3; }, {"3 where 4 was planned"}},
      {[](auto &t) { t.outStrideHead = (int64_t(1) << 31) + 8; },
       {"out_stride_head", "32 bits", "2147483656"}},
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    std::string message = runError(cases[i].spoil);
    for (const std::string &word : cases[i].words)
      EXPECT_THAT(message, HasSubstr(word)) << "case " << i;
  }
}

TEST_F(KernelErrorTest, StreamOfAnotherDevice) {
  Kernel kernel = load();
  Plan plan = kernel.makePlan(8);
  DecodeTensors t = tensors();
  Stream foreign{device->foreignStream};
  EXPECT_THAT(messageOf<UserError>([&] { kernel.plan(plan, t.lengths, 4, foreign); }), HasSubstr("GPU 1"));
  kernel.plan(plan, t.lengths, 4, stream);
  EXPECT_THAT(messageOf<UserError>([&] { kernel.run(plan, t, foreign); }), HasSubstr("GPU 1"));
  EXPECT_EQ(device->launches.size(), 1u);
}

TEST_F(KernelErrorTest, PlansBelongToTheirKernelAndMustBeFilled) {
  Kernel kernel = load(), other = load();
  Plan plan = kernel.makePlan(8), foreign = other.makePlan(8), empty;
  DecodeTensors t = tensors();
  EXPECT_THAT(messageOf<UserError>([&] { kernel.run(plan, t, stream); }), HasSubstr("nothing was planned"));
  EXPECT_THAT(messageOf<UserError>([&] { kernel.plan(foreign, t.lengths, 4, stream); }),
              HasSubstr("another kernel"));
  EXPECT_THAT(messageOf<UserError>([&] { kernel.run(empty, t, stream); }), HasSubstr("empty plan"));
  EXPECT_THAT(messageOf<UserError>([&] { kernel.plan(plan, t.lengths, 9, stream); }), HasSubstr("got 9"));
  EXPECT_THAT(messageOf<UserError>([&] { kernel.plan(plan, 0, 4, stream); }), HasSubstr("lengths"));
  EXPECT_THAT(messageOf<UserError>([&] { kernel.plan(plan, 2, 4, stream); }), HasSubstr("multiple of 4"));
  EXPECT_TRUE(device->launches.empty());
}

TEST_F(KernelErrorTest, UnknownArgumentsAreRefusedAtLoading) {
  manifest.attend.arguments.push_back({"pointer", "rope_table"});
  EXPECT_THAT(loadError(), HasSubstr("rope_table"));
  EXPECT_THAT(loadError(), HasSubstr("another version"));
}

TEST_F(KernelErrorTest, PlanKernelKnowsNoTensors) {
  manifest.plan.arguments.push_back({"pointer", "out"});
  EXPECT_THAT(loadError(), HasSubstr("'out'"));
}

TEST_F(KernelErrorTest, KindsMustFitTheirNames) {
  manifest.combine.arguments[0].kind = "i32";
  EXPECT_THAT(loadError(), HasSubstr("'splits'"));
  manifest = exampleManifest();
  manifest.attend.arguments[0].kind = "pointer";
  EXPECT_THAT(loadError(), HasSubstr("'q'"));
  manifest = exampleManifest();
  manifest.attend.arguments.resize(33, {"pointer", "out"});
  EXPECT_THAT(loadError(), HasSubstr("at most 32"));
}

TEST_F(KernelErrorTest, ManifestsThatContradictThemselves) {
  auto spoiled = [&](const std::function<void(Manifest &)> &spoil) {
    manifest = exampleManifest();
    spoil(manifest);
    return loadError();
  };
  EXPECT_THAT(spoiled([](Manifest &m) { m.family = "moe"; }), HasSubstr("family"));
  EXPECT_THAT(spoiled([](Manifest &m) { m.version = 99; }), HasSubstr("version"));
  EXPECT_THAT(spoiled([](Manifest &m) { m.config.erase("rowsPerCta"); }), HasSubstr("rowsPerCta"));
  EXPECT_THAT(spoiled([](Manifest &m) { m.config = nullptr; }), HasSubstr("rowsPerCta"));
  EXPECT_THAT(spoiled([](Manifest &m) { m.heads = 65; }), HasSubstr("cover"));
  EXPECT_THAT(spoiled([](Manifest &m) { m.attend.cluster = 2; }), HasSubstr("cluster"));
  EXPECT_THAT(spoiled([](Manifest &m) { m.splitPolicy = 3; }), HasSubstr("splitPolicy"));
  EXPECT_THAT(spoiled([](Manifest &m) { m.combine.threads = 48; }), HasSubstr("mla_decode_combine"));
  EXPECT_THAT(spoiled([](Manifest &m) { m.plan.name = ""; }), HasSubstr("plan"));
  EXPECT_THAT(spoiled([](Manifest &m) { m.tensorMaps.pop_back(); }), HasSubstr("'kv'"));
}

TEST_F(KernelErrorTest, AnotherArchitectureIsADeviceError) {
  device->properties_.major = 10;
  EXPECT_THAT(messageOf<DeviceError>([&] { load(); }), HasSubstr("sm_100a"));
}

TEST_F(KernelErrorTest, PlanSizesAreChecked) {
  Kernel kernel = load();
  EXPECT_THAT(messageOf<UserError>([&] { kernel.makePlan(0); }), HasSubstr("maxBatch"));
  EXPECT_THAT(messageOf<UserError>([&] { kernel.makePlan(8, -1); }), HasSubstr("workers"));
  EXPECT_THAT(messageOf<UserError>([&] { kernel.makePlan(8, 70000); }), HasSubstr("65535"));
  EXPECT_EQ(device->allocationCount, 0);
}

TEST_F(KernelErrorTest, ValidateAcceptsGarbageBeyondTheLengths) {
  table = {0,  511,  9999, -5,      7, 7, 7, 7, 7, 7,  //  100 tokens: two pages.
           -1, 9999, -1,   -1,      0, 0, 0, 0, 0, 0,  //  0 tokens: none.
           1,  2,    3,    1 << 30, 0, 0, 0, 0, 0, 0,  //  129 tokens: three pages.
           4,  -1,   0,    0,       0, 0, 0, 0, 0, 0}; //  64 tokens: one page.
  EXPECT_EQ(validateError(), "");
  EXPECT_EQ(device->synchronizations, 1);
  EXPECT_TRUE(device->launches.empty());
}

TEST_F(KernelErrorTest, ValidateNamesTheBadEntry) {
  std::fill(table.begin(), table.end(), 0);
  table[2 * 10 + 2] = 812;
  EXPECT_THAT(validateError(), HasSubstr("block_table[sequence 2][2] is 812, the cache has 512 pages"));
  table[2 * 10 + 2] = 0;
  table[3 * 10] = -1;
  EXPECT_THAT(validateError(), HasSubstr("block_table[sequence 3][0] is -1"));
  table[3 * 10] = 512;
  EXPECT_THAT(validateError(), HasSubstr("block_table[sequence 3][0] is 512"));
}

TEST_F(KernelErrorTest, ValidateNamesTheBadLength) {
  std::fill(table.begin(), table.end(), 0);
  EXPECT_THAT(validateError(2), HasSubstr("lengths[sequence 2]"));
  EXPECT_THAT(validateError(2), HasSubstr("at most 128 tokens, got 129"));
  lengths[1] = -3;
  EXPECT_THAT(validateError(), HasSubstr("lengths[sequence 1]: a length must not be negative, got -3"));
}
