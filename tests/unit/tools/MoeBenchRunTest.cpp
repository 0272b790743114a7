//===- MoeBenchRunTest.cpp - Rows of a benchmark of MoE layers on the emulator -------------------------===//
//
// Everything that a row does but its times, which mean nothing here: kernels shared by rows, configurations
// that do not serve a row, alone and beside others, and results that are judged.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/tools/lathe/BenchMoeRun.h"

#include "lathe/runtime/device/emulator/Emulator.h"
#include "lathe/support/Error.h"
#include "lathe/tests/unit/support/Helpers.h"

using namespace lathe;
using namespace lathe::tools;
using test::contains;

namespace {
class MoeBenchRunTest : public ::testing::Test {
protected:
  static MoeRow row(int rows) {
    MoeRow row;
    row.entry.name = std::to_string(rows);
    row.entry.shape.hidden = 256;
    row.entry.shape.inner = 128;
    row.entry.shape.router.experts = 4;
    row.entry.shape.router.topK = 2;
    row.entry.rows = rows;
    row.entry.options = {.seed = 1, .poison = false};
    row.layers = 1;
    return row;
  }
  MoeBenchRun run(std::initializer_list<const char *> configs) const {
    MoeBenchOptions options{.timing = {.replays = 2, .warmup = 1}, .configs = {}};
    for (const char *config : configs)
      options.configs.push_back({config});
    return {device_, options};
  }

  test::TempFolder folder_;
  test::ScopedEnv cache_{"LATHE_CACHE_DIR", folder_.path().c_str()};
  test::ScopedEnv tuning_{"LATHE_TUNING_DB", (folder_ / "tuning.json").c_str()};
  std::shared_ptr<runtime::Device> device_ = runtime::openEmulator({.smCount = 2});
};
} // namespace

static void ignore(int, int, const std::string &, bool) {}

TEST_F(MoeBenchRunTest, MeasuresConfigurationsOfARow) {
  MoeBenchRun bench = run({"default", "tokenTile=16,stages=3", "stages=1000", "tokenTile=3"});
  bench.add(row(3));
  bench.add(row(4));
  std::string note;
  bench.compile([&](int, int, const std::string &now, bool) { note = now; });
  EXPECT_EQ(note, "2 kernels built"); // Both rows have the same.
  bench.measure([&](int, int, const std::string &now, bool) { note = now; });
  EXPECT_TRUE(note.starts_with("4: ") && contains(note, "µs, experts")) << note;
  ASSERT_EQ(bench.results().size(), 2u);
  for (const MoeRowResult &result : bench.results()) {
    EXPECT_GT(result.work.busyExperts, 0);
    ASSERT_EQ(result.configs.size(), 4u);
    for (size_t i : {0, 1}) {
      const MoeConfigResult &config = result.configs[i];
      EXPECT_EQ(config.fault, "");
      EXPECT_EQ(config.report.source, runtime::ConfigSource::Given);
      EXPECT_EQ(config.times.layers, 1);
      EXPECT_EQ(config.times.whole.samplesUs.size(), 2u);
      EXPECT_EQ(config.times.experts.samplesUs.size(), 2u);
      EXPECT_GT(config.relativeError, 0);
    }
    EXPECT_EQ(result.configs[1].report.config.tokenTile, 16);
    EXPECT_EQ(result.configs[2].asked, "stages=1000");
    EXPECT_TRUE(contains(result.configs[2].fault, "stages")) << result.configs[2].fault;
    EXPECT_TRUE(contains(result.configs[3].fault, "tokenTile")) << result.configs[3].fault;
  }
}

TEST_F(MoeBenchRunTest, TheOnlyConfigurationsErrorIsTheRuns) {
  MoeBenchRun bench = run({"stages=1000"});
  EXPECT_THROW(
      {
        bench.add(row(3));
        bench.compile(ignore);
      },
      UserError);
}

TEST_F(MoeBenchRunTest, WithoutConfigurationsThereIsTheTunedOne) {
  MoeBenchRun bench = run({});
  bench.add(row(3));
  bench.compile(ignore);
  bench.measure(ignore);
  const MoeConfigResult &config = bench.results().front().configs.at(0);
  EXPECT_EQ(config.asked, "tuned");
  EXPECT_EQ(config.report.source, runtime::ConfigSource::Default); // Nothing was tuned.
  EXPECT_EQ(config.fault, "");
}
