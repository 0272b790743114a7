//===- TileQueueOps.cpp - The rules of queues ----------------------------------------------------------===//
//
// Verifiers of queues and of what is pushed to and pulled from them. As TileOps.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/IR/TileDialect.h"

using namespace mlir;
using namespace lathe::tile;

LogicalResult QueueOp::verify() {
  const int64_t entry = getQueue().getType().getEntryBytes();
  if (getOffset() % entry != 0)
    return emitOpError() << "offset must be a multiple of an entry's " << entry << " bytes, got "
                         << getOffset();
  if (getBarrierOffset() % 8 != 0)
    return emitOpError() << "barrier offset must be a multiple of 8 bytes, got " << getBarrierOffset();
  if (int32_t(getReaders()) < 1)
    return emitOpError() << "readers must be positive, got " << int32_t(getReaders());
  return success();
}

void QueueOp::getAsmResultNames(mlir::OpAsmSetValueNameFn setName) {
  if (auto name = getName())
    setName(getQueue(), *name);
}

static LogicalResult verifyWords(Operation *op, QueueType queue, TypeRange words) {
  if (int64_t(words.size()) != queue.getWords())
    return op->emitOpError() << "an entry has " << queue.getWords() << " words, got " << words.size();
  return success();
}

LogicalResult PushOp::verify() { return verifyWords(*this, getQueue().getType(), getWords().getTypes()); }
LogicalResult PullOp::verify() { return verifyWords(*this, getQueue().getType(), getWords().getTypes()); }
