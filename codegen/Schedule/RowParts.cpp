//===- RowParts.cpp - Masks, statistics and results with query rows on the scores' rows ---------------===//
//
// See RowParts.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/RowParts.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

RowParts::Value RowParts::firstBox() {
  Value box = k.mul(consumer, columnBoxes());
  return overlaps() ? k.min(box, k.c(build.memory.valueBoxes - columnBoxes())) : box;
}

/// Tokens that each row attends to: the description's bound, never past the length.
RowParts::Value RowParts::rowLimits(const Item &item) {
  if (!build.pattern.masked)
    return splat(rows(k.i32()), item.length);
  Value first = k.mul(rowBlock, build.config.rowsPerCta), row = RowOp::create(k.b, k.loc, rows(k.i32()));
  return map(rows(k.i32()), {row, first, item.length}, [&](Block *b) {
    return limitOf(k.add(b->getArgument(0), b->getArgument(1)), b->getArgument(2));
  });
}

RowParts::Value RowParts::mask(const Item &item, Value scores, Value firstToken, Value unmasked) {
  auto masked =
      scf::IfOp::create(k.b, k.loc, scores.getType(), k.lt(unmasked, k.add(firstToken, tokens)), true);
  OpBuilder::InsertionGuard guard(k.b);
  k.b.setInsertionPointToStart(masked.thenBlock());
  Value cut = map(scores.getType(), {scores, rowLimits(item), firstToken}, [&](Block *b) {
    Value token = k.add(b->getArgument(2), Value(ColumnOp::create(k.b, k.loc, k.i32())));
    return k.select(k.lt(token, b->getArgument(1)), b->getArgument(0),
                    k.cf(-std::numeric_limits<float>::infinity()));
  });
  scf::YieldOp::create(k.b, k.loc, cut);
  k.b.setInsertionPointToStart(masked.elseBlock());
  scf::YieldOp::create(k.b, k.loc, scores);
  return masked.getResult(0);
}

void RowParts::putStatistics(Value mine, Value index) {
  PutRowsOp::create(k.b, k.loc, mine, index, k.b.getI32IntegerAttr(build.memory.statistics),
                    k.b.getStringAttr("row_statistics"),
                    k.b.getI32IntegerAttr(build.memory.statisticsArrays));
}

RowParts::Value RowParts::getStatistics(Value index) {
  return GetRowsOp::create(k.b, k.loc, floatRows(), index, k.b.getI32IntegerAttr(build.memory.statistics),
                           k.b.getStringAttr("row_statistics"),
                           k.b.getI32IntegerAttr(build.memory.statisticsArrays));
}

//===- Results ---------------------------------------------------------------------------------------===//

void RowParts::storeItem(const Item &item, Value output, Value maxima, Value sums) {
  output = map(output.getType(), {output, inverseOf(sums)},
               [&](Block *b) { return k.fmul(b->getArgument(0), b->getArgument(1)); });
  float infinity = std::numeric_limits<float>::infinity();
  auto split = scf::IfOp::create(k.b, k.loc, k.lt(item.slot, 0), /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(k.b);
  k.b.setInsertionPointToStart(split.thenBlock());
  storeOutput(output, k["out"], k.b.getBF16Type(),
              [&](Value r) { return outOffset(k, item.sequence, r, problem.heads); });
  storeLse(logarithm(maxima, sums, float(M_LN2), infinity), k["lse"],
           [&](Value r) { return lseOffset(k, item.sequence, r, problem.heads); });
  k.b.setInsertionPointToStart(split.elseBlock());
  storeOutput(output, k["partial_out"], k.b.getF16Type(),
              [&](Value r) { return k.mul(partialRow(item, r), k.c64(problem.valueDim)); });
  storeLse(logarithm(maxima, sums, 1, -infinity), k["partial_lse"],
           [&](Value r) { return partialRow(item, r); });
}

void RowParts::storeOutput(Value output, Value base, Type element, llvm::function_ref<Value(Value)> offset) {
  int limit = consumers * columns() == problem.valueDim ? 0 : problem.valueDim;
  Value from = k.mul(consumer, columns());
  Value column = overlaps() ? k.mul(firstBox(), boxColumns) : from;
  auto op = StoreOp::create(k.b, k.loc, output, base, column, overlaps() ? from : Value(), limit, element);
  rowRegion(op.getBody(), offset);
}

void RowParts::storeLse(Value lse, Value base, llvm::function_ref<Value(Value)> offset) {
  k.when(k.eq(consumer, 0), [&] {
    auto op = StoreRowsOp::create(k.b, k.loc, lse, base);
    rowRegion(op.getBody(), offset);
  });
}

} // namespace lathe::codegen
