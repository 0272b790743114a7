//===- PermuteKernel.cpp - Rows copied into the order of slots ---------------------------------------===//
//
// TMA brings rows that lie together, and to several CTAs at once: where each row is read by many blocks of
// weights, copying all of them once costs less than gathering them for each block. A warp a slot, 16 bytes a
// lane, eight of them on their way at once.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/KernelBuilder.h"
#include "lathe/codegen/Schedule/MoeKernels.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr int permuteWarps = 8, chunkColumns = 8, warpChunks = 32, atOnce = 8;

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
    Value warp = k.uniform(k.shr(k.thread(), 5));
    Value first = k.add(k.mul(NVVM::BlockIdXOp::create(k.b, k.loc, k.i32()), permuteWarps), warp);
    Value stride = k.mul(NVVM::GridDimXOp::create(k.b, k.loc, k.i32()), permuteWarps);
    Value routed = loadI32(k, k["offsets"], k.c(problem.experts));
    k.loop(first, k.add(routed, sharedSlots()), stride, [&](Value index) {
      // Slots of shared experts are counted behind the last of the others.
      Value slot = k.select(k.lt(index, routed), index, k.add(k.sub(index, routed), k["shared_start"]));
      Value choice = loadI32(k, k["slots"], slot);
      k.when(k.ge(choice, k.c(0)), [&] { copyRow(k.divu(choice, problem.topK), slot); });
    });
    k.finish();
  }

private:
  using Value = mlir::Value;

  Value sharedSlots() {
    Value padded = k.mul(k.divu(k.add(k["rows"], moeSlotTile - 1), moeSlotTile), moeSlotTile);
    return k.mul(padded, problem.shared);
  }

  void copyRow(Value row, Value slot) {
    Value from = k.at(k["x"], k.mul(k.mul(k.wide(row), k["x_stride"]), k.c64(2)));
    Value to = k.at(k["expert_out"], k.mul(k.wide(slot), k.c64(int64_t(2) * problem.hidden)));
    const int chunks = problem.hidden / chunkColumns;
    for (int begin = 0; begin < chunks; begin += warpChunks * atOnce) {
      const int parts = (std::min(chunks - begin, warpChunks * atOnce) + warpChunks - 1) / warpChunks;
      const bool whole = begin + parts * warpChunks <= chunks;
      // A row ends at a multiple of 64 columns: of the last part some lanes have nothing.
      copyParts(from, to, begin, whole ? parts : parts - 1);
      if (!whole) {
        const int last = begin + (parts - 1) * warpChunks;
        k.when(k.lt(k.lane(), chunks - last), [&] { copyParts(from, to, last, 1); });
      }
    }
  }

  void copyParts(Value from, Value to, int begin, int parts) {
    auto chunk = VectorType::get({4}, k.i32());
    auto offset = [&](int part) {
      return k.wide(k.mul(k.add(k.lane(), begin + part * warpChunks), 2 * chunkColumns));
    };
    SmallVector<Value> values;
    for (int part = 0; part < parts; ++part)
      values.push_back(k.load(chunk, k.at(from, offset(part))));
    for (int part = 0; part < parts; ++part)
      k.store(values[size_t(part)], k.at(to, offset(part)));
  }

  KernelBuilder k;
  const MoeBuild &build;
  const MoeProblem &problem;
};

} // namespace

void buildPermuteKernel(OpBuilder &builder, const MoeBuild &build, KernelEntry &entry) {
  entry.name = "permute";
  entry.threads = 32 * permuteWarps;
  entry.sharedBytes = 0;
  entry.arguments = {{"pointer", "x"},         {"i64", "x_stride"},    {"i32", "rows"},
                     {"pointer", "slots"},     {"pointer", "offsets"}, {"i32", "shared_start"},
                     {"pointer", "expert_out"}};
  PermuteBuilder(builder, build, entry).run();
}

} // namespace lathe::codegen
