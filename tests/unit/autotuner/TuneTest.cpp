//===- TuneTest.cpp - The search on synthetic costs ---------------------------------------------------===//
//
// The tuner never touches a clock, a compiler or a device, so everything that can happen to candidates is
// played here: optimum, ties, exceptions, wrong results, a lost device, an interruption and the run after it,
// drifting clocks.
//
//===--------------------------------------------------------------------------------------------------===//
#include "TestFiles.h"

#include "lathe/autotuner/Report.h"
#include "lathe/autotuner/Tune.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>

using namespace lathe;
using namespace lathe::autotuner;
using namespace lathe::test;
using codegen::Config;

namespace {
/// A machine that exists in this file only: every config has a true cost; things go wrong on request.
struct FakeGpu {
  std::map<std::string, double> costUs;
  double otherUs = 100;
  double spreadUs = 0.1;
  std::function<void(const Config &)> onCompile = [](const Config &) {};
  std::function<std::string(const Config &)> onVerify = [](const Config &) { return std::string(); };
  std::function<double(double)> drift = [](double us) { return us; };
  std::vector<std::string> compiled, verified, measured;

  SearchCallbacks callbacks() {
    SearchCallbacks callbacks;
    callbacks.compile = [this](const Config &config) {
      compiled.push_back(config.str());
      onCompile(config);
    };
    callbacks.verify = [this](const Config &config) {
      verified.push_back(config.str());
      return onVerify(config);
    };
    callbacks.measure = [this](const Config &config) {
      measured.push_back(config.str());
      auto found = costUs.find(config.str());
      const double us = drift(found == costUs.end() ? otherUs : found->second);
      return Measurement{us, us - spreadUs, us + spreadUs, 30};
    };
    return callbacks;
  }
};
} // namespace

static TuneRequest request(int heads = 16, const char *lengths = "4096", int batch = 64) {
  TuneRequest request;
  request.problem = {
      .name = "mla", .heads = heads, .queryTokens = 1, .keyDim = 576, .valueDim = 512, .page = 64};
  request.machine = machineByName("h100-sxm");
  request.target = request.machine.target();
  request.device = "fake gpu";
  request.compiler = "test compiler";
  request.workload = Workload::parse(batch, lengths);
  request.maxCandidates = 12;
  return request;
}

static std::vector<CandidateResult> candidatesOf(const TuneRequest &request) {
  return rankCandidates(request, buildSearchSpace(request.problem, request.target), request.workload.draw());
}

TEST(Tune, FindsTheOptimumWhereverItIs) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  TuneRequest all = request();
  all.maxCandidates = 0;
  const std::vector<CandidateResult> candidates = candidatesOf(all);
  for (int round = 0; round < 20; ++round) {
    FakeGpu gpu;
    for (const CandidateResult &candidate : candidates)
      gpu.costUs[candidate.config.str()] = 100 + double(random() % 1000) / 10;
    const Config optimum = candidates[random() % candidates.size()].config;
    gpu.costUs[optimum.str()] = 80;
    const TuneResult result = tune(all, gpu.callbacks());
    EXPECT_EQ(result.best, optimum) << result.best.str();
    EXPECT_TRUE(result.measured);
    EXPECT_TRUE(result.complete);
    EXPECT_DOUBLE_EQ(result.bestUs, 80);
  }
}

/// A dozen of hundreds: rows of a CTA with and without the combine's carve-out are among them.
TEST(Tune, FewCandidatesHaveEveryNumberOfRows) {
  std::set<std::pair<int, bool>> seen;
  for (const CandidateResult &candidate : candidatesOf(request(20, "4096", 2)))
    if (candidate.config.swapOperands && candidate.config.split == codegen::SplitPolicy::Balanced)
      seen.insert({candidate.config.rowsPerCta, candidate.config.combineCarveout});
  for (int rows : {8, 16, 24})
    for (bool carveout : {false, true})
      EXPECT_TRUE(seen.count({rows, carveout})) << rows << " " << carveout;
}

TEST(Tune, EveryCandidateIsVerifiedBeforeItIsMeasured) {
  FakeGpu gpu;
  const TuneResult result = tune(request(), gpu.callbacks());
  EXPECT_EQ(gpu.compiled.size(), result.candidates.size());
  EXPECT_EQ(gpu.verified, gpu.compiled);
  EXPECT_EQ(gpu.measured, gpu.verified);
  EXPECT_EQ(gpu.measured.front(), result.space.fallback.str());
}

TEST(Tune, DefaultWinsTiesAndNoise) {
  const std::vector<CandidateResult> candidates = candidatesOf(request());
  FakeGpu equal;
  EXPECT_EQ(tune(request(), equal.callbacks()).best, candidates.front().config);
  FakeGpu within; // Half a percent faster: less than the one percent that counts.
  within.costUs[candidates[3].config.str()] = 99.5;
  EXPECT_EQ(tune(request(), within.callbacks()).best, candidates.front().config);
  FakeGpu noisy; // Five percent faster, but the quartiles are ten percent apart.
  noisy.costUs[candidates[3].config.str()] = 95;
  noisy.spreadUs = 10;
  const TuneResult result = tune(request(), noisy.callbacks());
  EXPECT_EQ(result.best, candidates.front().config);
  EXPECT_HAS(result.choiceReason, "noise");
  FakeGpu clear;
  clear.costUs[candidates[3].config.str()] = 95;
  EXPECT_EQ(tune(request(), clear.callbacks()).best, candidates[3].config);
}

TEST(Tune, FailuresCostOnlyThemselves) {
  const std::vector<CandidateResult> candidates = candidatesOf(request());
  FakeGpu gpu;
  gpu.costUs[candidates[1].config.str()] = 10; // Would win, but does not compile.
  gpu.costUs[candidates[2].config.str()] = 20; // Would win, but throws an int.
  gpu.costUs[candidates[4].config.str()] = 50; // Wins.
  gpu.onCompile = [&](const Config &config) {
    if (config == candidates[1].config)
      throw CompileError(Fault{"ptxas", "no spill", "408 bytes", {}});
    if (config == candidates[2].config)
      throw 7;
  };
  gpu.onVerify = [&](const Config &config) -> std::string {
    if (config == candidates[3].config)
      throw DeviceError(Fault{"launch", "the kernel must end", "time-out", {}});
    return {};
  };
  const TuneResult result = tune(request(), gpu.callbacks());
  EXPECT_EQ(result.best, candidates[4].config);
  EXPECT_TRUE(result.complete);
  EXPECT_EQ(result.candidates[1].status, Status::CompileFailed);
  EXPECT_HAS(result.candidates[1].reason, "408 bytes");
  EXPECT_EQ(result.candidates[2].status, Status::CompileFailed);
  EXPECT_EQ(result.candidates[3].status, Status::RunFailed);
  EXPECT_HAS(result.candidates[3].reason, "time-out");
  EXPECT_HAS(report(result, 3), "time-out");
}

TEST(Tune, WrongResultsNeverWin) {
  const std::vector<CandidateResult> candidates = candidatesOf(request());
  FakeGpu gpu;
  gpu.costUs[candidates[5].config.str()] = 1;
  gpu.onVerify = [&](const Config &config) {
    return config == candidates[5].config ? std::string("row 3: got nan, expected 0.5") : std::string();
  };
  const TuneResult result = tune(request(), gpu.callbacks());
  EXPECT_EQ(result.best, candidates.front().config);
  EXPECT_EQ(result.candidates[5].status, Status::VerifyFailed);
  EXPECT_HAS(result.candidates[5].reason, "row 3");
  EXPECT_EQ(std::ranges::count(gpu.measured, candidates[5].config.str()), 0);
}

TEST(Tune, NonsenseTimesAreFailures) {
  const std::vector<CandidateResult> candidates = candidatesOf(request());
  FakeGpu gpu;
  gpu.costUs[candidates[1].config.str()] = -5;
  gpu.costUs[candidates[2].config.str()] = std::nan("");
  const TuneResult result = tune(request(), gpu.callbacks());
  EXPECT_EQ(result.best, candidates.front().config);
  EXPECT_EQ(result.candidates[1].status, Status::RunFailed);
  EXPECT_EQ(result.candidates[2].status, Status::RunFailed);
}

TEST(Tune, WithoutAWorkingDefaultTheFastestCorrectOneIsChosen) {
  const std::vector<CandidateResult> candidates = candidatesOf(request());
  FakeGpu gpu;
  gpu.costUs[candidates[6].config.str()] = 90;
  gpu.onCompile = [&](const Config &config) {
    if (config == candidates[0].config)
      throw CompileError(Fault{"ptxas", "no spill", "8 bytes", {}});
  };
  const TuneResult result = tune(request(), gpu.callbacks());
  EXPECT_EQ(result.best, candidates[6].config);
  EXPECT_EQ(result.defaultUs, 0);
  EXPECT_HAS(result.choiceReason, "8 bytes");
}

TEST(Tune, NothingWorks) {
  TemporaryFolder folder;
  TuneRequest stored = request();
  stored.database = TuningDb(folder / "t.json");
  FakeGpu gpu;
  gpu.onCompile = [](const Config &) { throw CompileError(Fault{"x", "y", "z", {}}); };
  const TuneResult result = tune(stored, gpu.callbacks());
  EXPECT_EQ(result.best, result.space.fallback);
  EXPECT_FALSE(result.measured);
  EXPECT_FALSE(stored.database->find(keyOf(stored))->best) << "a choice that nobody timed must not be stored";
}

TEST(Tune, LostDeviceStopsAndTakesTheConsequencesBack) {
  const std::vector<CandidateResult> candidates = candidatesOf(request());
  FakeGpu gpu;
  bool broken = false;
  gpu.onVerify = [&](const Config &config) -> std::string {
    broken =
        broken || config == candidates[4].config; // An illegal access: everything after it fails as well.
    if (broken)
      throw DeviceError(Fault{"launch", "the context must be usable", "illegal address", {}});
    return {};
  };
  const TuneResult result = tune(request(), gpu.callbacks());
  EXPECT_FALSE(result.complete);
  EXPECT_HAS(result.stopReason, "device lost");
  EXPECT_HAS(result.stopReason, candidates[4].config.str());
  EXPECT_EQ(result.candidates[3].status, Status::Measured);
  EXPECT_EQ(result.candidates[4].status, Status::RunFailed);
  EXPECT_EQ(result.candidates[5].status, Status::Predicted);
  EXPECT_EQ(result.candidates[6].status, Status::Predicted);
  EXPECT_EQ(gpu.verified.size(), 7u);
}

TEST(Tune, ScatteredDeviceFailuresDoNotStop) {
  int calls = 0;
  FakeGpu gpu;
  gpu.onVerify = [&](const Config &) -> std::string {
    if (++calls % 2 == 0)
      throw DeviceError(Fault{"launch", "must run", "refused", {}});
    return {};
  };
  EXPECT_TRUE(tune(request(), gpu.callbacks()).complete);
}

TEST(Tune, ResumesAfterAnInterruption) {
  TemporaryFolder folder;
  TuneRequest stored = request();
  stored.database = TuningDb(folder / "t.json");
  const std::vector<CandidateResult> candidates = candidatesOf(stored);
  FakeGpu first;
  first.costUs[candidates[2].config.str()] = 60;
  SearchCallbacks callbacks = first.callbacks();
  callbacks.stop = [&] { return first.compiled.size() >= 5 ? std::string("interrupted") : std::string(); };
  const TuneResult half = tune(stored, callbacks);
  EXPECT_FALSE(half.complete);
  EXPECT_EQ(half.stopReason, "interrupted");

  FakeGpu second = {};
  second.costUs = first.costUs;
  const TuneResult whole = tune(stored, second.callbacks());
  EXPECT_TRUE(whole.complete);
  EXPECT_EQ(whole.resumed, 5);
  EXPECT_EQ(whole.best, candidates[2].config);
  const std::set<std::string> verified(second.verified.begin(), second.verified.end());
  EXPECT_EQ(verified.size(), candidates.size() - 5);
  for (int i = 0; i < 5; ++i)
    EXPECT_FALSE(verified.count(candidates[size_t(i)].config.str())) << i;

  FakeGpu third;
  const TuneResult again = tune(stored, third.callbacks());
  EXPECT_TRUE(again.fromDatabase);
  EXPECT_TRUE(third.compiled.empty());
  EXPECT_EQ(again.best, whole.best);
  stored.resume = false;
  FakeGpu fourth;
  EXPECT_EQ(tune(stored, fourth.callbacks()).resumed, 0);
  EXPECT_GE(fourth.compiled.size(), candidates.size());
}

TEST(Tune, TimesOfContinuousServiceAreNotMixedWithOthers) {
  TemporaryFolder folder;
  TuneRequest stored = request();
  stored.database = TuningDb(folder / "t.json");
  FakeGpu gpu;
  tune(stored, gpu.callbacks());
  TuneRequest sustained = stored;
  sustained.sustainedSeconds = 1.5;
  EXPECT_EQ(tune(sustained, gpu.callbacks()).resumed, 0);
  EXPECT_EQ(stored.database->records().size(), 1u) << "in the other one's place";
  EXPECT_EQ(stored.database->find(keyOf(stored))->sustainedSeconds, 1.5);
  EXPECT_TRUE(tune(sustained, gpu.callbacks()).fromDatabase);
  EXPECT_FALSE(tune(stored, gpu.callbacks()).fromDatabase);
}

TEST(Tune, EachResultIsOnDiskBeforeTheNextCandidateStarts) {
  TemporaryFolder folder;
  TuneRequest stored = request();
  stored.database = TuningDb(folder / "t.json");
  FakeGpu gpu;
  size_t tried = 0;
  gpu.onCompile = [&](const Config &config) {
    if (tried >= 12)
      return; // The final.
    const TuningRecord record = stored.database->find(keyOf(stored)).value();
    size_t done = 0;
    for (const CandidateResult &candidate : record.candidates) {
      done += candidate.status == Status::Measured;
      EXPECT_EQ(candidate.status == Status::Started, candidate.config == config);
    }
    EXPECT_EQ(done, tried++);
    EXPECT_FALSE(record.complete);
  };
  tune(stored, gpu.callbacks());
  EXPECT_EQ(tried, 12u);
}

TEST(Tune, CandidateThatKilledTheProcessIsNotTriedAgain) {
  TemporaryFolder folder;
  TuneRequest stored = request();
  stored.database = TuningDb(folder / "t.json");
  const std::vector<CandidateResult> candidates = candidatesOf(stored);
  struct Death {};
  FakeGpu dying;
  SearchCallbacks callbacks = dying.callbacks();
  callbacks.onEvent =
      [&](const SearchEvent &event) { // Outside what the search encloses, like the end of a process.
        if (event.kind == SearchEvent::Kind::Step && event.result->config == candidates[3].config)
          throw Death{};
      };
  EXPECT_THROW(tune(stored, callbacks), Death);
  FakeGpu next;
  const TuneResult result = tune(stored, next.callbacks());
  EXPECT_TRUE(result.complete);
  EXPECT_EQ(result.resumed, 4);
  EXPECT_EQ(result.candidates[3].status, Status::RunFailed);
  EXPECT_HAS(result.candidates[3].reason, "ended while");
  EXPECT_EQ(std::ranges::count(next.compiled, candidates[3].config.str()), 0);
}

TEST(Tune, FinalUndoesWhatADriftingClockPretended) {
  const std::vector<CandidateResult> candidates = candidatesOf(request());
  FakeGpu gpu;
  int calls = 0;
  // The default ran while the GPU was slow: every later candidate looks 20% faster and none is.
  gpu.drift = [&](double us) { return ++calls == 1 ? 1.25 * us : us; };
  const TuneResult result = tune(request(), gpu.callbacks());
  EXPECT_EQ(result.best, candidates.front().config);
  EXPECT_DOUBLE_EQ(result.defaultUs, 100);
}

TEST(Tune, FinalMeasuresInTurn) {
  const std::vector<CandidateResult> candidates = candidatesOf(request());
  FakeGpu gpu;
  gpu.costUs[candidates[7].config.str()] = 70;
  gpu.costUs[candidates[8].config.str()] = 60;
  tune(request(), gpu.callbacks());
  const std::string &a = candidates[0].config.str(), b = candidates[8].config.str(),
                    c = candidates[7].config.str();
  const std::vector<std::string> final(gpu.measured.begin() + 12, gpu.measured.end());
  EXPECT_EQ(final, (std::vector<std::string>{a, b, c, a, b, c, a, b, c}));
}

TEST(Tune, WithoutADeviceTheModelChoosesAndSaysSo) {
  TemporaryFolder folder;
  TuneRequest predicted = request(16, "131072", 1);
  predicted.device.clear();
  predicted.database = TuningDb(folder / "t.json");
  const TuneResult result = tune(predicted, {});
  EXPECT_FALSE(result.measured);
  EXPECT_TRUE(result.complete);
  EXPECT_HAS(report(result), "not measured");
  EXPECT_LE(result.bestUs, result.defaultUs);
  EXPECT_EQ(predicted.database->records().front().key.device, "model:h100-sxm");
  EXPECT_NO_THROW(nlohmann::json(result).dump());
}

TEST(Tune, PruningKeepsEverySplitPolicyAndTheDefault) {
  TuneRequest pruned = request(16, "normal(4096,2048)");
  pruned.maxCandidates = 20;
  const std::vector<CandidateResult> candidates = candidatesOf(pruned);
  EXPECT_EQ(candidates.size(), 20u);
  EXPECT_TRUE(candidates.front().isDefault);
  std::set<codegen::SplitPolicy> policies;
  std::set<std::string> unique;
  for (size_t i = 0; i < candidates.size(); ++i) {
    policies.insert(candidates[i].config.split);
    unique.insert(candidates[i].config.str());
    EXPECT_EQ(candidates[i].isDefault, i == 0);
    if (i > 1)
      EXPECT_LE(candidates[i - 1].predictedUs, candidates[i].predictedUs);
  }
  EXPECT_EQ(policies.size(), 3u);
  EXPECT_EQ(unique.size(), candidates.size());
  pruned.maxCandidates = 1;
  EXPECT_EQ(candidatesOf(pruned).size(), 1u);
}

TEST(Tune, UnwritableDatabaseFailsBeforeAnythingRuns) {
  TemporaryFolder folder;
  TuneRequest stored = request();
  stored.database = TuningDb(folder.write("plain", "x") / "t.json");
  FakeGpu gpu;
  userError([&] { tune(stored, gpu.callbacks()); });
  EXPECT_TRUE(gpu.compiled.empty());
}

TEST(Tune, JsonHasTheWholeStory) {
  FakeGpu gpu;
  const TuneResult result = tune(request(), gpu.callbacks());
  const nlohmann::json json = nlohmann::json::parse(nlohmann::json(result).dump());
  EXPECT_EQ(json["candidates"].size(), 12u);
  EXPECT_EQ(json["best"].get<Config>(), result.best);
  EXPECT_EQ(json["space"]["legal"], result.space.legal.size());
  EXPECT_TRUE(json["measured"].get<bool>());
}
