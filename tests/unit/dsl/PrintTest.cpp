// The text of descriptions: the golden text of MLA decode, precedence, and that what means the same prints
// the same.

#include "Expect.h"

#include "lathe/dsl/Node.h"
#include "lathe/dsl/models/Mla.h"

#include <algorithm>
#include <random>

using namespace lathe;
using namespace lathe::dsl;

TEST(Print, MlaDecode) {
  EXPECT_EQ(print(mlaDecode({.heads = 16, .queryTokens = 2})),
            R"(kernel mla_decode
  dims    batch, query = 2, head = 16, value = 512, key = 576, token
  inputs  q bf16[batch, query, head, key]
          kv bf16[token, key] paged {page = 64, table = block_table, length = lengths}
          lengths i32[batch]
  params  scale f32

  p1(token) = softmax(token, where(token < lengths(batch) - (1 - query), scale * sum(key, q(batch, query, head, key) * kv(batch, token, key))))
  out bf16[batch, query, head, value] = sum(token, p1(token) * kv(batch, token, value))
  lse f32[batch, head, query] = logSumExp(p1)
)");
}

TEST(Print, MlaDecodeShapesShow) {
  std::string text = print(mlaDecode({.heads = 40, .latent = 256, .rope = 32, .page = 128, .causal = false}));
  EXPECT_NE(text.find("dims    batch, query = 1, head = 40, value = 256, key = 288, token\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("paged {page = 128, table = block_table, length = lengths}"), std::string::npos)
      << text;
  EXPECT_NE(text.find("where(token < lengths(batch), scale * sum("), std::string::npos) << text;
  EXPECT_NE(print(mlaDecode({.heads = 16, .value = 256})).find("value = 256, key = 576"), std::string::npos);
}

TEST(Print, OnlyNeededParentheses) {
  Dim i("i", 4);
  Tensor x = input("x", f32, {i}), y = input("y", f32, {i});
  Expr a = x(i), b = y(i);
  EXPECT_EQ(print(a - b - a), "x(i) - y(i) - x(i)");
  EXPECT_EQ(print(a - (b - a)), "x(i) - (y(i) - x(i))");
  EXPECT_EQ(print((a + b) * a), "(x(i) + y(i)) * x(i)");
  EXPECT_EQ(print(a / (b * a)), "x(i) / (y(i) * x(i))");
  EXPECT_EQ(print(a / b * a), "x(i) / y(i) * x(i)");
  EXPECT_EQ(print(-(a + b)), "-(x(i) + y(i))");
  EXPECT_EQ(print(-a * b), "-x(i) * y(i)");
  EXPECT_EQ(print(-(-a)), "-(-x(i))");
  EXPECT_EQ(print(!(a < b) && (a == b || a >= b)), "!(x(i) < y(i)) && (x(i) == y(i) || x(i) >= y(i))");
  EXPECT_EQ(print(select(a > b, max(a, b), 2)), "select(x(i) > y(i), max(x(i), y(i)), 2.0)");
  EXPECT_EQ(print(0.5 * toFloat(i / 2 + 1)), "0.5 * toFloat(i / 2 + 1)");
  EXPECT_EQ(print(-1 - Expr(i) - -2), "-1 - i - -2");
  EXPECT_EQ(print(exp(log(tanh(sigmoid(silu(min(a, 1e-30))))))),
            "exp(log(tanh(sigmoid(silu(min(x(i), 1e-30))))))");
}

TEST(Print, SoftmaxesInPlaceInSingleExpressions) {
  Parts s;
  Softmax p = softmax(s.t, where(s.t < s.length(s.b), toFloat(s.t)));
  EXPECT_EQ(print(p(s.t)), "softmax(token, where(token < lengths(batch), toFloat(token)))");
  EXPECT_EQ(print(p.logSumExp()), "logSumExp(token, where(token < lengths(batch), toFloat(token)))");
}

TEST(Print, SoftmaxNamesAvoidOthers) {
  Dim i("i", 4), t("p1", 8);
  Tensor x = input("x", f32, {i, t});
  Kernel k("k");
  k.output("lse", f32, {i}) = softmax(t, x(i, t)).logSumExp();
  EXPECT_NE(print(k).find("p1_(p1) = softmax(p1, x(i, p1))"), std::string::npos) << print(k);
}

//===- Same meaning, same text ------------------------------------------------------------------------===//

/// MLA decode as somebody else would write it: other variables, other order, a softmax built twice.
static Kernel otherMlaDecode() {
  Scalar factor = param("scale", f32);
  Dim column("value", 512), row("key", 576), tok("token"), head("head", 16), n("query", 2), seq("batch");
  Tensor seqLens = input("lengths", i32, {seq});
  Paged c = paged("kv", bf16, {tok, row}, {.page = 64, .table = "block_table", .length = seqLens});
  Tensor in = input("q", bf16, {seq, n, head, row});
  auto p = [&] {
    return softmax(tok, where(tok < seqLens(seq) - (1 - n),
                              factor * sum(row, c(seq, tok, row) * in(seq, n, head, row))));
  };
  Kernel kernel("mla_decode");
  kernel.output("out", bf16, {seq, n, head, column}) = sum({tok}, c(seq, tok, column) * p()(tok));
  kernel.output("lse", f32, {seq, head, n}) = p().logSumExp();
  return kernel;
}

TEST(Canonical, OtherWordsSameText) {
  EXPECT_EQ(print(otherMlaDecode()), print(mlaDecode({.heads = 16, .queryTokens = 2})));
}

TEST(Canonical, EqualSoftmaxesBecomeOneTerm) {
  Kernel kernel = otherMlaDecode();
  auto *summed = kernel.outputs()[0].value.as<SumNode>();
  ASSERT_TRUE(summed);
  auto *product = summed->operands[0].as<BinaryNode>();
  ASSERT_TRUE(product);
  auto *prob = product->operands[0].as<SoftmaxProbNode>();
  auto *logSumExp = kernel.outputs()[1].value.as<LogSumExpNode>();
  ASSERT_TRUE(prob && logSumExp);
  EXPECT_EQ(prob->softmax, logSumExp->softmax);
}

static std::string printed(const Dim &i, const Expr &value) {
  Kernel k("k");
  k.output("out", f32, {i}) = value;
  return print(k);
}

/// Folds the terms in a random order and a random grouping.
static Expr shuffledFold(std::vector<Expr> terms, std::mt19937 &random,
                         Expr (*combine)(const Expr &, const Expr &)) {
  while (terms.size() > 1) {
    std::shuffle(terms.begin(), terms.end(), random);
    Expr merged = combine(terms[terms.size() - 1], terms[terms.size() - 2]);
    terms.pop_back();
    terms.back() = merged;
  }
  return terms.front();
}

TEST(Canonical, OrderAndGroupingOfOperandsDoNotShow) {
  uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  Dim i("i", 4);
  Tensor x = input("x", f32, {i}), y = input("y", f32, {i});
  Scalar s = param("s", f32);
  std::vector<Expr> terms = {x(i), y(i), s, 2.0, exp(x(i)), x(i) - y(i)};
  for (auto combine : {+[](const Expr &a, const Expr &b) { return a + b; },
                       +[](const Expr &a, const Expr &b) { return a * b; },
                       +[](const Expr &a, const Expr &b) { return max(a, b); }}) {
    std::string expected = printed(i, shuffledFold(terms, random, combine));
    for (int round = 0; round < 20; ++round)
      EXPECT_EQ(printed(i, shuffledFold(terms, random, combine)), expected);
  }
}

TEST(Canonical, ReadingOrder) {
  Dim i("i", 4);
  Tensor x = input("x", f32, {i}), y = input("y", f32, {i});
  Scalar s = param("s", f32);
  auto endsWith = [&](const Expr &value, const std::string &end) {
    std::string text = printed(i, value);
    EXPECT_TRUE(text.ends_with(" = " + end + "\n")) << text;
  };
  endsWith(exp(x(i)) * y(i) * x(i) * s * 2, "2.0 * s * x(i) * y(i) * exp(x(i))");
  endsWith(1 + (y(i) + x(i)), "x(i) + y(i) + 1.0");
  endsWith(select(y(i) == x(i) && (y(i) < x(i) || x(i) < y(i)), 1.0, 0.0),
           "select((x(i) < y(i) || y(i) < x(i)) && x(i) == y(i), 1.0, 0.0)");
}

TEST(Canonical, OrderOfSummedDimensionsDoesNotShow) {
  Dim i("i", 4), j("j", 3), k("k", 2);
  Tensor x = input("x", f32, {i, j, k});
  EXPECT_EQ(printed(i, sum({j, k}, x(i, j, k))), printed(i, sum({k, j}, x(i, j, k))));
}

TEST(Canonical, DifferentMeaningsPrintDifferently) {
  Dim i("i", 4);
  Tensor x = input("x", f32, {i}), y = input("y", f32, {i});
  EXPECT_NE(printed(i, x(i) - y(i)), printed(i, y(i) - x(i)));
  EXPECT_NE(printed(i, x(i) / y(i)), printed(i, y(i) / x(i)));
  EXPECT_NE(printed(i, x(i) * y(i)), printed(i, x(i) + y(i)));
  std::string base = print(mlaDecode({.heads = 16}));
  EXPECT_NE(base, print(mlaDecode({.heads = 32})));
  EXPECT_NE(base, print(mlaDecode({.heads = 16, .page = 32})));
  EXPECT_NE(base, print(mlaDecode({.heads = 16, .queryTokens = 2})));
  EXPECT_NE(base, print(mlaDecode({.heads = 16, .causal = false})));
  EXPECT_NE(base, print(mlaDecode({.heads = 16, .value = 256})));
}
