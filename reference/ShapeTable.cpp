//===- ShapeTable.cpp - The problems that every kernel must get right --------------------------------===//
//
// Builds the table axis by axis, each from DeepSeek-V2-Lite's 16 heads on pages of 64 tokens unless the axis
// is about something else. Names say axis and value; a case's seed follows from its name, so adding one moves
// no other.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/reference/ShapeTable.h"
#include "lathe/reference/Random.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::reference;

using Table = std::vector<ShapeCase>;

/// Corners of tiles and pages up to 64 tokens, then a few of everything.
static const std::vector<int> ragged = {0, 1, 65, 200, 15, 64, 333, 63, 128};
/// Fewer tokens, for shapes with many rows.
static const std::vector<int> raggedShort = {65, 0, 1, 130};

static double dotWork(const AttentionShape &shape) {
  return double(shape.rows()) * (shape.keyDim + shape.valueDim);
}

double ShapeCase::work() const {
  double tokens = 0;
  for (int length : lengths)
    tokens += length;
  return tokens * dotWork(shape);
}

bool ShapeCase::small() const { return work() <= 60e6; }

static void add(Table &table, std::string name, const AttentionShape &shape, std::vector<int> lengths,
                AttentionProblemOptions options = {}) {
  options.seed = seedOf(name);
  table.push_back({std::move(name), shape, std::move(lengths), options});
}

static void addLengths(Table &table) {
  for (int length : {0, 1, 15, 63, 64, 65, 4096})
    add(table, fmt::format("length_{}", length), {}, {length, length, length});
  add(table, "ragged", {}, ragged);
  add(table, "ragged_long", {}, {4096, 0, 17, 4095, 1, 4097, 1000, 2049, 64, 3});
  add(table, "one_short", {}, {7});
  add(table, "one_long", {}, {20011});
  add(table, "one_long_among_short", {}, {3, 12000, 1, 0, 70, 64});
}

static void addBatches(Table &table) {
  add(table, "batch_0", {}, {});
  add(table, "batch_1_empty", {}, {0});
  std::vector<int> many(301); // More sequences than any GPU has processors.
  for (size_t i = 0; i < many.size(); ++i)
    many[i] = int(i * 37 % 83);
  add(table, "batch_301", {}, many);
  std::vector<int> uneven(131);
  for (size_t i = 0; i < uneven.size(); ++i)
    uneven[i] = i % 10 ? int(i % 7) : int(i * 23);
  add(table, "batch_131_uneven", {}, uneven);
}

static void addHeads(Table &table) {
  for (int heads : {1, 3, 5, 8, 16, 20, 63, 64, 126, 128}) {
    add(table, fmt::format("heads_{}", heads), {.heads = heads}, heads <= 20 ? ragged : raggedShort);
    add(table, fmt::format("heads_{}_long", heads), {.heads = heads}, {1500, 0, 4096, 63});
  }
}

static void addQueries(Table &table) {
  // Lengths below the number of query tokens leave causal rows that attend to nothing.
  const std::vector<int> lengths = {0, 1, 2, 3, 4, 5, 63, 64, 65, 66, 67, 129};
  for (int queries : {1, 2, 4})
    for (bool causal : {true, false})
      for (int heads : {1, 5, 16, 63, 128}) {
        AttentionShape shape{.heads = heads, .queryTokens = queries, .causal = causal};
        add(table, fmt::format("queries_{}_heads_{}_{}", queries, heads, causal ? "causal" : "full"), shape,
            lengths);
      }
  add(table, "queries_2_heads_128_long", {.heads = 128, .queryTokens = 2}, {4096, 1, 2000, 0});
  add(table, "queries_4_heads_20_long", {.heads = 20, .queryTokens = 4}, {4096, 2, 2777, 0});
}

static void addPages(Table &table) {
  for (int page : {16, 32, 64, 128, 256}) {
    const std::vector<int> lengths = {page - 1, 0, page, page + 1, 2 * page, 1, 2 * page + 17, 5 * page - 1};
    add(table, fmt::format("page_{}", page), {.page = page}, lengths);
    add(table, fmt::format("page_{}_ordered", page), {.page = page}, lengths,
        {.shufflePages = false, .stridedTable = false});
    add(table, fmt::format("page_{}_strided", page), {.page = page}, lengths, {.stridedCache = true});
    add(table, fmt::format("page_{}_queries_2", page), {.queryTokens = 2, .page = page}, lengths);
  }
}

static void addDimensions(Table &table) {
  struct Dimensions {
    int key, value, heads;
  };
  // MiniCPM3; DeepSeek's heads unabsorbed; multi-query with small heads; widths that fill no 64-column box.
  for (const Dimensions &d : {Dimensions{288, 256, 40},
                              {192, 128, 16},
                              {128, 128, 32},
                              {64, 64, 8},
                              {80, 48, 3},
                              {16, 16, 1},
                              {112, 96, 5},
                              {272, 208, 20},
                              {576, 64, 16},
                              {512, 512, 8},
                              {560, 496, 64}})
    for (int queries : {1, 2})
      add(table, fmt::format("dims_{}_{}_queries_{}", d.key, d.value, queries),
          {.heads = d.heads, .queryTokens = queries, .keyDim = d.key, .valueDim = d.value}, ragged);
}

static void addLayouts(Table &table) {
  for (int queries : {1, 2}) {
    AttentionShape shape{.queryTokens = queries};
    auto name = [&](const char *what) { return fmt::format("layout_{}_queries_{}", what, queries); };
    add(table, name("query_strided"), shape, ragged, {.stridedQuery = true});
    add(table, name("outputs_strided"), shape, ragged, {.stridedOutputs = true});
    add(table, name("all_strided"), shape, ragged,
        {.stridedCache = true, .stridedQuery = true, .stridedOutputs = true});
  }
  add(table, "scale_small", {.scale = 0.01f}, ragged);
  add(table, "scale_large", {.scale = 0.5f}, ragged); // Softmax close to one-hot, large maxima.
}

/// Heads of published models divided by tensor-parallel sizes, at a length that needs splitting.
static void addModels(Table &table) {
  for (int heads : {5, 8, 10, 16, 20, 32, 40, 64, 128})
    add(table, fmt::format("model_heads_{}", heads), {.heads = heads}, {2048, 3000, 100, 511});
}

static Table makeTable() {
  Table table;
  addLengths(table);
  addBatches(table);
  addHeads(table);
  addQueries(table);
  addPages(table);
  addDimensions(table);
  addLayouts(table);
  addModels(table);
  return table;
}

const std::vector<ShapeCase> &lathe::reference::shapeTable() {
  static const Table table = makeTable();
  return table;
}

std::vector<ShapeCase> lathe::reference::smallShapeTable() {
  Table small;
  std::copy_if(shapeTable().begin(), shapeTable().end(), std::back_inserter(small),
               [](const ShapeCase &entry) { return entry.small(); });
  return small;
}

const ShapeCase &lathe::reference::shapeCase(const std::string &name) {
  for (const ShapeCase &entry : shapeTable())
    if (entry.name == name)
      return entry;
  throw UserError(
      {"shape table", "a case must exist under its name", name, "names are in reference/ShapeTable.cpp"});
}
