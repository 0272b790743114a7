//===- BulkCopy.h - Operands of a bulk copy ----------------------------------------------------------===//
//
// What the decoder of cp.async.bulk finds out once and its handlers use: where each operand lies among the
// sources, and what is done on the way. Shared by BulkDecode.cpp and Bulk.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/emulator/Layout.h"
#include "lathe/runtime/device/emulator/MemoryAccess.h"
#include "lathe/runtime/device/emulator/TensorMapCode.h"

namespace lathe::runtime::emulator {

/// Adds operands of a copy as sources and remembers where they are.
class BulkSources {
public:
  explicit BulkSources(Decoder &decoder) : d_(decoder) {}
  BulkOperand address(const ptx::Operand &operand);
  /// [map, {x, y, …}]: the map's address, then `detail.rank` coordinates.
  BulkOperand map(const ptx::Operand &operand, BulkDetail &detail);
  /// The number of the source.
  int value(const ptx::Operand &operand, Type type);

private:
  Decoder &d_;
  int next_ = 0;
};

struct BulkHandlers {
  Handler loadTensor, loadBytes, storeTensor, storeBytes, prefetch, commitGroup, waitGroup;
};
BulkHandlers bulkHandlers();

/// Whether the ISA has this reduction of this type.
bool canReduce(int reduction, Type type);
/// to = to op from (0 add, 1 min, 2 max), element by element, atomically for the host's threads.
void reduceInto(std::byte *to, const std::byte *from, uint64_t bytes, int reduction, Type type);

} // namespace lathe::runtime::emulator
