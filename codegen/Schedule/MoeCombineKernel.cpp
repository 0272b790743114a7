//===- MoeCombineKernel.cpp - The weighted sum over a row's choices ----------------------------------===//
//
// A warp a row and 256 columns, eight columns a lane, 16 bytes a load; all choices' loads are on their way at
// once. The order of additions is that of the choices, then of the shared experts, so that every run has the
// same bits. With config.atomic `down` has made the sums already, in float32: here they are rounded, and
// zeros left for the next step. Counters of the products are set back here, too.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/KernelBuilder.h"
#include "lathe/codegen/Schedule/MoeKernels.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr int combineWarps = 8, laneColumns = 8, taskColumns = 32 * laneColumns;

namespace {

class MoeCombineBuilder {
public:
  MoeCombineBuilder(OpBuilder &builder, const MoeBuild &build, const KernelEntry &entry)
      : k(builder, builder.getUnknownLoc(), entry), build(build), problem(build.problem()) {}

  void run() {
    if (build.config.dependentLaunch != DependentLaunch::Off) {
      GridLaunchOp::create(k.b, k.loc);
      GridWaitOp::create(k.b, k.loc);
    }
    if (build.config.dynamic)
      k.when(k.eq(k.add(k.thread(), NVVM::BlockIdXOp::create(k.b, k.loc, k.i32())), 0), [&] { takeBack(); });
    const int chunks = (problem.hidden + taskColumns - 1) / taskColumns;
    Value warp = k.uniform(k.shr(k.thread(), 5));
    Value task = k.add(k.mul(NVVM::BlockIdXOp::create(k.b, k.loc, k.i32()), combineWarps), warp);
    row = k.divu(task, chunks);
    column = k.add(k.mul(k.sub(task, k.mul(row, chunks)), taskColumns), k.mul(k.lane(), laneColumns));
    if (build.config.oneLaunch)
      k.when(k.band(k.lt(row, k["rows"]), k.lt(column, taskColumns)), [&] { clearReady(); });
    k.when(k.band(k.lt(row, k["rows"]), k.lt(column, problem.hidden)),
           [&] { storeSum(build.config.atomic ? takeSums() : sumUp()); });
    k.finish();
  }

private:
  /// Both products have ended: the next ones find no item given out.
  void takeBack() {
    for (int product : {1, 2})
      storeI32(k, k.c(0), k["tile_count"], k.c(product));
  }

  /// Of all tiles in which the row has the first slot of a word's, so that each word is one row's: a lane a
  /// choice, and the first one those of shared experts.
  void clearReady() {
    auto clear = [&](Value slot) {
      k.when(k.eq(k.band(slot, moeSlotTile - 1), 0),
             [&] { storeI32(k, k.c(0), k["ready"], k.divu(slot, moeSlotTile)); });
    };
    k.when(k.lt(k.lane(), problem.topK), [&] {
      Value place = loadI32(k, k["places"], k.add(k.mul(row, problem.topK), k.lane()));
      k.when(k.ge(place, k.c(0)), [&] { clear(place); });
    });
    k.when(k.eq(k.lane(), 0), [&] {
      for (int expert = 0; expert < problem.shared; ++expert)
        clear(sharedSlot(expert));
    });
  }

  /// Eight bf16 of a slot, two a word.
  Value loadSlot(Value slot) {
    Value element = k.add(k.mul(k.wide(slot), k.c64(problem.hidden)), k.wide(column));
    return k.load(VectorType::get({laneColumns / 2}, k.i32()),
                  k.at(k["expert_out"], k.mul(element, k.c64(2))));
  }

  struct Term {
    Value words, weight; ///< weight null: 1.
  };
  Term choice(int number) {
    Value index = k.add(k.mul(row, problem.topK), number), place = loadI32(k, k["places"], index);
    Value weight = k.load(k.f32(), k.at(k["weights"], k.wide(k.mul(index, 4))));
    Value words = loadSlot(k.max(place, k.c(0)));
    // Of a choice that takes no part nothing counts, not even a NaN.
    Value zeros = LLVM::ZeroOp::create(k.b, k.loc, words.getType());
    return {k.select(k.lt(place, 0), zeros, words), k.select(k.lt(place, 0), k.cf(0), weight)};
  }
  Value sharedSlot(int expert) {
    Value padded = k.mul(k.divu(k.add(k["rows"], moeSlotTile - 1), moeSlotTile), moeSlotTile);
    return k.add(k.add(k["shared_start"], k.mul(padded, expert)), row);
  }
  Term shared(int expert) { return {loadSlot(sharedSlot(expert)), Value()}; }

  SmallVector<Value> sumUp() {
    SmallVector<Term> terms;
    for (int number = 0; number < problem.topK; ++number)
      terms.push_back(choice(number));
    for (int expert = 0; expert < problem.shared; ++expert)
      terms.push_back(shared(expert));
    SmallVector<Value> sums(laneColumns, k.cf(0));
    for (const Term &term : terms)
      add(sums, term);
    return sums;
  }

  SmallVector<Value> takeSums() {
    auto four = VectorType::get({4}, k.f32());
    Value element = k.add(k.mul(k.wide(row), k.c64(problem.hidden)), k.wide(column));
    Value from = k.at(k["sums"], k.mul(element, k.c64(4)));
    SmallVector<Value> sums;
    for (int part = 0; part < laneColumns / 4; ++part) {
      Value words = k.load(four, k.at(from, int64_t(16) * part));
      for (int i = 0; i < 4; ++i)
        sums.push_back(LLVM::ExtractElementOp::create(k.b, k.loc, words, k.c(i)));
    }
    for (int part = 0; part < laneColumns / 4; ++part)
      k.store(LLVM::ZeroOp::create(k.b, k.loc, four), k.at(from, int64_t(16) * part));
    return sums;
  }

  void storeSum(ArrayRef<Value> sums) {
    SmallVector<Value> packed;
    for (int word = 0; word < laneColumns / 2; ++word)
      packed.push_back(k.packBf16(sums[size_t(word) * 2], sums[size_t(word) * 2 + 1]));
    Value element = k.add(k.mul(k.wide(row), k["y_stride"]), k.wide(column));
    k.store(k.vector(packed), k.at(k["y"], k.mul(element, k.c64(2))));
  }

  void add(SmallVectorImpl<Value> &sums, const Term &term) {
    for (int word = 0; word < laneColumns / 2; ++word) {
      Value both = LLVM::ExtractElementOp::create(k.b, k.loc, term.words, k.c(word));
      Value halves[] = {k.shl(both, 16), k.band(both, -65536)};
      for (int i = 0; i < 2; ++i) {
        Value value = LLVM::BitcastOp::create(k.b, k.loc, k.f32(), halves[i]);
        Value &sum = sums[size_t(word) * 2 + size_t(i)];
        sum = term.weight ? k.fma(value, term.weight, sum) : k.fadd(value, sum);
      }
    }
  }

  using Value = mlir::Value;
  KernelBuilder k;
  const MoeBuild &build;
  const MoeProblem &problem;
  Value row, column;
};

} // namespace

void buildMoeCombineKernel(OpBuilder &builder, const MoeBuild &build, KernelEntry &entry) {
  entry.name = "combine";
  entry.threads = 32 * combineWarps;
  entry.sharedBytes = 0;
  if (build.config.atomic)
    entry.arguments = {{"pointer", "sums"}};
  else
    entry.arguments = {
        {"pointer", "expert_out"}, {"pointer", "places"}, {"pointer", "weights"}, {"i32", "shared_start"}};
  for (const KernelArgument &argument :
       std::initializer_list<KernelArgument>{{"i32", "rows"}, {"pointer", "y"}, {"i64", "y_stride"}})
    entry.arguments.push_back(argument);
  if (build.config.dynamic)
    entry.arguments.push_back({"pointer", "tile_count"});
  if (build.config.oneLaunch)
    entry.arguments.push_back({"pointer", "ready"});
  MoeCombineBuilder(builder, build, entry).run();
}

} // namespace lathe::codegen
