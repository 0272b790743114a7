//===- RowParts.cpp - Masks, statistics and results with query rows on the scores' rows ---------------===//
//
// See RowParts.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/RowParts.h"

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

RowParts::Value RowParts::mask(const Item &item, Value scores, Value firstToken, Value unmasked,
                               llvm::function_ref<void()> before) {
  return choose(k.lt(unmasked, k.add(firstToken, tokens)), scores, [&] {
    before();
    return map(scores.getType(), {scores, rowLimits(item), firstToken}, [&](Block *b) {
      Value token = k.add(b->getArgument(2), Value(ColumnOp::create(k.b, k.loc, k.i32())));
      return k.select(k.lt(token, b->getArgument(1)), b->getArgument(0),
                      k.cf(-std::numeric_limits<float>::infinity()));
    });
  });
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

void RowParts::storeOutput(ValueRange output, Value base, Type element,
                           llvm::function_ref<Value(Value)> offset) {
  int limit = consumers * columns() == problem.valueDim ? 0 : problem.valueDim;
  Value from = k.mul(consumer, columns());
  Value column = overlaps() ? k.mul(firstBox(), boxColumns) : from;
  auto op =
      StoreOp::create(k.b, k.loc, output.front(), base, column, overlaps() ? from : Value(), limit, element);
  rowRegion(op.getBody(), offset);
}

void RowParts::storeLse(Value lse, Value base, llvm::function_ref<Value(Value)> offset) {
  k.when(k.eq(consumer, 0), [&] {
    auto op = StoreRowsOp::create(k.b, k.loc, lse, base);
    rowRegion(op.getBody(), offset);
  });
}

} // namespace lathe::codegen
