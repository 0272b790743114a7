// Routing and what is indexed by it: element types, text, equal meanings, and one ill-formed description a
// rule.

#include "Expect.h"

#include "lathe/dsl/Node.h"
#include "lathe/dsl/Routing.h"

#include <cmath>
#include <limits>

using namespace lathe;
using namespace lathe::dsl;

namespace {
/// The pieces of a small layer.
struct Layer {
  Dim n{"row"}, c{"hidden", 16}, f{"inner", 32}, e{"expert", 8}, k{"choice", 2}, half{"half", 2};
  Tensor x = input("x", bf16, {n, c}), logits = input("logits", f32, {n, e});
  Tensor w1 = input("w1", bf16, {e, half, f, c}), w2 = input("w2", bf16, {e, c, f});
  Tensor ids = input("ids", i32, {n, k}), weights = input("weights", f32, {n, k});

  Expr score() const { return sigmoid(logits(n, e)); }
  Routing chosen(const RoutingOptions &options = {}) const { return topK(k, e, score(), options); }

  Kernel ffn(const Routing &r) const {
    auto proj = [&](int part) { return sum(c, x(n, c) * w1(r.expert(n, k), part, f, c)); };
    Kernel kernel("ffn");
    kernel.output("y", bf16, {n, c}) =
        sum(k, r.weight(n, k) * sum(f, silu(proj(0)) * proj(1) * w2(r.expert(n, k), c, f)));
    return kernel;
  }

  Kernel routing(const Routing &r) const {
    Kernel kernel("routing");
    kernel.output("e", i32, {n, k}) = r.expert(n, k);
    kernel.output("w", f32, {n, k}) = r.weight(n, k);
    return kernel;
  }
};
} // namespace

//===- Nodes ------------------------------------------------------------------------------------------===//

TEST(Routing, ElementTypesAndFreeDims) {
  Layer l;
  for (const Routing &r : {l.chosen(), topK(l.k, softmax(l.e, l.logits(l.n, l.e))),
                           givenRouting(l.k, l.e, l.ids(l.n, l.k), l.weights(l.n, l.k))}) {
    EXPECT_EQ(r.expert(l.n, l.k).dtype(), Dtype::I32);
    EXPECT_EQ(r.weight(l.n, l.k).dtype(), Dtype::F32);
    for (const Expr &read : {r.expert(l.n, l.k), r.weight(l.n, l.k)}) {
      ASSERT_EQ(read.freeDims().size(), 2u);
      EXPECT_TRUE(read.freeDims()[0].is(l.n));
      EXPECT_TRUE(read.freeDims()[1].is(l.k));
    }
    EXPECT_EQ(r.expert(l.n, l.k).as<RoutedExpertNode>()->routing,
              r.weight(l.n, l.k).as<RoutedWeightNode>()->routing);
  }
}

TEST(Routing, TheChoiceComesLast) {
  Layer l;
  Dim b("batch", 3);
  Tensor ids = input("ids", i32, {l.k, b});
  Routing r = givenRouting(l.k, l.e, ids(l.k, b), 1.0);
  EXPECT_TRUE(r.expert(b, l.k).freeDims()[0].is(b));
}

TEST(Routing, OneTermAKernel) {
  Layer l;
  Kernel kernel("k");
  kernel.output("e", i32, {l.n, l.k}) = l.chosen().expert(l.n, l.k);
  kernel.output("w", f32, {l.n, l.k}) = l.chosen().weight(l.n, l.k);
  EXPECT_EQ(kernel.outputs()[0].value.as<RoutedExpertNode>()->routing,
            kernel.outputs()[1].value.as<RoutedWeightNode>()->routing);
}

TEST(Routing, InputsParamsAndDims) {
  Layer l;
  Scalar first = param("first", i32);
  Kernel kernel = l.routing(givenRouting(l.k, l.e, l.ids(l.n, l.k), 1.0, {.firstExpert = first}));
  ASSERT_EQ(kernel.inputs().size(), 1u);
  ASSERT_EQ(kernel.params().size(), 1u);
  ASSERT_EQ(kernel.dims().size(), 3u); // The experts' extent decides who takes part.
  EXPECT_TRUE(kernel.dims()[2].is(l.e));
}

//===- Text -------------------------------------------------------------------------------------------===//

TEST(RoutingPrint, Ffn) {
  Layer l;
  EXPECT_EQ(print(l.ffn(topK(l.k, softmax(l.e, l.logits(l.n, l.e)), {.renormalize = true}))),
            R"(kernel ffn
  dims    row, hidden = 16, expert = 8, choice = 2, inner = 32, half = 2
  inputs  logits f32[row, expert]
          w2 bf16[expert, hidden, inner]
          w1 bf16[expert, half, inner, hidden]
          x bf16[row, hidden]

  p1(expert) = softmax(expert, logits(row, expert))
  r1(row, choice) = topK(choice, expert, p1(expert), renormalize)
  y bf16[row, hidden] = sum(choice, r1.weight(row, choice) * sum(inner, w2(r1.expert(row, choice), hidden, inner) * silu(sum(hidden, w1(r1.expert(row, choice), 0, inner, hidden) * x(row, hidden))) * sum(hidden, w1(r1.expert(row, choice), 1, inner, hidden) * x(row, hidden))))
)");
}

TEST(RoutingPrint, Options) {
  Layer l;
  Tensor bias = input("bias", f32, {l.e});
  EXPECT_EQ(print(l.chosen().weight(l.n, l.k)),
            "topK(choice, expert, sigmoid(logits(row, expert))).weight(row, choice)");
  EXPECT_EQ(
      print(l.chosen({.renormalize = true,
                      .scale = 2.5,
                      .bias = bias,
                      .groups = 4,
                      .topGroups = 2,
                      .groupScore = GroupScore::SumOfTwoBest})
                .expert(l.n, l.k)),
      "topK(choice, expert, sigmoid(logits(row, expert)), bias = bias(expert), groups = 4, topGroups = 2, "
      "groupScore = sumOfTwoBest, renormalize, scale = 2.5).expert(row, choice)");
  EXPECT_EQ(
      print(givenRouting(l.k, l.e, l.ids(l.n, l.k), l.weights(l.n, l.k), {.firstExpert = param("first", i32)})
                .expert(l.n, l.k)),
      "givenRouting(choice, expert, ids(row, choice), weights(row, choice), firstExpert = first).expert(row, "
      "choice)");
  EXPECT_EQ(print(gelu(l.x(l.n, l.c))), "gelu(x(row, hidden))");
}

TEST(RoutingPrint, TheLocalPartOfAChoice) {
  Layer l;
  Dim held("held", 4);
  Routing all = l.chosen();
  Scalar first = param("first", i32);
  std::string text = print(
      l.routing(givenRouting(l.k, held, all.expert(l.n, l.k), all.weight(l.n, l.k), {.firstExpert = first})));
  EXPECT_NE(
      text.find(
          "  r2(row, choice) = givenRouting(choice, held, r1.expert(row, choice), r1.weight(row, choice), "
          "firstExpert = first)\n  e i32[row, choice] = r2.expert(row, choice)\n"),
      std::string::npos)
      << text;
}

TEST(RoutingPrint, ByNameInMessages) {
  Layer l;
  Kernel kernel = l.routing(topK(l.k, softmax(l.e, l.logits(l.n, l.e))));
  EXPECT_EQ(print(kernel, kernel.outputs()[1].value), "r1.weight(row, choice)");
  EXPECT_EQ(print(kernel.outputs()[1].value),
            "topK(choice, expert, softmax(expert, logits(row, expert))).weight(row, choice)");
}

TEST(RoutingPrint, NamesAvoidOthers) {
  Layer l;
  Dim k("r1", 2);
  Kernel kernel("k");
  kernel.output("e", i32, {l.n, k}) = topK(k, l.e, l.score()).expert(l.n, k);
  EXPECT_NE(print(kernel).find("r1_(row, r1) = topK(r1, expert, "), std::string::npos) << print(kernel);
}

//===- Same meaning, same text ------------------------------------------------------------------------===//

/// The layer as somebody else would write it: other variables, other order, a routing built at each use.
TEST(RoutingCanonical, OtherWordsSameText) {
  Layer l;
  Dim row("row"), col("hidden", 16), in("inner", 32), ex("expert", 8), ch("choice", 2), gateUp("half", 2);
  Tensor rows = input("x", bf16, {row, col}), scores = input("logits", f32, {row, ex});
  Tensor down = input("w2", bf16, {ex, col, in}), up = input("w1", bf16, {ex, gateUp, in, col});
  auto r = [&] {
    return topK(ch, ex, softmax(ex, scores(row, ex))(ex), {.scale = 2, .groups = 2, .topGroups = 2});
  };
  Kernel kernel("ffn");
  Expr a = sum(col, up(r().expert(row, ch), 0, in, col) * rows(row, col));
  Expr b = sum(col, rows(row, col) * up(r().expert(row, ch), 1, in, col));
  kernel.output("y", bf16, {row, col}) =
      sum(ch, sum(in, down(r().expert(row, ch), col, in) * (b * silu(a))) * r().weight(row, ch));
  EXPECT_EQ(print(kernel), print(l.ffn(topK(l.k, softmax(l.e, l.logits(l.n, l.e)), {.scale = 2}))));
}

TEST(RoutingCanonical, OrderInScoresDoesNotShow) {
  Layer l;
  Tensor gate = input("gate", bf16, {l.e, l.c});
  Expr one = sum(l.c, l.x(l.n, l.c) * gate(l.e, l.c)), other = sum(l.c, gate(l.e, l.c) * l.x(l.n, l.c));
  EXPECT_EQ(print(l.routing(topK(l.k, l.e, sigmoid(one)))), print(l.routing(topK(l.k, l.e, sigmoid(other)))));
  Routing a = givenRouting(l.k, l.e, l.ids(l.n, l.k) + 1 + l.k, l.weights(l.n, l.k));
  Routing b = givenRouting(l.k, l.e, l.k + l.ids(l.n, l.k) + 1, l.weights(l.n, l.k));
  EXPECT_EQ(print(l.routing(a)), print(l.routing(b)));
}

TEST(RoutingCanonical, ASumOfASumIsOneSum) {
  Layer l;
  Dim s("shared", 2);
  Tensor w = input("w", bf16, {s, l.f});
  auto text = [&](const Expr &value) {
    Kernel kernel("k");
    kernel.output("y", f32, {}) = value;
    return print(kernel);
  };
  std::string once = text(sum({s, l.f}, w(s, l.f)));
  EXPECT_EQ(once, text(sum(s, sum(l.f, w(s, l.f)))));
  EXPECT_EQ(once, text(sum(l.f, sum(s, w(s, l.f)))));
}

TEST(RoutingCanonical, DifferentMeaningsPrintDifferently) {
  Layer l;
  Tensor bias = input("bias", f32, {l.e});
  std::string base = print(l.routing(l.chosen()));
  std::string grouped = print(l.routing(l.chosen({.groups = 4, .topGroups = 2})));
  for (const RoutingOptions &options :
       {RoutingOptions{.renormalize = true}, RoutingOptions{.scale = 3}, RoutingOptions{.bias = bias},
        RoutingOptions{.groups = 4, .topGroups = 2}, RoutingOptions{.groups = 2, .topGroups = 1}})
    EXPECT_NE(base, print(l.routing(l.chosen(options))));
  EXPECT_NE(grouped, print(l.routing(l.chosen({.groups = 4, .topGroups = 3}))));
  EXPECT_NE(grouped, print(l.routing(
                         l.chosen({.groups = 4, .topGroups = 2, .groupScore = GroupScore::SumOfTwoBest}))));
  Dim fewer("expert", 4);
  EXPECT_NE(print(l.routing(givenRouting(l.k, l.e, l.ids(l.n, l.k), 1.0))),
            print(l.routing(givenRouting(l.k, fewer, l.ids(l.n, l.k), 1.0))));
}

//===- Experts as indices -----------------------------------------------------------------------------===//

TEST(RoutingIndex, StaysWithinTheExperts) {
  Layer l;
  Dim fewer("few", 6);
  Tensor w = input("w", bf16, {fewer, l.c}), rows = input("rows", bf16, {l.n, l.c});
  Routing r = l.chosen();
  EXPECT_NO_THROW(l.w2(r.expert(l.n, l.k), l.c, l.f));
  EXPECT_NO_THROW(w(min(r.expert(l.n, l.k), 5), l.c));
  EXPECT_NO_THROW(w(r.expert(l.n, l.k) / 2, l.c));
  EXPECT_EQ(messageOf([&] { w(r.expert(l.n, l.k), l.c); }),
            "index 1 of w(topK(choice, expert, sigmoid(logits(row, expert))).expert(row, choice), hidden) "
            "must stay "
            "within dimension 'few' (6), got topK(choice, expert, sigmoid(logits(row, expert))).expert(row, "
            "choice) "
            "in 0 to 7");
  EXPECT_EQ(
      messageOf([&] { rows(r.expert(l.n, l.k), l.c); }),
      "index 1 of rows(topK(choice, expert, sigmoid(logits(row, expert))).expert(row, choice), hidden) goes "
      "into the dynamic dimension 'row', which takes that dimension itself or an index read from an input, "
      "got "
      "topK(choice, expert, sigmoid(logits(row, expert))).expert(row, choice)");
  EXPECT_NO_THROW(w(r.expert(l.n, l.k) + l.ids(l.n, l.k), l.c)); // What data says is the caller's promise.
}

//===- Errors -----------------------------------------------------------------------------------------===//

static std::string errorOf(const Layer &l, const RoutingOptions &options) {
  return messageOf([&] { l.chosen(options); });
}

TEST(RoutingError, Extents) {
  Layer l;
  Dim many("choice", 9), any("any");
  Tensor open = input("open", f32, {l.n, any});
  EXPECT_EQ(messageOf([&] { topK(many, l.e, l.score()); }),
            "topK over 'expert' (8) chooses at most the 8 experts of 'expert', got 9");
  EXPECT_EQ(messageOf([&] { topK(any, l.e, l.score()); }),
            "topK over 'expert' (8) needs a known extent of 'any', got a dynamic one; give the dimension its "
            "extent");
  EXPECT_EQ(
      messageOf([&] { topK(l.k, softmax(any, open(l.n, any))); }),
      "topK over 'any' needs a known extent of 'any', got a dynamic one; give the dimension its extent");
  EXPECT_EQ(messageOf([&] { topK(l.e, l.e, l.score()); }),
            "topK over 'expert' (8) needs a dimension of its own for the choices, got 'expert' (8)");
}

TEST(RoutingError, Score) {
  Layer l;
  Tensor wide = input("wide", f64, {l.e}), both = input("both", f32, {l.e, l.k});
  EXPECT_EQ(messageOf([&] { topK(l.k, l.e, Expr(l.e)); }),
            "topK over 'expert' (8) needs a score of bf16, f16 or f32, got expert of type i32");
  EXPECT_EQ(messageOf([&] { topK(l.k, l.e, wide(l.e)); }),
            "topK over 'expert' (8) needs a score of bf16, f16 or f32, got wide(expert) of type f64");
  EXPECT_EQ(messageOf([&] { topK(l.k, l.e, l.x(l.n, l.c)); }),
            "topK over 'expert' (8) needs a score that depends on 'expert', got x(row, hidden)");
  EXPECT_EQ(
      messageOf([&] { topK(l.k, l.e, both(l.e, l.k)); }),
      "topK over 'expert' (8) needs a score that does not depend on 'choice', got both(expert, choice)");
}

TEST(RoutingError, Bias) {
  Layer l;
  EXPECT_EQ(errorOf(l, {.bias = input("b", bf16, {l.e})}),
            "topK over 'expert' (8) needs a bias of type f32 over 'expert' alone, got bf16 'b' with 1 "
            "dimension(s)");
  EXPECT_EQ(errorOf(l, {.bias = l.logits}),
            "topK over 'expert' (8) needs a bias of type f32 over 'expert' alone, got f32 'logits' with 2 "
            "dimension(s)");
  EXPECT_EQ(
      errorOf(l, {.bias = input("b", f32, {Dim("expert", 8)})}),
      "topK over 'expert' (8) needs a bias of type f32 over 'expert' alone, got f32 'b' with 1 dimension(s)");
}

TEST(RoutingError, Groups) {
  Layer l;
  EXPECT_EQ(errorOf(l, {.groups = 3}),
            "topK over 'expert' (8) needs groups that divide the 8 experts of 'expert', got 3");
  EXPECT_EQ(errorOf(l, {.groups = 0}),
            "topK over 'expert' (8) needs groups that divide the 8 experts of 'expert', got 0");
  EXPECT_EQ(errorOf(l, {.groups = 4, .topGroups = 5}),
            "topK over 'expert' (8) chooses from 1 to 4 groups, got 5");
  EXPECT_EQ(errorOf(l, {.groups = 4, .topGroups = 0}),
            "topK over 'expert' (8) chooses from 1 to 4 groups, got 0");
  EXPECT_EQ(errorOf(l, {.groups = 8, .topGroups = 1}), "topK over 'expert' (8) chooses 2 experts, the chosen "
                                                       "groups must hold as many, got 1 groups of 1; choose "
                                                       "from more groups");
  EXPECT_EQ(errorOf(l, {.groups = 8, .topGroups = 4, .groupScore = GroupScore::SumOfTwoBest}),
            "topK over 'expert' (8) scores a group by its two best experts, which needs groups of at least "
            "2, got 8 "
            "of 1");
}

TEST(RoutingError, Scale) {
  Layer l;
  EXPECT_EQ(errorOf(l, {.scale = 0}), "topK over 'expert' (8) needs a finite and positive scale, got 0");
  EXPECT_EQ(errorOf(l, {.scale = -1}), "topK over 'expert' (8) needs a finite and positive scale, got -1");
  EXPECT_EQ(errorOf(l, {.scale = std::numeric_limits<double>::infinity()}),
            "topK over 'expert' (8) needs a finite and positive scale, got inf");
  EXPECT_EQ(errorOf(l, {.scale = std::nan("")}),
            "topK over 'expert' (8) needs a finite and positive scale, got nan");
}

TEST(RoutingError, Given) {
  Layer l;
  Expr ids = l.ids(l.n, l.k), weights = l.weights(l.n, l.k);
  Dim other("other", 3);
  Tensor chosen = input("chosen", i32, {l.e, l.k}), far = input("far", i64, {l.n, l.k});
  Tensor apart = input("apart", f32, {other});
  auto error = [&](const Expr &i, const Expr &w, const GivenOptions &options = {}) {
    return messageOf([&] { givenRouting(l.k, l.e, i, w, options); });
  };
  EXPECT_EQ(error(far(l.n, l.k), weights),
            "given routing over 'expert' (8) needs ids of i32, got far(row, choice) of type i64");
  EXPECT_EQ(
      error(ids, ids),
      "given routing over 'expert' (8) needs weights of bf16, f16 or f32, got ids(row, choice) of type i32");
  EXPECT_EQ(error(l.n, weights),
            "given routing over 'expert' (8) needs ids that depend on 'choice', got row");
  EXPECT_EQ(
      error(chosen(l.e, l.k), 1.0),
      "given routing over 'expert' (8) needs ids that do not depend on 'expert', got chosen(expert, choice)");
  EXPECT_EQ(error(ids, apart(other)),
            "given routing over 'expert' (8) needs weights over dimensions of its ids ids(row, choice), got "
            "apart(other)");
  EXPECT_EQ(error(ids, weights, {.firstExpert = param("first", f32)}),
            "given routing over 'expert' (8) needs a first expert of i32, got 'first' of type f32");
  EXPECT_EQ(
      messageOf([&] { givenRouting(l.k, Dim("open"), ids, weights); }),
      "given routing over 'open' needs a known extent of 'open', got a dynamic one; give the dimension its "
      "extent");
}

TEST(RoutingError, ReadAtItsOwnDimensions) {
  Layer l;
  Routing r = l.chosen();
  EXPECT_EQ(messageOf([&] { r.expert(l.k, l.n); }),
            "routing over 'expert' (8) is read at its own dimensions (row, choice), got (choice, row)");
  EXPECT_EQ(messageOf([&] { r.weight(l.n); }),
            "routing over 'expert' (8) is read at its own dimensions (row, choice), got (row)");
}

TEST(RoutingError, NamesOfTheExpertsAreTaken) {
  Layer l;
  Dim held("ids", 4);
  EXPECT_EQ(
      messageOf([&] { l.routing(givenRouting(l.k, held, l.ids(l.n, l.k), 1.0)); }),
      "kernel 'routing': name 'ids' must mean one thing, got input and dimension; declare it once, or rename "
      "one");
}

TEST(GeluError, NeedsAFloat) {
  Layer l;
  EXPECT_EQ(messageOf([&] { gelu(l.n); }),
            "gelu() needs a float, got row of type i32; convert it with toFloat()");
}
