//===- Seesaw.h - The main kernel with two consumers in turns ----------------------------------------===//
//
// For many query rows, whose products are the limit. A unit of work is two KV tiles of 64 tokens. The left
// consumer computes the scores of the first, the right one those of the second; each owns half of the value
// columns of the output. They take turns, so that one's softmax runs while the tensor cores work for the
// other:
//
//   left    S0 box by box │ softmax → P0 ─┬ O += P0·V0 (registers) │ ┌─ O += P1·V1 ┬ next S0 ···
//   right   S1 box by box ················└ O += P0·V0 │ softmax → P1 ┴ O += P1·V1 (registers) │ next S1 ···
//
// Both multiply with a tile at the same time, so that it is given back soon. Who tells probabilities and
// maxima does not wait, who asks for them does. Each output is first brought to the maxima of the left
// consumer, then to those of both.
//
// With config.prefetch the next unit is there soon after it is asked for: the left consumer begins its next
// scores under its last products. Without, it would wait there for the memory, and gives back the second tile
// first. With the prefetch, too, the last box of the query is in registers, so that scores read less shared
// memory, whose bandwidth they take all of.
//
// The idea of two consumers over two tiles and halves of the output is FlashMLA's ("seesaw"). Maxima move
// only where they grow by more than 2^8, so that most tiles leave the output alone: probabilities stay below
// 2^8 and the result does not change beyond rounding.
//
// A tile's boxes are [left values | right values | keys only]. Each of these parts has an empty barrier of
// its own and each box a full one: scores begin with the boxes that are there, and a part is loaded again
// when its only reader has multiplied with it.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/RowParts.h"

namespace lathe::codegen {

class SeesawBuilder final : public RowParts {
public:
  using RowParts::RowParts;

private:
  enum Part { LeftValues = 0, RightValues = 1, KeysOnly = 2 };
  struct Range {
    int from, to;
  };
  /// Named events. Own and the one after it are each a consumer's own.
  enum Event { LeftProbabilities = 1, RightProbabilities = 2, Sums = 3, Own = 4 };
  /// Arrays of the row statistics.
  enum Array { LeftMaximum = 0, LeftShrink = 1, RightMaximum = 2, RightShrink = 3, FirstSums = 4 };
  /// State of a consumer between units.
  struct State {
    Value count, output, maxima, sums;
    Value scores; ///< Of the next unit, not masked yet, where a unit ends with them; else null.
    Values values() const {
      Values all{count, output, maxima, sums};
      if (scores)
        all.push_back(scores);
      return all;
    }
    static State of(ValueRange v) { return {v[0], v[1], v[2], v[3], v.size() > 4 ? v[4] : Value()}; }
  };

  //===- Both -----------------------------------------------------------------------------------------===//

  bool isLeft() const { return role == 0; }
  /// Whether a unit ends with the next one's scores, so that no jump stands between them and the products. It
  /// is code for an item's first scores, too, which costs CTAs of few units more than it gains.
  bool carriesScores() const { return build.resources.rowBlocks > 1; }
  int depthOf(int box) const { return std::min(boxColumns, problem.keyDim - box * boxColumns); }
  bool hasKeysOnly() const { return build.memory.stageParts > 2; }
  Range boxesOf(Part part) const;
  /// Parts of a unit's first or second tile, as the producer loads and the scores use them.
  llvm::SmallVector<Part> partsOf(int tile) const;
  Value pipeOf(int tile) const { return tile == 0 ? kvPipe : oddPipe; }
  /// The stage of a unit's first or second tile; does not wait.
  Value tileOf(int tile);
  llvm::SmallVector<std::pair<llvm::StringRef, int>> consumerRoles() const override {
    return {{"left", 1}, {"right", 1}};
  }
  void makePipes() override;

  //===- Consumers ------------------------------------------------------------------------------------===//

  Values beginConsumer() override;
  Values consumeItem(const Turn &turn) override;
  /// One unit from its scores, masked, to its last products, which are in flight. The state's count is that
  /// of the unit.
  State left(Value scores, State state);
  State right(Value scores, State state);
  /// After it: all products waited for.
  State endUnit(const Item &item, Value unit, State state);
  Value nextScores(State &state, Value count);
  /// Its last products are waited for, and what they read of the second tile is given back.
  void waitAndGiveBack(State &state);
  void giveBack(Value count);
  void awaitQuery(Value count);
  /// Waits for an item's query and computes its first unit's scores: what is carried to the item's turn.
  Values firstScores(Value count, Value queryCount);
  Value noScores() { return splat(fragment(tokens), k.cf(0)); }
  /// Q·Kᵀ of the own tile, box by box as they arrive, in base-2 units.
  Value scoresOf(Value count);
  /// Begins raw + Q·Kᵀ over the columns of these parts of the own tile, as a group of its own.
  Value multiplyKeys(Value raw, llvm::ArrayRef<Part> parts, Value count);
  /// Waits for all groups of products but the last `pending`; their fragments stay in flight.
  void waitBut(int pending) { tile::MmaWaitOp::create(k.b, k.loc, mlir::TypeRange{}, pending, ValueRange{}); }
  /// Masks scores at the rows' limits; rows of the own tile without tokens are cleared.
  Value maskTail(const Item &item, Value unit, Value scores);
  /// 2^(scores - maxima), of scores in base-2 units: with the factor left to the exponent, as
  /// probabilitiesOf() does it, units were 1 to 2 % slower (docs/schedules/seesaw.md).
  Value exponentials(Value scores, Value maxima);
  /// `before` where the maxima found exceed it by at most 2^8, else these.
  Value moved(Value before, Value found);
  Value scaled(Value output, Value by);
  /// sums · by + the thread's share of the row sums of p.
  Value addedSums(Value sums, Value by, Value p);
  Value pack(Value p);
  Value probabilityBuffer(int tile);
  /// Begins output + p·V over the tile's tokens for the consumer's columns, as a group of its own.
  Value multiply(Value output, Value p, int tile);
  Value totalSums(Value sums);
  void release(int tile, Part part, Value count);

  //===- Producer -------------------------------------------------------------------------------------===//

  Values aheadOf(const Item &item) override { return valuesOf(pagesOf(item, item.begin)); }
  Value produceItem(const Item &item, ValueRange ahead, Value count, Value queryCount) override;
  void loadPart(int tile, Part part, const Pages &pages, Value count);
  void loadUnit(const Item &item, Value unit, const Pages &pages, Value count, Value queryCount);
  void awaitUnit(Value count);

  Value oddPipe, query;
  Value lastQuery; ///< With the prefetch: the last box of the query, in registers.
};

} // namespace lathe::codegen
