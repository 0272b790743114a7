// Variants of paged attention are edits of a line: grouped, multi-query and multi-head caches, sliding window
// with sinks, soft cap, attention mass, two caches merged by their log-sum-exp.

#include "Expect.h"

#include "lathe/dsl/Node.h"

using namespace lathe;
using namespace lathe::dsl;

namespace {
struct HeadCase {
  int heads, kvHeads;
  std::string index; ///< How the cache's head index reads.
};
struct Heads : testing::TestWithParam<HeadCase> {};
} // namespace

/// Separate key and value caches that share a page table, `kvHeads` heads each.
static Kernel groupedDecode(int heads, int kvHeads) {
  Dim b("batch"), h("head", heads), g("kv_head", kvHeads), t("token"), d("column", 128), e("value", 128);
  Tensor query = input("q", bf16, {b, h, d}), length = input("lengths", i32, {b});
  Paged keys = paged("k", bf16, {t, g, d}, {.page = 16, .table = "block_table", .length = length});
  Paged values = paged("v", bf16, {t, g, e}, {.page = 16, .table = "block_table", .length = length});
  Expr group = kvHeads == heads ? Expr(h) : h / (heads / kvHeads);

  Softmax p =
      softmax(t, where(t < length(b), sum(d, query(b, h, d) * keys(b, t, group, d)) * param("scale", f32)));
  Kernel k("grouped_decode");
  k.output("out", bf16, {b, h, e}) = sum(t, p(t) * values(b, t, group, e));
  return k;
}

TEST_P(Heads, Print) {
  const HeadCase &c = GetParam();
  std::string text = print(groupedDecode(c.heads, c.kvHeads));
  EXPECT_NE(text.find("sum(column, q(batch, head, column) * k(batch, token, " + c.index + ", column))"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("sum(token, p1(token) * v(batch, token, " + c.index + ", value))"), std::string::npos)
      << text;
}

INSTANTIATE_TEST_SUITE_P(Variants, Heads,
                         testing::Values(HeadCase{8, 8, "head"}, HeadCase{8, 2, "head / 4"},
                                         HeadCase{8, 1, "head / 8"}),
                         [](const auto &info) { return "KvHeads" + std::to_string(info.param.kvHeads); });

TEST(Variants, GroupedInputsParamsAndDims) {
  Kernel k = groupedDecode(8, 2);
  ASSERT_EQ(k.inputs().size(), 4u);
  EXPECT_EQ(k.inputs()[0]->name, "q");
  EXPECT_EQ(k.inputs()[1]->name, "k");
  EXPECT_EQ(k.inputs()[2]->name, "lengths");
  EXPECT_EQ(k.inputs()[3]->name, "v");
  ASSERT_EQ(k.params().size(), 1u);
  EXPECT_EQ(k.params()[0].name(), "scale");
  std::vector<std::string> names;
  for (const Dim &dim : k.dims())
    names.push_back(dim.name());
  EXPECT_EQ(names, (std::vector<std::string>{"batch", "head", "value", "column", "token", "kv_head"}));
}

TEST(Variants, SlidingWindowWithSinks) {
  Parts s;
  Scalar window = param("window", i32);
  Expr visible = s.t < 4 || s.t >= s.length(s.b) - window;
  Softmax p = softmax(s.t, where(s.t < s.length(s.b), where(visible, s.score())));
  Kernel k("window");
  k.output("lse", f32, {s.b, s.h, s.q}) = p.logSumExp();
  EXPECT_NE(print(k).find(
                "where((token < 4 || token >= lengths(batch) - window) && token < lengths(batch), scale * "),
            std::string::npos)
      << print(k);
}

TEST(Variants, SoftCap) {
  Parts s;
  const float cap = 30;
  Softmax p = softmax(s.t, where(s.t < s.length(s.b), cap * tanh(s.score() / cap)));
  Kernel k("cap");
  k.output("out", bf16, {s.b, s.q, s.h, s.v}) = sum(s.t, p(s.t) * s.cache(s.b, s.t, s.v));
  EXPECT_NE(print(k).find(
                "30.0 * tanh(scale * sum(key, q(batch, query, head, key) * kv(batch, token, key)) / 30.0)"),
            std::string::npos)
      << print(k);
}

TEST(Variants, LinearBias) {
  Parts s;
  Tensor slope = input("slope", f32, {s.h});
  Expr distance = toFloat(s.t - s.length(s.b) + 1);
  Kernel k("alibi");
  k.output("lse", f32, {s.b, s.q, s.h}) =
      softmax(s.t, where(s.t < s.length(s.b), s.score() + slope(s.h) * distance)).logSumExp();
  EXPECT_NE(print(k).find("slope(head) * toFloat(token - lengths(batch) + 1)"), std::string::npos)
      << print(k);
}

TEST(Variants, AttentionMassPerToken) {
  Parts s;
  Softmax p = softmax(s.t, where(s.t < s.length(s.b), s.score()));
  Kernel k("mass");
  k.output("out", bf16, {s.b, s.q, s.h, s.v}) = sum(s.t, p(s.t) * s.cache(s.b, s.t, s.v));
  k.output("mass", f32, {s.b, s.t}) = sum({s.q, s.h}, p(s.t));
  EXPECT_TRUE(print(k).ends_with("  mass f32[batch, token] = sum({head, query}, p1(token))\n")) << print(k);
}

TEST(Variants, TwoCachesMergedByLogSumExp) {
  Parts s;
  Dim u("tail");
  Tensor tailLength = input("tail_lengths", i32, {s.b});
  Paged tail = paged("tail_kv", bf16, {u, s.d}, {.page = 16, .table = "tail_table", .length = tailLength});
  Expr tailScore = sum(s.d, s.query(s.b, s.q, s.h, s.d) * tail(s.b, u, s.d)) * s.scale;
  Softmax p = softmax(s.t, where(s.t < s.length(s.b), s.score()));
  Softmax r = softmax(u, where(u < tailLength(s.b), tailScore));
  Expr share = sigmoid(p.logSumExp() - r.logSumExp());

  Kernel k("shared_prefix");
  k.output("out", bf16, {s.b, s.q, s.h, s.v}) =
      share * sum(s.t, p(s.t) * s.cache(s.b, s.t, s.v)) + (1 - share) * sum(u, r(u) * tail(s.b, u, s.v));
  std::string text = print(k);
  EXPECT_NE(text.find("  p1(token) = softmax(token, "), std::string::npos) << text;
  EXPECT_NE(text.find("  p2(tail) = softmax(tail, "), std::string::npos) << text;
  EXPECT_NE(text.find("sigmoid(logSumExp(p1) - logSumExp(p2))"), std::string::npos) << text;
  EXPECT_EQ(k.inputs().size(), 5u);
}

TEST(Variants, GatheredRows) { // Sparse attention: the tokens to attend to are read from an input.
  Parts s;
  Dim c("choice", 2048);
  Tensor chosen = input("chosen", i32, {s.b, s.q, c});
  Expr row = chosen(s.b, s.q, c);
  Expr score = sum(s.d, s.query(s.b, s.q, s.h, s.d) * s.cache(s.b, row, s.d)) * s.scale;
  Softmax p = softmax(c, where(row >= 0, score));
  Kernel k("sparse");
  k.output("out", bf16, {s.b, s.q, s.h, s.v}) = sum(c, p(c) * s.cache(s.b, row, s.v));
  EXPECT_NE(print(k).find("kv(batch, chosen(batch, query, choice), value)"), std::string::npos) << print(k);
}
