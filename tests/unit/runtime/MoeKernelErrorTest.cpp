#include "MoeExample.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

using namespace lathe;
using namespace lathe::runtime;
using namespace lathe::runtime::test;
using ::testing::HasSubstr;

namespace {
struct MoeKernelErrorTest : ::testing::Test {
  std::shared_ptr<FakeDevice> device = std::make_shared<FakeDevice>();
  MoeManifest manifest = exampleMoe();
  Stream stream{};

  MoeKernel load() {
    device->kernels.clear();
    for (const KernelEntry *entry : manifest.kernels())
      device->kernels.push_back(*entry);
    return MoeKernel(device, "image", manifest);
  }
  /// The message of loading the manifest after `spoil`.
  std::string loadError(const std::function<void(MoeManifest &)> &spoil) {
    manifest = exampleMoe();
    spoil(manifest);
    return messageOf<UserError>([&] { load(); });
  }
  /// The message of run(); nothing may be launched.
  std::string runError(const MoeTensors &t) {
    const MoeKernel kernel = load();
    MoeWorkspace workspace = kernel.makeWorkspace(64);
    std::string message = messageOf<UserError>([&] { kernel.run(workspace, t, stream); });
    EXPECT_TRUE(device->launches.empty());
    return message;
  }

  struct Case {
    std::function<void(MoeTensors &)> spoil;
    std::vector<std::string> words;
  };
  void expectErrors(const MoeTensors &good, const std::vector<Case> &cases) {
    for (size_t i = 0; i < cases.size(); ++i) {
      MoeTensors t = good;
      cases[i].spoil(t);
      std::string message = runError(t);
      EXPECT_THAT(message, HasSubstr("moe_ffn")) << "case " << i;
      for (const std::string &word : cases[i].words)
        EXPECT_THAT(message, HasSubstr(word)) << "case " << i;
    }
  }
};
} // namespace

TEST_F(MoeKernelErrorTest, TensorsAreCheckedBeforeAnythingIsLaunched) {
  expectErrors(exampleMoeTensors(),
               {{[](auto &t) { t.x = 0; }, {"x", "null"}},
                {[](auto &t) { t.x += 8; }, {"x", "multiple of 16 bytes", "0x10008"}},
                {[](auto &t) { t.xStrideRow = 2040; }, {"x", "at least 2048", "2040"}},
                {[](auto &t) { t.xStrideRow = 2052; }, {"x", "multiple of 8", "2052"}},
                {[](auto &t) { t.xStrideRow = -2048; }, {"x", "-2048"}},
                {[](auto &t) { t.logits = 0; }, {"logits", "null"}},
                {[](auto &t) { t.logits += 2; }, {"logits", "multiple of 4 bytes"}},
                {[](auto &t) { t.bias = 0; }, {"bias", "null"}},
                {[](auto &t) { t.bias += 1; }, {"bias", "multiple of 4 bytes"}},
                {[](auto &t) { t.w1 = 0; }, {"w1", "null"}},
                {[](auto &t) { t.w1 += 2; }, {"w1", "multiple of 16 bytes"}},
                {[](auto &t) { t.w2 = 0; }, {"w2", "null"}},
                {[](auto &t) { t.w2 += 8; }, {"w2", "multiple of 16 bytes"}},
                {[](auto &t) { t.shared1 = 0; }, {"shared1", "null"}},
                {[](auto &t) { t.shared1 += 2; }, {"shared1", "multiple of 16 bytes"}},
                {[](auto &t) { t.shared2 = 0; }, {"shared2", "null"}},
                {[](auto &t) { t.shared2 += 2; }, {"shared2", "multiple of 16 bytes"}},
                {[](auto &t) { t.y = 0; }, {"y", "null"}},
                {[](auto &t) { t.y += 8; }, {"y", "multiple of 16 bytes"}},
                {[](auto &t) { t.yStrideRow = 2044; }, {"y", "at least 2048", "2044"}},
                {[](auto &t) { t.yStrideRow = 2049; }, {"y", "multiple of 8", "2049"}},
                {[](auto &t) { t.ids = 0x90004; }, {"weights", "null"}},
                {[](auto &t) { t.weights = 0xa0004; }, {"ids", "null"}},
                {[](auto &t) { t.firstExpert = 1; }, {"firstExpert", "got 1", "parameter"}},
                {[](auto &t) { t.rows = 65; }, {"workspace's 64", "got 65", "make a workspace"}},
                {[](auto &t) { t.rows = -1; }, {"got -1"}}});
}

TEST_F(MoeKernelErrorTest, LogitsOfTwoBytesNeedNoMore) {
  manifest.logits = "bf16";
  MoeTensors t = exampleMoeTensors();
  t.logits = 0x20002;
  EXPECT_EQ(messageOf<UserError>([&] {
              const MoeKernel kernel = load();
              MoeWorkspace workspace = kernel.makeWorkspace(64);
              kernel.run(workspace, t, stream);
            }),
            "");
  device->launches.clear();
  t.logits = 0x20001;
  EXPECT_THAT(runError(t), HasSubstr("multiple of 2 bytes"));
}

TEST_F(MoeKernelErrorTest, GatesAreRequiredAndTheirLogitsAreNot) {
  manifest = exampleGateMoe();
  MoeTensors good = exampleMoeTensors();
  good.logits = 0;
  good.gate = 0xb0000;
  expectErrors(good, {{[](auto &t) { t.gate = 0; }, {"gate", "null"}},
                      {[](auto &t) { t.gate += 8; }, {"gate", "multiple of 16 bytes"}},
                      {[](auto &t) { t.logits = 0x20002; }, {"logits", "multiple of 4 bytes"}}});
}

TEST_F(MoeKernelErrorTest, GivenRoutingsAreRequired) {
  manifest = exampleGivenMoe();
  expectErrors(exampleGivenTensors(), {{[](auto &t) { t.ids = 0; }, {"ids", "null"}},
                                       {[](auto &t) { t.ids += 2; }, {"ids", "multiple of 4 bytes"}},
                                       {[](auto &t) { t.weights = 0; }, {"weights", "null"}},
                                       {[](auto &t) { t.weights += 2; }, {"weights", "multiple of 4 bytes"}},
                                       {[](auto &t) { t.firstExpert = -1; }, {"firstExpert", "got -1"}},
                                       {[](auto &t) { t.firstExpert = std::numeric_limits<int>::max() - 15; },
                                        {"firstExpert", "16 local experts", "2147483632"}}});
}

TEST_F(MoeKernelErrorTest, LocalExpertsAreAmongAll) {
  manifest.offset = true;
  manifest.experts = 16;
  MoeTensors t = exampleMoeTensors();
  t.firstExpert = 49;
  EXPECT_THAT(runError(t), HasSubstr("from 0 to 48, got 49"));
  t.firstExpert = -16;
  EXPECT_THAT(runError(t), HasSubstr("got -16"));
}

TEST_F(MoeKernelErrorTest, StreamOfAnotherDevice) {
  const MoeKernel kernel = load();
  MoeWorkspace workspace = kernel.makeWorkspace(64);
  EXPECT_THAT(messageOf<UserError>(
                  [&] { kernel.run(workspace, exampleMoeTensors(), Stream{device->foreignStream}); }),
              HasSubstr("GPU 1"));
  EXPECT_TRUE(device->launches.empty());
}

TEST_F(MoeKernelErrorTest, WorkspacesBelongToTheirKernel) {
  const MoeKernel kernel = load(), other = load();
  MoeWorkspace foreign = other.makeWorkspace(64), empty;
  EXPECT_THAT(messageOf<UserError>([&] { kernel.run(foreign, exampleMoeTensors(), stream); }),
              HasSubstr("another kernel"));
  EXPECT_THAT(messageOf<UserError>([&] { kernel.run(empty, exampleMoeTensors(), stream); }),
              HasSubstr("empty"));
  EXPECT_THAT(messageOf<UserError>([&] { kernel.runExperts(foreign, exampleMoeTensors(), stream); }),
              HasSubstr("another kernel"));
  EXPECT_TRUE(device->launches.empty());
}

TEST_F(MoeKernelErrorTest, WorkspaceSizesAreChecked) {
  const MoeKernel kernel = load();
  for (int rows : {0, -1})
    EXPECT_THAT(messageOf<UserError>([&] { kernel.makeWorkspace(rows); }),
                HasSubstr(std::to_string(rows).c_str()));
  EXPECT_THAT(messageOf<UserError>([&] { kernel.makeWorkspace(std::numeric_limits<int>::max()); }),
              HasSubstr("2147483647"));
  EXPECT_EQ(device->allocationCount, 0);
}

TEST_F(MoeKernelErrorTest, ManifestsThatContradictThemselves) {
  const auto bad = [&](const auto &spoil, const char *words) {
    EXPECT_THAT(loadError(spoil), HasSubstr(words));
  };
  bad([](MoeManifest &m) { m.family = "paged_attention"; }, "family");
  bad([](MoeManifest &m) { m.version = 99; }, "version");
  bad([](MoeManifest &m) { m.router = "gate"; }, "'gate'");
  bad([](MoeManifest &m) { m.logits = "f64"; }, "'f64'");
  bad([](MoeManifest &m) { m.experts = 0; }, "experts must be positive");
  bad([](MoeManifest &m) { m.routedExperts = 63; }, "routedExperts");
  bad([](MoeManifest &m) { m.router = "given"; }, "routedExperts");
  bad([](MoeManifest &m) { m.topK = 65; }, "topK");
  bad([](MoeManifest &m) { m.topK = 0; }, "topK");
  bad([](MoeManifest &m) { m.hidden = 2040; }, "hidden must be a multiple of 64");
  bad([](MoeManifest &m) { m.intermediate = 0; }, "intermediate");
  bad([](MoeManifest &m) { m.halves = 3; }, "halves");
  bad([](MoeManifest &m) { m.shared = -1; }, "shared");
  bad([](MoeManifest &m) { m.shared = 0; }, "shared");
  bad([](MoeManifest &m) { m.slotTile = 0; }, "slotTile");
  bad([](MoeManifest &m) { m.tokenTile = 296; }, "tokenTile");
  bad([](MoeManifest &m) { m.ctasPerSm = 0; }, "ctasPerSm");
  bad([](MoeManifest &m) { m.routeRows = 0; }, "routeRows");
  bad([](MoeManifest &m) { m.routeBlocks = 0; }, "routeBlocks");
  bad([](MoeManifest &m) { m.routeScratchWords = -1; }, "routeScratchWords");
  bad([](MoeManifest &m) { m.bias = false; }, "bias");
  bad([](MoeManifest &m) { m.route.arguments[0] = {"pointer", "counts"}; }, "logits");
  bad([](MoeManifest &m) { m.route.name = ""; }, "'route'");
  bad([](MoeManifest &m) { m.down.threads = 48; }, "kernel down");
  bad([](MoeManifest &m) { m.down.cluster = 0; }, "cluster");
  bad([](MoeManifest &m) { m.tensorMaps.pop_back(); }, "'shared2'");
  bad([](MoeManifest &m) { m.tensorMaps[2].boxRows = 12; }, "'activated'");
  bad([](MoeManifest &m) { m.tensorMaps[0].boxColumns = 32; }, "'w1'");
  for (int rows : {0, 24, 272})
    bad([rows](MoeManifest &m) { m.tensorMaps[0].boxRows = rows; },
        "'w1' must have boxes of 64 columns and 16 to 256 rows");
  bad([](MoeManifest &m) { m.down.cluster = 4; }, "must be 1 or 2");
  bad([](MoeManifest &m) { m.atomic = true; }, "down must take sums, for it is atomic, got no sums");
  bad([](MoeManifest &m) { m.down.arguments[4].name = "sums"; }, "down must take expert_out, got sums");
  bad([](MoeManifest &m) { m.combine.arguments[0].name = "sums"; }, "combine must take expert_out, got sums");
}

TEST_F(MoeKernelErrorTest, ManifestsWhoseOneLaunchContradictsItself) {
  const auto bad = [&](const auto &spoil, const char *words) {
    EXPECT_THAT(loadError([&](MoeManifest &m) {
                  makeOneLaunch(m);
                  spoil(m);
                }),
                HasSubstr(words));
  };
  bad([](MoeManifest &m) { m.oneLaunch = false; }, "combine must not take ready");
  bad([](MoeManifest &m) { m.combine.arguments.pop_back(); }, "combine must take ready");
  bad([](MoeManifest &m) { m.expertsKernel.arguments[0].name = "places"; }, "expertsKernel must take ready");
  bad([](MoeManifest &m) { m.expertsKernel.name = ""; }, "'expertsKernel'");
  bad([](MoeManifest &m) { m.expertsKernel.cluster = 2; }, "clusters of expertsKernel must be 1");
}

TEST_F(MoeKernelErrorTest, ManifestsWhoseGateContradictsItself) {
  const auto bad = [&](const auto &spoil, const char *words) {
    EXPECT_THAT(loadError([&](MoeManifest &m) {
                  m = exampleGateMoe();
                  spoil(m);
                }),
                HasSubstr(words));
  };
  bad([](MoeManifest &m) { m.gate = "f16"; }, "'f16'");
  bad([](MoeManifest &m) { m.logits = "bf16"; }, "f32");
  bad([](MoeManifest &m) { m.gateRows = 0; }, "gateRows");
  bad([](MoeManifest &m) { m.gateExperts = -8; }, "gateExperts");
  bad([](MoeManifest &m) { m.gateKernel.name = ""; }, "'gateKernel'");
  bad([](MoeManifest &m) { m.gateKernel.cluster = 2; }, "clusters");
  bad([](MoeManifest &m) { m.gateKernel.arguments[3].name = "matrix"; }, "'matrix'");
}

TEST_F(MoeKernelErrorTest, ArgumentsOfOtherFamiliesAreRefused) {
  EXPECT_THAT(loadError([](auto &m) { m.up.arguments.push_back({"pointer", "block_table"}); }),
              HasSubstr("'block_table'"));
  EXPECT_THAT(loadError([](auto &m) { m.down.arguments[0].kind = "pointer"; }), HasSubstr("'w2'"));
  EXPECT_THAT(loadError([](auto &m) { m.combine.arguments[3].kind = "f32"; }), HasSubstr("'rows'"));
  EXPECT_THAT(loadError([](auto &m) { m.route.arguments.push_back({"pointer", "router"}); }),
              HasSubstr("another version"));
}

TEST_F(MoeKernelErrorTest, AnotherArchitectureIsADeviceError) {
  device->properties_.major = 10;
  EXPECT_THAT(messageOf<DeviceError>([&] { load(); }), HasSubstr("sm_100a"));
}
