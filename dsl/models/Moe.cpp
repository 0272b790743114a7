#include "lathe/dsl/models/Moe.h"

#include "lathe/dsl/Routing.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <functional>

using namespace lathe;
using namespace lathe::dsl;

//===- The description --------------------------------------------------------------------------------===//

namespace {
/// Dimensions and inputs that the parts of a layer share.
struct Layer {
  explicit Layer(const MoeShape &m)
      : shape(m), n("row"), c("hidden", m.hidden), e("expert", m.experts), k("choice", m.topK),
        half("half", 2), x(input("x", bf16, {n, c})) {}

  const MoeShape &shape;
  Dim n, c, e, k, half;
  Tensor x;

  Routing router() const;
  Routing given(const Dim &held) const;
  Expr activated(const std::function<Expr(int)> &projection) const;
  Expr routed(const Dim &f) const;
  Expr shared(const Dim &f) const;
};
} // namespace

Routing Layer::router() const {
  Expr logits = shape.router == Router::Gate ? sum(c, x(n, c) * input("gate", shape.gate, {e, c})(e, c))
                                             : input("logits", shape.logits, {n, e})(n, e);
  RoutingOptions options{.renormalize = shape.renormalize,
                         .scale = shape.scale,
                         .groups = shape.groups,
                         .topGroups = shape.topGroups,
                         .groupScore = shape.groupScore};
  if (shape.bias)
    options.bias = input("bias", f32, {e});
  return shape.scoring == Scoring::Softmax ? topK(k, softmax(e, logits), options)
                                           : topK(k, e, sigmoid(logits), options);
}

/// The routing whose experts are `held` by this GPU.
Routing Layer::given(const Dim &held) const {
  GivenOptions options;
  if (shape.localExperts)
    options.firstExpert = param("first_expert", i32);
  if (shape.router == Router::Given)
    return givenRouting(k, held, input("ids", i32, {n, k})(n, k), input("weights", f32, {n, k})(n, k),
                        options);
  Routing all = router();
  return shape.localExperts ? givenRouting(k, held, all.expert(n, k), all.weight(n, k), options) : all;
}

/// `projection` of half 0 is the gate, or all there is.
Expr Layer::activated(const std::function<Expr(int)> &projection) const {
  switch (shape.activation) {
  case Activation::SwiGlu:
    return silu(projection(0)) * projection(1);
  case Activation::Silu:
    return silu(projection(0));
  case Activation::Gelu:
    return gelu(projection(0));
  }
  return projection(0);
}

Expr Layer::routed(const Dim &f) const {
  Dim held = shape.localExperts ? Dim("held", shape.localExperts) : e;
  Routing r = given(held);
  bool halves = shape.activation == Activation::SwiGlu;
  Tensor w1 = halves ? input("w1", bf16, {held, half, f, c}) : input("w1", bf16, {held, f, c});
  Tensor w2 = input("w2", bf16, {held, c, f});
  Expr expert = r.expert(n, k);
  Expr inner = activated(
      [&](int part) { return sum(c, x(n, c) * (halves ? w1(expert, part, f, c) : w1(expert, f, c))); });
  return sum(k, r.weight(n, k) * sum(f, inner * w2(expert, c, f)));
}

Expr Layer::shared(const Dim &f) const {
  Dim s("shared", shape.shared);
  bool halves = shape.activation == Activation::SwiGlu;
  Tensor w1 = halves ? input("shared1", bf16, {half, s, f, c}) : input("shared1", bf16, {s, f, c});
  Tensor w2 = input("shared2", bf16, {c, s, f});
  Expr inner =
      activated([&](int part) { return sum(c, x(n, c) * (halves ? w1(part, s, f, c) : w1(s, f, c))); });
  return sum(s, sum(f, inner * w2(c, s, f)));
}

static void checkShape(const char *place, const MoeShape &m) {
  if (m.localExperts < 0 || m.localExperts > m.experts)
    throw UserError({place, fmt::format("local experts must be among the {} of the layer", m.experts),
                     std::to_string(m.localExperts), "0 means all"});
  if (m.shared < 0)
    throw UserError({place, "shared experts must not be negative", std::to_string(m.shared), ""});
}

Kernel dsl::moeFfn(const MoeShape &m) {
  checkShape("moe ffn", m);
  Layer layer(m);
  Dim f("inner", m.intermediate);
  Expr y = layer.routed(f);
  Kernel kernel("moe_ffn");
  kernel.output("y", bf16, {layer.n, layer.c}) = m.shared ? y + layer.shared(f) : y;
  return kernel;
}

Kernel dsl::moeRouting(const MoeShape &m) {
  checkShape("moe routing", m);
  if (m.router == Router::Given)
    throw UserError({"moe routing", "needs a router of its own", "a routing that is given", ""});
  Layer layer(m);
  Routing r = layer.router();
  Kernel kernel("moe_routing");
  kernel.output("ids", i32, {layer.n, layer.k}) = r.expert(layer.n, layer.k);
  kernel.output("weights", f32, {layer.n, layer.k}) = r.weight(layer.n, layer.k);
  return kernel;
}

//===- Models -----------------------------------------------------------------------------------------===//

static void checkDivides(const ModelConfig &config, const char *size, int value, const char *what,
                         int extent) {
  std::string place = fmt::format("model {}", config.name);
  if (value <= 0)
    throw UserError({place, fmt::format("{} size must be positive", size), std::to_string(value), ""});
  if (extent % value)
    throw UserError(
        {place, fmt::format("{} size must divide its {} {}", size, extent, what), std::to_string(value), ""});
}

MoeShape dsl::moeShape(const ModelConfig &config, int tp, int ep) {
  if (!config.routedExperts)
    throw UserError({fmt::format("model {}", config.name), "needs routed experts", "a dense model",
                     "choose a mixture of experts"});
  checkDivides(config, "tensor-parallel", tp, "columns of an expert", config.moeIntermediate);
  checkDivides(config, "expert-parallel", ep, "experts", config.routedExperts);
  bool corrected = config.topkMethod == "noaux_tc"; // A correction bias, and groups by their two best.
  bool grouped = corrected || config.topkMethod == "group_limited_greedy";
  return {.hidden = config.hidden,
          .intermediate = config.moeIntermediate / tp,
          .experts = config.routedExperts,
          .localExperts = ep > 1 ? config.routedExperts / ep : 0,
          .topK = config.expertsPerToken,
          .shared = ep > 1 ? 0 : config.sharedExperts,
          .scoring = config.scoring == "sigmoid" ? Scoring::Sigmoid : Scoring::Softmax,
          .bias = corrected,
          .groups = grouped ? config.groups : 1,
          .topGroups = grouped ? config.topkGroups : 1,
          .groupScore =
              corrected && config.groups > config.topkGroups ? GroupScore::SumOfTwoBest : GroupScore::Best,
          .renormalize = config.normTopkProb,
          .scale = config.routedScale};
}
