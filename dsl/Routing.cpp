//===- Routing.cpp - Which experts a row goes to ------------------------------------------------------===//
//
// Builds routings, chosen and given, with the rules of each, and the two expressions that read them. What a
// routing means is said in Routing.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/dsl/Routing.h"

#include "lathe/dsl/Build.h"
#include "lathe/dsl/Print.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

using namespace lathe;
using namespace lathe::dsl;

[[noreturn]] static void fail(const std::string &routing, const std::string &rule, const std::string &value,
                              const std::string &wayOut = "") {
  throw UserError({"", routing + " " + rule, value, wayOut});
}

static std::string typed(const Expr &expr) {
  return fmt::format("{} of type {}", print(expr), lathe::name(expr.dtype()));
}

static bool isNarrowFloat(const Expr &expr) { return isFloat(expr.dtype()) && expr.dtype() != Dtype::F64; }

std::vector<Expr> RoutingTerm::operands() const {
  std::vector<Expr> all;
  if (auto *from = chosen()) {
    all.push_back(from->score);
    if (from->bias)
      all.push_back(*from->bias);
    return all;
  }
  all = {given()->ids, given()->weights};
  if (given()->first)
    all.push_back(*given()->first);
  return all;
}

//===- Chosen -----------------------------------------------------------------------------------------===//

static void checkDims(const std::string &routing, const Dim &choice, const Dim &experts) {
  if (choice.is(experts))
    fail(routing, "needs a dimension of its own for the choices", describe(choice));
  for (const Dim &dim : {choice, experts})
    if (dim.isDynamic())
      fail(routing, fmt::format("needs a known extent of '{}'", dim.name()), "a dynamic one",
           "give the dimension its extent");
}

static void checkScore(const std::string &routing, const Dim &choice, const Dim &experts, const Expr &score) {
  if (choice.extent() > experts.extent())
    fail(routing, fmt::format("chooses at most the {} experts of '{}'", experts.extent(), experts.name()),
         std::to_string(choice.extent()));
  if (!isNarrowFloat(score))
    fail(routing, "needs a score of bf16, f16 or f32", typed(score));
  if (!contains(score.freeDims(), experts))
    fail(routing, fmt::format("needs a score that depends on '{}'", experts.name()), print(score));
  if (contains(score.freeDims(), choice))
    fail(routing, fmt::format("needs a score that does not depend on '{}'", choice.name()), print(score));
}

static void checkBias(const std::string &routing, const Dim &experts, const Tensor &bias) {
  const TensorInfo &info = *bias.info();
  if (info.dtype != Dtype::F32 || info.dims.size() != 1 || !info.dims[0].is(experts))
    fail(routing, fmt::format("needs a bias of type f32 over '{}' alone", experts.name()),
         fmt::format("{} '{}' with {} dimension(s)", lathe::name(info.dtype), info.name, info.dims.size()));
}

static void checkGroups(const std::string &routing, const Dim &choice, const Dim &experts,
                        const RoutingOptions &options) {
  if (options.groups < 1 || experts.extent() % options.groups)
    fail(routing,
         fmt::format("needs groups that divide the {} experts of '{}'", experts.extent(), experts.name()),
         std::to_string(options.groups));
  if (options.topGroups < 1 || options.topGroups > options.groups)
    fail(routing, fmt::format("chooses from 1 to {} groups", options.groups),
         std::to_string(options.topGroups));
  int64_t held = experts.extent() / options.groups;
  if (options.topGroups * held < choice.extent())
    fail(routing, fmt::format("chooses {} experts, the chosen groups must hold as many", choice.extent()),
         fmt::format("{} groups of {}", options.topGroups, held), "choose from more groups");
  if (options.groupScore == GroupScore::SumOfTwoBest && held < 2)
    fail(routing, "scores a group by its two best experts, which needs groups of at least 2",
         fmt::format("{} of {}", options.groups, held));
}

Routing dsl::topK(const Dim &choice, const Dim &experts, const Expr &score, const RoutingOptions &options) {
  std::string routing = fmt::format("topK over {}", describe(experts));
  checkDims(routing, choice, experts);
  checkScore(routing, choice, experts, score);
  checkGroups(routing, choice, experts, options);
  if (!std::isfinite(options.scale) || options.scale <= 0)
    fail(routing, "needs a finite and positive scale", fmt::format("{}", options.scale));
  ChosenRouting chosen{score, std::nullopt, options.renormalize, options.scale};
  if (options.bias) {
    checkBias(routing, experts, *options.bias);
    chosen.bias = (*options.bias)(experts);
  }
  if (options.topGroups < options.groups) { // All groups are as good as none.
    chosen.groups = options.groups;
    chosen.topGroups = options.topGroups;
    chosen.groupScore = options.groupScore;
  }
  std::vector<Dim> dims = without(score.freeDims(), {experts});
  dims.push_back(choice);
  return Routing(std::make_shared<RoutingTerm>(RoutingTerm{choice, experts, std::move(chosen), dims}));
}

Routing dsl::topK(const Dim &choice, const Softmax &scores, const RoutingOptions &options) {
  const Dim &axis = scores.term()->axis;
  return topK(choice, axis, scores(axis), options);
}

//===- Given ------------------------------------------------------------------------------------------===//

Routing dsl::givenRouting(const Dim &choice, const Dim &experts, const Expr &ids, const Expr &weights,
                          const GivenOptions &options) {
  std::string routing = fmt::format("given routing over {}", describe(experts));
  checkDims(routing, choice, experts);
  if (ids.dtype() != Dtype::I32)
    fail(routing, "needs ids of i32", typed(ids));
  if (!isNarrowFloat(weights))
    fail(routing, "needs weights of bf16, f16 or f32", typed(weights));
  if (!contains(ids.freeDims(), choice))
    fail(routing, fmt::format("needs ids that depend on '{}'", choice.name()), print(ids));
  if (contains(ids.freeDims(), experts))
    fail(routing, fmt::format("needs ids that do not depend on '{}'", experts.name()), print(ids));
  for (const Dim &dim : weights.freeDims())
    if (!contains(ids.freeDims(), dim))
      fail(routing, fmt::format("needs weights over dimensions of its ids {}", print(ids)), print(weights));
  if (options.firstExpert && options.firstExpert->dtype() != Dtype::I32)
    fail(routing, "needs a first expert of i32",
         fmt::format("'{}' of type {}", options.firstExpert->name(),
                     lathe::name(options.firstExpert->dtype())));
  GivenRouting given{ids, weights, std::nullopt};
  if (options.firstExpert)
    given.first = Expr(*options.firstExpert);
  std::vector<Dim> dims = without(ids.freeDims(), {choice});
  dims.push_back(choice);
  return Routing(std::make_shared<RoutingTerm>(RoutingTerm{choice, experts, std::move(given), dims}));
}

//===- Reading ----------------------------------------------------------------------------------------===//

Expr dsl::makeRoutedExpert(const std::shared_ptr<const RoutingTerm> &term) {
  auto node = makeNode<RoutedExpertNode>(Dtype::I32, term->dims, term->operands());
  node->routing = term;
  return Expr(node);
}

Expr dsl::makeRoutedWeight(const std::shared_ptr<const RoutingTerm> &term) {
  auto node = makeNode<RoutedWeightNode>(Dtype::F32, term->dims, term->operands());
  node->routing = term;
  return Expr(node);
}

static void checkOwnDims(const RoutingTerm &term, const std::vector<Dim> &dims) {
  bool own = dims.size() == term.dims.size();
  for (size_t i = 0; own && i < dims.size(); ++i)
    own = dims[i].is(term.dims[i]);
  if (own)
    return;
  auto text = [](const std::vector<Dim> &list) {
    std::vector<std::string> names;
    for (const Dim &dim : list)
      names.push_back(dim.name());
    return fmt::format("({})", fmt::join(names, ", "));
  };
  throw UserError({"",
                   fmt::format("routing over {} is read at its own dimensions {}", describe(term.experts),
                               text(term.dims)),
                   text(dims), ""});
}

Expr Routing::expert(const std::vector<Dim> &dims) const {
  checkOwnDims(*term_, dims);
  return makeRoutedExpert(term_);
}

Expr Routing::weight(const std::vector<Dim> &dims) const {
  checkOwnDims(*term_, dims);
  return makeRoutedWeight(term_);
}
