//===- MoeOptionsTest.cpp - Layers and configurations on the command line -----------------------------===//
//
// Which layer the options name, what is refused and how, and which fields --config leaves to the default.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/tools/lathe/MoeOptions.h"

#include "lathe/tests/unit/support/Helpers.h"

using namespace lathe;
using namespace lathe::tools;

static MoeShapeOptions extents() {
  MoeShapeOptions options;
  options.hidden = 2048;
  options.intermediate = 1408;
  options.experts = 64;
  options.topK = 6;
  return options;
}

TEST(MoeShapeOptions, ModelsAndExtents) {
  MoeShapeOptions model;
  model.model = "deepseek-v2-lite";
  EXPECT_EQ(model.shape(), dsl::moeShape(dsl::namedModel("deepseek-v2-lite"), 1, 1));
  model.expertParallel = 8;
  model.router = "given";
  EXPECT_EQ(model.shape().heldExperts(), 8);
  EXPECT_EQ(model.shape().router, dsl::Router::Given);
  EXPECT_EQ(model.label(), "deepseek-v2-lite tp 1 ep 8");
  MoeShapeOptions options = extents();
  options.activation = "gelu";
  options.logits = "bf16";
  const dsl::MoeShape shape = options.shape();
  EXPECT_EQ(shape.intermediate, 1408);
  EXPECT_EQ(shape.activation, dsl::Activation::Gelu);
  EXPECT_EQ(shape.logits, Dtype::BF16);
  EXPECT_EQ(toJson(shape).at("activation"), "gelu");
  EXPECT_EQ(toJson(shape).at("gate"), nullptr);
  options.logits = "f32";
  options.gate = "f32";
  EXPECT_EQ(options.shape().router, dsl::Router::Gate);
  EXPECT_EQ(options.shape().gate, Dtype::F32);
  EXPECT_EQ(toJson(options.shape()).at("gate"), "f32");
}

TEST(MoeShapeOptions, RefusesWhatNamesNoLayer) {
  auto refused = [](auto change) {
    MoeShapeOptions options = extents();
    change(options);
    return test::userErrorOf([&] { options.shape(); });
  };
  EXPECT_TRUE(test::contains(refused([](auto &o) { o = {}; }), "--model"));
  EXPECT_TRUE(test::contains(refused([](auto &o) { o.model = "deepseek-v3"; }), "exclude"));
  EXPECT_TRUE(test::contains(refused([](auto &o) { o.topK = 0; }), "--top-k"));
  EXPECT_TRUE(test::contains(refused([](auto &o) { o.hidden = -1; }), "--hidden"));
  EXPECT_TRUE(test::contains(refused([](auto &o) { o.expertParallel = 2; }), "--ep"));
  EXPECT_TRUE(
      test::contains(refused([](auto &o) { o.gate = "bf16", o.router = "given"; }), "--router given"));
  EXPECT_TRUE(test::contains(refused([](auto &o) { o.gate = "bf16", o.logits = "bf16"; }), "--logits bf16"));
}

TEST(MoeConfigOption, KeepsTheDefaultWhereNothingIsSaid) {
  const codegen::MoeProblem problem = codegen::analyzeMoe(dsl::moeFfn(extents().shape()));
  EXPECT_FALSE(MoeConfigOption{}.config(problem, {}, 64));
  const codegen::MoeConfig base = codegen::defaultMoeConfig(problem, {}, 64);
  EXPECT_EQ(*MoeConfigOption{"default"}.config(problem, {}, 64), base);
  codegen::MoeConfig expected = base;
  expected.evictFirst = !base.evictFirst;
  const std::string text = expected.evictFirst ? "evictFirst=true" : "evictFirst=false";
  EXPECT_EQ(*MoeConfigOption{text}.config(problem, {}, 64), expected);
  EXPECT_EQ(MoeConfigOption{R"({"stages": 2})"}.config(problem, {}, 64)->stages, 2);
}

TEST(MoeConfigOption, LeavesOutWhatIsRuledOutByWhatIsGiven) {
  const codegen::MoeProblem problem = codegen::analyzeMoe(dsl::moeFfn(extents().shape()));
  for (const char *text : {"dependentLaunch=off", "permute=true,consumers=2,ctasPerSm=1", "oneLaunch=true",
                           "atomic=true", "prefetchDown=true", "tokenTile=32,cluster=2,permute=true"}) {
    const auto config = MoeConfigOption{text}.config(problem, {}, 64);
    EXPECT_TRUE(codegen::check(problem, *config, {})) << text << ": " << config->str();
  }
  const auto asked = MoeConfigOption{"dependentLaunch=off,prefetchDown=true"}.config(problem, {}, 64);
  EXPECT_TRUE(asked->prefetchDown) << "what was asked for stays, and check() tells";
}

TEST(MoeConfigOption, TakesFewerStagesWhereTheDefaultsDoNotFit) {
  const codegen::MoeProblem problem = codegen::analyzeMoe(dsl::moeFfn(extents().shape()));
  const auto wide = MoeConfigOption{"tokenTile=256,consumers=2,ctasPerSm=1"}.config(problem, {}, 1);
  EXPECT_TRUE(codegen::check(problem, *wide, {})) << codegen::check(problem, *wide, {}).reason;
  const auto asked = MoeConfigOption{"tokenTile=256,stages=12"}.config(problem, {}, 1);
  EXPECT_EQ(asked->stages, 12) << "what was asked for stays, and check() tells";
}

TEST(MoeConfigOption, RefusesWhatIsNoField) {
  const codegen::MoeProblem problem = codegen::analyzeMoe(dsl::moeFfn(extents().shape()));
  for (const char *text : {"kvTile=32", "tokenTile", "tokenTile=wide", "{broken"}) {
    const std::string error = test::userErrorOf([&] { MoeConfigOption{text}.config(problem, {}, 64); });
    EXPECT_TRUE(test::contains(error, "tokenTile")) << error;
  }
}
