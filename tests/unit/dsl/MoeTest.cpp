// Mixture-of-experts layers of the known models: their shapes, their text, and what does not divide.

#include "Expect.h"

#include "lathe/dsl/models/Moe.h"

using namespace lathe;
using namespace lathe::dsl;

static bool has(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

static const char *const experts =
    "sum(choice, r1.weight(row, choice) * sum(inner, w2(r1.expert(row, choice), hidden, inner) * "
    "silu(sum(hidden, w1(r1.expert(row, choice), 0, inner, hidden) * x(row, hidden))) * "
    "sum(hidden, w1(r1.expert(row, choice), 1, inner, hidden) * x(row, hidden))))";

static const char *const sharedExperts =
    "sum({inner, shared}, shared2(hidden, shared, inner) * "
    "silu(sum(hidden, shared1(0, shared, inner, hidden) * x(row, hidden))) * "
    "sum(hidden, shared1(1, shared, inner, hidden) * x(row, hidden)))";

TEST(Moe, Print) {
  MoeShape shape{.hidden = 2048, .intermediate = 1408, .experts = 64, .topK = 6, .shared = 2};
  EXPECT_EQ(print(moeFfn(shape)), R"(kernel moe_ffn
  dims    row, hidden = 2048, expert = 64, choice = 6, inner = 1408, half = 2, shared = 2
  inputs  logits f32[row, expert]
          w2 bf16[expert, hidden, inner]
          w1 bf16[expert, half, inner, hidden]
          x bf16[row, hidden]
          shared2 bf16[hidden, shared, inner]
          shared1 bf16[half, shared, inner, hidden]

  p1(expert) = softmax(expert, logits(row, expert))
  r1(row, choice) = topK(choice, expert, p1(expert))
  y bf16[row, hidden] = )" + std::string(experts) +
                                      " + " + sharedExperts + "\n");
}

TEST(Moe, PrintRouting) {
  MoeShape shape{.hidden = 7168, .intermediate = 2048, .experts = 256, .topK = 8, .router = Router::Gate};
  shape.scoring = Scoring::Sigmoid;
  shape.bias = shape.renormalize = true;
  shape.groups = 8;
  shape.topGroups = 4;
  shape.groupScore = GroupScore::SumOfTwoBest;
  shape.scale = 2.5;
  EXPECT_EQ(print(moeRouting(shape)), R"(kernel moe_routing
  dims    row, choice = 8, expert = 256, hidden = 7168
  inputs  gate bf16[expert, hidden]
          x bf16[row, hidden]
          bias f32[expert]

  r1(row, choice) = topK(choice, expert, sigmoid(sum(hidden, gate(expert, hidden) * x(row, hidden))), bias = bias(expert), groups = 8, topGroups = 4, groupScore = sumOfTwoBest, renormalize, scale = 2.5)
  ids i32[row, choice] = r1.expert(row, choice)
  weights f32[row, choice] = r1.weight(row, choice)
)");
}

TEST(Moe, EveryPartOfAShapeShows) {
  const MoeShape base{.hidden = 64, .intermediate = 32, .experts = 16, .topK = 4};
  auto differs = [&](auto &&change) {
    MoeShape shape = base;
    change(shape);
    EXPECT_NE(shape, base);
    EXPECT_NE(print(moeFfn(shape)), print(moeFfn(base)));
  };
  differs([](MoeShape &m) { m.hidden = 128; });
  differs([](MoeShape &m) { m.intermediate = 64; });
  differs([](MoeShape &m) { m.experts = 8; });
  differs([](MoeShape &m) { m.localExperts = 8; });
  differs([](MoeShape &m) { m.localExperts = 16; }); // All of them, by a parameter.
  differs([](MoeShape &m) { m.topK = 2; });
  differs([](MoeShape &m) { m.shared = 1; });
  differs([](MoeShape &m) { m.activation = Activation::Silu; });
  differs([](MoeShape &m) { m.activation = Activation::Gelu; });
  differs([](MoeShape &m) { m.router = Router::Gate; });
  MoeShape wide = base, narrow = base;
  wide.router = narrow.router = Router::Gate;
  wide.gate = f32;
  EXPECT_NE(print(moeFfn(wide)), print(moeFfn(narrow)));
  differs([](MoeShape &m) { m.router = Router::Given; });
  differs([](MoeShape &m) { m.logits = bf16; });
  differs([](MoeShape &m) { m.scoring = Scoring::Sigmoid; });
  differs([](MoeShape &m) { m.bias = true; });
  differs([](MoeShape &m) { m.groups = 4, m.topGroups = 2; });
  differs([](MoeShape &m) { m.renormalize = true; });
  differs([](MoeShape &m) { m.scale = 2; });
}

TEST(Moe, LocalExpertsOfARouterAndOfAGivenRouting) {
  MoeShape shape{.hidden = 64, .intermediate = 32, .experts = 16, .localExperts = 4, .topK = 2};
  std::string text = print(moeFfn(shape));
  EXPECT_TRUE(has(text, "params  first_expert i32\n")) << text;
  EXPECT_TRUE(has(text, "r2(row, choice) = givenRouting(choice, held, r1.expert(row, choice), r1.weight(row, "
                        "choice), firstExpert = first_expert)\n"))
      << text;
  EXPECT_TRUE(has(text, "w1 bf16[held, half, inner, hidden]")) << text;
  shape.router = Router::Given;
  text = print(moeFfn(shape));
  EXPECT_TRUE(has(text,
                  "r1(row, choice) = givenRouting(choice, held, ids(row, choice), weights(row, choice), "
                  "firstExpert = first_expert)\n"))
      << text;
  EXPECT_FALSE(has(text, "logits")) << text;
  shape.localExperts = 0;
  EXPECT_TRUE(
      has(print(moeFfn(shape)), "givenRouting(choice, expert, ids(row, choice), weights(row, choice))\n"));
}

TEST(Moe, OneHalf) {
  MoeShape shape{.hidden = 64, .intermediate = 32, .experts = 16, .topK = 2, .shared = 1};
  shape.activation = Activation::Gelu;
  std::string text = print(moeFfn(shape));
  EXPECT_TRUE(has(text, "w1 bf16[expert, inner, hidden]")) << text;
  EXPECT_TRUE(has(text, "gelu(sum(hidden, w1(r1.expert(row, choice), inner, hidden) * x(row, hidden)))"))
      << text;
  EXPECT_TRUE(has(text, "gelu(sum(hidden, shared1(shared, inner, hidden) * x(row, hidden)))")) << text;
}

TEST(MoeError, ImpossibleShapes) {
  MoeShape shape{.hidden = 64, .intermediate = 32, .experts = 16, .topK = 2};
  auto error = [&](auto &&change) {
    MoeShape wrong = shape;
    change(wrong);
    return messageOf([&] { moeFfn(wrong); });
  };
  EXPECT_EQ(error([](MoeShape &m) { m.hidden = 0; }), "dimension 'hidden' needs a positive extent, got 0; "
                                                      "leave the extent out if it is known only at run time");
  EXPECT_EQ(error([](MoeShape &m) { m.topK = 17; }),
            "topK over 'expert' (16) chooses at most the 16 experts of 'expert', got 17");
  EXPECT_EQ(error([](MoeShape &m) { m.localExperts = 17; }),
            "moe ffn: local experts must be among the 16 of the layer, got 17; 0 means all");
  EXPECT_EQ(error([](MoeShape &m) { m.localExperts = -1; }),
            "moe ffn: local experts must be among the 16 of the layer, got -1; 0 means all");
  EXPECT_EQ(error([](MoeShape &m) { m.shared = -1; }),
            "moe ffn: shared experts must not be negative, got -1");
  EXPECT_EQ(
      error([](MoeShape &m) { m.logits = f64; }),
      "topK over 'expert' (16) needs a score of bf16, f16 or f32, got softmax(expert, logits(row, expert)) "
      "of type f64");
  shape.router = Router::Given;
  EXPECT_EQ(messageOf([&] { moeRouting(shape); }),
            "moe routing: needs a router of its own, got a routing that is given");
}

//===- Models -----------------------------------------------------------------------------------------===//

TEST(MoeShapeOf, KnownModels) {
  MoeShape lite{.hidden = 2048, .intermediate = 1408, .experts = 64, .topK = 6, .shared = 2};
  EXPECT_EQ(moeShape(namedModel("deepseek-v2-lite"), 1, 1), lite);

  MoeShape v2{.hidden = 5120, .intermediate = 1536, .experts = 160, .topK = 6, .shared = 2};
  v2.groups = 8;
  v2.topGroups = 3;
  v2.scale = 16;
  EXPECT_EQ(moeShape(namedModel("deepseek-v2"), 1, 1), v2);

  MoeShape v3{.hidden = 7168, .intermediate = 2048, .experts = 256, .topK = 8, .shared = 1};
  v3.scoring = Scoring::Sigmoid;
  v3.bias = v3.renormalize = true;
  v3.groups = 8;
  v3.topGroups = 4;
  v3.groupScore = GroupScore::SumOfTwoBest;
  v3.scale = 2.5;
  EXPECT_EQ(moeShape(namedModel("deepseek-v3"), 1, 1), v3);
  EXPECT_EQ(moeShape(namedModel("deepseek-r1"), 1, 1), v3);

  auto ungrouped = [&](int hidden, int intermediate, int routed, int topK, int shared, double scale) {
    MoeShape shape{
        .hidden = hidden, .intermediate = intermediate, .experts = routed, .topK = topK, .shared = shared};
    shape.scoring = Scoring::Sigmoid;
    shape.bias = shape.renormalize = true;
    shape.scale = scale;
    return shape;
  };
  EXPECT_EQ(moeShape(namedModel("kimi-k2"), 1, 1), ungrouped(7168, 2048, 384, 8, 1, 2.827));
  EXPECT_EQ(moeShape(namedModel("moonlight"), 1, 1), ungrouped(2048, 1408, 64, 6, 2, 2.446));
  EXPECT_EQ(moeShape(namedModel("glm-5"), 1, 1), ungrouped(6144, 2048, 256, 8, 1, 2.5));
  EXPECT_EQ(moeShape(namedModel("glm-4.7-flash"), 1, 1), ungrouped(2048, 1536, 64, 4, 1, 1.8));

  MoeShape mistral{.hidden = 7168, .intermediate = 4096, .experts = 128, .topK = 4, .shared = 1};
  mistral.renormalize = true;
  EXPECT_EQ(moeShape(namedModel("mistral-large-3"), 1, 1), mistral);
}

TEST(MoeShapeOf, EveryModelIsALayer) {
  for (const std::string &name : modelNames()) {
    ModelConfig config = namedModel(name);
    if (!config.routedExperts)
      continue;
    for (Router router : {Router::Logits, Router::Gate, Router::Given}) {
      MoeShape shape = moeShape(config, 2, 4);
      shape.router = router;
      SCOPED_TRACE(name);
      EXPECT_NO_THROW(print(moeFfn(shape)));
      if (router != Router::Given)
        EXPECT_NO_THROW(print(moeRouting(shape)));
    }
  }
}

TEST(MoeShapeOf, DividesColumnsAndExperts) {
  MoeShape whole = moeShape(namedModel("deepseek-v3"), 1, 1), tp = moeShape(namedModel("deepseek-v3"), 8, 1);
  EXPECT_EQ(tp.intermediate, 256);
  EXPECT_EQ(tp.heldExperts(), 256);
  EXPECT_EQ(tp.shared, 1);
  MoeShape ep = moeShape(namedModel("deepseek-v3"), 1, 8);
  EXPECT_EQ(ep.localExperts, 32);
  EXPECT_EQ(ep.heldExperts(), 32);
  EXPECT_EQ(ep.experts, whole.experts);
  EXPECT_EQ(ep.shared, 0);
}

TEST(MoeShapeOf, RefusesWhatDoesNotDivide) {
  EXPECT_EQ(messageOf([] { moeShape(namedModel("minicpm3"), 1, 1); }),
            "model minicpm3: needs routed experts, got a dense model; choose a mixture of experts");
  EXPECT_EQ(messageOf([] { moeShape(namedModel("moonlight"), 3, 1); }),
            "model moonlight: tensor-parallel size must divide its 1408 columns of an expert, got 3");
  EXPECT_EQ(messageOf([] { moeShape(namedModel("moonlight"), 1, 5); }),
            "model moonlight: expert-parallel size must divide its 64 experts, got 5");
  EXPECT_EQ(messageOf([] { moeShape(namedModel("moonlight"), 0, 1); }),
            "model moonlight: tensor-parallel size must be positive, got 0");
  EXPECT_EQ(messageOf([] { moeShape(namedModel("moonlight"), 1, -2); }),
            "model moonlight: expert-parallel size must be positive, got -2");
}
