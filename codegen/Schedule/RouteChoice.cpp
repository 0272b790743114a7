//===- RouteChoice.cpp - A warp chooses the experts of a row -----------------------------------------===//
//
// Lane l holds experts l, l + 32, …: rows are read in whole lines. A key is a float as an integer of the same
// order, so that one redux.sync finds the largest of a warp and a second the lowest expert that has it: some
// 80 cycles a choice. Sums of the softmax hang on nothing of that and fill its waits. Choice c ends up in
// lane c, where all weights are made at once and stored in one piece.
//
// What counts is instructions, of which a row takes hundreds, and the cache that they come from, cold at each
// launch: hence one loop over the choices.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/RouteChoice.h"
#include "lathe/codegen/Schedule/RouteWords.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

using namespace route;

//===- What rows have in common ----------------------------------------------------------------------===//

RouteChoice::RouteChoice(KernelBuilder &k, const MoeProblem &problem)
    : k(k), problem(problem), groups(routeGroups(problem)), lane(k.lane()) {
  const RouteMemory memory = routeMemory(problem);
  Value warp = k.shr(k.thread(), 5);
  warpKeys = k.add(k.mul(warp, int64_t(problem.groups) * groups.stride), memory.keys);
  warpChosen = k.add(k.mul(warp, problem.topGroups), memory.chosen);
  for (int i = 0; i < routeLaneExperts(problem); ++i) {
    Value expert = k.add(lane, 32 * i);
    bool some = 32 * (i + 1) > problem.routedExperts; // Some lanes have none.
    inside.push_back(some ? k.lt(expert, problem.routedExperts) : Value());
    experts.push_back(expert);
    Value safe = some ? k.min(expert, k.c(problem.routedExperts - 1)) : expert;
    if (problem.bias) { // A key that is NaN is minus infinity, and so is one of this bias.
      Value bias = k.load(k.f32(), k.at(k["bias"], k.wide(k.mul(safe, 4))));
      biases.push_back(k.fmax(bias, k.cf(-infinity)));
    }
    if (!hasGroups())
      continue;
    Value group = k.divu(safe, groups.size);
    groupLane.push_back(k.mul(group, groups.lanes));
    Value member = k.sub(safe, k.mul(group, groups.size));
    keyWord.push_back(k.add(k.add(warpKeys, k.mul(group, groups.stride)), member));
  }
}

Value RouteChoice::sharedFloat(Value index) { return k.at(k.shared(), k.mul(index, 4)); }

/// Of expert `expert` + `offset`.
Value RouteChoice::readLogit(Value row, Value expert, int64_t offset) {
  const int64_t bytes = byteSize(problem.logits);
  Value index = k.add(k.mul(k.wide(row), k.c64(problem.routedExperts)), k.wide(expert));
  Value address = k.at(k.at(k["logits"], k.mul(index, k.c64(bytes))), offset * bytes);
  return k.load(problem.logits == Dtype::F32 ? k.f32() : Type(k.b.getI16Type()), address);
}

SmallVector<Value> RouteChoice::load(Value row) {
  Values raw;
  for (auto [i, exists] : llvm::enumerate(inside))
    raw.push_back(exists ? readLogit(row, k.min(experts[i], k.c(problem.routedExperts - 1)), 0)
                         : readLogit(row, lane, 32 * int64_t(i)));
  return raw;
}

//===- Scores ----------------------------------------------------------------------------------------===//

/// As f32; under a softmax or a sigmoid NaN is minus infinity and plus infinity the largest number.
Value RouteChoice::logit(Value raw) {
  Value x = raw;
  if (problem.logits == Dtype::BF16)
    x = bitcast(k, k.f32(), k.shl(arith::ExtUIOp::create(k.b, k.loc, k.i32(), raw), 16));
  else if (problem.logits == Dtype::F16)
    x = arith::ExtFOp::create(k.b, k.loc, k.f32(), bitcast(k, k.b.getF16Type(), raw));
  if (problem.scoring == MoeScoring::Plain)
    return x;
  return fmin(k, k.fmax(x, k.cf(-infinity)), k.cf(std::numeric_limits<float>::max()));
}

Value RouteChoice::sigmoid(Value logit) {
  Value power = Exp2Op::create(k.b, k.loc, k.f32(), k.fmul(logit, k.cf(float(-M_LOG2E))));
  return RcpOp::create(k.b, k.loc, k.f32(), k.fadd(power, k.cf(1)));
}

/// e^(logit - reference). The difference comes first: it is exact where it counts, and cannot be NaN.
Value RouteChoice::exponential(Value logit) {
  return Exp2Op::create(k.b, k.loc, k.f32(), k.fmul(k.fsub(logit, reference), k.cf(float(M_LOG2E))));
}

/// Sets reference, and exponentials and inverse where they are wanted.
void RouteChoice::scoreSoftmax(const Values &logits) {
  Values orders;
  for (auto [x, exists] : llvm::zip(logits, inside))
    orders.push_back(exists ? k.select(exists, orderOf(k, x), k.c(noKey)) : orderOf(k, x));
  Value top = tree(orders, [&](Value x, Value y) { return k.max(x, y); });
  reference = fromOrder(k, redux(k, top, NVVM::ReduxKind::MAX));
  // All minus infinity: any finite reference, so that the scores are 0 and not NaN.
  reference = k.select(equals(k, reference, -infinity), k.cf(0), reference);
  exponentials.clear();
  if (!needsScores() && problem.renormalize)
    return; // The chosen alone make the weights.
  for (auto [x, exists] : llvm::zip(logits, inside)) {
    Value power = exponential(x);
    exponentials.push_back(exists ? k.select(exists, power, k.cf(0)) : power);
  }
  Value sum = tree(exponentials, [&](Value x, Value y) { return k.fadd(x, y); });
  for (int distance = 16; distance > 0; distance /= 2)
    sum = k.fadd(sum, k.butterfly(sum, distance));
  Value one = RcpOp::create(k.b, k.loc, k.f32(), sum);
  inverse = k.select(equals(k, sum, 0), k.cf(0), one);
}

/// Empty where nothing is ordered by them. Without a bias those of a softmax are not divided by the sum.
SmallVector<Value> RouteChoice::scoresOf(const Values &logits) {
  if (problem.scoring == MoeScoring::Softmax)
    scoreSoftmax(logits);
  Values scores;
  if (!needsScores())
    return scores;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (problem.scoring == MoeScoring::Plain)
      scores.push_back(logits[i]);
    else if (problem.scoring == MoeScoring::Sigmoid)
      scores.push_back(sigmoid(logits[i]));
    else
      scores.push_back(problem.bias ? k.fmul(exponentials[i], inverse) : exponentials[i]);
  }
  return scores;
}

/// What experts are compared by: no NaN, minus infinity where the logit is.
SmallVector<Value> RouteChoice::keysOf(const Values &logits, const Values &scores) {
  const bool plain = problem.scoring == MoeScoring::Plain;
  Values keys;
  for (size_t i = 0; i < logits.size(); ++i) {
    Value key = scores.empty() ? logits[i] : scores[i];
    if (problem.bias)
      key = k.fadd(key, biases[i]);
    if (plain) // Of unlike infinities, too. fmax drops what is NaN.
      key = k.fmax(key, k.cf(-infinity));
    if (!scores.empty())
      key = k.select(equals(k, logits[i], -infinity), k.cf(-infinity), key);
    keys.push_back(key);
  }
  return keys;
}

//===- Choice ----------------------------------------------------------------------------------------===//

RouteChoice::Candidates RouteChoice::ofAll(const Values &keys) {
  Candidates candidates{{}, experts};
  for (auto [key, exists] : llvm::zip(keys, inside))
    candidates.keys.push_back(exists ? k.select(exists, orderOf(k, key), k.c(noKey)) : orderOf(k, key));
  return candidates;
}

/// The best of the warp leaves the keys; the lane of that choice keeps it.
void RouteChoice::take(Values &keys, const Values &ids, Best &mine, Value choice) {
  Value top = redux(k, tree(keys, [&](Value x, Value y) { return k.max(x, y); }), NVVM::ReduxKind::MAX);
  Values found; // Of four keys each: short chains.
  for (size_t from = 0; from < keys.size(); from += 4) {
    found.push_back(k.c(noExpert));
    for (size_t i = std::min(from + 4, keys.size()); i-- > from;)
      found.back() = k.select(k.eq(keys[i], top), ids[i], found.back());
  }
  Value id = tree(found, [&](Value x, Value y) { return k.min(x, y); });
  id = redux(k, id, NVVM::ReduxKind::MIN);
  for (size_t i = 0; i < keys.size(); ++i)
    keys[i] = k.select(k.eq(ids[i], id), k.c(noKey), keys[i]);
  Value here = k.eq(lane, choice);
  mine = {k.select(here, top, mine.key), k.select(here, id, mine.id)};
}

RouteChoice::Best RouteChoice::takeAll(const Candidates &candidates) {
  const size_t count = candidates.keys.size();
  Values carried = candidates.keys;
  carried.append({k.c(noKey), k.c(0)});
  auto op = scf::ForOp::create(k.b, k.loc, k.c(0), k.c(problem.topK), k.c(1), carried);
  OpBuilder::InsertionGuard guard(k.b);
  k.b.setInsertionPointToStart(op.getBody());
  Values next(op.getRegionIterArgs().drop_back(2));
  Best mine{op.getRegionIterArgs()[count], op.getRegionIterArgs()[count + 1]};
  take(next, candidates.ids, mine, op.getInductionVar());
  next.append({mine.key, mine.id});
  scf::YieldOp::create(k.b, k.loc, next);
  return {op.getResult(count), op.getResult(count + 1)};
}

/// The weight of the lane's choice. A key that is the logit gives it back; else it is read again.
Value RouteChoice::weigh(Value row, const Best &best) {
  const bool plain = problem.scoring == MoeScoring::Plain, softmax = problem.scoring == MoeScoring::Softmax;
  Value x;
  if (problem.bias || plain) {
    x = logit(readLogit(row, best.id, 0));
  } else {
    x = fromOrder(k, best.key);
  }
  Value weight = plain ? k.select(isNan(k, x), k.cf(0), x) : softmax ? exponential(x) : sigmoid(x);
  if (problem.renormalize) {
    Value sum = k.select(k.lt(lane, problem.topK), weight, k.cf(0));
    for (int distance = int(std::bit_ceil(unsigned(problem.topK))) / 2; distance > 0; distance /= 2)
      sum = k.fadd(sum, k.butterfly(sum, distance));
    // Scores that are no logits are 0 or normal numbers, of which the approximation knows the inverse.
    Value divided = plain ? Value(arith::DivFOp::create(k.b, k.loc, weight, sum))
                          : k.fmul(weight, RcpOp::create(k.b, k.loc, k.f32(), sum));
    weight = k.select(equals(k, sum, 0), k.cf(0), divided);
  } else if (softmax) {
    weight = k.fmul(weight, inverse);
  }
  return problem.scale == 1 ? weight : k.fmul(weight, k.cf(float(problem.scale)));
}

RouteChoice::Chosen RouteChoice::choose(Value row, ValueRange raw) {
  Values logits;
  for (Value bits : raw)
    logits.push_back(logit(bits));
  const Values scores = scoresOf(logits), values = keysOf(logits, scores);
  Best best;
  if (!hasGroups()) // Without a bias the logits order experts, whatever scores there are.
    best = takeAll(ofAll(values));
  else if (Value stays = chosenGroups(values); oneOrder())
    best = takeAll(ofGroups(stays));
  else
    best = takeAll(masked(keysOf(logits, {}), stays));
  return {best.id, weigh(row, best)};
}

} // namespace lathe::codegen
