//===- Seesaw.h - The main kernel with two consumers in turns ----------------------------------------===//
//
// For many query rows, whose products are the limit. A unit of work is two KV tiles of 64 tokens. The left
// consumer computes the scores of the first, the right one those of the second; each owns half of the value
// columns of the output. They take turns, so that one's softmax runs while the tensor cores work for the
// other:
//
//   left    S0 box by box │ softmax → P0 ─┬ O += P0·V0 (registers) │ ┌─ O += P1·V1 │ next S0 ···
//   right   S1 box by box ················└ O += P0·V0 │ softmax → P1 ┴ O += P1·V1 (registers) │ next S1 ···
//
// Both multiply with a tile at the same time, so that it is given back soon: with room for two tiles only,
// whose boxes every CTA brings for itself, the way from L2 to the SMs is the limit, and it must never idle.
// Who tells probabilities and maxima does not wait, who asks for them does. Each output is first brought to
// the maxima of the left consumer, then to those of both.
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
  /// State of a consumer between units.
  struct State {
    Value count, output, maxima, sums;
    Values values() const { return {count, output, maxima, sums}; }
    static State of(ValueRange v) { return {v[0], v[1], v[2], v[3]}; }
  };

  //===- Both -----------------------------------------------------------------------------------------===//

  bool isLeft() const { return role == 0; }
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

  void beginConsumer() override {}
  Value consumeItem(const Item &item, Value count, Value queryCount) override;
  /// One unit; the state's count is that of the unit.
  State left(Value scores, State state);
  State right(Value scores, State state);
  /// Q·Kᵀ of the own tile, box by box as they arrive, in base-2 units.
  Value scoresOf(Value count);
  /// Masks scores at the rows' limits; rows of the own tile without tokens are cleared.
  Value maskTail(const Item &item, Value unit, Value scores);
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
  void prefetch(const Pages &pages);

  Value oddPipe, query;
};

} // namespace lathe::codegen
