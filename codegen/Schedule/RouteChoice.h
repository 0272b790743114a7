//===- RouteChoice.h - A warp chooses the experts of a row -------------------------------------------===//
//
// Logits to ids and weights by the rules of dsl/Routing.h, as operations of the routing kernel. Nothing here
// knows of other rows. Called by RouteKernel.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/KernelBuilder.h"
#include "lathe/codegen/Schedule/RoutePlan.h"

namespace lathe::codegen {

class RouteChoice {
public:
  /// Writes what all rows have in common at the builder's place; reads the bias.
  RouteChoice(KernelBuilder &k, const MoeProblem &problem);

  /// The lane's logits of a row as they lie in memory: choose() takes them, so that the next row's are on
  /// their way meanwhile.
  llvm::SmallVector<mlir::Value> load(mlir::Value row);

  /// Id (i32) and weight (f32) of choice `lane`, in lanes below topK.
  struct Chosen {
    mlir::Value id, weight;
  };
  Chosen choose(mlir::Value row, mlir::ValueRange raw);

private:
  using Value = mlir::Value;
  using Values = llvm::SmallVector<Value>;

  bool hasGroups() const { return routeHasGroups(problem); }
  bool sumsTwoBest() const { return hasGroups() && problem.sumOfTwoBest && groups.size > 1; }
  /// Whether keys or group scores are made of scores; else the logits order them.
  bool needsScores() const { return problem.bias || sumsTwoBest(); }
  /// Whether experts are ordered by what their groups are judged by.
  bool oneOrder() const { return problem.bias || !sumsTwoBest(); }

  Value sharedFloat(Value index);
  Value readLogit(Value row, Value expert, int64_t offset);
  Value logit(Value raw);
  Value sigmoid(Value logit);
  Value exponential(Value logit);
  void scoreSoftmax(const Values &logits);
  Values scoresOf(const Values &logits);
  Values keysOf(const Values &logits, const Values &scores);
  Value groupScore(const Values &values);
  Value chosenGroups(const Values &values);
  /// Experts of the lane that may be chosen.
  struct Candidates {
    Values keys, ids;
  };
  Candidates ofAll(const Values &keys);
  Candidates ofGroups(Value stays);
  Candidates masked(const Values &keys, Value stays);
  struct Best {
    Value key, id;
  };
  void take(Values &keys, const Values &ids, Best &mine, Value choice);
  Best takeAll(const Candidates &candidates);
  Value weigh(Value row, const Best &best);

  KernelBuilder &k;
  const MoeProblem &problem;
  RouteGroups groups;
  Value lane;
  Values experts; ///< Ids of the lane's experts.
  Values inside;  ///< Whether there is such an expert; null where there is for all lanes.
  Values biases;
  Values groupLane, keyWord;  ///< Of each expert: the first lane of its group, its word in shared memory.
  Value warpKeys, warpChosen; ///< The warp's words in shared memory.
  Value reference, inverse;   ///< Softmax of this row: the largest logit, one over the sum.
  Values exponentials;
};

} // namespace lathe::codegen
