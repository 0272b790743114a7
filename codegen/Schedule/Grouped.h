//===- Grouped.h - Products of experts' weights with the rows that chose them ------------------------===//
//
// Builds both projections, `up` and `down`, which have one form, as two kernels or as one, `experts`;
// GroupedKernel.cpp draws it. Its parts: frame and consumers (GroupedKernel.cpp), how work is given out
// (GroupedItems.cpp), who brings weights and rows (GroupedProducer.cpp), what is done with results
// (GroupedActivation.cpp).
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/KernelBuilder.h"
#include "lathe/codegen/Schedule/MoeKernels.h"

namespace lathe::codegen {

/// What a kernel makes.
enum class Products { Up, Down, Both };

class GroupedBuilder {
public:
  GroupedBuilder(mlir::OpBuilder &builder, const MoeBuild &build, const KernelEntry &entry, Products products)
      : k(builder, builder.getUnknownLoc(), entry), build(build), problem(build.problem()),
        products(products), up(products != Products::Down) {}

  static int threads(const MoeConfig &config) { return (config.consumers + 1) * warpgroupThreads; }

  void run();

private:
  static constexpr int warpgroupThreads = 128, weightRows = 64;
  static constexpr int gatherers = 96; ///< Threads.
  static constexpr int itemWords = 4;
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;
  using Values = llvm::SmallVector<Value>;
  /// Rows of one expert and a block of its weights. Behind the last one comes one of expert -1.
  struct Item {
    Value expert, firstSlot, rows, block;
  };
  using ItemBody = llvm::function_ref<Value(const Item &, Value)>;
  /// Where a role stands: counts of the queue's entries and of stages of weights before.
  struct Place {
    Value entry, stage;
  };

  //===- Frame ----------------------------------------------------------------------------------------===//

  void writeRoles();
  void makePipes();
  /// body for each product of the kernel, from where the role stands to where it then stands; `up` says
  /// which.
  void overProducts(llvm::function_ref<Place(const Place &)> body);
  /// body for the narrowest of the widths that holds the tile's rows.
  void forWidth(Item item, llvm::function_ref<void(const Item &, int)> body);

  int cluster() const { return build.config.cluster; }
  /// Of this CTA in its cluster.
  Value rank() { return k.remu(mlir::NVVM::BlockIdXOp::create(k.b, k.loc, k.i32()), cluster()); }
  int consumers() const { return build.config.consumers; }
  bool dependent() const { return build.config.dependentLaunch != DependentLaunch::Off; }
  /// Rows of `up` that come from anywhere; all others lie together.
  bool gathered() const { return up && !build.config.permute; }
  /// `down` in one kernel with `up`, which is not waited for as a whole.
  bool follows() const { return products == Products::Both && !up; }
  /// The launch before has waited for `route`, so that tiles are known from the beginning.
  bool mapKnown() const { return !gathered(); }
  bool adds() const { return !up && build.config.atomic; }
  bool paired() const { return up && problem.halves == 2; }
  /// Columns that are summed over, and steps of a stage's depth in them.
  int depth() const { return up ? problem.hidden : problem.intermediate; }
  int steps() const { return depth() / build.config.depthTile; }
  /// Columns of the result, and those of an item.
  int outColumns() const { return up ? problem.intermediate : problem.hidden; }
  int consumerColumns() const { return paired() ? weightRows / 2 : weightRows; }
  /// Of an item: what the CTAs of a cluster take at once.
  int blocks() const { return outColumns() / (consumerColumns() * consumers() * cluster()); }
  int upBlocks() const { return upParts() / (consumers() * cluster()); }
  /// Results of consumers that make up a row of `up`.
  int upParts() const { return problem.intermediate * problem.halves / weightRows; }
  /// Rows of weights of a CTA's item.
  int itemRows() const { return weightRows * consumers(); }
  tile::BufferType stageOf(int rows) {
    return tile::BufferType::get(k.b.getContext(), rows, build.config.depthTile, 128);
  }

  /// The consumer's block of 64 rows of weights.
  Value blockOf(const Item &item) {
    return consumer ? k.add(k.mul(item.block, consumers()), consumer) : item.block;
  }

  /// The ring of rows, and its stage that goes with a stage of weights.
  Value rowRing() const { return follows() && together ? together : rows; }
  Value rowStage(Value stage) { return follows() && together ? k.sub(stage, secondStage) : stage; }
  /// Where a tile's counter lies (MoeKernels.h, ready).
  Value counterOf(const Item &item) { return k.divu(item.firstSlot, moeSlotTile); }

  void gridWait() {
    if (dependent())
      tile::GridWaitOp::create(k.b, k.loc);
  }

  //===- Items ----------------------------------------------------------------------------------------===//

  void makeQueue();
  /// What the thread that finds items does: body(item, count of stages before it, what to do halfway) for
  /// each, after the others have been told of it.
  void giveOut(llvm::function_ref<void(const Item &, Value, llvm::function_ref<void()>)> body);
  /// What all others do: body(item, count of stages before it), which gives the count after it.
  Place overItems(const Place &from, ItemBody body, bool single = false);
  /// Items of both products have one order: those of `up`, then those of `down`.
  Value allItems();
  /// An item's number among those of its product.
  Value ownIndex(Value index) { return follows() ? k.sub(index, k.mul(tiles, upBlocks())) : index; }
  /// The item after that of number `index`; allItems() or more where there is none.
  Value nextIndex(Value index);
  /// The entry of an item's tile, of expert -1 where there is none of this product.
  Values entryOf(Value index);
  /// Block by block through the tiles of an expert, so that those that read the same weights do so at the
  /// same time; where it has many, through as many at once as have about as many rows as all CTAs' blocks.
  Item itemOf(Value index, mlir::ValueRange entry);
  /// The expert's item of this number: a part of its rows and a block.
  Item partOf(mlir::ValueRange entry, Value parts, Value item);

  //===- Producer -------------------------------------------------------------------------------------===//

  void produce();
  /// Until all stages of the first ring of rows have been given back.
  void drain(const Place &from);
  /// The CTA's share of the first experts' weights, to the L2 cache.
  void prefetchFirst();
  /// Of the CTA's first item: its rows are still being made when the ring is full of its weights.
  void prefetchItem(const Item &item, Value count);
  /// body(column, stage) for steps `from` to `to`; gives the count of stages after them.
  Value overSteps(Value count, int from, int to, llvm::function_ref<void(Value, Value)> body);
  void loadWeights(const Item &item, Value count, llvm::function_ref<void()> halfway);
  void loadExpert(const Item &item, Value column, Value stage);
  void loadBoxes(llvm::StringRef map, Value block, Value expert, Value column, Value stage);
  /// Each thread finds its rows once an item: the row of the choice that has the slot.
  Value gatherRows(const Item &item, Value thread, Value count);
  void loadRows(const Item &item, Value count);
  /// All rows of the tile at once; with several widths by boxes of fewer, as many as there are rows for,
  /// which the CTAs of a cluster bring in turns for all.
  void loadBoxedRows(const Item &item, Value column, Value stage);

  //===- Consumer -------------------------------------------------------------------------------------===//

  void release(Value stage) {
    tile::ReleaseOp::create(k.b, k.loc, weights, stage, 0);
    tile::ReleaseOp::create(k.b, k.loc, rowRing(), rowStage(stage), 0);
  }
  Value consume(const Item &item, Value count);
  /// A stage is given back when the product of the next one has been begun.
  void consume(const Item &item, Value count, int width);
  void store(const Item &item, Value sum);
  /// With config.atomic, for `down`: what the lane must tell tile.add_transposed, and the sum's way out.
  void findChoices(const Item &item);
  void addToSums(const Item &item, Value sum);
  void fill(mlir::Region &region, llvm::ArrayRef<mlir::Type> arguments,
            llvm::function_ref<Values(mlir::Block &)> body);
  /// From a column of the accumulator to its slot's place in the result.
  void rowRegion(mlir::Region &region, const Item &item);
  Value mapped(Value sum);
  Value activated(Value gate, Value other);
  /// x · sigmoid(x) · y = h·y·tanh(h) + h·y, h = x / 2.
  Value siluTimes(Value x, Value y);
  /// x / 2 · (1 + erf(x / √2)); erf by 7.1.26 of Abramowitz and Stegun, Handbook of Mathematical Functions
  /// (absolute error 1.5e-7).
  Value gelu(Value x);
  Value magnitude(Value x) { return k.fmax(x, k.fsub(k.cf(0), x)); } ///< |x|.

  KernelBuilder k;
  const MoeBuild &build;
  const MoeProblem &problem;
  const Products products;
  bool up;             ///< The product whose code is being written.
  Value weights, rows; ///< Pipes.
  Value together;      ///< Pipe of `down` in the same memory, where `up` has one that is gathered.
  Value secondStage;   ///< The first stage of `down`, of weights.
  Value items;         ///< Queue.
  Value tiles;         ///< How many there are.
  Value consumer;      ///< Number of the warpgroup among several consumers.
  Values choiceRows, choiceWeights; ///< Of the item's columns, those that the lane tells.
};

} // namespace lathe::codegen
