//===- GateKernel.cpp - Logits of rows and a gate matrix ---------------------------------------------===//
//
// A CTA makes the logits of some rows and experts (GatePlan); its warps share the columns, take 16 bytes a
// lane straight from memory into mma.sync, and add their sums through shared memory in order of the warps, so
// that every run has the same bits. The order of columns is the same for rows and weights but otherwise free:
// a lane's eight neighbouring columns serve as the pairs that the fragments of two products want.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/GatePlan.h"
#include "lathe/codegen/Schedule/KernelBuilder.h"
#include "lathe/codegen/Schedule/MoeKernels.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr int laneColumns = 8; // Of a step: 16 bytes of bf16.

namespace {

class GateBuilder {
public:
  GateBuilder(OpBuilder &builder, const MoeBuild &build, const KernelEntry &entry)
      : k(builder, builder.getUnknownLoc(), entry), build(build), problem(build.problem()),
        plan(gatePlan(problem, build.config)), wide(*problem.gate == Dtype::F32) {}

  void run() {
    k.nameScratch("gate sums");
    const bool dependent = build.config.dependentLaunch != DependentLaunch::Off;
    if (dependent)
      GridLaunchOp::create(k.b, k.loc);
    findPlace();
    Values weights = loadWeights(k.c(0));
    if (dependent) // The weights are nobody's result: the first are on their way meanwhile.
      GridWaitOp::create(k.b, k.loc);
    addSums(multiplyAll(weights));
    k.finish();
  }

private:
  using Value = mlir::Value;
  using Values = SmallVector<Value>;

  /// Where the lane reads: a row, or an expert, of each unit.
  void findPlace() {
    const int tiles = (problem.routedExperts + plan.experts - 1) / plan.experts;
    Value block = NVVM::BlockIdXOp::create(k.b, k.loc, k.i32());
    Value rowTile = k.divu(block, tiles);
    firstRow = k.mul(rowTile, plan.rows);
    firstExpert = k.mul(k.sub(block, k.mul(rowTile, tiles)), plan.experts);
    warp = k.uniform(k.shr(k.thread(), 5));
    Value line = k.shr(k.lane(), 2);
    Value column = k.add(k.mul(warp, plan.steps * gateStepColumns), k.mul(k.quad(), laneColumns));
    // Behind the last row and expert the last ones are read, and what comes of them is not stored.
    Value lastRow = k.sub(k["rows"], 1), lastExpert = k.c(problem.routedExperts - 1);
    for (int eight = 0; eight < 2 * plan.rowUnits(); ++eight) {
      Value row = k.min(k.add(k.add(firstRow, line), 8 * eight), lastRow);
      Value element = k.add(k.mul(k.wide(row), k["x_stride"]), k.wide(column));
      rows.push_back(k.at(k["x"], k.mul(element, k.c64(2))));
    }
    for (int unit = 0; unit < plan.expertUnits(); ++unit) {
      Value expert = k.min(k.add(k.add(firstExpert, line), gateExpertUnit * unit), lastExpert);
      Value element = k.add(k.mul(expert, problem.hidden), column);
      experts.push_back(k.at(k["gate"], k.mul(k.wide(element), k.c64(wide ? 4 : 2))));
    }
  }

  /// Four words of 16 bytes.
  void loadWords(Values &words, Value address) {
    Value all = k.load(VectorType::get({4}, k.i32()), address);
    for (int word = 0; word < 4; ++word)
      words.push_back(LLVM::ExtractElementOp::create(k.b, k.loc, all, k.c(word)));
  }

  /// Words of the gate of `unroll` steps from `step` on: by step, expert, column.
  Values loadWeights(Value step) {
    const int bytes = wide ? 4 : 2;
    Value offset = k.wide(k.mul(step, gateStepColumns * bytes));
    Values words;
    for (int at = 0; at < plan.unroll; ++at)
      for (Value expert : experts)
        for (int part = 0; part < (wide ? 2 : 1); ++part)
          loadWords(words, k.at(k.at(expert, offset), (at * gateStepColumns + 4 * part) * bytes));
    return words;
  }

  /// The same of the rows.
  Values loadRows(Value step) {
    Value offset = k.wide(k.mul(step, gateStepColumns * 2));
    Values words;
    for (int at = 0; at < plan.unroll; ++at)
      for (Value row : rows)
        loadWords(words, k.at(k.at(row, offset), at * gateStepColumns * 2));
    return words;
  }

  /// The lane's part of all sums.
  Values multiplyAll(Values weights) {
    Values sums(size_t(4 * plan.rowUnits() * plan.expertUnits()), k.cf(0));
    if (plan.steps == plan.unroll)
      return multiply(sums, loadRows(k.c(0)), weights);
    Values carried = sums;
    carried.append(weights);
    const int last = plan.steps - plan.unroll;
    carried = k.loop(k.c(0), k.c(plan.steps), k.c(plan.unroll), carried, [&](Value step, ValueRange now) {
      Values words = loadRows(step), next = loadWeights(k.min(k.add(step, plan.unroll), k.c(last)));
      Values result =
          multiply(Values(now.take_front(sums.size())), words, Values(now.drop_front(sums.size())));
      result.append(next);
      return result;
    });
    carried.resize(sums.size());
    return carried;
  }

  /// sums + rows · weights over `unroll` steps.
  Values multiply(Values sums, ArrayRef<Value> rowWords, ArrayRef<Value> weightWords) {
    const size_t perExpert = wide ? 8 : 4;
    for (int at = 0; at < plan.unroll; ++at)
      for (int e = 0; e < plan.expertUnits(); ++e) {
        ArrayRef<Value> raw = weightWords.slice(size_t(at * plan.expertUnits() + e) * perExpert, perExpert);
        for (const Values &part : partsOf(raw))
          for (int r = 0; r < plan.rowUnits(); ++r) {
            ArrayRef<Value> above = rowWords.slice(size_t(at * plan.rowUnits() + r) * 8, 8);
            MutableArrayRef<Value> to =
                MutableArrayRef<Value>(sums).slice(size_t(r * plan.expertUnits() + e) * 4, 4);
            for (size_t half = 0; half < 4; half += 2)
              product(to, {above[half], above[4 + half], above[half + 1], above[5 + half]},
                      {part[half], part[half + 1]});
          }
      }
    return sums;
  }

  /// bf16 words whose sum the weights are: themselves, or of float32 three numbers of 8 bits each, which hold
  /// all 24.
  SmallVector<Values> partsOf(ArrayRef<Value> raw) {
    if (!wide)
      return {Values(raw)};
    Values left;
    for (Value word : raw)
      left.push_back(LLVM::BitcastOp::create(k.b, k.loc, k.f32(), word));
    SmallVector<Values> parts;
    for (int part = 0; part < 3; ++part) {
      Values &words = parts.emplace_back();
      for (size_t pair = 0; pair < left.size(); pair += 2) {
        Value word = k.packBf16(left[pair], left[pair + 1]);
        words.push_back(word);
        Value taken[] = {k.shl(word, 16), k.band(word, -65536)};
        for (size_t i = 0; i < 2; ++i)
          left[pair + i] =
              k.fsub(left[pair + i], LLVM::BitcastOp::create(k.b, k.loc, k.f32(), taken[i]).getResult());
      }
    }
    return parts;
  }

  /// m16n8k16.
  void product(MutableArrayRef<Value> sums, Values a, Values b) {
    using NVVM::MMALayout, NVVM::MMATypes;
    auto four = LLVM::LLVMStructType::getLiteral(k.b.getContext(), SmallVector<Type>(4, k.f32()));
    Value all = NVVM::MmaOp::create(k.b, k.loc, four, a, b, ValueRange(Values(sums)), {16, 8, 16},
                                    std::nullopt, std::nullopt, std::array{MMATypes::bf16, MMATypes::bf16},
                                    std::array{MMALayout::row, MMALayout::col});
    for (size_t i = 0; i < 4; ++i)
      sums[i] = k.extract(all, int64_t(i));
  }

  /// Leaves the warp's sums in shared memory; then a thread adds those of all warps for some logits.
  void addSums(ArrayRef<Value> sums) {
    Value own = k.add(k.mul(warp, plan.warpWords()),
                      k.add(k.mul(k.shr(k.lane(), 2), plan.rowWords()), k.mul(k.quad(), 2)));
    for (int r = 0; r < plan.rowUnits(); ++r)
      for (int e = 0; e < plan.expertUnits(); ++e)
        for (int below = 0; below < 2; ++below) {
          const size_t at = size_t(r * plan.expertUnits() + e) * 4 + size_t(2 * below);
          const int word = (gateRowUnit * r + 8 * below) * plan.rowWords() + gateExpertUnit * e;
          k.store(k.vector({sums[at], sums[at + 1]}), k.at(k.shared(), k.mul(k.add(own, word), 4)));
        }
    k.syncAll(1);
    k.loop(k.thread(), k.c(plan.rows * plan.experts), k.c(32 * plan.warps), [&](Value index) {
      Value line = k.divu(index, plan.experts), column = k.sub(index, k.mul(line, plan.experts));
      Value row = k.add(firstRow, line), expert = k.add(firstExpert, column);
      Value from = k.at(k.shared(), k.mul(k.add(k.mul(line, plan.rowWords()), column), 4));
      k.when(k.band(k.lt(row, k["rows"]), k.lt(expert, problem.routedExperts)), [&] {
        Value sum = k.load(k.f32(), from);
        for (int other = 1; other < plan.warps; ++other)
          sum = k.fadd(sum, k.load(k.f32(), k.at(from, int64_t(4) * other * plan.warpWords())));
        Value element = k.add(k.mul(k.wide(row), k.c64(problem.routedExperts)), k.wide(expert));
        k.store(sum, k.at(k["logits"], k.mul(element, k.c64(4))));
      });
    });
  }

  KernelBuilder k;
  const MoeBuild &build;
  const MoeProblem &problem;
  const GatePlan plan;
  const bool wide; ///< The gate is float32.
  Value firstRow, firstExpert, warp;
  Values rows, experts; ///< Addresses: of each eight rows, of each eight experts.
};

} // namespace

void buildGateKernel(OpBuilder &builder, const MoeBuild &build, KernelEntry &entry) {
  const GatePlan plan = gatePlan(build.problem(), build.config);
  entry.name = "gate";
  entry.threads = 32 * plan.warps;
  entry.sharedBytes = 4 * plan.warps * plan.warpWords();
  entry.arguments = {
      {"pointer", "x"}, {"i64", "x_stride"}, {"i32", "rows"}, {"pointer", "gate"}, {"pointer", "logits"}};
  GateBuilder(builder, build, entry).run();
}

} // namespace lathe::codegen
