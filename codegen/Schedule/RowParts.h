//===- RowParts.h - What the forms with query rows on the scores' rows share --------------------------===//
//
// Masks of a scores fragment, row statistics that consumers exchange through shared memory, and the way of an
// output fragment to global memory, for the plain form (AttendKernel.cpp) and the seesaw (SeesawKernel.cpp).
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/AttendParts.h"

namespace lathe::codegen {

class RowParts : public AttendParts {
public:
  using AttendParts::AttendParts;

protected:
  mlir::Type floatRows() { return rows(k.f32()); }
  int columns() const { return valueColumns(problem, build.config); }
  int columnBoxes() const { return (columns() + boxColumns - 1) / boxColumns; }
  /// Whether the last consumer's columns would reach past the values; it then begins earlier, and computes
  /// some that another one writes.
  bool overlaps() const { return consumers * columnBoxes() > build.memory.valueBoxes; }
  /// First box that a consumer multiplies.
  Value firstBox();

  /// Scores of the tile from `firstToken` on, -inf past the rows' limits; only tiles that reach past
  /// `unmasked` pay for it, and only they have the limits in registers. `before`: what else these need.
  Value mask(
      const Item &item, Value scores, Value firstToken, Value unmasked,
      llvm::function_ref<void()> before = [] {});

  /// Array number `index` of the row statistics, of MemoryPlan::statisticsArrays.
  void putStatistics(Value mine, Value index);
  Value getStatistics(Value index);

  /// Waits until so many warpgroups' threads have reached the event, or reaches it without waiting.
  void sync(int event, int warpgroups) { tile::SyncEventOp::create(k.b, k.loc, event, 128 * warpgroups); }
  void arrive(int event, int warpgroups) { tile::ArriveEventOp::create(k.b, k.loc, event, 128 * warpgroups); }

private:
  Value rowLimits(const Item &item);
  void storeOutput(ValueRange output, Value base, mlir::Type element,
                   llvm::function_ref<Value(Value)> offset) override;
  void storeLse(Value lse, Value base, llvm::function_ref<Value(Value)> offset) override;
};

} // namespace lathe::codegen
