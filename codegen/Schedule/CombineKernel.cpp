//===- CombineKernel.cpp - Merges the partial results of split sequences -----------------------------===//
//
// A task is 256 or 512 columns of a row of a sequence that was split: the parts' logarithms give their
// weights (2^(l - max) over the sum), lanes own eight columns of each 256, 2^combine_shift warps of a CTA
// share the parts. Each warp has a maximum of its own parts; whoever shares a task meets once, in shared
// memory, and then has a share of the columns. Rows of sequences that were not split are left alone: the main
// kernel wrote them.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/AttentionKernels.h"
#include "lathe/codegen/Schedule/KernelBuilder.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr float infinity = std::numeric_limits<float>::infinity();
static constexpr int64_t combineWarps = CombinePlan::warps, laneColumns = CombinePlan::laneColumns;
static constexpr int64_t groupColumns = 32 * laneColumns;
static constexpr int64_t inFlight = 4; // Parts that a warp adds up at a time, while the next are loaded.
static constexpr float lowest = std::numeric_limits<float>::lowest(); // The reference of no parts.

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
    const Sums sums = whenSplit([&] { return weightedSum(); });
    k.when(k.eq(members, 1), [&] { k.when(split, [&] { storeLane(sums); }); });
    k.when(k.lt(k.c(1), members), [&] {
      put(sums);
      NVVM::Barrier0Op::create(k.b, k.loc);
      for (int64_t count = 2; count <= combineWarps; count *= 2)
        k.when(k.band(split, k.eq(members, count)), [&] { storeShare(count); });
    });
    k.finish();
  }

private:
  /// Of some parts of a task: the largest of their logarithms, the sum of 2^(logarithm - reference), and the
  /// lane's columns, each times that. Without parts the lowest number, and zeros.
  struct Sums {
    Value reference, total;
    SmallVector<Value> columns;
  };

  Value exp2(Value x) { return Exp2Op::create(k.b, k.loc, k.f32(), x); }
  int64_t groups() const { return build.combine().columns / groupColumns; }
  int64_t columns() const { return groups() * laneColumns; } ///< Of a lane.
  int chunks() const { return (problem.valueDim + build.combine().columns - 1) / build.combine().columns; }

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
    column = k.add(k.mul(chunk, build.combine().columns), k.mul(k.lane(), laneColumns));
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

  /// The sums of `body` where the task is one.
  Sums whenSplit(llvm::function_ref<SmallVector<Value>()> body) {
    SmallVector<Type> types(size_t(columns()) + 2, k.f32());
    auto op = scf::IfOp::create(k.b, k.loc, types, split, true);
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(op.thenBlock());
    scf::YieldOp::create(k.b, k.loc, body());
    k.b.setInsertionPointToStart(op.elseBlock());
    scf::YieldOp::create(k.b, k.loc, SmallVector<Value>(types.size(), k.cf(0)));
    return {op.getResult(0), op.getResult(1), SmallVector<Value>(op.getResults().drop_front(2))};
  }

  //===- Parts ----------------------------------------------------------------------------------------===//

  /// Row index among all partial rows, of part `part`.
  Value partialRow(Value part) {
    int rows = build.resources.rowBlocks * build.config.rowsPerCta;
    return k.add(k.mul(k.add(firstSlot, part), rows), row);
  }

  /// Loads are assembly, which LLVM neither moves behind what they are to overlap with nor merges with the
  /// same of another block.
  Value partLse(Value part) {
    Value address = k.at(k["partial_lse"], k.wide(k.mul(partialRow(part), 4)));
    return k.assembly(k.f32(), "ld.global.f32 $0, [$1];", "=f,l", {address});
  }

  /// The lane's columns of a part's group; those behind the row's end are read from its beginning, and not
  /// used.
  Value loadPart(Value part, int group) {
    Value at = k.add(column, group * groupColumns);
    Value from = k.lt(at, problem.valueDim);
    Value element =
        k.add(k.mul(k.wide(partialRow(part)), k.c64(problem.valueDim)), k.wide(k.select(from, at, k.c(0))));
    Value address = k.at(k["partial_out"], k.mul(element, k.c64(2)));
    auto words = LLVM::LLVMStructType::getLiteral(k.b.getContext(), SmallVector<Type>(4, k.i32()));
    return k.vector(
        k.unpack(k.assembly(words, "ld.global.v4.b32 {$0, $1, $2, $3}, [$4];", "=r,=r,=r,=r,l", {address})));
  }

  Value placeOf(Value first, int64_t i) { return k.add(first, k.mul(members, i)); }

  /// Logarithms and columns of the parts first, first + members, …; of the last one instead of those behind
  /// it.
  SmallVector<Value> loadFrom(Value first) {
    SmallVector<Value> loads, group;
    for (int64_t i = 0; i < inFlight; ++i) {
      group.push_back(k.min(placeOf(first, i), k.sub(parts, 1)));
      loads.push_back(partLse(group.back()));
    }
    for (Value part : group)
      for (int columnGroup = 0; columnGroup < groups(); ++columnGroup)
        loads.push_back(loadPart(part, columnGroup));
    return loads;
  }

  /// loadFrom where there is such a part, else nothing that may be used.
  SmallVector<Value> loadIfAny(Value first) {
    auto vector = VectorType::get({laneColumns / 2}, k.i32());
    SmallVector<Type> types(size_t(inFlight), k.f32());
    types.append(size_t(inFlight * groups()), vector);
    auto op = scf::IfOp::create(k.b, k.loc, types, k.lt(first, parts), true);
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(op.thenBlock());
    scf::YieldOp::create(k.b, k.loc, loadFrom(first));
    k.b.setInsertionPointToStart(op.elseBlock());
    SmallVector<Value> none;
    for (Type type : types)
      none.push_back(k.undef(type));
    scf::YieldOp::create(k.b, k.loc, none);
    return SmallVector<Value>(op.getResults());
  }

  /// Over the parts member, member + members, …: as Sums has them, the columns last. While some parts are
  /// added up, the next ones are on their way.
  SmallVector<Value> weightedSum() {
    Value step = k.mul(members, inFlight), second = k.add(member, step);
    const SmallVector<Value> head = loadFrom(member);
    SmallVector<Value> carried = loadIfAny(second);
    const size_t loads = carried.size();
    SmallVector<Value> sums{k.cf(lowest)};
    sums.append(size_t(columns()) + 1, k.cf(0));
    carried.append(addParts(member, head, sums));
    auto op = scf::ForOp::create(k.b, k.loc, second, parts, step, carried);
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(op.getBody());
    Value first = op.getInductionVar();
    const ValueRange state = op.getRegionIterArgs();
    SmallVector<Value> next = loadIfAny(k.add(first, step));
    next.append(addParts(first, SmallVector<Value>(state.take_front(loads)),
                         SmallVector<Value>(state.drop_front(loads))));
    scf::YieldOp::create(k.b, k.loc, next);
    return SmallVector<Value>(op.getResults().drop_front(loads));
  }

  /// The parts that loadFrom has loaded, on top of `sums`.
  SmallVector<Value> addParts(Value first, ArrayRef<Value> loads, ArrayRef<Value> sums) {
    SmallVector<Value> logs;
    Value reference = sums[0];
    for (int64_t i = 0; i < inFlight; ++i) {
      logs.push_back(k.select(k.lt(placeOf(first, i), parts), loads[size_t(i)], k.cf(-infinity)));
      reference = k.fmax(reference, logs.back());
    }
    Value shrink = exp2(k.fsub(sums[0], reference));
    SmallVector<Value> next{reference};
    for (Value sum : sums.drop_front())
      next.push_back(k.fmul(sum, shrink));
    auto columnsOfGroup = [&](int64_t group) {
      return MutableArrayRef(next).slice(size_t(2 + group * laneColumns), size_t(laneColumns));
    };
    for (auto [i, log] : llvm::enumerate(logs)) {
      Value weight = exp2(k.fsub(log, reference));
      next[1] = k.fadd(next[1], weight);
      for (int64_t group = 0; group < groups(); ++group)
        addColumns(columnsOfGroup(group), loads[size_t(inFlight + int64_t(i) * groups() + group)], weight);
    }
    return next;
  }

  void addColumns(MutableArrayRef<Value> sums, Value halves, Value weight) {
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

  //===- Results --------------------------------------------------------------------------------------===//

  /// Of the row's sum of weights: what its columns are multiplied by. Writes the row's logarithm.
  Value finishRow(Value reference, Value total) {
    // All parts empty: results are 0, and not NaN.
    Value none = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OEQ, total, k.cf(0));
    k.when(k.band(k.eq(k.lane(), 0), k.band(k.eq(member, 0), k.eq(chunk, 0))), [&] {
      Value log = k.fmul(k.fadd(reference, Log2Op::create(k.b, k.loc, k.f32(), total)), k.cf(float(M_LN2)));
      Value offset = lseOffset(k, sequence, row, problem.heads);
      k.store(k.select(none, k.cf(infinity), log), k.at(k["lse"], k.mul(offset, k.c64(4))));
    });
    return k.select(none, k.cf(0), RcpOp::create(k.b, k.loc, k.f32(), total));
  }

  /// `values` as bf16 from value column `at` on, if the row has it.
  void storeColumns(Value at, ArrayRef<Value> values) {
    k.when(k.lt(at, problem.valueDim), [&] {
      SmallVector<Value> words;
      for (size_t i = 0; i < values.size(); i += 2)
        words.push_back(k.packBf16(values[i], values[i + 1]));
      Value element = k.add(outOffset(k, sequence, row, problem.heads), k.wide(at));
      k.store(words.size() == 1 ? words[0] : k.vector(words), k.at(k["out"], k.mul(element, k.c64(2))));
    });
  }

  /// The lane's columns, of a warp that has the task for itself.
  void storeLane(const Sums &sums) {
    Value inverse = finishRow(sums.reference, sums.total);
    SmallVector<Value> scaled;
    for (Value sum : sums.columns)
      scaled.push_back(k.fmul(sum, inverse));
    for (int group = 0; group < groups(); ++group)
      storeColumns(k.add(column, group * groupColumns),
                   ArrayRef(scaled).slice(size_t(group * laneColumns), laneColumns));
  }

  //===- Several warps a task -------------------------------------------------------------------------===//

  Value scratch(Value words) { return k.at(k.shared(), k.mul(words, 4)); }
  Value columnWord(Value warp) { return k.mul(warp, build.combine().columns); }
  Value sumWord(Value warp) { return k.add(k.mul(warp, 2), combineWarps * build.combine().columns); }
  Value element(Value vector, int64_t i) {
    return LLVM::ExtractElementOp::create(k.b, k.loc, vector, k.c(i));
  }

  void put(const Sums &sums) {
    Value warp = k.shr(k.thread(), 5);
    for (int64_t i = 0; i < columns(); i += 4) {
      const int64_t group = i / laneColumns * groupColumns + i % laneColumns;
      Value word = k.add(k.add(columnWord(warp), group), k.mul(k.lane(), laneColumns));
      k.store(k.vector(ArrayRef(sums.columns).slice(size_t(i), 4)), scratch(word));
    }
    k.when(k.eq(k.lane(), 0),
           [&] { k.store(k.vector({sums.reference, sums.total}), scratch(sumWord(warp))); });
  }

  /// Each of `count` warps of a task adds up its share of the columns of what all of them have put.
  void storeShare(int64_t count) {
    Value first = k.sub(k.shr(k.thread(), 5), member), reference = k.cf(lowest), total = k.cf(0);
    SmallVector<Value> owners, references, totals, weights;
    for (int64_t i = 0; i < count; ++i) {
      owners.push_back(k.add(first, i));
      Value sums = k.load(VectorType::get({2}, k.f32()), scratch(sumWord(owners.back())));
      references.push_back(element(sums, 0));
      totals.push_back(element(sums, 1));
      reference = k.fmax(reference, references.back());
    }
    for (auto [mine, sum] : llvm::zip(references, totals)) {
      weights.push_back(exp2(k.fsub(mine, reference)));
      total = k.fma(sum, weights.back(), total);
    }
    Value inverse = finishRow(reference, total);
    for (Value &weight : weights)
      weight = k.fmul(weight, inverse);
    const int64_t share = build.combine().columns / count, width = std::clamp<int64_t>(share / 32, 2, 4);
    for (int64_t from = 0; from < share; from += 32 * width) {
      Value inShare = k.add(k.mul(k.lane(), width), from), at = k.add(k.mul(member, share), inShare);
      k.when(k.lt(inShare, share), [&] { // Shares of 32 columns are for half of the lanes.
        SmallVector<Value> sums(size_t(width), k.cf(0));
        for (auto [owner, weight] : llvm::zip(owners, weights)) {
          Value values = k.load(VectorType::get({width}, k.f32()), scratch(k.add(columnWord(owner), at)));
          for (int64_t i = 0; i < width; ++i)
            sums[size_t(i)] = k.fma(element(values, i), weight, sums[size_t(i)]);
        }
        storeColumns(k.add(k.mul(chunk, build.combine().columns), at), sums);
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
  entry.threads = 32 * int(combineWarps);
  entry.sharedBytes = build.combine().sharedBytes;
  entry.arguments = {{"pointer", "splits"}, {"i32", "batch"}, {"i32", "workers"}, {"i32", "combine_shift"}};
  for (KernelArgument &argument : outputArguments())
    entry.arguments.push_back(argument);
  CombineBuilder(builder, build, entry).run();
}

} // namespace lathe::codegen
