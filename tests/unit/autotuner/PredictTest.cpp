//===- PredictTest.cpp - Choosing by the cost model ---------------------------------------------------===//
//
// Synthetic predictions and a verifier that refuses on request: what is tried, in which order, what wins, and
// that nothing wins that was refused.
//
//===--------------------------------------------------------------------------------------------------===//
#include "TestFiles.h"

#include "lathe/autotuner/Predict.h"
#include "lathe/autotuner/Report.h"
#include "lathe/autotuner/Tune.h"

#include <set>

using namespace lathe;
using namespace lathe::autotuner;
using namespace lathe::test;
using codegen::Config;

namespace {
/// A verifier that refuses the candidates named by their number of stages.
struct Verifier {
  std::set<int> refused, crashing, uncompilable;
  std::vector<int> compiled, verified; ///< Stages, in the order of the calls.
  int stopAfter = 1000;

  SearchCallbacks callbacks() {
    SearchCallbacks callbacks;
    callbacks.compile = [this](const Config &config) {
      compiled.push_back(config.stages);
      if (uncompilable.count(config.stages))
        throw CompileError(Fault{"ptxas", "no spill", "408 bytes", {}});
    };
    callbacks.verify = [this](const Config &config) -> std::string {
      verified.push_back(config.stages);
      if (crashing.count(config.stages))
        throw DeviceError(Fault{"isolated run", "a candidate must finish within 60 s", "it was stopped", {}});
      return refused.count(config.stages) ? "1 finding, first: proxy_unfenced" : "";
    };
    callbacks.stop = [this] { return int(verified.size()) < stopAfter ? std::string() : "interrupted"; };
    return callbacks;
  }
};
} // namespace

/// The default has 1 stage and 100 µs; the others 2, 3, … stages and the times given, ascending.
static std::vector<CandidateResult> candidatesWith(const std::vector<double> &othersUs) {
  std::vector<CandidateResult> candidates(1 + othersUs.size());
  for (size_t i = 0; i < candidates.size(); ++i) {
    candidates[i].config.stages = int(i) + 1;
    candidates[i].isDefault = i == 0;
    candidates[i].predictedUs = i == 0 ? 100 : othersUs[i - 1];
  }
  return candidates;
}

TEST(Predict, WithoutAVerifierTheModelChooses) {
  auto candidates = candidatesWith({80, 90, 120});
  const SearchOutcome outcome = choosePredicted(candidates, {}, {});
  EXPECT_EQ(outcome.best, 1);
  EXPECT_TRUE(outcome.complete);
  EXPECT_HAS(outcome.choiceReason, "1.25 times as fast");
  EXPECT_HAS(outcome.choiceReason, "not measured");
  for (const CandidateResult &candidate : candidates)
    EXPECT_EQ(candidate.status, Status::Predicted);
  auto tied = candidatesWith({91, 120}); // Less than the tenth that counts.
  EXPECT_EQ(choosePredicted(tied, {}, {}).best, 0);
}

TEST(Predict, DefaultAndWinnerAreVerifiedAndNothingElse) {
  auto candidates = candidatesWith({80, 90, 120});
  Verifier verifier;
  const SearchOutcome outcome = choosePredicted(candidates, {}, verifier.callbacks());
  EXPECT_EQ(outcome.best, 1);
  EXPECT_EQ(verifier.verified, (std::vector{1, 2}));
  EXPECT_EQ(verifier.compiled, verifier.verified);
  EXPECT_EQ(candidates[0].status, Status::Verified);
  EXPECT_EQ(candidates[1].status, Status::Verified);
  EXPECT_EQ(candidates[2].status, Status::Predicted);
  EXPECT_HAS(outcome.choiceReason, "verified");
}

TEST(Predict, TheRefusedCannotWin) {
  auto candidates = candidatesWith({70, 75, 80, 85, 120});
  Verifier verifier;
  verifier.refused = {2};
  verifier.crashing = {3};
  verifier.uncompilable = {4};
  const SearchOutcome outcome = choosePredicted(candidates, {}, verifier.callbacks());
  EXPECT_EQ(outcome.best, 4);
  EXPECT_EQ(candidates[1].status, Status::VerifyFailed);
  EXPECT_HAS(candidates[1].reason, "proxy_unfenced");
  EXPECT_EQ(candidates[2].status, Status::RunFailed);
  EXPECT_HAS(candidates[2].reason, "60 s");
  EXPECT_EQ(candidates[3].status, Status::CompileFailed);
  EXPECT_HAS(candidates[3].reason, "408 bytes");
  EXPECT_EQ(verifier.verified, (std::vector{1, 2, 3, 5})) << "what does not compile is not run";
  EXPECT_HAS(outcome.stopReason, "5 tried, 2 of them right");
}

TEST(Predict, DefaultStaysWhereEverythingFasterIsRefused) {
  auto candidates = candidatesWith({80, 85, 120});
  Verifier verifier;
  verifier.refused = {2, 3};
  const SearchOutcome outcome = choosePredicted(candidates, {}, verifier.callbacks());
  EXPECT_EQ(outcome.best, 0);
  EXPECT_EQ(verifier.verified, (std::vector{1, 2, 3})) << "what is slower than the default is not tried";
  EXPECT_HAS(outcome.choiceReason, "not right");
}

TEST(Predict, AWrongDefaultLosesToTheFastestThatIsRight) {
  auto candidates = candidatesWith({120, 130});
  Verifier verifier;
  verifier.refused = {1, 2};
  const SearchOutcome outcome = choosePredicted(candidates, {}, verifier.callbacks());
  EXPECT_EQ(outcome.best, 2);
  EXPECT_HAS(outcome.choiceReason, "proxy_unfenced");
  verifier.refused = {1, 2, 3};
  candidates = candidatesWith({120, 130});
  const SearchOutcome none = choosePredicted(candidates, {}, verifier.callbacks());
  EXPECT_EQ(none.best, -1);
  EXPECT_TRUE(none.complete);
}

TEST(Predict, AnInterruptionLeavesTheVerifiedDefault) {
  auto candidates = candidatesWith({80, 90});
  Verifier verifier;
  verifier.stopAfter = 1;
  const SearchOutcome outcome = choosePredicted(candidates, {}, verifier.callbacks());
  EXPECT_EQ(outcome.best, 0);
  EXPECT_FALSE(outcome.complete);
  EXPECT_EQ(outcome.stopReason, "interrupted");
  verifier = {};
  verifier.stopAfter = 0;
  EXPECT_EQ(choosePredicted(candidates, {}, verifier.callbacks()).best, -1);
}

TEST(Predict, ProgressEndsFull) {
  for (const std::set<int> &refused : {std::set<int>{}, {2}, {1}, {1, 2, 3, 4}}) {
    auto candidates = candidatesWith({80, 90, 120});
    Verifier verifier;
    verifier.refused = refused;
    SearchCallbacks callbacks = verifier.callbacks();
    int done = 0, total = 0;
    callbacks.onEvent = [&](const SearchEvent &event) {
      EXPECT_LE(event.done, event.total);
      done = event.done;
      total = event.total;
    };
    choosePredicted(candidates, {}, callbacks);
    EXPECT_EQ(done, int(verifier.verified.size()));
    EXPECT_EQ(done, total) << refused.size();
  }
}

static TuneRequest request(const TemporaryFolder &folder) {
  TuneRequest request;
  request.problem = {
      .name = "mla", .heads = 16, .queryTokens = 1, .keyDim = 576, .valueDim = 512, .page = 64};
  request.machine = machineByName("h100-sxm");
  request.target = request.machine.target();
  request.compiler = "test compiler";
  request.workload = Workload::parse(1, "100000");
  request.maxCandidates = 6;
  request.database = TuningDb(folder / "tuning.json");
  return request;
}

TEST(Predict, TuneStoresWhatWasVerified) {
  TemporaryFolder folder;
  const TuneRequest asked = request(folder);
  SearchCallbacks callbacks;
  callbacks.verify = [](const Config &) { return std::string(); };
  const TuneResult result = tune(asked, callbacks);
  EXPECT_TRUE(result.verified);
  EXPECT_FALSE(result.measured);
  EXPECT_EQ(result.find(result.best)->status, Status::Verified);
  EXPECT_HAS(report(result, 3), "verified");
  const TuningRecord record = asked.database->find(keyOf(asked)).value();
  EXPECT_EQ(record.best, result.best);
  EXPECT_EQ(record.candidates.front().status, Status::Verified);
}

TEST(Predict, TuneStoresNoChoiceWhereNothingIsRight) {
  TemporaryFolder folder;
  const TuneRequest asked = request(folder);
  SearchCallbacks callbacks;
  callbacks.verify = [](const Config &) { return std::string("row 3: got nan"); };
  const TuneResult result = tune(asked, callbacks);
  EXPECT_FALSE(result.verified);
  EXPECT_EQ(result.best, result.space.fallback);
  const TuningRecord record = asked.database->find(keyOf(asked)).value();
  EXPECT_FALSE(record.best) << "a choice that is wrong must not be stored";
  EXPECT_EQ(record.candidates.front().status, Status::VerifyFailed);
}
