//===- MoeConfigTest.cpp - The rules of the mixture-of-experts schedule ------------------------------===//
//
// Every rule refuses what breaks it, and the default follows the rows of a step.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/MoeConfig.h"

#include "lathe/support/Error.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>

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
      {"consumers", [](P &, C &c) { c.consumers = 3; }},
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
      {"consumers", [](P &, C &c) { c.consumers = 4, c.ctasPerSm = 2; }},
      {"registers", [](P &, C &c) { c.consumers = 4, c.depthTile = 64, c.tokenTile = 144, c.stages = 2; }},
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

/// Of finer stages there are more, for wide tiles, and for narrow ones of CTAs that read for long, but the
/// narrowest, of which one takes half of an SM.
TEST(MoeConfigDefault, StagesAreFineWhereMuchIsRead) {
  MoeProblem problem = lite();
  problem.shared = 0;
  for (const auto &[rows, columns] :
       {std::pair{1, 128}, {4, 128}, {16, 128}, {64, 64}, {128, 64}, {256, 128}, {1024, 64}})
    EXPECT_EQ(defaultMoeConfig(problem, {}, rows).depthTile, columns) << rows << " rows";
}

/// Whose CTAs bring the first weights of `down` while `up` runs beside them.
TEST(MoeConfigDefault, LeavesHalfAnSmToDownWhereFewRowsReadForLong) {
  MoeProblem problem = lite();
  problem.shared = 0;
  for (const auto &[rows, ctas] : {std::pair{1, 2}, {4, 2}, {16, 1}, {64, 2}, {4096, 1}}) {
    const MoeConfig config = defaultMoeConfig(problem, {}, rows);
    EXPECT_EQ(config.ctasPerSm, ctas) << rows << " rows: " << config.str();
    if (rows <= 64)
      EXPECT_LE(moeMemory(config).sharedBytes, 115712) << rows;
    EXPECT_EQ(config.prefetchDown, rows <= 64) << rows;
    EXPECT_EQ(config.prefetchUp, rows > 1 && rows <= 64) << rows;
  }
}

/// Of 264 CTAs each has one of 6 · 44 items at one row; two rows may have twice as many.
TEST(MoeConfigDefault, GivesItemsOutWhereCtasHaveSeveral) {
  MoeProblem problem = lite();
  problem.shared = 0;
  EXPECT_FALSE(defaultMoeConfig(problem, {}, 1).dynamic);
  EXPECT_TRUE(defaultMoeConfig(problem, {}, 2).dynamic);
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
    EXPECT_LE(config.consumers, 2) << "four have not been measured";
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
  for (size_t i = 0; i < configs.size(); i += 5) // Also both products in one.
    configs[i].oneLaunch = true;
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
