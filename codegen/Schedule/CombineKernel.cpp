//===- CombineKernel.cpp - Merges the partial results of split sequences -----------------------------===//
//
// One warp a row: the parts' logarithms give their weights (2^(l - max) over the sum), lanes own columns.
// Rows of sequences that were not split return at once: the main kernel wrote them.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/AttentionKernels.h"
#include "lathe/codegen/Schedule/KernelBuilder.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr int combineThreads = 256;
static constexpr int columnsPerLane = 4; // One 16-byte load.

namespace {

class CombineBuilder {
public:
  CombineBuilder(OpBuilder &builder, const AttentionBuild &build, const KernelEntry &entry)
      : k(builder, builder.getUnknownLoc(), entry), build(build), problem(build.pattern.problem) {}

  void run() {
    Value block = NVVM::BlockIdXOp::create(k.b, k.loc, k.i32());
    Value warp = k.uniform(k.shr(k.thread(), 5));
    Value task = k.add(k.mul(block, combineThreads / 32), warp);
    k.when(k.lt(task, k.mul(k["batch"], problem.rows())), [&] {
      sequence = k.divu(task, problem.rows());
      row = k.remu(task, problem.rows());
      Value split = k.mul(sequence, 2);
      firstSlot = loadI32(k, k["splits"], split);
      parts = loadI32(k, k["splits"], k.add(split, 1));
      k.when(k.lt(k.c(1), parts), [&] { combineRow(); });
    });
    k.finish();
  }

private:
  /// Row index among all partial rows, of part `part`.
  Value partialRow(Value part) {
    int rows = build.resources.rowBlocks * build.config.rowsPerCta;
    return k.add(k.mul(k.add(firstSlot, part), rows), row);
  }
  Value partLse(Value part) {
    return k.load(k.f32(), k.at(k["partial_lse"], k.wide(k.mul(partialRow(part), 4))));
  }
  Value exp2(Value x) { return Exp2Op::create(k.b, k.loc, k.f32(), x); }

  /// Folds part l, l + 32, … of lane l into a value, then the lanes into one.
  Value overParts(Value init, llvm::function_ref<Value(Value, Value)> fold,
                  llvm::function_ref<Value(Value, Value)> merge) {
    auto op = scf::ForOp::create(k.b, k.loc, k.lane(), parts, k.c(32), ValueRange{init});
    {
      OpBuilder::InsertionGuard guard(k.b);
      k.b.setInsertionPointToStart(op.getBody());
      scf::YieldOp::create(k.b, k.loc, fold(op.getRegionIterArgs()[0], partLse(op.getInductionVar())));
    }
    Value result = op.getResult(0);
    for (int distance = 16; distance > 0; distance /= 2)
      result = merge(result, k.butterfly(result, distance));
    return result;
  }

  void combineRow() {
    float infinity = std::numeric_limits<float>::infinity();
    auto largest = [&](Value x, Value y) { return k.fmax(x, y); };
    Value top = overParts(k.cf(-infinity), largest, largest);
    // All parts empty: any finite reference, so that the weights are 0 and not NaN.
    Value none = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OEQ, top, k.cf(-infinity));
    Value reference = k.select(none, k.cf(0), top);
    Value sum = overParts(
        k.cf(0), [&](Value total, Value lse) { return k.fadd(total, exp2(k.fsub(lse, reference))); },
        [&](Value x, Value y) { return k.fadd(x, y); });
    Value inverse = k.select(none, k.cf(0), RcpOp::create(k.b, k.loc, k.f32(), sum));
    storeColumns(weightedSum(reference, inverse));
    k.when(k.eq(k.lane(), 0), [&] {
      Value log = k.fmul(k.fadd(reference, Log2Op::create(k.b, k.loc, k.f32(), sum)), k.cf(float(M_LN2)));
      Value offset = lseOffset(k, sequence, row, problem.heads);
      k.store(k.select(none, k.cf(infinity), log), k.at(k["lse"], k.mul(offset, k.c64(4))));
    });
  }

  int chunks() const { return (problem.valueDim + 32 * columnsPerLane - 1) / (32 * columnsPerLane); }
  Value column(int chunk) { return k.add(k.mul(k.lane(), columnsPerLane), chunk * 32 * columnsPerLane); }
  VectorType quad() { return VectorType::get({columnsPerLane}, k.f32()); }

  SmallVector<Value> weightedSum(Value reference, Value inverse) {
    SmallVector<Value> init(chunks(), Value(LLVM::ZeroOp::create(k.b, k.loc, quad())));
    auto op = scf::ForOp::create(k.b, k.loc, k.c(0), parts, k.c(1), init);
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(op.getBody());
    Value part = op.getInductionVar();
    Value weight = k.fmul(exp2(k.fsub(partLse(part), reference)), inverse);
    Value weights = LLVM::UndefOp::create(k.b, k.loc, quad());
    for (int i = 0; i < columnsPerLane; ++i)
      weights = LLVM::InsertElementOp::create(k.b, k.loc, weights, weight, k.c(i));
    Value start = k.mul(k.wide(partialRow(part)), k.c64(problem.valueDim));
    SmallVector<Value> next;
    for (int chunk = 0; chunk < chunks(); ++chunk)
      next.push_back(addChunk(op.getRegionIterArgs()[chunk], weights, start, chunk));
    scf::YieldOp::create(k.b, k.loc, next);
    return SmallVector<Value>(op.getResults());
  }

  /// total + weight · the lane's columns of the chunk, where the row has them.
  Value addChunk(Value total, Value weights, Value start, int chunk) {
    auto add = [&]() -> Value {
      Value address = k.at(k["partial_out"], k.mul(k.add(start, k.wide(column(chunk))), k.c64(4)));
      return k.fma(k.load(quad(), address), weights, total);
    };
    if ((chunk + 1) * 32 * columnsPerLane <= problem.valueDim)
      return add();
    auto op = scf::IfOp::create(k.b, k.loc, TypeRange{quad()}, k.lt(column(chunk), problem.valueDim), true);
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(op.thenBlock());
    scf::YieldOp::create(k.b, k.loc, add());
    k.b.setInsertionPointToStart(op.elseBlock());
    scf::YieldOp::create(k.b, k.loc, total);
    return op.getResult(0);
  }

  void storeColumns(ArrayRef<Value> totals) {
    Value offset = outOffset(k, sequence, row, problem.heads);
    for (auto [chunk, total] : llvm::enumerate(totals))
      k.when(k.lt(column(chunk), problem.valueDim), [&] {
        Value address = k.at(k["out"], k.mul(k.add(offset, k.wide(column(chunk))), k.c64(2)));
        auto element = [&](int i) -> Value {
          return LLVM::ExtractElementOp::create(k.b, k.loc, total, k.c(i));
        };
        for (int i = 0; i < columnsPerLane; i += 2)
          k.store(k.packBf16(element(i), element(i + 1)), k.at(address, 2 * i));
      });
  }

  KernelBuilder k;
  const AttentionBuild &build;
  const AttentionProblem &problem;
  Value sequence, row, firstSlot, parts;
};

} // namespace

void buildCombineKernel(OpBuilder &builder, const AttentionBuild &build, KernelEntry &entry) {
  entry.name = "combine";
  entry.threads = combineThreads;
  entry.sharedBytes = 0;
  entry.arguments = {{"pointer", "splits"}, {"i32", "batch"}};
  for (KernelArgument &argument : outputArguments())
    entry.arguments.push_back(argument);
  CombineBuilder(builder, build, entry).run();
}

} // namespace lathe::codegen
