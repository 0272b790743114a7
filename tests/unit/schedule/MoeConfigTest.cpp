//===- MoeConfigTest.cpp - The rules of the mixture-of-experts schedule ------------------------------===//
//
// Every rule refuses what breaks it, and the default follows the rows of a step.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/MoeConfig.h"

#include "lathe/support/Error.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>
#include <tuple>

using namespace lathe;
using namespace lathe::codegen;

/// DeepSeek-V2-Lite's layer.
static MoeProblem lite() {
  MoeProblem problem;
  problem.topK = 6;
  problem.scoring = MoeScoring::Softmax;
  problem.routedExperts = problem.experts = 64;
  problem.ffn = true;
  problem.hidden = 2048;
  problem.intermediate = problem.sharedColumns = 1408;
  problem.halves = 2;
  problem.shared = 2;
  problem.activation = MoeActivation::SwiGlu;
  return problem;
}

TEST(MoeConfigCheck, EveryConstraintRejects) {
  using P = MoeProblem;
  using C = MoeConfig;
  const std::vector<std::pair<const char *, std::function<void(P &, C &)>>> breaks{
      {"experts", [](P &p, C &) { p.ffn = false; }},
      {"experts", [](P &p, C &) { p.experts = 513; }},
      {"activation", [](P &p, C &) { p.activation = MoeActivation::Other; }},
      {"output", [](P &p, C &) { p.output = Dtype::F32; }},
      {"top_k", [](P &p, C &) { p.topK = 17; }},
      {"groups", [](P &p, C &) { p.groups = 64, p.topGroups = 8; }},
      {"shared", [](P &p, C &) { p.sharedColumns = 704; }},
      {"tokenTile", [](P &, C &c) { c.tokenTile = 12; }},
      {"tokenTile",
       [](P &, C &c) { c.tokenTile = 288, c.widths = 8, c.consumers = 2, c.depthTile = 64, c.stages = 4; }},
      {"tokenTile",
       [](P &, C &c) {
         c.tokenTile = 288, c.consumers = 2, c.permute = true, c.depthTile = 64, c.stages = 4;
       }},
      {"cluster", [](P &, C &c) { c.cluster = 4; }},
      {"dynamic",
       [](P &, C &c) { c.tokenTile = 32, c.cluster = 2, c.permute = c.dynamic = true, c.ctasPerSm = 1; }},
      {"cluster", [](P &, C &c) { c.tokenTile = 32, c.cluster = 2, c.permute = true, c.ctasPerSm = 2; }},
      {"cluster", [](P &, C &c) { c.tokenTile = 32, c.cluster = 2; }},
      {"widths", [](P &, C &c) { c.widths = 3; }},
      {"widths", [](P &, C &c) { c.tokenTile = 112, c.widths = 4; }},
      {"widths", [](P &, C &c) { c.tokenTile = 96, c.widths = 8; }},
      {"widths", [](P &, C &c) { c.cluster = 2, c.permute = true; }},
      {"consumers", [](P &, C &c) { c.consumers = 3; }},
      {"depthTile", [](P &, C &c) { c.depthTile = 32; }},
      {"ctasPerSm", [](P &, C &c) { c.ctasPerSm = 4; }},
      {"hidden", [](P &p, C &) { p.hidden = 2080; }},
      {"intermediate",
       [](P &p, C &) { p.intermediate = p.sharedColumns = 1344; }}, // No stages of 128 columns.
      {"blocks",
       [](P &p, C &c) {
         p.intermediate = p.sharedColumns = 1472, c.depthTile = 64, c.tokenTile = 32,
         c.consumers = c.cluster = 2, c.permute = true;
       }},
      {"blocks", [](P &p, C &c) { p.hidden = 2112, c.consumers = 2, c.depthTile = 64; }},
      {"registers", [](P &, C &c) { c.consumers = 2, c.ctasPerSm = 2, c.tokenTile = 112, c.stages = 2; }},
      {"registers", [](P &p, C &c) { p.activation = MoeActivation::Gelu, p.halves = 1, c.tokenTile = 192; }},
      {"stages", [](P &, C &c) { c.stages = 1; }},
      {"tileGroup", [](P &, C &c) { c.tileGroup = -1; }},
      {"tileGroup", [](P &, C &c) { c.tileGroup = 65536; }},
      {"dependentLaunch", [](P &, C &c) { c.dependentLaunch = DependentLaunch::Late; }},
      {"shared_memory", [](P &, C &c) { c.stages = 12; }},
  };
  ASSERT_TRUE(check(lite(), {}, {})) << check(lite(), {}, {}).reason;
  for (const auto &[constraint, breakIt] : breaks) {
    MoeProblem problem = lite();
    MoeConfig config;
    breakIt(problem, config);
    const Verdict verdict = check(problem, config, {});
    EXPECT_FALSE(verdict.accepted) << constraint;
    EXPECT_EQ(verdict.constraint, constraint) << verdict.reason;
    EXPECT_FALSE(verdict.reason.empty()) << constraint;
  }
}

TEST(MoeConfigCheck, PrefetchesNeedALaunchThatBeginsBeforeTheOneBeforeHasEnded) {
  for (auto [up, down] : {std::pair{true, false}, {false, true}}) {
    MoeConfig config;
    config.prefetchUp = up, config.prefetchDown = down;
    EXPECT_TRUE(check(lite(), config, {}));
    config.dependentLaunch = DependentLaunch::Off;
    EXPECT_EQ(check(lite(), config, {}).constraint, "prefetch");
  }
  MoeConfig permuted;
  permuted.prefetchUp = permuted.permute = true; // Then `up` begins when the routing is known.
  EXPECT_EQ(check(lite(), permuted, {}).constraint, "prefetch");
}

TEST(MoeConfigCheck, OneLaunchIsWithoutClustersAndAtomicSums) {
  MoeConfig config;
  config.oneLaunch = true;
  EXPECT_TRUE(check(lite(), config, {}));
  for (const auto &[constraint, breakIt] :
       {std::pair{"oneLaunch", +[](MoeConfig &c) { c.atomic = true; }},
        {"oneLaunch", +[](MoeConfig &c) { c.cluster = 2, c.permute = true, c.tokenTile = 32, c.stages = 4; }},
        {"prefetch", +[](MoeConfig &c) { c.prefetchDown = true; }}}) {
    MoeConfig broken = config;
    breakIt(broken);
    EXPECT_EQ(check(lite(), broken, {}).constraint, constraint) << check(lite(), broken, {}).reason;
  }
}

TEST(MoeConfigDefault, FollowsTheRowsOfAStep) {
  int before = 0;
  for (int rows : {1, 16, 64, 128, 256, 512, 1024}) {
    const MoeConfig config = defaultMoeConfig(lite(), {}, rows);
    EXPECT_TRUE(check(lite(), config, {})) << config.str();
    EXPECT_GE(config.tokenTile, before) << rows;
    EXPECT_GE(config.tokenTile, rows * 6 / 64) << rows; // The mean of an expert.
    EXPECT_TRUE(config.evictFirst) << rows;
    before = config.tokenTile;
  }
  EXPECT_EQ(defaultMoeConfig(lite(), {}, 1).tokenTile, 8);
  const MoeConfig many = defaultMoeConfig(lite(), {}, 4096); // 384 rows an expert.
  EXPECT_EQ(many.tokenTile, 224);                            // Two parts.
  EXPECT_EQ(many.widths, 8);
  EXPECT_EQ(many.consumers, 2);
  EXPECT_TRUE(many.permute);
  EXPECT_FALSE(many.evictFirst);
  EXPECT_TRUE(many.dynamic);
}

/// Forms as docs/schedules/moe.md has them: one consumer up to 32 rows, several widths and finer stages from
/// 96 on, one launch where CTAs have several items, but for short ones of wide tiles.
TEST(MoeConfigDefault, HasTheFormsThatWereFastest) {
  struct Expected {
    int rows, hidden, tokenTile, widths, consumers, depthTile, stages, ctasPerSm;
    bool oneLaunch, prefetchUp;
  };
  for (const Expected &expected : {Expected{1, 2048, 8, 1, 1, 128, 8, 1, false, false},
                                   {2, 2048, 8, 1, 1, 128, 8, 1, true, true},
                                   {64, 2048, 24, 1, 1, 128, 8, 1, true, true},
                                   {128, 2048, 32, 1, 1, 128, 8, 1, true, true},
                                   {256, 2048, 48, 1, 2, 128, 4, 1, true, true},
                                   {512, 2048, 80, 1, 2, 128, 4, 1, true, true},
                                   {768, 2048, 96, 4, 2, 64, 7, 1, false, true},
                                   {768, 7168, 96, 4, 2, 64, 7, 1, true, true},
                                   {1024, 2048, 128, 8, 2, 64, 6, 1, false, false},
                                   {1024, 7168, 128, 8, 2, 64, 6, 1, true, false},
                                   {4096, 2048, 224, 8, 2, 64, 4, 1, true, false}}) {
    MoeProblem problem = lite();
    problem.shared = 0, problem.hidden = expected.hidden;
    const MoeConfig config = defaultMoeConfig(problem, {}, expected.rows);
    SCOPED_TRACE(testing::Message() << expected.rows << " rows: " << config.str());
    EXPECT_EQ(config.tokenTile, expected.tokenTile);
    EXPECT_EQ(config.widths, expected.widths);
    EXPECT_EQ(config.consumers, expected.consumers);
    EXPECT_EQ(config.depthTile, expected.depthTile);
    EXPECT_EQ(config.stages, expected.stages);
    EXPECT_EQ(config.ctasPerSm, expected.ctasPerSm);
    EXPECT_EQ(config.oneLaunch, expected.oneLaunch);
    EXPECT_EQ(config.prefetchUp, expected.prefetchUp);
    EXPECT_EQ(config.prefetchDown, expected.rows == 1);
    EXPECT_EQ(config.permute, expected.rows == 4096);
  }
}

/// All rows go to shared experts, whose weights further tiles would read again.
TEST(MoeConfigDefault, SharedExpertsWidenNarrowTiles) {
  for (const auto &[rows, alone, shared] : {std::tuple{4, 8, 8}, {16, 8, 16}, {64, 24, 32}, {256, 48, 48}}) {
    MoeProblem problem = lite();
    EXPECT_EQ(defaultMoeConfig(problem, {}, rows).tokenTile, shared) << rows;
    problem.shared = 0;
    EXPECT_EQ(defaultMoeConfig(problem, {}, rows).tokenTile, alone) << rows;
  }
}

/// Of 132 CTAs each has two of 6 · 44 items at one row; two rows may have twice as many.
TEST(MoeConfigDefault, GivesItemsOutWhereCtasHaveSeveral) {
  MoeProblem problem = lite();
  problem.shared = 0;
  EXPECT_FALSE(defaultMoeConfig(problem, {}, 1).dynamic);
  EXPECT_TRUE(defaultMoeConfig(problem, {}, 2).dynamic);
  problem.experts = 8; // An eighth of the choices is here.
  EXPECT_FALSE(defaultMoeConfig(problem, {}, 8).dynamic);
  EXPECT_TRUE(defaultMoeConfig(problem, {}, 16).dynamic);
}

/// One expert of 29 tiles and 32 blocks has 928 items, seven a CTA; of 8 tiles and 8 blocks half of one.
TEST(MoeConfigDefault, CountsTheTilesOfExpertsWithManyRows) {
  MoeProblem problem = lite();
  problem.shared = 0, problem.topK = 1, problem.routedExperts = problem.experts = 1;
  problem.hidden = 7168, problem.intermediate = 2048;
  EXPECT_TRUE(defaultMoeConfig(problem, {}, 8192).dynamic);
  EXPECT_TRUE(defaultMoeConfig(problem, {}, 8192).oneLaunch);
  problem.intermediate = 512;
  EXPECT_FALSE(defaultMoeConfig(problem, {}, 2048).dynamic);
}

/// As many tiles as 20 MB of rows are; or 8, whose 2304 rows meet 16 blocks of 128.
TEST(MoeTileGroup, IsWhatStaysOrIsLevel) {
  MoeConfig config{
      .tokenTile = 288, .widths = 8, .consumers = 2, .depthTile = 64, .stages = 4, .permute = true};
  EXPECT_EQ(moeTileGroup(config, 7168), 8);
  EXPECT_EQ(moeTileGroup(config, 2048), 16);
  EXPECT_EQ(moeTileGroup(config, 1408), 24);
  config.tokenTile = 64;
  EXPECT_EQ(moeTileGroup(config, 7168), 21);
  config.tileGroup = 3;
  EXPECT_EQ(moeTileGroup(config, 7168), 3);
}

/// 64 items an expert, of which one and three leave half of 132 CTAs idle in the last round.
TEST(MoeConfigDefault, HasTwoCtasWhereARoundOfOneLeavesManyIdle) {
  MoeProblem problem = lite();
  problem.shared = 0, problem.topK = 1, problem.routedExperts = problem.experts = 32;
  problem.hidden = 7168, problem.intermediate = 2048;
  for (const auto &[rows, ctas] : {std::pair{1, 2}, {2, 1}, {3, 2}, {4, 1}, {5, 1}})
    EXPECT_EQ(defaultMoeConfig(problem, {}, rows).ctasPerSm, ctas) << rows;
  problem.routedExperts = 256, problem.partial = true; // How many are busy is not known of a slice.
  EXPECT_EQ(defaultMoeConfig(problem, {}, 8).ctasPerSm, 1);
}

TEST(MoeConfigDefault, ServesEveryWidth) {
  for (int extent : {64, 128, 192, 320, 704, 7168})
    for (int rows : {1, 100, 5000}) {
      MoeProblem problem = lite();
      problem.hidden = extent, problem.intermediate = problem.sharedColumns = extent;
      const MoeConfig config = defaultMoeConfig(problem, {}, rows);
      EXPECT_TRUE(check(problem, config, {})) << extent << ", " << rows << " rows: " << config.str();
    }
  MoeProblem odd = lite();
  odd.hidden = 100;
  EXPECT_THROW(defaultMoeConfig(odd, {}, 1), UserError);
}

TEST(MoeConfigSpace, HasTheDefaultAndNoDuplicates) {
  const std::vector<MoeConfig> space = enumerateMoeConfigs(lite());
  EXPECT_EQ(std::count(space.begin(), space.end(), defaultMoeConfig(lite(), {}, 64)), 1);
  std::set<std::string> texts;
  for (const MoeConfig &config : space) {
    EXPECT_FALSE(config.atomic) << "bits that differ between runs are for who asks for them";
    EXPECT_TRUE(texts.insert(config.str()).second) << config.str();
    EXPECT_EQ(nlohmann::json(config).get<MoeConfig>(), config);
  }
}

TEST(MoeConfigJson, RejectsUnknownAndIllTypedFields) {
  auto parse = [](const char *text) { return nlohmann::json::parse(text).get<MoeConfig>(); };
  for (const char *text :
       {R"({"tokentile": 8})", R"({"tokenTile": "8"})", R"({"tokenTile": 8.5})",
        R"({"tokenTile": 99999999999})", R"({"evictFirst": 1})", R"({"dependentLaunch": "late"})", R"([8])"})
    EXPECT_THROW(parse(text), UserError) << text;
  EXPECT_EQ(parse(R"({"tokenTile": 24})").tokenTile, 24);
  EXPECT_TRUE(parse(R"({"permute": true})").permute);
  EXPECT_TRUE(parse(R"({"dynamic": true})").dynamic);
  EXPECT_TRUE(parse(R"({"atomic": true})").atomic);
  EXPECT_TRUE(parse(R"({"oneLaunch": true})").oneLaunch);
}

TEST(MoeMemory, PartsDoNotOverlap) {
  std::vector<MoeConfig> configs = enumerateMoeConfigs(lite());
  for (const MoeConfig &config : configs) {
    const MoeMemory memory = moeMemory(config);
    const int rings = config.oneLaunch && !config.permute ? 3 : 2; // Of one of weights, and of rows.
    EXPECT_EQ(memory.rows, config.stages * memory.weightBytes);
    EXPECT_EQ(memory.rows % 1024, 0);
    EXPECT_EQ(memory.staging, memory.rows + config.stages * memory.rowBytes);
    EXPECT_EQ(memory.barriers, memory.staging + config.consumers * memory.stagingBytes);
    EXPECT_EQ(memory.barriers % 8, 0);
    EXPECT_EQ(memory.items, memory.barriers + rings * 2 * 8 * config.stages);
    EXPECT_EQ(memory.togetherBarriers, memory.barriers + 2 * 2 * 8 * config.stages);
    EXPECT_EQ(memory.items % 16, 0);
    EXPECT_EQ(memory.itemBarriers, memory.items + 16 * moeQueueSlots);
    EXPECT_EQ(memory.sharedBytes, memory.itemBarriers + 2 * 8 * moeQueueSlots);
    EXPECT_LE(memory.pairsAtOnce, config.tokenTile);
    EXPECT_LE(memory.pairsAtOnce * (32 * 2 + 16), memory.stagingBytes);
  }
}
