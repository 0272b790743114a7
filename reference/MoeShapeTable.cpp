//===- MoeShapeTable.cpp - The expert layers that every kernel must get right ------------------------===//
//
// Builds the table axis by axis, small cases from eight experts of 128 by 128 unless the axis is about
// something else, then published models at their full size. Names say axis and value; a case's seed follows
// from its name, so adding one moves no other.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/reference/MoeShapeTable.h"
#include "lathe/reference/Random.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::reference;

using Table = std::vector<MoeCase>;

double MoeCase::work() const {
  const double experts = shape.router.topK + shape.sharedExperts;
  return rows *
         (experts * shape.expertWork() + (shape.gate ? double(shape.router.experts) * shape.hidden : 0));
}

bool MoeCase::small() const { return work() <= 60e6 && shape.weightBytes() <= 32e6; }

static void add(Table &table, std::string name, const MoeShape &shape, int rows, MoeOptions options = {}) {
  options.seed = seedOf(name);
  table.push_back({std::move(name), shape, rows, options});
}

/// The small layer that most axes vary.
static MoeShape base(const MoeRouter &router = {.experts = 8, .topK = 2}) {
  return {.hidden = 128, .inner = 128, .router = router};
}

/// DeepSeek-V3's router, with as many experts, groups and choices as asked for.
static MoeRouter v3Router(int experts, int topK, int groups, int topGroups) {
  return {.experts = experts,
          .topK = topK,
          .scoring = Scoring::Sigmoid,
          .renormalize = true,
          .scale = 2.5f,
          .bias = true,
          .groups = groups,
          .topGroups = topGroups,
          .groupScore = GroupScore::TwoBest};
}

static void addRows(Table &table) {
  for (int rows : {0, 1, 3, 17, 64, 130})
    for (int topK : {1, 2, 6, 8}) {
      const int inner = topK >= 6 && rows > 64 ? 64 : 128; // Within what an emulator does.
      add(table, fmt::format("rows_{}_top_{}", rows, topK),
          {.hidden = 128, .inner = inner, .router = {.experts = 16, .topK = topK}}, rows);
    }
  add(table, "rows_257_narrow", {.hidden = 64, .inner = 64, .router = {.experts = 4, .topK = 2}}, 257);
}

static void addExperts(Table &table) {
  for (int experts : {1, 4, 64, 256})
    for (int rows : {1, 17, 64}) {
      const int topK = std::min(experts, 8);
      add(table, fmt::format("experts_{}_rows_{}", experts, rows),
          {.hidden = 64, .inner = 64, .router = {.experts = experts, .topK = topK}}, rows);
    }
  add(table, "experts_4_all_chosen", base({.experts = 4, .topK = 4, .renormalize = true}), 33);
  add(table, "experts_7_top_3", base({.experts = 7, .topK = 3}), 19);
  add(table, "experts_160_top_6", {.hidden = 64, .inner = 64, .router = {.experts = 160, .topK = 6}}, 40);
}

static void addDimensions(Table &table) {
  struct Dimensions {
    int hidden, inner;
  };
  for (const Dimensions &d :
       {Dimensions{64, 64}, {64, 192}, {128, 256}, {192, 128}, {256, 192}, {320, 64}, {512, 128}, {128, 704}})
    for (int rows : {5, 40}) {
      MoeShape shape = base();
      shape.hidden = d.hidden;
      shape.inner = d.inner;
      add(table, fmt::format("dims_{}_{}_rows_{}", d.hidden, d.inner, rows), shape, rows);
    }
  for (Activation activation : {Activation::Silu, Activation::Gelu})
    for (int shared : {0, 1}) {
      MoeShape shape = base();
      shape.activation = activation;
      shape.sharedExperts = shared;
      add(table, fmt::format("{}_shared_{}", activation == Activation::Silu ? "silu" : "gelu", shared), shape,
          21);
    }
}

static void addSpreads(Table &table) {
  const MoeRouter router{.experts = 16, .topK = 4};
  for (int rows : {17, 96}) {
    auto name = [&](const char *what) { return fmt::format("spread_{}_rows_{}", what, rows); };
    add(table, name("zipf"), base(router), rows, {.spread = Spread::Zipf});
    add(table, name("zipf_steep"), base(router), rows, {.spread = Spread::Zipf, .zipf = 2});
    add(table, name("one_takes_all"), base(router), rows, {.spread = Spread::OneTakesAll});
    add(table, name("skip_one"), base(router), rows, {.spread = Spread::SkipOne});
  }
  add(table, "spread_one_takes_all_top_1", base({.experts = 16, .topK = 1}), 130,
      {.spread = Spread::OneTakesAll});
  add(table, "spread_zipf_sigmoid", base(v3Router(16, 4, 4, 2)), 64, {.spread = Spread::Zipf});
}

static void addShared(Table &table) {
  for (int shared : {1, 2})
    for (int rows : {0, 1, 17, 130}) {
      MoeShape shape = base();
      shape.sharedExperts = shared;
      add(table, fmt::format("shared_{}_rows_{}", shared, rows), shape, rows);
    }
  for (int rows : {267, 282}) // More than one product serves, less than two tiles.
    add(table, fmt::format("shared_1_rows_{}_narrow", rows),
        {.hidden = 128, .inner = 64, .sharedExperts = 1, .router = {.experts = 4, .topK = 2}}, rows);
  MoeShape shape{.hidden = 64, .inner = 192, .sharedExperts = 2, .router = {.experts = 64, .topK = 6}};
  add(table, "shared_2_experts_64", shape, 30, {.stridedX = true, .stridedY = true});
}

/// Experts of one rank: the first, middle and last slice, one expert alone, and rows that touch none.
static void addSlices(Table &table) {
  for (int shared : {0, 1}) {
    MoeShape shape = base({.experts = 32, .topK = 4});
    shape.sharedExperts = shared;
    auto name = [&](const char *what) { return fmt::format("slice_{}_shared_{}", what, shared); };
    for (int rank : {0, 1, 3}) {
      shape.localExperts = 8;
      shape.firstExpert = 8 * rank;
      add(table, name(fmt::format("8_of_32_rank_{}", rank).c_str()), shape, 45);
    }
    shape.firstExpert = 8;
    add(table, name("none_local"), shape, 20, {.spread = Spread::NoneLocal});
    add(table, name("one_takes_all"), shape, 70, {.spread = Spread::OneTakesAll});
    add(table, name("wild_ids"), shape, 70, {.wildIds = true});
    shape.localExperts = 1;
    shape.firstExpert = 31;
    add(table, name("1_of_32"), shape, 64);
  }
  add(table, "wild_ids", base({.experts = 8, .topK = 6}), 50, {.wildIds = true});
  add(table, "wild_ids_one_row", base({.experts = 8, .topK = 8}), 1, {.wildIds = true});
}

static void addRouters(Table &table) {
  struct Named {
    const char *name;
    MoeRouter router;
  };
  MoeRouter sumOfTwo{
      .experts = 32, .topK = 4, .groups = 4, .topGroups = 2, .groupScore = GroupScore::TwoBest};
  MoeRouter biased{.experts = 32, .topK = 4, .renormalize = true, .bias = true};
  const Named routers[] = {
      {"softmax", {.experts = 32, .topK = 4}},
      {"softmax_normalised", {.experts = 32, .topK = 4, .renormalize = true, .scale = 1.5f}},
      {"softmax_scaled", {.experts = 32, .topK = 4, .scale = 16}},
      {"softmax_biased", biased},
      {"group_limited", {.experts = 40, .topK = 6, .scale = 16, .groups = 8, .topGroups = 3}},
      {"group_limited_two_best", sumOfTwo},
      {"groups_of_one",
       {.experts = 8, .topK = 3, .groups = 8, .topGroups = 4, .groupScore = GroupScore::TwoBest}},
      {"groups_all_stay", {.experts = 32, .topK = 8, .groups = 4, .topGroups = 4}},
      {"groups_filled", {.experts = 32, .topK = 8, .groups = 8, .topGroups = 2}},
      {"sigmoid", {.experts = 32, .topK = 4, .scoring = Scoring::Sigmoid}},
      {"sigmoid_normalised", {.experts = 32, .topK = 4, .scoring = Scoring::Sigmoid, .renormalize = true}},
      {"noaux", v3Router(64, 6, 1, 1)},
      {"noaux_groups", v3Router(64, 8, 8, 4)},
      {"noaux_groups_256", v3Router(256, 8, 8, 4)},
      {"noaux_384", v3Router(384, 8, 1, 1)},
  };
  for (const Named &named : routers) {
    MoeShape shape{.hidden = 64, .inner = 64, .router = named.router};
    auto name = [&](const char *what) { return fmt::format("router_{}_{}", named.name, what); };
    add(table, name("f32"), shape, 33);
    add(table, name("ties"), shape, 33, {.ties = true});
    add(table, name("nans"), shape, 33, {.nans = true});
    shape.logits = Dtype::BF16;
    add(table, name("bf16"), shape, 33);
    add(table, name("bf16_ties_nans"), shape, 33, {.ties = true, .nans = true});
    shape.logits = Dtype::F32;
    shape.gate = true;
    add(table, name("gate"), shape, 33);
  }
}

/// Rows and experts that fill no tile of the gate's product, columns that its warps share in every way.
static void addGates(Table &table) {
  MoeShape shape{.hidden = 128, .inner = 64, .router = {.experts = 40, .topK = 4}, .gate = true};
  for (Dtype type : {Dtype::BF16, Dtype::F32}) {
    shape.gateType = type;
    auto name = [&](const char *what) { return fmt::format("gate_{}_{}", lathe::name(type), what); };
    add(table, name("one_row"), shape, 1);
    add(table, name("rows_17_x_strided"), shape, 17, {.stridedX = true});
    add(table, name("rows_70"), shape, 70);
    MoeShape other = shape;
    other.router.experts = 7;
    other.hidden = 192;
    add(table, name("7_experts"), other, 5);
    other.router = v3Router(256, 8, 8, 4);
    other.localExperts = 64, other.firstExpert = 64;
    other.hidden = 1088;
    add(table, name("256_experts_hidden_1088"), other, 9);
    other = shape;
    other.hidden = 2048;
    add(table, name("hidden_2048"), other, 20);
  }
}

static void addLayouts(Table &table) {
  for (int rows : {1, 50}) {
    auto name = [&](const char *what) { return fmt::format("layout_{}_rows_{}", what, rows); };
    add(table, name("x_strided"), base(), rows, {.stridedX = true});
    add(table, name("y_strided"), base(), rows, {.stridedY = true});
    add(table, name("all_strided"), base(), rows, {.stridedX = true, .stridedY = true});
    add(table, name("unpoisoned"), base(), rows, {.poison = false});
  }
}

/// Published layers, whole where one GPU holds them, else one rank's experts.
static void addModels(Table &table) {
  const MoeShape v2Lite{
      .hidden = 2048, .inner = 1408, .sharedExperts = 2, .router = {.experts = 64, .topK = 6}};
  MoeShape v2{.hidden = 5120, .inner = 1536, .localExperts = 20, .firstExpert = 40, .sharedExperts = 2};
  v2.router = {.experts = 160, .topK = 6, .scale = 16, .groups = 8, .topGroups = 3};
  MoeShape v3{.hidden = 7168, .inner = 2048, .localExperts = 32, .firstExpert = 96, .sharedExperts = 1};
  v3.router = v3Router(256, 8, 8, 4);
  MoeShape kimi{.hidden = 7168, .inner = 2048, .localExperts = 24, .firstExpert = 360, .sharedExperts = 1};
  kimi.router = v3Router(384, 8, 1, 1);
  kimi.router.scale = 2.827f;
  MoeShape moonlight = v2Lite;
  moonlight.router = v3Router(64, 6, 1, 1);
  moonlight.router.scale = 2.446f;
  MoeShape glm{.hidden = 2048, .inner = 1536, .sharedExperts = 1, .router = v3Router(64, 4, 1, 1)};
  glm.router.scale = 1.8f;
  MoeShape mistral{.hidden = 7168, .inner = 4096, .localExperts = 16, .sharedExperts = 1};
  mistral.router = {.experts = 128, .topK = 4, .renormalize = true};

  for (int rows : {1, 16, 64, 256, 1024})
    add(table, fmt::format("v2_lite_rows_{}", rows), v2Lite, rows);
  for (int rows : {256, 4096})
    add(table, fmt::format("v2_lite_zipf_rows_{}", rows), v2Lite, rows, {.spread = Spread::Zipf});
  add(table, "v2_lite_one_takes_all_rows_512", v2Lite, 512, {.spread = Spread::OneTakesAll});
  for (int rows : {1, 128, 1024}) {
    add(table, fmt::format("v2_slice_rows_{}", rows), v2, rows);
    add(table, fmt::format("v3_slice_rows_{}", rows), v3, rows);
  }
  for (int rows : {1, 200}) {
    add(table, fmt::format("kimi_k2_slice_rows_{}", rows), kimi, rows, {.stridedX = true, .stridedY = true});
    add(table, fmt::format("moonlight_rows_{}", rows), moonlight, rows);
    add(table, fmt::format("glm_flash_rows_{}", rows), glm, rows);
    add(table, fmt::format("mistral_large_slice_rows_{}", rows), mistral, rows);
  }
  v2.gate = v3.gate = true;
  v3.gateType = Dtype::F32;
  add(table, "v2_slice_gate_rows_33", v2, 33);
  add(table, "v3_slice_gate_rows_33", v3, 33);
  add(table, "v3_slice_gate_rows_1500", v3, 1500);
}

/// The shapes of the comparisons with other libraries: routed experts alone.
static void addBenchmarks(Table &table) {
  const MoeShape lite{.hidden = 2048, .inner = 1408, .router = {.experts = 64, .topK = 6}};
  const MoeShape oneHit{.hidden = 7168, .inner = 2048, .router = {.experts = 32, .topK = 1}};
  const MoeShape wide{.hidden = 7168, .inner = 2048, .router = {.experts = 64, .topK = 8}};
  for (int rows : {1, 4, 16, 64, 128, 256, 512, 1024, 4096, 8192})
    add(table, fmt::format("bench_64x1408_top_6_rows_{}", rows), lite, rows);
  for (int rows : {1, 16, 128, 1024, 4096, 8192})
    add(table, fmt::format("bench_32x2048_top_1_rows_{}", rows), oneHit, rows);
  for (int rows : {1, 64, 1024, 4096, 8192})
    add(table, fmt::format("bench_64x2048_top_8_rows_{}", rows), wide, rows);
}

static Table makeTable() {
  Table table;
  addRows(table);
  addExperts(table);
  addDimensions(table);
  addSpreads(table);
  addShared(table);
  addSlices(table);
  addRouters(table);
  addGates(table);
  addLayouts(table);
  addModels(table);
  addBenchmarks(table);
  return table;
}

const std::vector<MoeCase> &lathe::reference::moeShapeTable() {
  static const Table table = makeTable();
  return table;
}

std::vector<MoeCase> lathe::reference::smallMoeShapeTable() {
  Table small;
  std::copy_if(moeShapeTable().begin(), moeShapeTable().end(), std::back_inserter(small),
               [](const MoeCase &entry) { return entry.small(); });
  return small;
}

const MoeCase &lathe::reference::moeCase(const std::string &name) {
  for (const MoeCase &entry : moeShapeTable())
    if (entry.name == name)
      return entry;
  throw UserError({"shape table of expert layers", "a case must exist under its name", name,
                   "names are in reference/MoeShapeTable.cpp"});
}
