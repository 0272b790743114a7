//===- BenchRunTest.cpp - Rows of a benchmark on the emulator ------------------------------------------===//
//
// Everything that a row does but its times, which mean nothing here: kernels shared by rows, candidates that
// cannot be built, peers that are right, wrong, refuse or fail, and what is printed of them.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/tools/lathe/BenchReport.h"

#include "lathe/runtime/device/emulator/Emulator.h"
#include "lathe/tests/unit/support/Helpers.h"
#include "lathe/tests/unit/tools/FakeLibrary.h"

using namespace lathe;
using namespace lathe::tools;
using nlohmann::json;
using test::contains;
using test::FakeLibrary;

namespace {
class BenchRunTest : public ::testing::Test {
protected:
  BenchRunTest() { options_.timing = {.replays = 30, .warmup = 1}, options_.workers = 3; }

  static GridRow row(int queryTokens, int batch, int tokens) {
    dsl::MlaShape shape;
    shape.heads = 8;
    shape.queryTokens = queryTokens;
    return {.name = rowName(shape, batch, std::to_string(tokens)),
            .shape = shape,
            .workload = autotuner::Workload(batch, autotuner::NormalLength{double(tokens), tokens / 4.0}),
            .layers = 2};
  }
  static Candidate candidate(const std::string &text) {
    return parseCandidate("test", text, codegen::analyze(dsl::mlaDecode(row(1, 1, 1).shape)), {});
  }
  BenchHeader header() const {
    return {"lathe bench mla --grid test", device_->properties(), datasheetLimits(), options_.timing, peers_};
  }

  test::TempFolder folder_;
  test::ScopedEnv cache_{"LATHE_CACHE_DIR", folder_.path().c_str()};
  test::ScopedEnv tuning_{"LATHE_TUNING_DB", (folder_ / "tuning.json").c_str()};
  std::shared_ptr<runtime::Device> device_ = runtime::openEmulator();
  FakeLibrary fake_;
  std::vector<PeerLibrary> peers_;
  BenchOptions options_;
};
} // namespace

static void ignore(int, int, const std::string &, bool) {}

TEST_F(BenchRunTest, MeasuresCandidatesAndChooses) {
  BenchRun run(device_, options_, peers_);
  run.add(row(1, 2, 100), {candidate("default"), candidate("split=whole"), candidate("stages=1000")});
  run.add(row(1, 3, 40), {candidate("default")});
  std::string lastNote;
  run.compile([&](int, int, const std::string &note, bool) { lastNote = note; });
  EXPECT_EQ(lastNote, "2 kernels built"); // The default once for both rows.
  run.measure(ignore);
  const std::vector<RowResult> &rows = run.results();
  ASSERT_EQ(rows.size(), 2u);
  ASSERT_TRUE(rows[0].measured()) << rows[0].fault;
  ASSERT_TRUE(rows[1].measured()) << rows[1].fault;
  EXPECT_EQ(rows[0].candidates[0].timing.samplesUs.size(), 30u);
  EXPECT_EQ(rows[0].candidates[1].timing.samplesUs.size(), 30u);
  EXPECT_TRUE(contains(rows[0].candidates[2].fault, "stages"));
  EXPECT_FALSE(rows[0].candidates[2].wrong);
  EXPECT_LE(rows[0].winner().timing.medianUs, rows[0].candidates[1].timing.medianUs);
  const json document = gridJson(header(), "test", rows);
  EXPECT_EQ(document.at("rows").at(0).at("candidates").size(), 3u);
  EXPECT_EQ(document.at("rows").at(0).at("layers"), 2);
  EXPECT_EQ(document.at("rows").at(0).at("config"), json(rows[0].winner().report.config));
  const std::string text = gridText(header(), rows);
  for (const char *part : {"8h/2x100", "8h/3x40", "µs a layer", "of limit", "stages=1000: ", "default"})
    EXPECT_TRUE(contains(text, part));
}

/// Puts a kernel that takes the wrong exponential into the cache.
static void plantWrongKernel(const dsl::Kernel &description, const codegen::Config &config) {
  const codegen::Target target;
  codegen::Artifact artifact = codegen::compile(description, config, {.target = target, .assemble = false});
  for (size_t at = 0; (at = artifact.ptx.find("ex2.approx", at)) != std::string::npos;)
    artifact.ptx.replace(at, 3, "lg2");
  const kernel_cache::Store cache;
  cache.publish(runtime::Jit::key(description, config, target),
                {artifact.ptx, "", {{"manifest", artifact.manifest}, {"stagesMs", json::object()}}});
}

TEST_F(BenchRunTest, AWrongKernelOfOursIsNotTimed) {
  const GridRow wrong = row(1, 2, 100);
  const Candidate planted = candidate("split=whole");
  plantWrongKernel(dsl::mlaDecode(wrong.shape), *planted.config);
  BenchRun run(device_, options_, peers_);
  run.add(wrong, {planted, candidate("default")});
  run.compile(ignore);
  run.measure(ignore);
  const RowResult &row = run.results().front();
  ASSERT_TRUE(row.measured()) << row.fault;
  EXPECT_EQ(row.best, 1);
  EXPECT_TRUE(row.candidates[0].wrong);
  EXPECT_TRUE(contains(row.candidates[0].fault, "wrong: "));
  EXPECT_TRUE(row.candidates[0].timing.samplesUs.empty());
}

TEST_F(BenchRunTest, APeerThatIsRightHasTimes) {
  peers_ = openPeers({"other=" + FakeLibrary::path("whole")});
  for (int order : {LATHE_PEER_LSE_HEADS_FIRST, LATHE_PEER_LSE_TOKENS_FIRST, LATHE_PEER_LSE_NONE}) {
    fake_.behave(FAKE_RIGHT, order, device_.get());
    BenchRun run(device_, options_, peers_);
    run.add(row(2, 1, 30), {candidate("default")});
    run.compile(ignore);
    run.measure(ignore);
    const RowResult &row = run.results().front();
    ASSERT_TRUE(row.measured()) << row.fault;
    ASSERT_TRUE(row.peers.front().measured()) << row.peers.front().fault << row.peers.front().refusal;
    EXPECT_EQ(row.peers.front().timing.samplesUs.size(), 30u);
    EXPECT_EQ(fake_.living(), 0);
    const json document = singleJson(header(), row);
    EXPECT_GT(document.at("peers").at(0).at("ratio").get<double>(), 0);
    EXPECT_TRUE(contains(gridText(header(), run.results()), "other / ours"));
    EXPECT_TRUE(contains(singleText(header(), row, "8 heads"), "peer / ours"));
  }
}

TEST_F(BenchRunTest, APeerThatIsNotHasNone) {
  peers_ = openPeers({"other=" + FakeLibrary::path("whole")});
  const std::vector<std::pair<int, const char *>> cases{{FAKE_WRONG, "other wrong: output of sequence"},
                                                        {FAKE_REFUSES, "other refuses: no kernel"},
                                                        {FAKE_FAILS, "other peer other: create failed"},
                                                        {FAKE_RUN_FAILS, "launch failed"}};
  for (const auto &[mode, words] : cases) {
    fake_.behave(mode, LATHE_PEER_LSE_HEADS_FIRST, device_.get());
    BenchRun run(device_, options_, peers_);
    run.add(row(1, 1, 30), {candidate("default")});
    run.compile(ignore);
    run.measure(ignore);
    const RowResult &row = run.results().front();
    EXPECT_TRUE(row.measured()) << row.fault;
    EXPECT_FALSE(row.peers.front().measured());
    EXPECT_TRUE(row.peers.front().timing.samplesUs.empty());
    EXPECT_TRUE(contains(gridText(header(), run.results()), words));
    const json document = singleJson(header(), row);
    EXPECT_FALSE(document.at("peers").at(0).contains("us"));
    EXPECT_EQ(fake_.living(), 0);
  }
}
