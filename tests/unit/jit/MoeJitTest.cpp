//===- MoeJitTest.cpp - From a description to a mixture of experts on a device ------------------------===//
//
// Which configuration serves how many rows, what is found again in the cache, and the whole facade on the
// emulator.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/MoeWorkload.h"
#include "lathe/autotuner/TuningDb.h"
#include "lathe/dsl/models/Mla.h"
#include "lathe/dsl/models/Moe.h"
#include "lathe/runtime/Jit.h"
#include "lathe/runtime/device/emulator/Emulator.h"
#include "lathe/tests/unit/support/Helpers.h"

using namespace lathe;
using namespace lathe::runtime;

static dsl::Kernel layer() {
  return dsl::moeFfn({.hidden = 128, .intermediate = 128, .experts = 8, .topK = 2});
}

TEST(MoeJit, ConfigurationFollowsRowsUnlessGiven) {
  test::TempFolder folder;
  const test::ScopedEnv nothingTuned("LATHE_TUNING_DB", (folder / "tuning.json").c_str());
  const Jit jit(folder / "cache");
  MoeJitRequest few, many;
  few.rows = 1;
  many.rows = 4096;
  const MoeJitArtifact one = jit.build(layer(), few), thousands = jit.build(layer(), many);
  EXPECT_EQ(one.report.source, ConfigSource::Default);
  EXPECT_LT(one.report.config.tokenTile, thousands.report.config.tokenTile);
  EXPECT_NE(one.report.digest, thousands.report.digest);
  few.config = thousands.report.config;
  const MoeJitArtifact given = jit.build(layer(), few);
  EXPECT_EQ(given.report.source, ConfigSource::Given);
  EXPECT_FALSE(given.report.compiled);
  EXPECT_EQ(given.report.digest, thousands.report.digest);
  EXPECT_EQ(jit.compileCount(), 2);
  EXPECT_EQ(Jit::key(layer(), thousands.report.config, few.target).digest(), given.report.digest);
  EXPECT_EQ(given.manifest.config.get<codegen::MoeConfig>(), thousands.report.config);
}

TEST(MoeJit, TunedConfigurationsServeWhatWasTuned) {
  test::TempFolder folder;
  const std::string path = folder / "tuning.json";
  const test::ScopedEnv database("LATHE_TUNING_DB", path.c_str());
  const Jit jit(folder / "cache");
  MoeJitRequest request;
  request.machine = "some gpu";
  request.rows = 32;
  const codegen::MoeConfig fallback = jit.build(layer(), request).report.config;
  autotuner::MoeTuningRecord record;
  record.key = {"some gpu", request.target.arch, codegen::analyzeMoe(layer()), codegen::compilerVersion(),
                autotuner::MoeWorkload(32).json()};
  record.rows = 32;
  record.best = fallback;
  record.best->stages = fallback.stages == 2 ? 3 : 2;
  autotuner::TuningDb(path).put(record);

  const MoeJitReport tuned = jit.build(layer(), request).report;
  EXPECT_EQ(tuned.source, ConfigSource::Tuned);
  EXPECT_EQ(tuned.config, *record.best);
  EXPECT_TRUE(test::contains(tuned.sourceReason, "32 rows, uniform")) << tuned.sourceReason;
  for (auto change : {+[](MoeJitRequest &r) { r.rows = 33; }, +[](MoeJitRequest &r) { r.zipf = 1; },
                      +[](MoeJitRequest &r) { r.machine = "another gpu"; }}) {
    MoeJitRequest other = request;
    change(other);
    const MoeJitReport report = jit.build(layer(), other).report;
    EXPECT_EQ(report.source, ConfigSource::Default) << report.sourceReason;
    EXPECT_TRUE(test::contains(report.sourceReason, "the default for")) << report.sourceReason;
  }
  request.workload = record.key.workload; // The exact one, whatever else is said.
  request.rows = 100;
  EXPECT_EQ(jit.build(layer(), request).report.config, *record.best);
  request.config = fallback;
  EXPECT_EQ(jit.build(layer(), request).report.source, ConfigSource::Given);
}

TEST(MoeJit, LoadsOnTheEmulator) {
  test::TempFolder folder;
  const Jit jit(folder / "cache");
  const auto emulator = openEmulator();
  MoeJitReport cold, warm;
  jit.load(layer(), emulator, MoeJitRequest{}, &cold);
  const MoeKernel kernel = jit.load(layer(), emulator, MoeJitRequest{}, &warm);
  EXPECT_TRUE(cold.compiled);
  EXPECT_FALSE(warm.compiled);
  EXPECT_EQ(warm.times.back().name, "load");
  EXPECT_EQ(kernel.manifest().experts, 8);
  const MoeWorkspace workspace = kernel.makeWorkspace(5);
  EXPECT_EQ(workspace.maxRows(), 5);
  MoeTensors tensors; // No rows launch nothing.
  kernel.run(workspace, tensors, {});
  EXPECT_TRUE(emulator->takeLaunches().empty());
}

TEST(MoeJit, RefusesAttention) {
  test::TempFolder folder;
  const Jit jit(folder / "cache");
  const dsl::Kernel attention = dsl::mlaDecode({.heads = 8});
  const std::string text = test::userErrorOf([&] { jit.build(attention, MoeJitRequest{}); });
  EXPECT_TRUE(test::contains(text, "mla_decode")) << text;
  const std::string other = test::userErrorOf([&] { jit.build(layer(), {}); });
  EXPECT_TRUE(test::contains(other, "moe_ffn")) << other;
}
