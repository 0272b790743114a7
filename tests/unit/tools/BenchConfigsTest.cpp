//===- BenchConfigsTest.cpp - Configurations of a table's rows -----------------------------------------===//
//
// Which key a row takes, what a value may be, what a mistake is told as.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/tools/lathe/BenchConfigs.h"

#include "lathe/codegen/Compiler.h"
#include "lathe/dsl/models/Mla.h"
#include "lathe/tests/unit/support/Helpers.h"

using namespace lathe;
using namespace lathe::tools;
using nlohmann::json;
using test::contains;
using test::userErrorOf;

static codegen::AttentionProblem problem(int heads = 16) {
  dsl::MlaShape shape;
  shape.heads = heads;
  return codegen::analyze(dsl::mlaDecode(shape));
}

static std::vector<Candidate> candidates(const json &document, const std::string &row) {
  return ConfigMap::parse("configs.json", document).candidates(row, problem(), {});
}

static int stages(const json &document, const std::string &row) {
  const std::vector<Candidate> found = candidates(document, row);
  return found.front().config ? found.front().config->stages : 0;
}

TEST(BenchConfigs, KeysFitNames) {
  EXPECT_TRUE(fitsKey("16h/8x4096", "16h/8x4096"));
  EXPECT_FALSE(fitsKey("16h/8x4096", "116h/8x4096"));
  EXPECT_TRUE(fitsKey("16h/*", "16h/8x4096"));
  EXPECT_TRUE(fitsKey("*/8x4096", "16h/8x4096"));
  EXPECT_TRUE(fitsKey("*h/*x4096", "16h/8x4096"));
  EXPECT_TRUE(fitsKey("*", ""));
  EXPECT_FALSE(fitsKey("*h/*x1024", "16h/8x4096"));
  EXPECT_FALSE(fitsKey("16h", "16h/8x4096"));
}

TEST(BenchConfigs, ExactBeforeLongestKey) {
  const json document = {
      {"*", "stages=1"}, {"16h/*", "stages=2"}, {"16h/8*", "stages=3"}, {"16h/8x4096", "stages=4"}};
  EXPECT_EQ(stages(document, "128h/1x1"), 1);
  EXPECT_EQ(stages(document, "16h/1x1"), 2);
  EXPECT_EQ(stages(document, "16h/8x1"), 3);
  EXPECT_EQ(stages(document, "16h/8x4096"), 4);
}

TEST(BenchConfigs, ValuesOfAllForms) {
  const json document = {{"one", {{"stages", 2}}},
                         {"list", {{{"stages", 2}}, "stages=3,split=whole", "default", "tuned"}}};
  EXPECT_EQ(stages(document, "one"), 2);
  const std::vector<Candidate> list = candidates(document, "list");
  ASSERT_EQ(list.size(), 4u);
  EXPECT_EQ(list[0].config->stages, 2);
  EXPECT_EQ(list[0].config->kvTile,
            codegen::defaultConfig(problem(), {}).kvTile); // The rest is the default's.
  EXPECT_EQ(list[1].config->split, codegen::SplitPolicy::Whole);
  EXPECT_EQ(*list[2].config, codegen::defaultConfig(problem(), {}));
  EXPECT_FALSE(list[3].config);
  const std::vector<Candidate> other = candidates(document, "another");
  ASSERT_EQ(other.size(), 1u);
  EXPECT_FALSE(other[0].config); // Tuned or default, as without a file.
}

TEST(BenchConfigs, ReadsAnEarlierRun) {
  const codegen::Config best{.stages = 7};
  const json document = {{"benchmark", "mla"},
                         {"rows", {{{"name", "16h/8x4096"}, {"config", best}}, {{"name", "lost"}}}}};
  EXPECT_EQ(stages(document, "16h/8x4096"), 7);
  EXPECT_EQ(stages(document, "lost"), 0);
}

TEST(BenchConfigs, MistakesAreNamed) {
  const auto message = [](const json &document) { return userErrorOf([&] { candidates(document, "row"); }); };
  EXPECT_TRUE(contains(message(json::array()), "configs.json"));
  EXPECT_TRUE(contains(message({{"row", 3}}), "'row'"));
  EXPECT_TRUE(contains(message({{"row", json::array()}}), "at least one"));
  EXPECT_TRUE(contains(message({{"row", {{"warps", 4}}}}), "warps"));
  EXPECT_TRUE(contains(message({{"row", "stages"}}), "configs.json, 'row'"));
  EXPECT_TRUE(contains(message({{"rows", {{{"config", 1}}}}}), "has a name"));
}

TEST(BenchConfigs, KeysOfNoRowAreFound) {
  const ConfigMap map =
      ConfigMap::parse("", {{"16h/*", "default"}, {"17h/*", "default"}, {"typo", "default"}});
  EXPECT_EQ(map.unused({"16h/8x4096", "8h/1x1"}), (std::vector<std::string>{"17h/*", "typo"}));
}
