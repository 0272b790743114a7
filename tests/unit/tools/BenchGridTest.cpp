//===- BenchGridTest.cpp - Tables of workloads ---------------------------------------------------------===//
//
// The standard table row by row as it is promised, filters, tables from files with every kind of mistake.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/tools/lathe/BenchGrid.h"

#include "lathe/tests/unit/support/Helpers.h"

#include <fstream>
#include <map>
#include <set>

using namespace lathe;
using namespace lathe::tools;
using test::contains;
using test::userErrorOf;

static const GridRow &rowNamed(const std::vector<GridRow> &rows, const std::string &name) {
  for (const GridRow &row : rows)
    if (row.name == name)
      return row;
  ADD_FAILURE() << "no row " << name;
  return rows.front();
}

TEST(BenchGrid, StandardTableHasItsRows) {
  const std::vector<GridRow> rows = standardGrid({});
  std::map<int, int> fixed;
  std::set<std::string> names;
  int single = 0;
  for (const GridRow &row : rows) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    single += row.layers == 1;
    if (row.layers != 1) {
      EXPECT_EQ(row.layers, 16) << row.name;
      EXPECT_EQ(row.shape.queryTokens, 1) << row.name;
      ++fixed[row.shape.heads];
    }
    EXPECT_EQ(row.shape.keyDim(), 576);
    EXPECT_EQ(row.shape.valueDim(), 512);
    EXPECT_TRUE(row.shape.causal);
  }
  EXPECT_EQ(fixed, (std::map<int, int>{{8, 10}, {16, 10}, {20, 10}, {32, 10}, {64, 5}, {128, 7}}));
  EXPECT_EQ(single, 6);
  for (const char *name : {"16h/1x1024", "16h/1x131072", "8h/32x4096", "20h/128x1024", "32h/4x4096",
                           "64h/8x4096", "128h/16x4096", "128h/128xnormal-4096", "128h-q2/128xnormal-16384"})
    EXPECT_TRUE(names.count(name)) << name;
}

TEST(BenchGrid, RowsDrawWhatTheirNamesSay) {
  const std::vector<GridRow> rows = standardGrid({});
  EXPECT_EQ(rowNamed(rows, "16h/4x4096").workload.draw(), std::vector<int>(4, 4096));
  const GridRow &row = rowNamed(rows, "128h-q2/128xnormal-8192");
  EXPECT_EQ(row.shape.queryTokens, 2);
  EXPECT_EQ(row.workload.str(), "batch 128, normal(8192, 4096)");
  EXPECT_EQ(row.layers, 1);
}

TEST(BenchGrid, TracesAddRows) {
  const test::TempFolder folder;
  std::ofstream(folder / "lengths.txt") << "100\n200\n300\n";
  const std::string file = (folder / "lengths.txt").string();
  const auto traces = parseTraces({"azure=" + file, "r1=chat"});
  const std::vector<GridRow> rows = standardGrid(traces);
  EXPECT_EQ(rows.size(), standardGrid({}).size() + 12);
  const GridRow &row = rowNamed(rows, "16h/64xazure");
  EXPECT_EQ(row.workload.batch(), 64);
  EXPECT_EQ(row.layers, 16);
  for (int length : row.workload.draw())
    EXPECT_TRUE(length == 100 || length == 200 || length == 300);
  rowNamed(rows, "128h/256xr1");
  EXPECT_TRUE(contains(userErrorOf([&] { parseTraces({file}); }), "NAME=FILE"));
  EXPECT_TRUE(contains(userErrorOf([&] { parseTraces({"a=" + file, "a=" + file}); }), "name of its own"));
  EXPECT_TRUE(contains(userErrorOf([] { standardGrid({{"x", "/nowhere/x.csv"}}); }), "/nowhere/x.csv"));
}

TEST(BenchGrid, Filters) {
  const std::vector<GridRow> rows = standardGrid({});
  EXPECT_EQ(filterRows(rows, 0, "").size(), rows.size());
  EXPECT_EQ(filterRows(rows, 64, "").size(), 5u);
  EXPECT_EQ(filterRows(rows, 0, "^(16|128)h/128x4096$").size(), 2u);
  EXPECT_EQ(filterRows(rows, 128, "q2").size(), 3u);
  EXPECT_TRUE(contains(userErrorOf([&] { filterRows(rows, 17, ""); }), "--heads 17"));
  EXPECT_TRUE(contains(userErrorOf([&] { filterRows(rows, 16, "q2"); }), "--heads 16 --rows 'q2'"));
  EXPECT_TRUE(contains(userErrorOf([&] { filterRows(rows, 0, "("); }), "regular expression"));
}

static std::vector<GridRow> readText(const std::string &text) {
  const test::TempFolder folder;
  std::ofstream(folder / "grid.json") << text;
  return readGrid(folder / "grid.json");
}

TEST(BenchGrid, TablesFromFiles) {
  const std::vector<GridRow> rows = readText(R"({"rows": [
    {"heads": 16, "batch": 8, "tokens": 4096},
    {"heads": 64, "queryTokens": 2, "batch": 4, "lengths": "normal:500:100", "seed": 7, "layers": 1},
    {"name": "mine", "heads": 5, "page": 16, "latent": 256, "rope": 32, "value": 128, "causal": false,
     "scale": 0.5, "batch": 1, "tokens": 0}]})");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].name, "16h/8x4096");
  EXPECT_EQ(rows[0].layers, 16);
  EXPECT_EQ(rows[1].name, "64h-q2/4xnormal-500-100");
  EXPECT_EQ(rows[1].workload.seed(), 7u);
  EXPECT_EQ(rows[1].layers, 1);
  EXPECT_EQ(rows[2].name, "mine");
  EXPECT_EQ(rows[2].shape.keyDim(), 288);
  EXPECT_EQ(rows[2].shape.valueDim(), 128);
  EXPECT_EQ(rows[2].shape.page, 16);
  EXPECT_FALSE(rows[2].shape.causal);
  EXPECT_EQ(rows[2].scale, 0.5f);
  EXPECT_EQ(rows[2].workload.draw(), std::vector<int>{0});
}

TEST(BenchGrid, MistakesInFilesAreNamed) {
  const std::vector<std::pair<const char *, const char *>> mistakes{
      {"no json", "grid.json"},
      {"[]", "list named rows"},
      {R"({"rows": [3]})", "row 1"},
      {R"({"rows": [{"heads": 16, "batch": 1, "tokens": 1}, {"batch": 1, "tokens": 1}]})", "row 2"},
      {R"({"rows": [{"heads": 16, "batch": 1}]})", "tokens or lengths"},
      {R"({"rows": [{"heads": 16, "batch": 1, "tokens": 5, "lengths": "chat"}]})", "both"},
      {R"({"rows": [{"heads": 16.5, "batch": 1, "tokens": 5}]})", "'heads'"},
      {R"({"rows": [{"heads": 16, "batch": -1, "tokens": 5}]})", "'batch'"},
      {R"({"rows": [{"heads": 16, "batch": 1, "tokens": 5, "causal": 1}]})", "'causal'"},
      {R"({"rows": [{"heads": 16, "batch": 1, "tokens": 5, "name": 1}]})", "'name'"},
      {R"({"rows": [{"heads": 16, "batch": 1, "tokens": 5, "colour": "red"}]})", "colour"},
      {R"({"rows": [{"heads": 16, "batch": 1, "lengths": "strange"}]})", "row 1"},
      {R"({"rows": [{"heads": 16, "batch": 1, "tokens": 5, "value": 9999}]})", "row 1"},
      {R"({"rows": [{"heads": 16, "batch": 1, "tokens": 5}, {"heads": 16, "batch": 1, "tokens": 5}]})",
       "name of its own"},
  };
  for (const auto &[text, word] : mistakes)
    EXPECT_TRUE(contains(userErrorOf([&] { readText(text); }), word)) << text;
  EXPECT_TRUE(contains(userErrorOf([] { makeGrid("/nowhere/grid.json", {}); }), "--grid standard"));
  EXPECT_TRUE(contains(userErrorOf([] { makeGrid("grid.json", {{"a", "chat"}}); }), "--trace"));
}
