//===- MoePattern.cpp - Recognising experts ----------------------------------------------------------===//
//
// Walks from the outputs to the inputs: the sum of routed and shared experts, the weighted sum over choices,
// the second contraction, activation, projections, rows and weights. Every step that finds anything else
// names the expression it stands at and the way out.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Frontend/MoePattern.h"

#include "lathe/codegen/Frontend/MoeParts.h"
#include "lathe/codegen/Frontend/Unserved.h"

#include <fmt/format.h>

using namespace mlir;
using namespace lathe;
using namespace lathe::codegen;

bool codegen::hasRouting(ir::KernelOp kernel) {
  return !kernel.getOps<ir::RouteOp>().empty() || !kernel.getOps<ir::GivenOp>().empty();
}

/// The routing whose ids, or weights, a value is; null where it is none.
static Operation *routingOf(Value value, unsigned result) {
  Operation *op = value.getDefiningOp();
  bool fits = isa<ir::RouteOp, ir::GivenOp>(op) && value == op->getResult(result);
  return fits ? op : nullptr;
}

//===- Weights ----------------------------------------------------------------------------------------===//

namespace {
/// What a contraction reads of an expert's weights.
struct Weights {
  ir::InputOp input;
  std::string half;  ///< The dimension of halves; empty where there is one.
  int index = 0;     ///< Which half.
  std::string gated; ///< The dimension of experts that is gathered; empty for shared experts.

  ir::ArrayType type() { return input.getResult().getType(); }
  int extent(const std::string &dim) { return static_cast<int>(type().getExtent(dim)); }
};
} // namespace

/// `ids`: of the routing that gathers; null for shared experts.
static Weights weightsOf(ir::ContractOp contract, Value value, Value ids) {
  Weights weights;
  if (ids) {
    auto gather = value.getDefiningOp<ir::GatherOp>();
    if (!gather || gather.getIds() != ids)
      unserved(contract, "a contraction of an expert with anything but weights of the chosen one",
               "index the weights by the expert of the routing whose weights multiply the result");
    weights.gated = gather.getDim().str();
    value = gather.getSource();
  }
  if (auto at = value.getDefiningOp<ir::AtOp>()) {
    weights.half = at.getDim().str();
    weights.index = static_cast<int>(at.getIndex());
    value = at.getSource();
  }
  weights.input = value.getDefiningOp<ir::InputOp>();
  if (!weights.input)
    unserved(contract, "a contraction of an expert with weights that are computed", "give weights as inputs");
  return weights;
}

//===- One kind of experts ----------------------------------------------------------------------------===//

namespace {
/// The steps for routed experts, or for shared ones, whose `ids` are null.
class ExpertsMatch {
public:
  ExpertsMatch(MoePattern &pattern, MoeExperts &experts, Value ids)
      : pattern_(pattern), experts_(experts), ids_(ids), what_(ids ? "routed" : "shared") {}
  /// Sets `experts`, and of the pattern what is the same for all of them. Gives the column dimension.
  std::string match(ir::ContractOp down);

private:
  Value matchActivated(ir::ContractOp down, Weights &second);
  Weights matchProjection(Value operand);
  void matchFirst(SmallVectorImpl<Weights> &first);
  std::string matchSecond(ir::ContractOp down, Weights &second, int hidden);

  MoePattern &pattern_;
  MoeExperts &experts_;
  Value ids_;
  std::string what_, inner_, sharedDim_;
};
} // namespace

/// Splits the second contraction into weights and activated columns.
Value ExpertsMatch::matchActivated(ir::ContractOp down, Weights &second) {
  Value activated = down.getLhs(), other = down.getRhs();
  if (!activated.getDefiningOp<ir::MapOp>())
    std::swap(activated, other);
  auto map = activated.getDefiningOp<ir::MapOp>();
  if (!map)
    unserved(down, "an expert without an activation before its last contraction",
             "apply silu(gate) * up, silu or gelu to its first contraction");
  bool usesIndex = !map.getBody().front().getOps<ir::IndexOp>().empty();
  if (usesIndex || map.getInputs().empty() || map.getInputs().size() > 2)
    unserved(map, "an activation of anything but one or two projections of the rows",
             "compute it element-wise from the halves of the first contraction");
  second = weightsOf(down, other, ids_);
  experts_.activation = map;
  experts_.down = down;
  return activated;
}

/// One operand of the activation: rows × first weights.
Weights ExpertsMatch::matchProjection(Value operand) {
  static constexpr const char *wayOut = "contract an input [row, hidden] with the first weights over hidden";
  auto projection = operand.getDefiningOp<ir::ContractOp>();
  if (!projection)
    unserved(experts_.activation, "an activation of anything but one or two projections of the rows",
             "compute it element-wise from the halves of the first contraction");
  Value rows = projection.getLhs(), weights = projection.getRhs();
  auto isRows = [&](Value value) {
    auto input = value.getDefiningOp<ir::InputOp>();
    return input && input.getResult().getType().has(pattern_.rowDim);
  };
  if (!isRows(rows))
    std::swap(rows, weights);
  std::string hidden = summedDim(projection);
  if (!isRows(rows) || hidden.empty())
    unserved(projection, "a projection of anything but rows over one dimension", wayOut);
  auto input = rows.getDefiningOp<ir::InputOp>();
  checkInput(input, "rows", {Dtype::BF16}, {pattern_.rowDim, hidden});
  if (!pattern_.x.empty() && pattern_.x != input.getName())
    unserved(projection, fmt::format("projections of other rows than '{}'", pattern_.x),
             "take the same rows for the router, all halves, and all experts");
  pattern_.x = input.getName().str();
  pattern_.hiddenDim = hidden;
  pattern_.problem.hidden = static_cast<int>(input.getResult().getType().getExtent(hidden));
  experts_.projections.push_back(projection);
  return weightsOf(projection, weights, ids_);
}

/// The first weights: one input, all of its halves, in memory order. Sets w1 and halves.
void ExpertsMatch::matchFirst(SmallVectorImpl<Weights> &first) {
  Weights &weights = first.front();
  for (Weights &each : first)
    if (each.input != weights.input || each.half != weights.half || each.gated != weights.gated)
      unserved(experts_.activation, "halves of different weights",
               "index one input by the constants 0 and 1");
  int halves = weights.half.empty() ? 1 : weights.extent(weights.half);
  bool all = static_cast<int>(first.size()) == halves && (halves == 1 || first[0].index != first[1].index);
  if (!all)
    unserved(experts_.activation,
             fmt::format("an activation of {} operands from {} halves", first.size(), halves),
             "use each half of the weights once");
  SmallVector<std::string> order;
  for (const std::string &dim : {weights.gated, weights.half, sharedDim_, inner_, pattern_.hiddenDim})
    if (!dim.empty())
      order.push_back(dim);
  checkInput(weights.input, fmt::format("first weights of {} experts", what_), {Dtype::BF16}, order);
  experts_.w1 = weights.input.getName().str();
  for (Weights &each : first)
    experts_.halves.push_back(each.index);
}

/// The second weights, in memory order; gives their column dimension.
std::string ExpertsMatch::matchSecond(ir::ContractOp down, Weights &second, int hidden) {
  if (!second.half.empty())
    unserved(down, "second weights of which one coordinate is read",
             "index them by dimensions and the expert");
  ArrayRef<StringAttr> names = second.type().getNames();
  size_t place = second.gated.empty() ? 0 : 1;
  std::string column = names.size() > place ? str(names[place]) : "";
  SmallVector<std::string> order;
  for (const std::string &dim : {second.gated, column, sharedDim_, inner_})
    if (!dim.empty())
      order.push_back(dim);
  checkInput(second.input, fmt::format("second weights of {} experts", what_), {Dtype::BF16}, order);
  if (second.extent(column) != hidden)
    unserved(down, fmt::format("results of {} columns for rows of {}", second.extent(column), hidden),
             "give the second weights as many columns as the rows have");
  experts_.w2 = second.input.getName().str();
  return column;
}

std::string ExpertsMatch::match(ir::ContractOp down) {
  Weights second;
  auto map = matchActivated(down, second).getDefiningOp<ir::MapOp>();
  SmallVector<Weights> first;
  for (Value operand : map.getInputs())
    first.push_back(matchProjection(operand));
  size_t rank = first.front().type().getRank();
  inner_ = rank >= 2 ? str(first.front().type().getNames()[rank - 2]) : "";
  for (StringRef dim : down.getOver().getAsValueRange<StringAttr>())
    if (dim != inner_) {
      if (ids_ || !sharedDim_.empty())
        unserved(down, "a last contraction of an expert over more than its inner dimension",
                 ids_ ? "sum over choices outside" : "sum over the shared experts and their inner dimension");
      sharedDim_ = dim.str();
    }
  matchFirst(first);
  MoeProblem &problem = pattern_.problem;
  std::string column = matchSecond(down, second, problem.hidden);
  Weights &weights = first.front();
  MoeActivation activation = activationOf(map);
  if (ids_) {
    if (weights.extent(weights.gated) != problem.experts || second.extent(second.gated) != problem.experts)
      unserved(down, fmt::format("weights of other than the {} experts that are routed to", problem.experts),
               "index the weights along a dimension of as many experts");
    problem.activation = activation;
    problem.halves = static_cast<int>(first.size());
    problem.intermediate = weights.extent(inner_);
    pattern_.innerDim = inner_;
    pattern_.expertDim = weights.gated;
    return column;
  }
  bool same = problem.halves == static_cast<int>(first.size()) && activation == problem.activation &&
              activation != MoeActivation::Other;
  if (!same)
    unserved(map, "shared experts with another activation than the routed ones",
             "apply the same silu(gate) * up, silu or gelu");
  problem.shared = sharedDim_.empty() ? 1 : weights.extent(sharedDim_);
  problem.sharedColumns = weights.extent(inner_);
  return column;
}

//===- The layer --------------------------------------------------------------------------------------===//

/// The contraction over choices with a routing's weights; null where the value is none.
static Operation *combinedRouting(ir::ContractOp contract) {
  Operation *left = routingOf(contract.getLhs(), 1);
  return left ? left : routingOf(contract.getRhs(), 1);
}

static std::string matchRouted(MoePattern &pattern, ir::ContractOp combine) {
  Operation *routing = combinedRouting(combine);
  matchRouter(pattern, routing);
  if (summedDim(combine) != pattern.choiceDim)
    unserved(combine, "a weighted sum over more or other dimensions than the choices",
             fmt::format("sum over '{}' alone", pattern.choiceDim));
  Value results = routingOf(combine.getLhs(), 1) ? combine.getRhs() : combine.getLhs();
  auto down = results.getDefiningOp<ir::ContractOp>();
  if (!down)
    unserved(combine, "a weighted sum of anything but an expert's last contraction",
             "write sum(choice, weight * sum(inner, activated * w2))");
  pattern.combine = combine;
  return ExpertsMatch(pattern, pattern.routed, routing->getResult(0)).match(down);
}

/// Routed experts, and shared ones where there are some.
static void matchExperts(MoePattern &pattern, ir::OutputOp output) {
  static constexpr const char *wayOut =
      "sum weight times expert over the choices; shared experts may be added once";
  SmallVector<Value> terms{output.getValue()};
  if (auto map = output.getValue().getDefiningOp<ir::MapOp>(); map && isSumOfTwo(map))
    terms.assign(map.getInputs().begin(), map.getInputs().end());
  ir::ContractOp combine, shared;
  for (Value term : terms) {
    auto contract = term.getDefiningOp<ir::ContractOp>();
    if (!contract)
      unserved(term.getDefiningOp(), "anything but a weighted sum of experts as output", wayOut);
    ir::ContractOp &place = combinedRouting(contract) ? combine : shared;
    if (place)
      unserved(contract, "a second sum of its kind as output", wayOut);
    place = contract;
  }
  if (!combine)
    unserved(shared, "anything but a weighted sum of experts as output", wayOut);
  std::string column = matchRouted(pattern, combine);
  if (shared && ExpertsMatch(pattern, pattern.shared, {}).match(shared) != column)
    unserved(shared, "shared experts whose columns are not those of the routed ones",
             fmt::format("index the second weights of both by '{}'", column));
  Type dtype = output.getDtype();
  SmallVector<StringRef> dims(output.getDims().getAsValueRange<StringAttr>());
  if (!(dtype.isBF16() || dtype.isF32()) || dims != SmallVector<StringRef>{pattern.rowDim, column})
    unserved(output, fmt::format("output '{}' in another type or order", output.getName().str()),
             fmt::format("declare it as bf16 or f32 [{}, {}]", pattern.rowDim, column));
  pattern.problem.ffn = true;
  pattern.problem.output = dtypeOf(dtype);
  pattern.output = output.getName().str();
}

/// An output of the router; sets its name.
static void matchRoutingOutput(MoePattern &pattern, ir::OutputOp output) {
  bool isIds = routingOf(output.getValue(), 0);
  if (output.getValue().getDefiningOp() != pattern.route.getOperation())
    unserved(output, "a routing as output that the kernel did not make", "return what topK chose");
  std::string &name = isIds ? pattern.idsOutput : pattern.weightsOutput;
  if (!name.empty())
    unserved(output, "the same part of a routing as output twice", "keep one of them");
  SmallVector<StringRef> dims(output.getDims().getAsValueRange<StringAttr>());
  bool typed = isIds ? output.getDtype().isInteger(32) : output.getDtype().isF32();
  if (!typed || dims != SmallVector<StringRef>{pattern.rowDim, pattern.choiceDim})
    unserved(
        output, fmt::format("output '{}' in another type or order", output.getName().str()),
        fmt::format("declare it as {} [{}, {}]", isIds ? "i32" : "f32", pattern.rowDim, pattern.choiceDim));
  name = output.getName().str();
  pattern.problem.writesRouting = true;
}

MoePattern codegen::matchMoe(ir::KernelOp kernel) {
  MoePattern pattern;
  pattern.kernel = kernel;
  pattern.problem.name = kernel.getSymName().str();
  ir::OutputOp experts;
  SmallVector<ir::OutputOp> routing;
  for (auto output : kernel.getOps<ir::OutputOp>()) {
    if (routingOf(output.getValue(), 0) || routingOf(output.getValue(), 1)) {
      routing.push_back(output);
      continue;
    }
    if (experts)
      unserved(output, "a second output beside a routing", "return one sum of experts, and the routing");
    experts = output;
  }
  if (experts)
    matchExperts(pattern, experts);
  else
    matchRouter(pattern, routing.front().getValue().getDefiningOp());
  for (ir::OutputOp output : routing)
    matchRoutingOutput(pattern, output);
  return pattern;
}
