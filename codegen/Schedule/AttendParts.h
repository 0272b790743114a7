//===- AttendParts.h - What all forms of the main kernel share ---------------------------------------===//
//
// The main kernel of paged attention has three forms: query rows on the rows of the scores
// (AttendKernel.cpp), the same with two consumers in turns (Seesaw.h), or query rows on their columns
// (SwappedKernel.cpp). Here are the frame of the kernel, the walk over the work list, what producers do
// alike, limits of masks, the arithmetic of a softmax and the way of an item's results.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/AttentionKernels.h"
#include "lathe/codegen/Schedule/KernelBuilder.h"

namespace lathe::codegen {

inline constexpr float lowestScore =
    -1e30f;                           ///< Below any; finite, so that differences of maxima are numbers.
inline constexpr int boxColumns = 64; ///< bf16 elements of a 128-byte swizzle row.

class AttendParts {
public:
  AttendParts(mlir::OpBuilder &builder, const AttentionBuild &build, const KernelEntry &entry)
      : k(builder, builder.getUnknownLoc(), entry), build(build), problem(build.pattern.problem),
        consumers(build.config.consumers), tokens(build.config.kvTile) {}
  virtual ~AttendParts() = default;

  /// Writes the whole kernel.
  void run();

protected:
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;
  using Values = llvm::SmallVector<Value>;

  /// One entry of the work list, loaded.
  struct Item {
    Value sequence, begin, end, slot, length;
    Values values() const { return {sequence, begin, end, slot, length}; }
    static Item of(ValueRange v) { return {v[0], v[1], v[2], v[3], v[4]}; }
    static constexpr size_t size = 5;
  };
  /// A worker's turn at an item.
  struct Turn {
    Item item;
    Value count, queryCount; ///< The item's first tile in the ring, and its query.
    ValueRange carried;      ///< What the turn before left.
    Value more;              ///< Whether another item follows.
    /// The next item, read from the work list at the first call; of the last item the item itself.
    llvm::function_ref<const Item &()> next;
  };

  /// Roles of consumers and how many warpgroups each has; `role` says whose code is being written.
  virtual llvm::SmallVector<std::pair<llvm::StringRef, int>> consumerRoles() const {
    return {{"consumer", consumers}};
  }
  virtual void makePipes();
  /// One item of the producer, with what aheadOf gave for it; gives the number after its last tile.
  virtual Value produceItem(const Item &item, ValueRange ahead, Value count, Value queryCount) = 0;
  /// What the producer reads for an item before its turn: before the launch before has ended, for the first.
  virtual Values aheadOf(const Item &item) { return {}; }
  /// Before the first item: what does not change over the items. Gives what the first turn finds.
  virtual Values beginConsumer() { return {}; }
  /// One item; gives the number after its last tile, and what the next turn finds.
  virtual Values consumeItem(const Turn &turn) = 0;

  //===- Frame ----------------------------------------------------------------------------------------===//

  /// for (i = from; i < to; ++i) carried = body(i, carried).
  Values loop(Value from, Value to, ValueRange carried, llvm::function_ref<Values(Value, ValueRange)> body);
  mlir::Type fragment(int columns) { return tile::FragmentType::get(k.b.getContext(), columns); }
  mlir::Type rows(mlir::Type element) { return tile::RowsType::get(k.b.getContext(), element); }
  tile::BufferType tileType() { return tile::BufferType::get(k.b.getContext(), tokens, problem.keyDim, 128); }
  /// Element-wise code; `body` gets a scalar for each input.
  Value map(mlir::Type result, ValueRange inputs, llvm::function_ref<Value(mlir::Block *)> body);
  Value map2(Value x, Value y, llvm::function_ref<Value(Value, Value)> body);
  Value exp2(Value x) { return tile::Exp2Op::create(k.b, k.loc, k.f32(), x); }
  /// x · by, where by has a value for each element, row or column of x.
  Value product(Value x, Value by);
  /// then() where the condition holds, else `otherwise`.
  Values choose(Value condition, ValueRange otherwise, llvm::function_ref<Values()> then);
  Value choose(Value condition, Value otherwise, llvm::function_ref<Value()> then);
  Value splat(mlir::Type type, Value value) { return tile::SplatOp::create(k.b, k.loc, type, value); }
  /// Waits for all WGMMA; the fragments are values again.
  Values waitAll(ValueRange fragments);

  //===- Masks and results ----------------------------------------------------------------------------===//

  /// Tokens that query row `row` (of the sequence) attends to: the description's bound, never past the
  /// length.
  Value limitOf(Value row, Value length);
  /// Tokens that every row of this CTA attends to: tiles below need no mask.
  Value unmaskedTokens(const Item &item);
  /// 2^(scores · factor - maxima), one operation an element: the factor is positive (Kernel::run), so that
  /// the scores' maxima times it are those of their products, and maxima alone are in base-2 units.
  Value probabilitiesOf(Value scores, Value maxima);
  /// 2^(from - to): what results for maxima `from` are multiplied by when these become `to`.
  Value shrinkOf(Value from, Value to);
  /// The item's output, not divided by the sums yet, and its logarithms: to the result, or to the item's slot
  /// of the partial results.
  void storeItem(const Item &item, ValueRange output, Value maxima, Value sums);
  /// How a form writes fragments of the output, and a value a row; `offset` is that of a row's first element.
  virtual void storeOutput(ValueRange output, Value base, mlir::Type element,
                           llvm::function_ref<Value(Value)> offset) = 0;
  virtual void storeLse(Value lse, Value base, llvm::function_ref<Value(Value)> offset) = 0;
  /// Fills the region of a store: from a CTA row to the offset of its global row, and whether there is one.
  void rowRegion(mlir::Region &region, llvm::function_ref<Value(Value)> offset);
  /// Lets the next launch start, where the configuration wants it only now.
  void launchLate();

  //===- Producer -------------------------------------------------------------------------------------===//

  /// A piece of a KV tile that lies in one page.
  struct Piece {
    Value page, inPage; ///< inPage: its first row's place in the page.
    int row, rows;      ///< Of the tile.
  };
  /// With cacheAhead query number 0 waits for the launch before.
  void loadQuery(const Item &item, Value count);
  /// Units of the item, from its first on, that no launch of this step has written to.
  Value oldUnits(const Item &item);
  Value pageOf(const Item &item, Value token);
  /// The pieces of `rows` tokens from `first` on; each reads the table.
  llvm::SmallVector<Piece> piecesOf(const Item &item, Value first, int rows);
  /// Issues the boxes from `from` to `to` of a piece into the stage.
  void loadBoxes(const Piece &piece, Value pipe, Value count, int from, int to);
  /// First token of this CTA's share of a unit, which is a part of each tile where a cluster shares them.
  Value shareOf(Value unit);

  /// The pieces of a unit's tiles, one tile's behind the other's, and the values that tell them from those of
  /// another unit. Reading the table takes longer than a tile can wait for: forms with registers for it read
  /// a unit ahead.
  using Pages = llvm::SmallVector<Piece>;
  Pages pagesOf(const Item &item, Value unit);
  Values valuesOf(const Pages &pages) const;
  Pages withValues(ValueRange values);
  /// Brings them to the L2 cache.
  void prefetch(const Pages &pages);
  /// aheadOf() the first item; exchanged with config.prefetch, its first tile is on its way to the L2 cache
  /// before the launch before has ended.
  Values firstAhead(const Item &item);
  /// Goes over the item's units; body(unit, pages, pages of the next unit, count).
  using UnitBody = llvm::function_ref<Value(Value, const Pages &, const Pages &, Value)>;
  Value overUnits(const Item &item, ValueRange firstPages, Value count, UnitBody body);

  KernelBuilder k;
  const AttentionBuild &build;
  const AttentionProblem &problem;
  int consumers, tokens;
  int role = 0;
  Value queryPipe, kvPipe, rowBlock, factor, consumer;

private:
  /// 1 / sum, 0 for rows that attend to nothing.
  Value inverseOf(Value sums);
  /// Logarithm in base 2 times `unit`; `empty` for rows that attend to nothing.
  Value logarithm(Value maxima, Value sums, float unit, float empty);
  /// Offset of a query row's first element, or of its logarithm, among the partial results.
  Value partialRow(const Item &item, Value row);
  void writeRoles();
  void loadRange();
  Item loadItem(Value index);
  /// Goes over the worker's items. first(item) gives what the first turn finds, body(turn) the number after
  /// the item's last tile and what the next turn finds.
  void overItems(llvm::function_ref<Values(const Item &)> first,
                 llvm::function_ref<Values(const Turn &)> body);
  /// Whether the next item is loaded while one is worked on: that takes registers.
  bool itemsAhead() const;

  Value firstItem, lastItem;
};

} // namespace lathe::codegen
