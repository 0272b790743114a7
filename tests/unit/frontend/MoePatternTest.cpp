//===- MoePatternTest.cpp - What the pattern of experts takes and what it refuses ----------------------===//
//
// Descriptions of layers, imported and matched: every part of a shape is found again whatever its names and
// extents; each description that leaves the pattern at one place is refused by the expression it wrote there.
//
//===--------------------------------------------------------------------------------------------------===//
#include "KernelText.h"

#include "lathe/codegen/Frontend/AttentionPattern.h"
#include "lathe/codegen/Frontend/Import.h"
#include "lathe/codegen/Frontend/MoePattern.h"
#include "lathe/dsl/Print.h"
#include "lathe/dsl/Routing.h"
#include "lathe/dsl/models/Moe.h"
#include "lathe/support/Error.h"

#include <gtest/gtest.h>

#include <optional>
#include <random>

using namespace lathe;
using namespace lathe::dsl;
using codegen::MoeActivation;
using codegen::MoePattern;
using codegen::MoeRouter;
using codegen::MoeScoring;

namespace {
class Moe : public testing::Test {
protected:
  Moe() { context_.loadAllAvailableDialects(); }

  MoePattern match(const Kernel &kernel) {
    module_ = codegen::importKernel(kernel, context_);
    EXPECT_TRUE(codegen::hasRouting(test::kernelOf(*module_)));
    return codegen::matchMoe(test::kernelOf(*module_));
  }

  void refused(const Kernel &kernel, std::initializer_list<std::string> parts) {
    try {
      match(kernel);
      FAIL() << "was taken";
    } catch (const UserError &error) {
      EXPECT_FALSE(error.fault().wayOut.empty());
      for (const std::string &part : parts)
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
            << error.what() << "\nlacks: " << part;
    }
  }

  mlir::MLIRContext context_{test::dialects()};
  mlir::OwningOpRef<mlir::ModuleOp> module_;
};

/// A layer of other names, for descriptions that leave the pattern in one line.
struct Pieces {
  Dim n{"token"}, c{"width", 32}, f{"column", 16}, e{"specialist", 8}, k{"pick", 2}, g{"gate_up", 2};
  Tensor x = input("acts", bf16, {n, c}), logits = input("scores", f32, {n, e});
  Tensor w1 = input("up", bf16, {e, g, f, c}), w2 = input("down", bf16, {e, c, f});
  Tensor s1 = input("always_up", bf16, {g, f, c}), s2 = input("always_down", bf16, {c, f});
  Routing r = topK(k, softmax(e, logits(n, e)));
  Expr expert = r.expert(n, k), weight = r.weight(n, k);

  Expr half(int part) const { return sum(c, x(n, c) * w1(expert, part, f, c)); }
  Expr result(const Expr &activated) const { return sum(f, activated * w2(expert, c, f)); }
  Expr layer(const Expr &activated) const { return sum(k, weight * result(activated)); }
  Expr layer() const { return layer(silu(half(0)) * half(1)); }
  Expr always(const Expr &activated) const { return sum(f, activated * s2(c, f)); }
  Expr always() const {
    auto part = [&](int number) { return sum(c, x(n, c) * s1(number, f, c)); };
    return always(silu(part(0)) * part(1));
  }

  Kernel kernel(const Expr &value) const {
    Kernel k("experts");
    k.output("result", bf16, {n, c}) = value;
    return k;
  }
};
} // namespace

//===- What it takes ----------------------------------------------------------------------------------===//

/// What a description of the layer must be recognised as.
static codegen::MoeProblem problemOf(const MoeShape &m) {
  codegen::MoeProblem wanted{.name = "moe_ffn", .topK = m.topK, .ffn = true};
  bool given = m.router == Router::Given;
  wanted.router = given ? MoeRouter::Given : MoeRouter::Logits;
  if (!given) {
    wanted.scoring = m.scoring == Scoring::Softmax ? MoeScoring::Softmax : MoeScoring::Sigmoid;
    const bool gate = m.router == Router::Gate;
    wanted.logits = gate ? f32 : m.logits;
    wanted.gate = gate ? std::optional(m.gate) : std::nullopt;
    wanted.routedExperts = m.experts;
    wanted.bias = m.bias;
    wanted.groups = m.groups;
    wanted.topGroups = m.topGroups;
    wanted.sumOfTwoBest = m.groupScore == GroupScore::SumOfTwoBest;
    wanted.renormalize = m.renormalize;
    wanted.scale = m.scale;
  }
  wanted.experts = m.heldExperts();
  wanted.offset = m.localExperts > 0;
  wanted.partial = given || wanted.offset;
  wanted.hidden = m.hidden;
  wanted.intermediate = m.intermediate;
  wanted.halves = m.activation == Activation::SwiGlu ? 2 : 1;
  wanted.shared = m.shared;
  wanted.sharedColumns = m.shared ? m.intermediate : 0;
  wanted.activation = m.activation == Activation::SwiGlu ? MoeActivation::SwiGlu
                      : m.activation == Activation::Silu ? MoeActivation::Silu
                                                         : MoeActivation::Gelu;
  return wanted;
}

TEST_F(Moe, ShapesAreFoundAgain) {
  unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  auto below = [&](int limit) { return static_cast<int>(random() % limit); };
  for (int round = 0; round < 30; ++round) {
    MoeShape m{
        .hidden = 8 * (1 + below(64)), .intermediate = 8 * (1 + below(64)), .experts = 16 * (1 + below(8))};
    m.topK = 1 + below(4);
    m.localExperts = below(2) ? 1 + below(m.experts) : 0;
    m.shared = below(3);
    m.activation = Activation(below(3));
    m.router = Router(below(3));
    m.logits = below(2) ? f32 : bf16;
    m.gate = below(2) ? f32 : bf16;
    m.scoring = Scoring(below(2));
    m.bias = below(2);
    m.renormalize = below(2);
    m.scale = 0.5 * (1 + below(4));
    if (below(2)) {
      m.groups = 4;
      m.topGroups = 1 + below(3);
      m.groupScore = GroupScore(below(2));
    }
    SCOPED_TRACE(print(moeFfn(m)));
    MoePattern pattern = match(moeFfn(m));
    const codegen::MoeProblem wanted = problemOf(m);
    const bool given = m.router == Router::Given;
    EXPECT_TRUE(pattern.problem == wanted);
    EXPECT_EQ(pattern.bias, !given && m.bias ? "bias" : "");
    EXPECT_EQ(pattern.gate, m.router == Router::Gate ? "gate" : "");
    EXPECT_EQ(pattern.ids, given ? "ids" : "");
    EXPECT_EQ(pattern.firstExpert, wanted.offset ? "first_expert" : "");
    EXPECT_EQ(pattern.shared.w1, m.shared ? "shared1" : "");
  }
}

TEST_F(Moe, KnownModels) {
  for (const std::string &name : modelNames()) {
    ModelConfig config = namedModel(name);
    if (!config.routedExperts)
      continue;
    SCOPED_TRACE(name);
    MoeShape shape = moeShape(config, 1, 1);
    EXPECT_EQ(match(moeFfn(shape)).problem.shared, config.sharedExperts);
    MoePattern routing = match(moeRouting(shape));
    EXPECT_EQ(routing.problem.routedExperts, config.routedExperts);
    EXPECT_FALSE(routing.problem.ffn);
    EXPECT_TRUE(routing.problem.writesRouting);
    EXPECT_EQ(routing.idsOutput, "ids");
    EXPECT_EQ(routing.weightsOutput, "weights");
  }
}

TEST_F(Moe, NamesArgumentsDimensionsAndOperations) {
  Pieces p;
  MoePattern pattern = match(p.kernel(p.layer() + p.always()));
  EXPECT_EQ(pattern.problem.name, "experts");
  EXPECT_EQ(pattern.x, "acts");
  EXPECT_EQ(pattern.logits, "scores");
  EXPECT_EQ(pattern.routed.w1, "up");
  EXPECT_EQ(pattern.routed.w2, "down");
  EXPECT_EQ(pattern.shared.w1, "always_up");
  EXPECT_EQ(pattern.shared.w2, "always_down");
  EXPECT_EQ(pattern.output, "result");
  EXPECT_EQ(pattern.rowDim, "token");
  EXPECT_EQ(pattern.hiddenDim, "width");
  EXPECT_EQ(pattern.innerDim, "column");
  EXPECT_EQ(pattern.expertDim, "specialist");
  EXPECT_EQ(pattern.choiceDim, "pick");
  EXPECT_EQ(pattern.problem.shared, 1);
  EXPECT_TRUE(pattern.route && pattern.softmax && pattern.combine && pattern.shared.down);
  EXPECT_FALSE(pattern.given || pattern.gateProduct);
  ASSERT_EQ(pattern.routed.projections.size(), 2u);
  for (size_t i = 0; i < 2; ++i)
    EXPECT_EQ(pattern.routed.activation.getInputs()[i], pattern.routed.projections[i].getResult());
}

TEST_F(Moe, EitherHalfMayBeTheGate) {
  Pieces p;
  MoePattern usual = match(p.kernel(p.layer()));
  EXPECT_EQ(usual.problem.activation, MoeActivation::SwiGlu);
  EXPECT_EQ(usual.routed.halves.size(), 2u);
  MoePattern other = match(p.kernel(p.layer(p.half(0) * silu(p.half(1)))));
  EXPECT_EQ(other.problem.activation, MoeActivation::SwiGlu);
  EXPECT_NE(usual.routed.halves.front(), other.routed.halves.front());
}

TEST_F(Moe, ActivationsByStructure) {
  Pieces p;
  Expr a = p.half(0), b = p.half(1);
  EXPECT_EQ(match(p.kernel(p.layer(b * (sigmoid(a) * a)))).problem.activation, MoeActivation::SwiGlu);
  EXPECT_EQ(match(p.kernel(p.layer(gelu(a) * b))).problem.activation, MoeActivation::Other);
  EXPECT_EQ(match(p.kernel(p.layer(silu(a) + b))).problem.activation, MoeActivation::Other);
  EXPECT_EQ(
      match(p.kernel(p.layer(max(min(a, 7.0) * sigmoid(1.702 * a), -7.0) * (b + 1)))).problem.activation,
      MoeActivation::Other);
}

TEST_F(Moe, ScoresAndLogitsOfAnyKind) {
  Pieces p;
  Tensor narrow = input("narrow", bf16, {p.n, p.e});
  auto routed = [&](const Routing &r) {
    Kernel kernel("router");
    kernel.output("e", i32, {p.n, p.k}) = r.expert(p.n, p.k);
    return kernel;
  };
  MoePattern plain = match(routed(topK(p.k, p.e, p.logits(p.n, p.e))));
  EXPECT_EQ(plain.problem.scoring, MoeScoring::Plain);
  EXPECT_EQ(plain.idsOutput, "e");
  EXPECT_EQ(plain.weightsOutput, "");
  for (const Routing &r : {topK(p.k, p.e, narrow(p.n, p.e)), topK(p.k, softmax(p.e, narrow(p.n, p.e))),
                           topK(p.k, p.e, sigmoid(narrow(p.n, p.e)))}) {
    MoePattern pattern = match(routed(r));
    EXPECT_EQ(pattern.logits, "narrow");
    EXPECT_EQ(pattern.problem.logits, bf16);
  }
}

TEST_F(Moe, ALayerMayReturnItsRouting) {
  Pieces p;
  Kernel kernel = p.kernel(p.layer());
  kernel.output("picks", i32, {p.n, p.k}) = p.expert;
  MoePattern pattern = match(kernel);
  EXPECT_TRUE(pattern.problem.ffn && pattern.problem.writesRouting);
  EXPECT_EQ(pattern.idsOutput, "picks");
}

TEST_F(Moe, GivenRoutings) {
  Pieces p;
  Tensor ids = input("ids", i32, {p.n, p.k}), weights = input("shares", f32, {p.n, p.k});
  p.r = givenRouting(p.k, p.e, ids(p.n, p.k), weights(p.n, p.k), {.firstExpert = param("from", i32)});
  p.expert = p.r.expert(p.n, p.k);
  p.weight = p.r.weight(p.n, p.k);
  MoePattern pattern = match(p.kernel(p.layer()));
  EXPECT_EQ(pattern.ids, "ids");
  EXPECT_EQ(pattern.weights, "shares");
  EXPECT_EQ(pattern.firstExpert, "from");
  EXPECT_TRUE(pattern.given);
  EXPECT_FALSE(pattern.route);
  EXPECT_EQ(pattern.problem.routedExperts, 0);
}

//===- What it refuses --------------------------------------------------------------------------------===//

TEST_F(Moe, RefusesOtherOutputs) {
  Pieces p;
  refused(p.kernel(p.layer() * 2),
          {"kernel experts", "anything but a weighted sum of experts as output", "2.0 * sum("});
  refused(p.kernel(p.layer() + p.x(p.n, p.c)),
          {"anything but a weighted sum of experts as output",
           "'acts(token, width) + sum(pick, r1.weight(token, pick) * sum("});
  refused(p.kernel(p.layer() + 2 * p.always()),
          {"anything but a weighted sum of experts as output", "2.0 * sum(column, always_down"});
  Kernel two = p.kernel(p.layer());
  two.output("again", bf16, {p.n, p.c}) = p.always();
  refused(two, {"a second output beside a routing", "always_down"});
  Kernel turned("experts");
  turned.output("result", bf16, {p.c, p.n}) = p.layer();
  refused(turned, {"output 'result' in another type or order", "declare it as bf16 or f32 [token, width]"});
  Kernel typed("experts");
  typed.output("result", f16, {p.n, p.c}) = p.layer();
  refused(typed, {"output 'result' in another type or order"});
  Kernel apart = p.kernel(p.always());
  apart.output("picks", i32, {p.n, p.k}) = p.expert;
  refused(apart, {"anything but a weighted sum of experts as output", "always_down"});
}

TEST_F(Moe, RefusesOtherSumsOverChoices) {
  Pieces p;
  Expr act = silu(p.half(0)) * p.half(1);
  refused(p.kernel(sum(p.k, p.result(act))), {"anything but a weighted sum of experts as output"});
  refused(p.kernel(sum(p.k, p.weight * max(p.result(act), 0.0))),
          {"a weighted sum of anything but an expert's last contraction", "write sum(choice, weight *"});
  refused(p.kernel(sum({p.k, p.f}, p.weight * act * p.w2(p.expert, p.c, p.f))),
          {"anything but a weighted sum of experts as output", "'sum({column, pick}, r1.weight"});
  Routing other = topK(p.k, softmax(p.e, p.logits(p.n, p.e)), {.renormalize = true});
  refused(p.kernel(sum(p.k, other.weight(p.n, p.k) * p.result(act))),
          {"with anything but weights of the chosen one", "index the weights by the expert of the routing"});
}

TEST_F(Moe, RefusesOtherExperts) {
  Pieces p;
  refused(p.kernel(p.layer(p.half(0))), {"an expert without an activation"});
  refused(p.kernel(p.layer(silu(p.half(0)) * p.half(0))), {"an activation of 1 operands from 2 halves"});
  refused(p.kernel(p.layer(silu(p.half(0)) * p.half(1) * param("a", f32))),
          {"a weighted sum of anything but an expert's last contraction", "a * down"});
  refused(p.kernel(p.layer(silu(p.half(0)) * p.half(1) + toFloat(p.f))), {"an activation of anything but"});
  Tensor bias = input("b1", f32, {p.f});
  refused(p.kernel(p.layer(silu(p.half(0) + bias(p.f)))), {"an activation of anything but", "b1(column)"});
  Tensor other = input("other", bf16, {p.n, p.c});
  Expr apart = sum(p.c, other(p.n, p.c) * p.w1(p.expert, 1, p.f, p.c));
  refused(p.kernel(p.layer(silu(p.half(0)) * apart)), {"projections of other rows than"});
  Tensor second = input("second", bf16, {p.e, p.g, p.f, p.c});
  Expr mixed = sum(p.c, p.x(p.n, p.c) * second(p.expert, 1, p.f, p.c));
  refused(p.kernel(p.layer(silu(p.half(0)) * mixed)), {"halves of different weights"});
  Expr squared = sum(p.c, p.x(p.n, p.c) * p.x(p.n, p.c) * p.w1(p.expert, 1, p.f, p.c));
  refused(p.kernel(p.layer(silu(p.half(0)) * squared)), {"a projection of anything but rows"});
}

TEST_F(Moe, RefusesOtherOrdersAndTypes) {
  Pieces p;
  p.w1 = input("up", bf16, {p.e, p.f, p.g, p.c});
  auto turned = [&](int part) { return sum(p.c, p.x(p.n, p.c) * p.w1(p.expert, p.f, part, p.c)); };
  refused(p.kernel(p.layer(silu(turned(0)) * turned(1))), {"up"});
  Pieces q;
  q.w1 = input("up", f16, {q.e, q.g, q.f, q.c});
  refused(q.kernel(q.layer()),
          {"first weights of routed experts in another type or order than bf16 [specialist, "
           "gate_up, column, width]"});
  Pieces r;
  r.w2 = input("down", bf16, {r.e, r.f, r.c});
  refused(r.kernel(sum(r.k, r.weight * sum(r.f, silu(r.half(0)) * r.half(1) * r.w2(r.expert, r.f, r.c)))),
          {"second weights of routed experts in another type or order"});
  Pieces s;
  s.x = input("acts", f32, {s.n, s.c});
  refused(s.kernel(s.layer()), {"rows in another type or order than bf16 [token, width]"});
}

TEST_F(Moe, RefusesWeightsOfMoreExperts) {
  Pieces p;
  Dim more("more", 9);
  p.w1 = input("up", bf16, {more, p.g, p.f, p.c});
  refused(p.kernel(p.layer()), {"weights of other than the 8 experts that are routed to"});
}

TEST_F(Moe, RefusesOtherSharedExperts) {
  Pieces p;
  Expr part = sum(p.c, p.x(p.n, p.c) * p.s1(0, p.f, p.c)), up = sum(p.c, p.x(p.n, p.c) * p.s1(1, p.f, p.c));
  refused(p.kernel(p.layer() + p.always(gelu(part) * up)), {"shared experts with another activation"});
  refused(p.kernel(p.layer() + p.always() + p.always(gelu(part) * up)),
          {"anything but a weighted sum of experts as output"});
  refused(p.kernel(p.layer() + p.layer(gelu(p.half(0)) * p.half(1))), {"a second sum of its kind as output"});
}

TEST_F(Moe, RefusesOtherRouters) {
  Pieces p;
  auto router = [&](const Routing &r) {
    Kernel kernel("router");
    kernel.output("e", i32, {p.n, p.k}) = r.expert(p.n, p.k);
    return kernel;
  };
  refused(router(topK(p.k, softmax(p.e, where(p.e < 6, p.logits(p.n, p.e))))),
          {"a softmax that is masked", "softmax(specialist, where("});
  refused(router(topK(p.k, p.e, exp(p.logits(p.n, p.e)))),
          {"logits that are neither an input nor a contraction"});
  Tensor turned = input("turned", f32, {p.e, p.n});
  refused(router(topK(p.k, p.e, turned(p.e, p.n))),
          {"logits in another type or order than f32 or bf16 or f16 [token, "
           "specialist]"});
  Tensor gate = input("gate", f16, {p.e, p.c});
  refused(router(topK(p.k, p.e, sum(p.c, p.x(p.n, p.c) * gate(p.e, p.c)))),
          {"a gate matrix in another type or order than bf16 or f32 [specialist, width]"});
  Tensor batch = input("batched", f32, {Dim("batch"), p.n, p.e});
  Dim b = batch.info()->dims[0];
  Routing deep = topK(p.k, p.e, batch(b, p.n, p.e));
  Kernel kernel("router");
  kernel.output("e", i32, {b, p.n, p.k}) = deep.expert(b, p.n, p.k);
  refused(kernel, {"a routing over 3 dimensions"});
  Tensor ids = input("ids", i32, {p.n, p.k});
  refused(router(givenRouting(p.k, p.e, ids(p.n, p.k) + 1, 1.0)),
          {"a given routing whose ids and weights are neither inputs nor those of one routing"});
  Tensor weights = input("w", f32, {p.n, p.k});
  refused(router(givenRouting(p.k, p.e, ids(p.n, p.k), weights(p.n, p.k))),
          {"a routing as output that the kernel did not make"});
}

TEST_F(Moe, AttentionIsNone) {
  module_ = codegen::importKernel(mlaDecode({.heads = 16}), context_);
  EXPECT_FALSE(codegen::hasRouting(test::kernelOf(*module_)));
  module_ = codegen::importKernel(moeFfn(moeShape(namedModel("deepseek-v2-lite"), 1, 1)), context_);
  EXPECT_THROW(codegen::matchAttention(test::kernelOf(*module_)), UserError);
}
