//===- ConfigTest.cpp - Rules, resources and JSON of the schedule's Config ---------------------------===//
//
// One rejection for each named constraint, the arithmetic of the memory plan against hand-computed figures,
// the fallback over random legal problems, and the JSON form with its errors. Needs neither MLIR nor a GPU.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/Config.h"

#include "lathe/support/Error.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <set>

using namespace lathe;
using namespace lathe::codegen;

static AttentionProblem mla(int heads = 16) {
  return {.name = "mla_decode", .heads = heads, .queryTokens = 1, .keyDim = 576, .valueDim = 512, .page = 64};
}

static Config smallConfig() { return {.kvTile = 16, .rowsPerCta = 64, .stages = 4, .consumers = 2}; }

namespace {
struct Rejection {
  std::string constraint;
  std::function<void(AttentionProblem &, Config &, Target &)> breakIt;
};
} // namespace

static std::vector<Rejection> prefetchRejections() {
  return {
      {"prefetch", [](AttentionProblem &, Config &c, Target &) { c.prefetch = true; }},
      {"prefetch",
       [](AttentionProblem &, Config &c, Target &) { // Under no launch before.
         c = {.kvTile = 64,
              .rowsPerCta = 16,
              .stages = 2,
              .consumers = 1,
              .swapOperands = true,
              .prefetch = true};
       }},
      {"prefetch",
       [](AttentionProblem &p, Config &c, Target &) {
         p.page = 32, p.heads = 128;
         c = {.kvTile = 64, .stages = 2, .seesaw = true, .prefetch = true};
       }},
      {"prefetch",
       [](AttentionProblem &p, Config &c, Target &) { // One block of rows.
         p.heads = 64;
         c = {.kvTile = 64, .stages = 2, .seesaw = true, .prefetch = true};
       }},
  };
}

static std::vector<Rejection> cacheAheadRejections() {
  return {
      {"cache_ahead",
       [](AttentionProblem &, Config &c, Target &) { // Under no launch before.
         c = {.kvTile = 64, .stages = 2, .seesaw = true, .cacheAhead = true};
       }},
      {"cache_ahead",
       [](AttentionProblem &, Config &c, Target &) { // The plain form.
         c.cacheAhead = true, c.dependentLaunch = DependentLaunch::Early;
       }},
      {"cache_ahead",
       [](AttentionProblem &p, Config &c, Target &) { // Two blocks of rows.
         p.heads = 128;
         c = {.kvTile = 64,
              .stages = 2,
              .seesaw = true,
              .cacheAhead = true,
              .dependentLaunch = DependentLaunch::Early};
       }},
  };
}

static std::vector<Rejection> rejections() {
  using P = AttentionProblem;
  using C = Config;
  using T = Target;
  return {
      {"heads", [](P &p, C &, T &) { p.heads = 129; }},
      {"heads", [](P &p, C &, T &) { p.heads = 0; }},
      {"query_tokens", [](P &p, C &, T &) { p.queryTokens = 0; }},
      {"key_dim", [](P &p, C &, T &) { p.keyDim = 584; }},
      {"key_dim", [](P &p, C &, T &) { p.keyDim = 592; }},
      {"value_dim", [](P &p, C &, T &) { p.valueDim = 520; }},
      {"value_dim", [](P &p, C &, T &) { p.keyDim = 256; }},
      {"kv_tile", [](P &, C &c, T &) { c.kvTile = 48; }},
      {"page", [](P &p, C &, T &) { p.page = 24; }},
      {"page", [](P &p, C &, T &) { p.page = 8; }},
      {"page", [](P &p, C &c, T &) { p.page = 48, c.kvTile = 32; }},
      {"rows_per_cta", [](P &, C &c, T &) { c.rowsPerCta = 128; }},
      {"consumers", [](P &, C &c, T &) { c.consumers = 3; }},
      {"rows_per_cta", [](P &, C &c, T &) { c.swapOperands = true; }},
      {"swap_operands", [](P &, C &c, T &) { c.swapOperands = true, c.rowsPerCta = 16, c.consumers = 1; }},
      {"swap_operands", [](P &, C &c, T &) { c.swapOperands = true, c.rowsPerCta = 8, c.kvTile = 64; }},
      {"seesaw", [](P &, C &c, T &) { c.seesaw = true; }},
      {"seesaw",
       [](P &p, C &c, T &) {
         p.valueDim = 448;
         c = {.kvTile = 64, .stages = 2, .seesaw = true};
       }},
      {"stages", [](P &, C &c, T &) { c.stages = 0; }},
      {"stage_owner", [](P &, C &c, T &) { c.stages = 1; }},
      {"value_columns", [](P &, C &c, T &) { c.consumers = 1; }},
      {"value_columns", [](P &p, C &c, T &) { p.valueDim = 272, c.consumers = 1; }},
      {"cluster", [](P &, C &c, T &) { c.cluster = 3; }},
      {"cluster_rows", [](P &, C &c, T &) { c.cluster = 2; }},
      {"cluster_rows", [](P &p, C &c, T &) { p.heads = 128, p.queryTokens = 2, c.cluster = 4; }},
      {"fixed_splits", [](P &, C &c, T &) { c.split = SplitPolicy::Fixed, c.fixedSplits = 3; }},
      {"fixed_splits", [](P &, C &c, T &) { c.split = SplitPolicy::Balanced, c.fixedSplits = 2; }},
      {"part_tokens", [](P &, C &c, T &) { c.partTokens = 512; }},
      {"part_tokens",
       [](P &, C &c, T &) { c.split = SplitPolicy::Fixed, c.fixedSplits = 2, c.partTokens = 300; }},
      {"combine_carveout", [](P &, C &c, T &) { c.split = SplitPolicy::Whole, c.combineCarveout = true; }},
      {"register_file", [](P &, C &, T &t) { t.registersPerSm = 32768; }},
      {"shared_memory", [](P &, C &c, T &) { c.stages = 12; }},
      {"shared_memory", [](P &, C &, T &t) { t.sharedBytesPerCta = 101376; }},
  };
}

TEST(ConfigCheck, EveryConstraintRejects) {
  ASSERT_TRUE(check(mla(), smallConfig(), {})) << check(mla(), smallConfig(), {}).reason;
  std::set<std::string> seen;
  std::vector<Rejection> all = rejections();
  for (const std::vector<Rejection> &more : {prefetchRejections(), cacheAheadRejections()})
    all.insert(all.end(), more.begin(), more.end());
  for (const Rejection &rejection : all) {
    AttentionProblem problem = mla();
    Config config = smallConfig();
    Target target;
    rejection.breakIt(problem, config, target);
    const Verdict verdict = check(problem, config, target);
    EXPECT_FALSE(verdict) << rejection.constraint;
    EXPECT_EQ(verdict.constraint, rejection.constraint) << verdict.reason;
    EXPECT_NE(verdict.reason.find_first_of("0123456789"), std::string::npos)
        << "no value in: " << verdict.reason;
    seen.insert(rejection.constraint);
  }
  for (const std::string &name : constraintNames())
    if (name != "registers") // The axes leave room; see RegistersHoldTheFragments.
      EXPECT_TRUE(seen.count(name)) << name;
}

TEST(ConfigCheck, RegistersHoldTheFragments) {
  // Half a register a column of output and of scores, as much again while scores become probabilities; the
  // rest of a consumer thread (addresses, statistics, loop state) was never seen below 24.
  for (int valueDim = 16; valueDim <= 512; valueDim += 16) {
    AttentionProblem problem = mla();
    problem.valueDim = valueDim;
    for (const Config &config : enumerateConfigs(problem)) {
      if (!check(problem, config, {}))
        continue;
      const Resources cost = resources(problem, config);
      if (config.swapOperands) {
        const bool warp = config.rowsPerCta < 24; // Then no budgets: a thread may have all that it can name.
        EXPECT_LE((valueDim + 63) / 64 * config.rowsPerCta / 2 + config.rowsPerCta + 24,
                  warp ? 255 : cost.consumerRegisters)
            << config.str();
        EXPECT_EQ(cost.threads, warp ? 160 : 256);
        EXPECT_EQ(cost.launchRegisters, (cost.consumerRegisters + cost.producerRegisters) / 2);
        EXPECT_EQ(cost.launchRegisters == 0, warp) << config.str();
        EXPECT_EQ(cost.launchRegisters % 8, 0);
        continue;
      }
      EXPECT_EQ(cost.launchRegisters, 0);
      const int share = config.consumers == 1 ? valueDim : ((valueDim + 1) / 2 + 63) / 64 * 64;
      EXPECT_LE(share / 2 + config.kvTile + 24, cost.consumerRegisters) << config.str();
      for (int registers : {cost.consumerRegisters, cost.producerRegisters}) {
        EXPECT_EQ(registers % 8, 0); // What setmaxnreg takes.
        EXPECT_GE(registers, 24);
        EXPECT_LE(registers, 256);
      }
      EXPECT_LE(128 * (config.consumers * cost.consumerRegisters + cost.producerRegisters), 65536);
    }
  }
}

/// Of shared memory the combine has 8 warps of 258 words, and the system 1,024 bytes of each CTA; of
/// registers, which the assembler tells, tests/unit/codegen/Artifacts.h has the same.
TEST(ConfigResources, ACtaOfTheCombineFitsBesideExchangedOnes) {
  for (int rows : {8, 16, 24, 32}) {
    const Resources cost = resources(
        mla(), {.kvTile = 64, .rowsPerCta = rows, .stages = 2, .consumers = 1, .swapOperands = true});
    EXPECT_LE(cost.sharedBytes + 1024 + 8 * 258 * 4 + 1024, 228 * 1024) << rows;
  }
}

TEST(ConfigCheck, ClusterSharesTiles) {
  AttentionProblem problem = mla(128); // Two row blocks of 64.
  EXPECT_TRUE(check(problem, {.kvTile = 32, .stages = 3, .cluster = 2}, {}));
  EXPECT_EQ(check(problem, {.kvTile = 32, .stages = 3, .cluster = 4}, {}).constraint, "cluster_rows");
  problem.queryTokens = 2;
  EXPECT_TRUE(check(problem, {.kvTile = 32, .stages = 3, .cluster = 4}, {}));
  // 16 tokens for four CTAs: fewer than the eight rows of a swizzle pattern each.
  EXPECT_EQ(check(problem, {.kvTile = 16, .stages = 3, .cluster = 4}, {}).constraint, "cluster_rows");
}

TEST(ConfigCheck, ConsumersHoldOneStageEach) {
  for (int consumers : {1, 2})
    for (int stages = 1; stages <= 5; ++stages) {
      AttentionProblem narrow = mla();
      narrow.keyDim = 320, narrow.valueDim = 256;
      const Verdict verdict = check(narrow, {.kvTile = 16, .stages = stages, .consumers = consumers}, {});
      EXPECT_EQ(verdict.accepted, stages >= consumers) << stages << " stages: " << verdict.reason;
    }
}

TEST(ConfigCheck, ValueDimensionsThatFillNoBoxes) {
  AttentionProblem problem = mla(64);
  problem.keyDim = 560, problem.valueDim = 496;
  for (int kvTile : {16, 32}) {
    const Config config{.kvTile = kvTile, .stages = 3, .consumers = 2};
    EXPECT_TRUE(check(problem, config, {})) << check(problem, config, {}).reason;
  }
  EXPECT_EQ(defaultConfig(problem, {}).consumers, 2);
  for (problem.valueDim = 16; problem.valueDim <= 512; problem.valueDim += 16)
    EXPECT_TRUE(check(problem, {.kvTile = 16, .stages = 4, .consumers = 2}, {})) << problem.valueDim;
}

TEST(ConfigCheck, SharedMemoryMessageHasBothFigures) {
  const Verdict verdict = check(mla(), {.kvTile = 32, .stages = 8}, {});
  EXPECT_EQ(verdict.constraint, "shared_memory");
  EXPECT_NE(verdict.reason.find("232,448"), std::string::npos) << verdict.reason;
}

TEST(ConfigResources, HandComputed) {
  const Resources cost = resources(mla(128), {.kvTile = 16, .rowsPerCta = 64, .stages = 6, .consumers = 2});
  EXPECT_EQ(cost.stageBytes, 9 * 16 * 128);
  // Q, ring (P lies in each tile's ninth box), maxima and sums of 64 rows a consumer, barriers.
  EXPECT_EQ(cost.sharedBytes, 73728 + 6 * 18432 + 2 * 2 * 256 + (2 * 6 + 2) * 8);
  EXPECT_EQ(cost.threads, 384);
  EXPECT_EQ(cost.mbarriers, 14);
  EXPECT_EQ(cost.rowBlocks, 2);
  EXPECT_LE(128 * (2 * cost.consumerRegisters + cost.producerRegisters), 65536);
}

TEST(ConfigResources, RaggedKeyDimCountsWholeBoxes) {
  AttentionProblem problem = mla();
  problem.keyDim = 80; // Two boxes of 64 columns, the second mostly empty.
  problem.valueDim = 64;
  EXPECT_EQ(resources(problem, {.kvTile = 32}).stageBytes, 2 * 32 * 128);
}

TEST(ConfigDefault, AcceptedForEveryLegalProblem) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  for (int round = 0; round < 2000; ++round) {
    AttentionProblem problem{.name = "p", .heads = pick(1, 128), .queryTokens = pick(1, 4)};
    problem.keyDim = 16 * pick(1, 36);
    const int columns = std::min(problem.keyDim, 512) / 16;
    problem.valueDim = 16 * pick(1, columns);
    problem.page = 16 * pick(1, 32);
    const Target target;
    const Config config = defaultConfig(problem, target);
    const Verdict verdict = check(problem, config, target);
    ASSERT_TRUE(verdict) << problem.keyDim << "/" << problem.valueDim << " page " << problem.page << ": "
                         << verdict.reason;
    EXPECT_EQ(config.cluster, 1);
    EXPECT_EQ(config.split, SplitPolicy::Balanced);
  }
}

TEST(ConfigDefault, NamesTheRuleWhenNothingServes) {
  AttentionProblem problem = mla();
  problem.page = 24;
  try {
    defaultConfig(problem, {});
    FAIL() << "page 24 was accepted";
  } catch (const UserError &error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("page"), std::string::npos) << text;
    EXPECT_NE(text.find("24"), std::string::npos) << text;
    EXPECT_NE(text.find("re-page"), std::string::npos) << text;
  }
}

TEST(ConfigDefault, TakesTheLargestTileThatFits) {
  const Config wide =
      defaultConfig(mla(64), {}); // Rows of 1152 bytes: two stages of 64 tokens fill the shared memory.
  EXPECT_FALSE(wide.swapOperands);
  EXPECT_EQ(wide.consumers, 2);
  EXPECT_EQ(wide.kvTile, 64);
  EXPECT_EQ(wide.stages, 2);
  AttentionProblem small = mla(64);
  small.page = 16;
  EXPECT_EQ(defaultConfig(small, {}).kvTile, 64) << "a tile may span pages";
}

TEST(ConfigDefault, ExchangesOperandsWhereAllRowsFitABlock) {
  for (auto [heads, rows] : {std::pair{1, 8}, {8, 8}, {9, 16}, {16, 16}, {20, 24}, {32, 32}}) {
    const Config config = defaultConfig(mla(heads), {});
    EXPECT_TRUE(config.swapOperands) << heads;
    EXPECT_EQ(config.rowsPerCta, rows) << heads;
    EXPECT_EQ(config.stages, 2) << heads;
  }
  for (int heads : {33, 64, 128})
    EXPECT_FALSE(defaultConfig(mla(heads), {}).swapOperands) << heads;
}

TEST(ConfigCompleted, TakesWhatGoesWithTheGivenFields) {
  const Config exchanged = completedConfig(mla(128), {}, {{"swapOperands", true}});
  EXPECT_TRUE(exchanged.swapOperands);
  EXPECT_FALSE(exchanged.seesaw);
  EXPECT_TRUE(check(mla(128), exchanged, {}));
  const Config small = completedConfig(mla(16), {}, {{"kvTile", 16}, {"stages", 4}});
  EXPECT_EQ(small.kvTile, 16);
  EXPECT_FALSE(small.swapOperands);
  EXPECT_TRUE(check(mla(16), small, {}));
  EXPECT_EQ(completedConfig(mla(16), {}, nlohmann::json::object()), defaultConfig(mla(16), {}));
  // Nothing goes with it: the rule is told by check().
  EXPECT_EQ(check(mla(16), completedConfig(mla(16), {}, {{"kvTile", 48}}), {}).constraint, "kv_tile");
  EXPECT_THROW(completedConfig(mla(16), {}, {{"kvtile", 16}}), UserError);
}

TEST(ConfigCompleted, PrefetchesUnderALaunchBefore) {
  EXPECT_TRUE(defaultConfig(mla(16), {}).prefetch && defaultConfig(mla(16), {}).cacheAhead);
  const Config off = completedConfig(mla(16), {}, {{"dependentLaunch", "off"}});
  EXPECT_TRUE(off.swapOperands && !off.prefetch && !off.cacheAhead) << off.str();
  EXPECT_FALSE(completedConfig(mla(16), {}, {{"cacheAhead", false}}).cacheAhead);
  EXPECT_FALSE(completedConfig(mla(16), {}, {{"prefetch", false}}).prefetch);
}

TEST(ConfigDefault, ManyRowsTakeTurns) {
  for (int heads : {33, 64, 128}) {
    EXPECT_TRUE(defaultConfig(mla(heads), {}).seesaw) << heads;
    EXPECT_EQ(defaultConfig(mla(heads), {}).prefetch, heads == 128) << heads;
    EXPECT_EQ(defaultConfig(mla(heads), {}).cacheAhead, heads != 128) << heads;
    EXPECT_EQ(defaultConfig(mla(heads), {}).evictFirst, heads != 128) << heads;
  }
  AttentionProblem small = mla(128);
  small.page = 32; // Its places would exceed the producer's registers.
  EXPECT_TRUE(defaultConfig(small, {}).seesaw);
  EXPECT_FALSE(defaultConfig(small, {}).prefetch);
  AttentionProblem odd = mla(64);
  odd.valueDim = 448; // No halves in whole boxes.
  EXPECT_FALSE(defaultConfig(odd, {}).seesaw);
}

TEST(ConfigInvariant, DividesBySequence) {
  for (int heads : {16, 64, 128}) {
    const Config config = defaultConfig(mla(heads), {}, /*invariant=*/true);
    EXPECT_TRUE(batchInvariant(config)) << config.str();
    EXPECT_TRUE(check(mla(heads), config, {}));
    Config other = defaultConfig(mla(heads), {}); // The same form, divided otherwise.
    EXPECT_FALSE(batchInvariant(other)) << other.str();
    other.split = config.split, other.fixedSplits = config.fixedSplits, other.partTokens = config.partTokens;
    EXPECT_EQ(other, config);
  }
  EXPECT_EQ(completedConfig(mla(16), {}, {{"split", "whole"}}, true).split, SplitPolicy::Whole);
  EXPECT_EQ(completedConfig(mla(16), {}, {{"fixedSplits", 4}, {"split", "fixed"}}, true).partTokens, 0);
  EXPECT_EQ(completedConfig(mla(16), {}, {{"partTokens", 256}}, true).partTokens, 256);
  EXPECT_THROW(completedConfig(mla(16), {}, {{"split", "balanced"}}, true), UserError);
}

TEST(ConfigInvariant, PartsOfUnits) {
  EXPECT_EQ(fixedPartUnits({.kvTile = 64, .consumers = 2, .partTokens = 512}), 4);
  EXPECT_EQ(fixedPartUnits({.kvTile = 64, .consumers = 1, .partTokens = 512}), 8);
  EXPECT_EQ(fixedPartUnits({.kvTile = 64, .consumers = 2}), 1);
}

TEST(ConfigSpace, ContainsTheDefaultOnceAndNoDuplicates) {
  const std::vector<Config> space = enumerateConfigs(mla());
  EXPECT_EQ(std::count(space.begin(), space.end(), defaultConfig(mla(), {})), 1);
  std::set<std::string> texts;
  for (const Config &config : space)
    EXPECT_TRUE(texts.insert(config.str()).second) << config.str();
}

TEST(ConfigSpace, TheCombinesCarveoutIsChosenWhereItMatters) {
  const Config usual = defaultConfig(mla(16), {});
  Config other = usual;
  other.combineCarveout = true;
  const std::vector<Config> space = enumerateConfigs(mla(16));
  EXPECT_FALSE(usual.combineCarveout);
  EXPECT_EQ(std::count(space.begin(), space.end(), other), 1) << other.str();
  for (const Config &config : space)
    EXPECT_FALSE(config.combineCarveout && (config.seesaw || !config.swapOperands)) << config.str();
}

TEST(ConfigJson, RoundTrip) {
  for (const Config &config : enumerateConfigs(mla())) {
    const nlohmann::json json = config;
    EXPECT_EQ(nlohmann::json::parse(json.dump()).get<Config>(), config) << json.dump();
  }
}

TEST(ConfigJson, RejectsUnknownAndIllTypedFields) {
  auto parse = [](const char *text) { return nlohmann::json::parse(text).get<Config>(); };
  EXPECT_THROW(parse(R"({"kvtile": 32})"), UserError);
  EXPECT_THROW(parse(R"({"kvTile": "32"})"), UserError);
  EXPECT_THROW(parse(R"({"kvTile": 32.5})"), UserError);
  EXPECT_THROW(parse(R"({"kvTile": 99999999999})"), UserError);
  EXPECT_THROW(parse(R"({"kvTile": 18446744073709551615})"), UserError);
  EXPECT_THROW(parse(R"({"split": "even"})"), UserError);
  EXPECT_THROW(parse(R"([32])"), UserError);
  EXPECT_EQ(parse(R"({"stages": 2})").stages, 2);
  try {
    parse(R"({"kvtile": 32})");
  } catch (const UserError &error) {
    EXPECT_NE(std::string(error.what()).find("kvtile"), std::string::npos);
  }
}

TEST(ConfigText, NamesEveryAxis) {
  const Config config{.split = SplitPolicy::Fixed, .fixedSplits = 8};
  EXPECT_EQ(config.str(), "kvTile=32 rowsPerCta=64 stages=4 consumers=2 cluster=1 split=fixed fixedSplits=8 "
                          "partTokens=0 swapOperands=false seesaw=false prefetch=false cacheAhead=false "
                          "evictFirst=false combineCarveout=false dependentLaunch=off");
}
