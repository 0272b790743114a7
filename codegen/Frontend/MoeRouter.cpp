//===- MoeRouter.cpp - Recognising the router --------------------------------------------------------===//
//
// Walks from the routing to its inputs: the local part, the choice, scores, logits, the gate product. Errors
// name the expression that is something else.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Frontend/MoeParts.h"
#include "lathe/codegen/Frontend/Unserved.h"

#include <fmt/format.h>

using namespace mlir;
using namespace lathe;
using namespace lathe::codegen;

static int extentOf(ir::ArrayType type, const std::string &dim) {
  return static_cast<int>(type.getExtent(dim));
}

/// The row and the choice of ids; sets rowDim, choiceDim, topK.
static void matchChoice(MoePattern &pattern, Operation *op, ir::ArrayType ids, const std::string &choice) {
  if (ids.getRank() != 2)
    unserved(op, fmt::format("a routing over {} dimensions", ids.getRank()),
             "route over one dimension of rows and one of choices");
  if (extentOf(ids, choice) <= 0)
    unserved(op, "a choice whose extent is not known", "give the dimension of the choices its extent");
  pattern.choiceDim = choice;
  pattern.rowDim = str(ids.getNames()[*ids.find(choice) == 0 ? 1 : 0]);
  pattern.problem.topK = extentOf(ids, choice);
}

/// Checks that logits are rows × gate matrix; sets gate, gateProduct, x, hidden.
static void matchGate(MoePattern &pattern, ir::ContractOp product) {
  static constexpr const char *wayOut =
      "contract rows [row, hidden] with a gate matrix [expert, hidden], both inputs";
  auto lhs = product.getLhs().getDefiningOp<ir::InputOp>(),
       rhs = product.getRhs().getDefiningOp<ir::InputOp>();
  std::string hidden = summedDim(product);
  if (!lhs || !rhs || hidden.empty())
    unserved(product, "logits that are a contraction of anything but two inputs over one dimension", wayOut);
  bool left = lhs.getResult().getType().has(pattern.rowDim);
  ir::InputOp rows = left ? lhs : rhs, gate = left ? rhs : lhs;
  checkInput(rows, "rows", {Dtype::BF16}, {pattern.rowDim, hidden});
  checkInput(gate, "a gate matrix", {Dtype::BF16, Dtype::F32}, {str(pattern.route.getAxisAttr()), hidden});
  pattern.gateProduct = product;
  pattern.x = rows.getName().str();
  pattern.gate = gate.getName().str();
  pattern.hiddenDim = hidden;
  pattern.problem.router = MoeRouter::Logits;
  pattern.problem.hidden = extentOf(rows.getResult().getType(), hidden);
  pattern.problem.gate = dtypeOf(gate.getResult().getType().getElementType());
}

static void matchLogits(MoePattern &pattern, Value logits) {
  if (auto map = logits.getDefiningOp<ir::MapOp>(); map && isWidening(map))
    logits = map.getInputs().front();
  if (auto product = logits.getDefiningOp<ir::ContractOp>())
    return matchGate(pattern, product);
  auto input = logits.getDefiningOp<ir::InputOp>();
  if (!input)
    unserved(logits.getDefiningOp(), "logits that are neither an input nor a contraction",
             "give logits as an input, or as rows times a gate matrix; softmax or sigmoid may follow");
  checkInput(input, "logits", {Dtype::F32, Dtype::BF16, Dtype::F16},
             {pattern.rowDim, str(pattern.route.getAxisAttr())});
  pattern.logits = input.getName().str();
  pattern.problem.router = MoeRouter::Logits;
  pattern.problem.logits = dtypeOf(input.getResult().getType().getElementType());
}

/// Sets scoring and softmax; gives the logits.
static Value matchScores(MoePattern &pattern) {
  Value scores = pattern.route.getScores();
  if (auto softmax = scores.getDefiningOp<ir::SoftmaxOp>()) {
    if (softmax.isMasked() || softmax.getAxis() != pattern.route.getAxis() ||
        scores != softmax.getProbabilities())
      unserved(softmax, "scores of a softmax that is masked or over another axis than the experts",
               "take the softmax over the experts, without a mask");
    pattern.softmax = softmax;
    pattern.problem.scoring = MoeScoring::Softmax;
    return softmax.getScores();
  }
  if (auto map = scores.getDefiningOp<ir::MapOp>(); map && isSigmoid(map)) {
    pattern.problem.scoring = MoeScoring::Sigmoid;
    return map.getInputs().front();
  }
  pattern.problem.scoring = MoeScoring::Plain;
  return scores;
}

static void matchRoute(MoePattern &pattern, ir::RouteOp route) {
  MoeProblem &problem = pattern.problem;
  pattern.route = route;
  pattern.expertDim = route.getAxis().str();
  matchChoice(pattern, route, route.getIds().getType(), route.getChoice().str());
  problem.routedExperts = problem.experts = extentOf(route.getScores().getType(), pattern.expertDim);
  problem.groups = static_cast<int>(route.getGroups());
  problem.topGroups = static_cast<int>(route.getTopGroups());
  problem.sumOfTwoBest = route.getSumOfTwoBest();
  problem.renormalize = route.getRenormalize();
  problem.scale = route.getScale().convertToDouble();
  if (Value bias = route.getBias()) {
    auto input = bias.getDefiningOp<ir::InputOp>();
    if (!input)
      unserved(bias.getDefiningOp(), "a bias that is computed", "give the bias as an input");
    pattern.bias = input.getName().str();
    problem.bias = true;
  }
  matchLogits(pattern, matchScores(pattern));
}

/// Where the ids and weights of a local part come from: inputs, or one routing.
static void matchOrigin(MoePattern &pattern, ir::GivenOp given) {
  auto route = given.getIds().getDefiningOp<ir::RouteOp>();
  if (route && given.getIds() == route.getIds() && given.getWeights() == route.getWeights())
    return matchRoute(pattern, route);
  auto ids = given.getIds().getDefiningOp<ir::InputOp>(),
       weights = given.getWeights().getDefiningOp<ir::InputOp>();
  if (!ids || !weights)
    unserved(given, "a given routing whose ids and weights are neither inputs nor those of one routing",
             "give both as inputs, or take both from one topK");
  ir::ArrayType type = ids.getResult().getType();
  matchChoice(pattern, given, type, str(type.getNames().back()));
  checkInput(ids, "ids", {Dtype::I32}, {pattern.rowDim, pattern.choiceDim});
  checkInput(weights, "weights", {Dtype::F32}, {pattern.rowDim, pattern.choiceDim});
  pattern.ids = ids.getName().str();
  pattern.weights = weights.getName().str();
  pattern.problem.router = MoeRouter::Given;
}

void codegen::matchRouter(MoePattern &pattern, Operation *op) {
  auto given = dyn_cast<ir::GivenOp>(op);
  if (!given)
    return matchRoute(pattern, cast<ir::RouteOp>(op));
  pattern.given = given;
  matchOrigin(pattern, given);
  pattern.problem.experts = static_cast<int>(given.getExperts());
  pattern.problem.partial = true;
  if (Value first = given.getFirst()) {
    auto param = first.getDefiningOp<ir::ParamOp>();
    if (!param)
      unserved(given, "a first expert that is computed", "give it as a parameter");
    pattern.firstExpert = param.getName().str();
    pattern.problem.offset = true;
  }
}
