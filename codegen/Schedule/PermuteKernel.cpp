//===- PermuteKernel.cpp - Rows copied into the order of slots ---------------------------------------===//
//
// TMA brings rows that lie together, and to several CTAs at once: where each row is read by many blocks of
// weights, copying all of them once costs less than gathering them for each block. A warp a row and 2048
// columns, 16 bytes a lane, eight of them on their way at once: read once, written to each of the row's
// slots.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/KernelBuilder.h"
#include "lathe/codegen/Schedule/MoeKernels.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr int permuteWarps = 8, chunkColumns = 8, warpChunks = 32,
                     partColumns = 8 * warpChunks * chunkColumns;

namespace {

class PermuteBuilder {
public:
  PermuteBuilder(OpBuilder &builder, const MoeBuild &build, const KernelEntry &entry)
      : k(builder, builder.getUnknownLoc(), entry), build(build), problem(build.problem()) {}

  void run() {
    if (build.config.dependentLaunch != DependentLaunch::Off) {
      GridWaitOp::create(k.b, k.loc);
      GridLaunchOp::create(k.b, k.loc); // After the wait: whoever starts now knows the tiles.
    }
    const int parts = (problem.hidden + partColumns - 1) / partColumns;
    Value warp = k.uniform(k.shr(k.thread(), 5));
    Value first = k.add(k.mul(NVVM::BlockIdXOp::create(k.b, k.loc, k.i32()), permuteWarps), warp);
    Value stride = k.mul(NVVM::GridDimXOp::create(k.b, k.loc, k.i32()), permuteWarps);
    k.loop(first, k.mul(k["rows"], parts), stride, [&](Value task) {
      row = k.divu(task, parts);
      Value part = k.sub(task, k.mul(row, parts)), last = k.eq(part, parts - 1);
      column = k.mul(part, partColumns);
      k.when(last, [&] { copyColumns(problem.hidden - (parts - 1) * partColumns); });
      if (parts > 1)
        k.when(k.bxor(last, k.yes()), [&] { copyColumns(partColumns); });
    });
    k.finish();
  }

private:
  using Value = mlir::Value;

  /// Of the row, from `column` on. A row ends at a multiple of 64 columns: of the last chunks some lanes have
  /// none.
  void copyColumns(int count) {
    const int chunks = count / chunkColumns, whole = chunks / warpChunks, rest = chunks % warpChunks;
    copyChunks(0, whole);
    if (rest > 0)
      k.when(k.lt(k.lane(), rest), [&] { copyChunks(whole, 1); });
  }

  /// Chunks `first`, … of each lane: read once, written to all slots of the row.
  void copyChunks(int first, int count) {
    auto chunk = VectorType::get({4}, k.i32());
    auto at = [&](Value base, Value number, Value stride, int i) {
      Value inside = k.add(column, k.mul(k.add(k.lane(), (first + i) * warpChunks), chunkColumns));
      return k.at(base, k.mul(k.add(k.mul(k.wide(number), stride), k.wide(inside)), k.c64(2)));
    };
    SmallVector<Value> values;
    for (int i = 0; i < count; ++i)
      values.push_back(k.load(chunk, at(k["x"], row, k["x_stride"], i)));
    auto store = [&](Value slot) {
      for (int i = 0; i < count; ++i)
        k.store(values[size_t(i)], at(k["expert_out"], slot, k.c64(problem.hidden), i));
    };
    k.loop(k.c(0), k.c(problem.topK), k.c(1), [&](Value choice) {
      Value place = loadI32(k, k["places"], k.add(k.mul(row, problem.topK), choice));
      k.when(k.ge(place, k.c(0)), [&] { store(place); });
    });
    Value padded = k.mul(k.divu(k.add(k["rows"], moeSlotTile - 1), moeSlotTile), moeSlotTile);
    for (int expert = 0; expert < problem.shared; ++expert)
      store(k.add(k.add(k["shared_start"], k.mul(padded, expert)), row));
  }

  KernelBuilder k;
  const MoeBuild &build;
  const MoeProblem &problem;
  Value row, column; ///< Of the task.
};

} // namespace

void buildPermuteKernel(OpBuilder &builder, const MoeBuild &build, KernelEntry &entry) {
  entry.name = "permute";
  entry.threads = 32 * permuteWarps;
  entry.sharedBytes = 0;
  entry.arguments = {{"pointer", "x"},      {"i64", "x_stride"},     {"i32", "rows"},
                     {"pointer", "places"}, {"i32", "shared_start"}, {"pointer", "expert_out"}};
  PermuteBuilder(builder, build, entry).run();
}

} // namespace lathe::codegen
