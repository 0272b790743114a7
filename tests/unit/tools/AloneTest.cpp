//===- AloneTest.cpp - Batch invariance on the emulator ------------------------------------------------===//
//
// Every form of the schedule with the divisions that promise it, and the balanced one, which must be caught.
// Lengths and seed are new in each run.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/tools/lathe/Judge.h"

#include "lathe/runtime/Jit.h"
#include "lathe/tests/unit/support/Helpers.h"

#include <random>

using namespace lathe;
using namespace lathe::tools;

namespace {
class AloneTest : public ::testing::Test {
protected:
  /// What the judge says of a batch with these fields of the configuration.
  Verdict judged(int heads, int queryTokens, const nlohmann::json &fields, bool invariant) {
    reference::ShapeCase entry;
    entry.name = "alone";
    entry.shape = {.heads = heads, .queryTokens = queryTokens};
    std::uniform_int_distribution<int> length(600, 1100);
    entry.lengths = {length(random_), 0, length(random_), 1, 130};
    entry.options.seed = seed_;
    entry.options.stridedOutputs = true;
    const dsl::Kernel description = describe(entry.shape);
    runtime::JitRequest request;
    request.batchInvariant = invariant;
    request.config = codegen::completedConfig(codegen::analyze(description), {}, fields, invariant);
    const auto device = runtime::openEmulator({.throwFindings = false, .smCount = 8});
    return judge(jit_.load(description, device, request), entry, "cpu", {.sampleRows = 20, .alone = true});
  }

  test::TempFolder folder_;
  runtime::Jit jit_{folder_.path()};
  uint64_t seed_ = std::random_device{}();
  std::mt19937_64 random_{seed_};
  ::testing::ScopedTrace trace_{__FILE__, __LINE__, "seed " + std::to_string(seed_)};
};
} // namespace

TEST_F(AloneTest, PartsByLengthDoNotDependOnTheBatch) {
  for (const auto &[heads, fields] : std::vector<std::pair<int, nlohmann::json>>{
           {16, nlohmann::json::object()},                              // Exchanged, the default parts.
           {16, {{"split", "whole"}}},                                  //
           {16, {{"split", "fixed"}, {"fixedSplits", 4}}},              //
           {16, {{"partTokens", 256}}},                                 //
           {64, {{"partTokens", 256}}},                                 // Seesaw.
           {64, {{"seesaw", false}, {"stages", 2}, {"kvTile", 32}}}}) { // Plain.
    const Verdict verdict = judged(heads, 1, fields, /*invariant=*/true);
    EXPECT_TRUE(verdict.right()) << heads << " heads, " << fields << ": " << verdict.fault();
  }
}

TEST_F(AloneTest, SeveralQueryTokens) {
  const Verdict verdict = judged(8, 2, {{"partTokens", 256}}, /*invariant=*/true);
  EXPECT_TRUE(verdict.right()) << verdict.fault();
}

TEST_F(AloneTest, BalancedIsCaught) {
  const Verdict verdict = judged(16, 1, nlohmann::json::object(), /*invariant=*/false);
  EXPECT_FALSE(verdict.comparison.passed);
  EXPECT_TRUE(test::contains(verdict.fault(), "other bits alone than in the batch"));
}

TEST_F(AloneTest, ContradictionsAreErrors) {
  const codegen::AttentionProblem problem = codegen::analyze(describe({.heads = 16}));
  const auto completed = [&] { codegen::completedConfig(problem, {}, {{"split", "balanced"}}, true); };
  EXPECT_TRUE(test::contains(test::userErrorOf(completed), "set split to whole or fixed"));
  runtime::JitRequest request;
  request.batchInvariant = true;
  request.config = codegen::defaultConfig(problem, {});
  const auto built = [&] { jit_.build(describe({.heads = 16}), request); };
  EXPECT_TRUE(test::contains(test::userErrorOf(built), "batch-invariant"));
}
