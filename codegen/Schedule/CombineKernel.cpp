//===- CombineKernel.cpp - Merges the partial results of split sequences -----------------------------===//
//
// A task is 256 or 512 columns of a row of a sequence that was split: the parts' logarithms give their
// weights (2^(l - max) over the sum), lanes own eight columns of each 256, 2^combine_shift warps of a CTA
// share the parts. Rows of sequences that were not split are left alone: the main kernel wrote them.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/AttentionKernels.h"
#include "lathe/codegen/Schedule/KernelBuilder.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr int combineWarps = 8, combineThreads = 32 * combineWarps;
static constexpr int64_t laneColumns = 8; // One 16-byte load of f16.
static constexpr int64_t groupColumns = 32 * laneColumns;
static constexpr int64_t inFlight = 4; // Parts that a warp loads at a time.
static constexpr int64_t exchangeRow =
    int64_t(33) * 4; // A value of all lanes, and a word that parts the banks.
static constexpr int64_t exchangeBytes = laneColumns * exchangeRow; // Of a warp and group.

namespace {

class CombineBuilder {
public:
  CombineBuilder(OpBuilder &builder, const AttentionBuild &build, const KernelEntry &entry)
      : k(builder, builder.getUnknownLoc(), entry), build(build), problem(build.pattern.problem) {}

  void run() {
    k.nameScratch("sums");
    bool dependent = build.config.dependentLaunch != DependentLaunch::Off;
    if (dependent)
      GridLaunchOp::create(k.b, k.loc);
    findTask();
    if (dependent) // The work list is older than the launch before.
      waitForParts();
    SmallVector<Value> sums = whenSplit([&] { return weightedSum(); });
    sums = overWarps(sums);
    k.when(k.band(split, k.eq(member, 0)), [&] { storeColumns(sums); });
    k.finish();
  }

private:
  Value exp2(Value x) { return Exp2Op::create(k.b, k.loc, k.f32(), x); }
  int64_t groups() const { return build.combineColumns() / groupColumns; }
  int64_t columns() const { return groups() * laneColumns; } ///< Of a lane.
  int chunks() const { return (problem.valueDim + build.combineColumns() - 1) / build.combineColumns(); }

  /// Who has nothing to merge goes at once, so that a large batch of whole sequences does not come through
  /// after the main kernel; but the first CTA stays, for whoever follows waits for this launch alone.
  void waitForParts() {
    Value first = k.eq(NVVM::BlockIdXOp::create(k.b, k.loc, k.i32()), 0);
    k.when(k.bor(split, first), [&] { GridWaitOp::create(k.b, k.loc); });
  }

  void findTask() {
    Value block = NVVM::BlockIdXOp::create(k.b, k.loc, k.i32());
    Value warp = k.uniform(k.shr(k.thread(), 5)), shift = k["combine_shift"];
    members = k.shl(k.c(1), shift);
    member = k.band(warp, k.sub(members, 1));
    Value task = k.add(k.shl(block, k.sub(k.c(3), shift)), k.shr(warp, shift));
    int rowTasks = problem.rows() * chunks();
    Value rank = k.divu(task, rowTasks), inSequence = k.remu(task, rowTasks);
    row = k.divu(inSequence, chunks());
    chunk = k.remu(inSequence, chunks());
    column = k.add(k.mul(chunk, build.combineColumns()), k.mul(k.lane(), laneColumns));
    Value bound = splitEntries(k, build.config.split);
    Value entry =
        k.load(VectorType::get({splitWords}, k.i32()),
               k.at(k["splits"], k.wide(k.mul(k.min(rank, k.sub(bound, 1)), int64_t(splitWords) * 4))));
    auto word = [&](int64_t i) -> Value { return LLVM::ExtractElementOp::create(k.b, k.loc, entry, k.c(i)); };
    sequence = word(0);
    firstSlot = word(1);
    parts = word(2);
    split = k.band(k.lt(rank, bound), k.lt(k.c(0), parts));
  }

  /// The lane's sums of `body` where the task is one, else zeros.
  SmallVector<Value> whenSplit(llvm::function_ref<SmallVector<Value>()> body) {
    auto op = scf::IfOp::create(k.b, k.loc, SmallVector<Type>(columns(), k.f32()), split, true);
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(op.thenBlock());
    scf::YieldOp::create(k.b, k.loc, body());
    k.b.setInsertionPointToStart(op.elseBlock());
    scf::YieldOp::create(k.b, k.loc, SmallVector<Value>(columns(), k.cf(0)));
    return SmallVector<Value>(op.getResults());
  }

  /// Row index among all partial rows, of part `part`.
  Value partialRow(Value part) {
    int rows = build.resources.rowBlocks * build.config.rowsPerCta;
    return k.add(k.mul(k.add(firstSlot, part), rows), row);
  }
  Value partLse(Value part) {
    return k.load(k.f32(), k.at(k["partial_lse"], k.wide(k.mul(partialRow(part), 4))));
  }

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

  /// The weights' reference and the inverse of their sum; writes the row's logarithm.
  std::pair<Value, Value> weigh() {
    float infinity = std::numeric_limits<float>::infinity();
    auto largest = [&](Value x, Value y) { return k.fmax(x, y); };
    Value top = overParts(k.cf(-infinity), largest, largest);
    // All parts empty: any finite reference, so that the weights are 0 and not NaN.
    Value none = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OEQ, top, k.cf(-infinity));
    Value reference = k.select(none, k.cf(0), top);
    Value sum = overParts(
        k.cf(0), [&](Value total, Value lse) { return k.fadd(total, exp2(k.fsub(lse, reference))); },
        [&](Value x, Value y) { return k.fadd(x, y); });
    k.when(k.band(k.eq(k.lane(), 0), k.band(k.eq(member, 0), k.eq(chunk, 0))), [&] {
      Value log = k.fmul(k.fadd(reference, Log2Op::create(k.b, k.loc, k.f32(), sum)), k.cf(float(M_LN2)));
      Value offset = lseOffset(k, sequence, row, problem.heads);
      k.store(k.select(none, k.cf(infinity), log), k.at(k["lse"], k.mul(offset, k.c64(4))));
    });
    return {reference, k.select(none, k.cf(0), RcpOp::create(k.b, k.loc, k.f32(), sum))};
  }

  /// The lane's columns of a part's group; those behind the row's end are read from its beginning, and not
  /// used.
  Value loadPart(Value part, int group) {
    Value at = k.add(column, group * groupColumns);
    Value from = k.lt(at, problem.valueDim);
    Value element =
        k.add(k.mul(k.wide(partialRow(part)), k.c64(problem.valueDim)), k.wide(k.select(from, at, k.c(0))));
    return k.load(VectorType::get({laneColumns / 2}, k.i32()),
                  k.at(k["partial_out"], k.mul(element, k.c64(2))));
  }

  /// Over the parts member, member + members, …: loads first, then weights, so that both are on their way at
  /// once.
  SmallVector<Value> weightedSum() {
    auto loadFrom = [&](Value first) {
      SmallVector<Value> loads;
      for (int i = 0; i < inFlight; ++i) {
        Value part = k.add(first, k.mul(members, i));
        for (int group = 0; group < groups(); ++group)
          loads.push_back(loadPart(k.min(part, k.sub(parts, 1)), group));
      }
      return loads;
    };
    SmallVector<Value> carried = loadFrom(member);
    auto [reference, inverse] = weigh();
    carried.append(columns(), k.cf(0));
    Value step = k.mul(members, inFlight);
    auto op = scf::ForOp::create(k.b, k.loc, member, parts, step, carried);
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(op.getBody());
    Value first = op.getInductionVar();
    SmallVector<Value> sums(op.getRegionIterArgs().drop_front(inFlight * groups()));
    for (int i = 0; i < inFlight; ++i) {
      Value part = k.add(first, k.mul(members, i)), inside = k.lt(part, parts);
      Value lse = partLse(k.min(part, k.sub(parts, 1)));
      Value weight = k.select(inside, k.fmul(exp2(k.fsub(lse, reference)), inverse), k.cf(0));
      for (int group = 0; group < groups(); ++group)
        addPart(MutableArrayRef(sums).slice(group * laneColumns, laneColumns),
                op.getRegionIterArgs()[i * groups() + group], weight);
    }
    SmallVector<Value> next = loadFrom(k.add(first, step));
    next.append(sums);
    scf::YieldOp::create(k.b, k.loc, next);
    return SmallVector<Value>(op.getResults().drop_front(inFlight * groups()));
  }

  void addPart(MutableArrayRef<Value> sums, Value halves, Value weight) {
    auto pair = VectorType::get({2}, k.b.getF16Type());
    for (int word = 0; word < laneColumns / 2; ++word) {
      Value bits = LLVM::ExtractElementOp::create(k.b, k.loc, halves, k.c(word));
      Value both = LLVM::BitcastOp::create(k.b, k.loc, pair, bits);
      for (int i = 0; i < 2; ++i) {
        Value half = LLVM::ExtractElementOp::create(k.b, k.loc, both, k.c(i));
        Value wide = LLVM::FPExtOp::create(k.b, k.loc, k.f32(), half);
        sums[2 * word + i] = k.fma(wide, weight, sums[2 * word + i]);
      }
    }
  }

  /// Member 0 gets what the others of its task have summed up. All warps of the CTA meet.
  SmallVector<Value> overWarps(ArrayRef<Value> mine) {
    Value warp = k.shr(k.thread(), 5);
    auto place = [&](Value owner, int value) {
      Value base = k.add(k.mul(owner, groups() * exchangeBytes), k.mul(k.lane(), 4));
      return k.at(k.at(k.shared(), base), int64_t(value) * exchangeRow);
    };
    auto op =
        scf::IfOp::create(k.b, k.loc, SmallVector<Type>(columns(), k.f32()), k.lt(k.c(1), members), true);
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(op.thenBlock());
    k.when(k.lt(k.c(0), member), [&] {
      for (auto [i, value] : llvm::enumerate(mine))
        k.store(value, place(warp, int(i)));
    });
    NVVM::Barrier0Op::create(k.b, k.loc);
    Value others = k.select(k.eq(member, 0), members, k.c(0));
    auto add = scf::ForOp::create(k.b, k.loc, k.c(1), others, k.c(1), ValueRange(mine));
    {
      OpBuilder::InsertionGuard inner(k.b);
      k.b.setInsertionPointToStart(add.getBody());
      SmallVector<Value> sums;
      for (int i = 0; i < columns(); ++i)
        sums.push_back(k.fadd(add.getRegionIterArgs()[i],
                              k.load(k.f32(), place(k.add(warp, add.getInductionVar()), i))));
      scf::YieldOp::create(k.b, k.loc, sums);
    }
    scf::YieldOp::create(k.b, k.loc, add.getResults());
    k.b.setInsertionPointToStart(op.elseBlock());
    scf::YieldOp::create(k.b, k.loc, mine);
    return SmallVector<Value>(op.getResults());
  }

  void storeColumns(ArrayRef<Value> sums) {
    auto quad = VectorType::get({laneColumns / 2}, k.i32());
    for (int group = 0; group < groups(); ++group) {
      ArrayRef<Value> mine = sums.slice(group * laneColumns, laneColumns);
      Value at = k.add(column, group * groupColumns);
      k.when(k.lt(at, problem.valueDim), [&] {
        Value packed = k.undef(quad);
        for (int64_t word = 0; word < laneColumns; word += 2)
          packed = LLVM::InsertElementOp::create(k.b, k.loc, packed, k.packBf16(mine[word], mine[word + 1]),
                                                 k.c(word / 2));
        Value element = k.add(outOffset(k, sequence, row, problem.heads), k.wide(at));
        k.store(packed, k.at(k["out"], k.mul(element, k.c64(2))));
      });
    }
  }

  KernelBuilder k;
  const AttentionBuild &build;
  const AttentionProblem &problem;
  Value sequence, row, chunk, column, firstSlot, parts, split;
  Value members, member; ///< Warps of a task, and which of them this one is.
};

} // namespace

void buildCombineKernel(OpBuilder &builder, const AttentionBuild &build, KernelEntry &entry) {
  entry.name = "combine";
  entry.threads = combineThreads;
  entry.sharedBytes = combineWarps * (build.combineColumns() / groupColumns * exchangeBytes);
  entry.arguments = {{"pointer", "splits"}, {"i32", "batch"}, {"i32", "workers"}, {"i32", "combine_shift"}};
  for (KernelArgument &argument : outputArguments())
    entry.arguments.push_back(argument);
  CombineBuilder(builder, build, entry).run();
}

} // namespace lathe::codegen
