//===- TileOps.cpp - The rules that tile operations keep ---------------------------------------------===//
//
// One verifier an operation, each message naming the rule and the value. A schedule that breaks one is a
// mistake of the compiler, found before lowering; tests/ir has a negative test per rule.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/IR/StagingRules.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace lathe::tile;

#define GET_OP_CLASSES
#include "TileOps.cpp.inc"

LogicalResult KernelOp::verify() {
  int64_t arguments = getBody().getNumArguments();
  if (int64_t(getArgNames().size()) != arguments)
    return emitOpError() << "has " << arguments << " arguments and " << getArgNames().size() << " names";
  if (getThreads() < 32 || getThreads() > 1024 || getThreads() % 32 != 0)
    return emitOpError() << "threads must be a multiple of 32 from 32 to 1024, got " << getThreads();
  if (getScratch() && getSharedBytes() == 0)
    return emitOpError() << "names scratch memory \"" << *getScratch() << "\" and has no shared memory";
  return success();
}

int32_t lathe::tile::launchRegisters(int32_t threads, int32_t cap) {
  return cap != 0 ? cap : 65536 / threads / 8 * 8;
}

/// Roles deal out what the threads had at launch: who asks for more would wait for ever.
static LogicalResult verifyRegisters(RolesOp op, int32_t threads) {
  const int32_t atLaunch =
      launchRegisters(threads, int32_t(op->getParentOfType<KernelOp>().getMaxRegisters()));
  int32_t wanted = 0;
  for (auto [warpgroups, registers] : llvm::zip(op.getWarpgroups(), op.getRegisters()))
    wanted += 128 * warpgroups * (registers != 0 ? registers : atLaunch);
  if (wanted > threads * atLaunch)
    return op.emitOpError() << "deals out " << wanted << " registers, a launch of " << threads
                            << " threads has " << threads * atLaunch;
  return success();
}

LogicalResult RolesOp::verify() {
  size_t roles = getNames().size();
  if (getWarpgroups().size() != roles || getRegisters().size() != roles || getBodies().size() != roles)
    return emitOpError() << "needs one warpgroup count, register count and region for each of its " << roles
                         << " roles";
  int64_t threads = 0;
  for (size_t role = 0; role < roles; ++role) {
    threads += int64_t(128) * getWarpgroups()[role];
    int32_t registers = getRegisters()[role];
    if (registers != 0 && (registers < 24 || registers > 256 || registers % 8 != 0))
      return emitOpError() << "registers must be a multiple of 8 from 24 to 256, got " << registers;
    Region &body = getBodies()[role];
    if (body.getNumArguments() != 1 || !body.getArgument(0).getType().isInteger(32))
      return emitOpError() << "a role takes one argument, its warpgroup's index (i32)";
  }
  int64_t given = (*this)->getParentOfType<KernelOp>().getThreads();
  bool keepRegisters = llvm::all_of(getRegisters(), [](int32_t count) { return count == 0; });
  if (given > threads || given <= threads - (keepRegisters ? 128 : 1))
    return emitOpError() << "gives roles to " << threads << " threads, the kernel has " << given;
  return keepRegisters ? success() : verifyRegisters(*this, int32_t(threads));
}

template <class Op>
static LogicalResult verifyMeeting(Op op) {
  if (failed(verifyEvent(op, int32_t(op.getEvent()))))
    return failure();
  if (op.getThreads() < 32 || op.getThreads() % 32 != 0)
    return op.emitOpError() << "threads must be a multiple of 32, got " << op.getThreads();
  return success();
}
LogicalResult SyncEventOp::verify() { return verifyMeeting(*this); }
LogicalResult ArriveEventOp::verify() { return verifyMeeting(*this); }

/// How many equal things an operation's index counts, where it tells.
static LogicalResult verifyCount(Operation *op, std::optional<uint32_t> count) {
  if (count && int32_t(*count) < 1)
    return op->emitOpError() << "is one of at least one, got " << int32_t(*count);
  return success();
}

LogicalResult BufferOp::verify() {
  if (getOffset() % 1024 != 0)
    return emitOpError() << "offset must be a multiple of 1024 bytes, got " << getOffset();
  if (getIndex() && getBuffer().getType().getBytes() % 1024 != 0)
    return emitOpError() << "indexed buffers must be multiples of 1024 bytes, got "
                         << getBuffer().getType().getBytes();
  if (getCount() && !getIndex())
    return emitOpError() << "is one of " << *getCount() << " and has no index";
  return verifyCount(*this, getCount());
}

void BufferOp::getAsmResultNames(mlir::OpAsmSetValueNameFn setName) {
  if (auto name = getName())
    setName(getBuffer(), *name);
}

void PipeOp::getAsmResultNames(mlir::OpAsmSetValueNameFn setName) {
  if (auto name = getName())
    setName(getPipe(), *name);
}

LogicalResult BoxOp::verify() {
  BufferType source = getSource().getType(), result = getBuffer().getType();
  if (int64_t(getBox()) >= source.getBoxes())
    return emitOpError() << "box " << getBox() << " is past the last of " << source.getBoxes();
  if (result.getBytes() > source.getBoxBytes())
    return emitOpError() << "result needs " << result.getBytes() << " bytes, a box has "
                         << source.getBoxBytes();
  if (source.getBoxBytes() % 1024 != 0)
    return emitOpError() << "boxes must be multiples of 1024 bytes, got " << source.getBoxBytes();
  return success();
}

LogicalResult PipeOp::verify() {
  if (getOffset() % 1024 != 0)
    return emitOpError() << "offset must be a multiple of 1024 bytes, got " << getOffset();
  if (getBarrierOffset() % 8 != 0)
    return emitOpError() << "barrier offset must be a multiple of 8 bytes, got " << getBarrierOffset();
  if (getReleases() < 1)
    return emitOpError() << "releases must be positive, got " << getReleases();
  return success();
}

static LogicalResult verifyGroup(Operation *op, PipeType pipe, int64_t group) {
  if (group < 0 || group >= pipe.getGroups())
    return op->emitOpError() << "group " << group << " is past the last of " << pipe.getGroups();
  return success();
}

static LogicalResult verifyPart(Operation *op, PipeType pipe, int64_t part) {
  if (part < 0 || part >= pipe.getParts())
    return op->emitOpError() << "part " << part << " is past the last of " << pipe.getParts();
  return success();
}
LogicalResult AcquireOp::verify() { return verifyPart(*this, getPipe().getType(), int32_t(getPart())); }
LogicalResult ReleaseOp::verify() { return verifyPart(*this, getPipe().getType(), int32_t(getPart())); }

LogicalResult ExpectOp::verify() {
  if (getPipe().getType().getGatherers() > 0)
    return emitOpError() << "no bytes are announced to a pipe with gatherers";
  return verifyGroup(*this, getPipe().getType(), int32_t(getGroup()));
}

LogicalResult WaitOp::verify() {
  if (failed(verifyGroup(*this, getPipe().getType(), int32_t(getGroup()))))
    return failure();
  if (getBuffer().getType() != getPipe().getType().getStageType())
    return emitOpError() << "result must be a stage of the pipe, " << getPipe().getType().getStageType();
  return success();
}

LogicalResult LoadOp::verify() {
  PipeType pipe = getPipe().getType();
  if (pipe.getGatherers() > 0)
    return emitOpError() << "stages of a pipe with gatherers are not loaded by TMA";
  if (getCoordinates().empty() || getCoordinates().size() > 5)
    return emitOpError() << "needs 1 to 5 coordinates, got " << getCoordinates().size();
  if (int64_t(getBox()) >= pipe.getStageType().getBoxes())
    return emitOpError() << "box " << getBox() << " is past the last of " << pipe.getStageType().getBoxes();
  if (getRow() % 8 != 0 || int64_t(getRow()) + getRows() > pipe.getRows())
    return emitOpError() << "rows " << getRow() << " + " << getRows()
                         << " must start at a multiple of 8 and fit " << pipe.getRows();
  if (getWhole() && pipe.getCluster() == 1)
    return emitOpError() << "only the CTAs of a cluster divide boxes among them, the pipe has one CTA";
  return success();
}

LogicalResult ZeroRowsOp::verify() {
  if (int64_t(getBoxes()) > getBuffer().getType().getBoxes())
    return emitOpError() << "has " << getBoxes() << " boxes to clear, the buffer "
                         << getBuffer().getType().getBoxes();
  return success();
}

LogicalResult MmaNtOp::verify() {
  BufferType b = getB().getType();
  auto a = dyn_cast<BufferType>(getA().getType()); // Null: in registers.
  const int64_t end = int64_t(getFrom()) + getDepth();
  if (a && (getRow() ? a.getRows() < 64 : a.getRows() != 64))
    return emitOpError() << "first operand must have 64 rows, or more and the row to begin at, got "
                         << a.getRows();
  if (!a && (getRow() || cast<OperandType>(getA().getType()).getColumns() != int64_t(getDepth())))
    return emitOpError() << "an operand in registers has no first row and depth columns, got "
                         << getA().getType() << " for a depth of " << getDepth();
  if (b.getRows() < getResult().getType().getColumns())
    return emitOpError() << "second operand has " << b.getRows() << " rows, the result "
                         << getResult().getType().getColumns() << " columns";
  if (getFrom() % 16 != 0)
    return emitOpError() << "the first column must be a multiple of 16, got " << getFrom();
  if (getDepth() % 16 != 0 || getDepth() < 16 || end > std::min(a ? a.getColumns() : end, b.getColumns()))
    return emitOpError() << "depth must be a multiple of 16 within both operands, got " << getDepth()
                         << " from column " << getFrom();
  if (getAcc() && getAcc().getType() != getResult().getType())
    return emitOpError() << "accumulates onto " << getAcc().getType() << ", result is "
                         << getResult().getType();
  if ((a && a.getSwizzle() != 128) || b.getSwizzle() != 128)
    return emitOpError() << "operands must have 128-byte swizzle";
  return success();
}

LogicalResult MmaNnOp::verify() {
  if (failed(verifyOneProduct(*this)))
    return failure();
  if (getAcc().getType() != getResult().getType())
    return emitOpError() << "accumulates into " << getAcc().getType() << ", result is "
                         << getResult().getType();
  int64_t depth = 0;
  if (auto operand = dyn_cast<OperandType>(getA().getType())) {
    depth = operand.getColumns();
  } else {
    auto buffer = cast<BufferType>(getA().getType());
    if (buffer.getRows() != 64 || buffer.getBoxes() != 1)
      return emitOpError() << "first operand must be 64 rows in one box, got " << buffer;
    depth = buffer.getColumns();
  }
  if (depth % 16 != 0)
    return emitOpError() << "depth must be a multiple of 16, got " << depth;
  if (depth != getB().getType().getRows())
    return emitOpError() << "first operand has " << depth << " columns, the second "
                         << getB().getType().getRows() << " rows";
  if (getB().getType().getSwizzle() != 128)
    return emitOpError() << "second operand must have 128-byte swizzle";
  return success();
}

LogicalResult MmaWaitOp::verify() {
  if (getFragments().getTypes() != getResults().getTypes())
    return emitOpError() << "results must be the fragments waited for";
  return success();
}

/// Element of a fragment, rows, columns or scalar.
static Type elementOf(Type type) {
  if (auto rows = dyn_cast<RowsType>(type))
    return rows.getElementType();
  if (auto columns = dyn_cast<ColumnsType>(type))
    return columns.getElementType();
  if (isa<FragmentType>(type))
    return Float32Type::get(type.getContext());
  return type;
}

LogicalResult SplatOp::verify() {
  Type element = elementOf(getResult().getType());
  if (getValue().getType() != element)
    return emitOpError() << "value must be " << element << ", got " << getValue().getType();
  return success();
}

/// The yield that ends a block; null where something else or nothing does (the block is not verified yet).
static YieldOp yieldOf(Block &block) { return block.empty() ? YieldOp() : dyn_cast<YieldOp>(block.back()); }

LogicalResult AnyRowOp::verify() {
  if (!getRows().getType().getElementType().isF32())
    return emitOpError() << "compares f32 rows, got " << getRows().getType();
  return success();
}

LogicalResult RowOp::verify() {
  if (!getResult().getType().getElementType().isInteger(32))
    return emitOpError() << "result must be i32 rows, got " << getResult().getType();
  return success();
}

/// Whether an input has a value for each element of the result: one of its own, its row's or its column's.
static bool hasShapeFor(Type input, Type result) {
  auto fragment = dyn_cast<FragmentType>(result);
  if (isa<FragmentType>(input))
    return input == result;
  if (isa<RowsType>(input))
    return fragment || isa<RowsType>(result);
  auto columns = dyn_cast<ColumnsType>(input);
  if (!columns)
    return true;
  if (auto same = dyn_cast<ColumnsType>(result))
    return same.getColumns() == columns.getColumns();
  return fragment && fragment.getColumns() == columns.getColumns();
}

LogicalResult MapOp::verify() {
  Block &block = getBody().front();
  if (block.getNumArguments() != getInputs().size())
    return emitOpError() << "has " << getInputs().size() << " inputs, its region " << block.getNumArguments()
                         << " arguments";
  for (auto [input, argument] : llvm::zip(getInputs(), block.getArguments())) {
    if (argument.getType() != elementOf(input.getType()))
      return emitOpError() << "region argument for " << input.getType() << " must be "
                           << elementOf(input.getType()) << ", got " << argument.getType();
    if (!hasShapeFor(input.getType(), getResult().getType()))
      return emitOpError() << "input " << input.getType() << " must have the shape of the result "
                           << getResult().getType();
  }
  YieldOp yield = yieldOf(block);
  if (!yield || yield.getValues().size() != 1 ||
      yield.getValues()[0].getType() != elementOf(getResult().getType()))
    return emitOpError() << "must yield one " << elementOf(getResult().getType());
  if (isa<RowsType>(getResult().getType()) && !block.getOps<ColumnOp>().empty())
    return emitOpError() << "over rows has no columns";
  return success();
}

LogicalResult ReduceOp::verify() {
  if (getKind() != "max" && getKind() != "add")
    return emitOpError() << "kind must be \"max\" or \"add\", got \"" << getKind() << "\"";
  if (!elementOf(getInput().getType()).isF32() || !getResult().getType().getElementType().isF32())
    return emitOpError() << "reduces f32 to f32, got " << getInput().getType() << " and "
                         << getResult().getType();
  if (getPartial() && isa<RowsType>(getInput().getType()))
    return emitOpError() << "of rows completes partial results and cannot be partial";
  return success();
}

LogicalResult PackOp::verify() {
  if (getFragment().getType().getColumns() != getResult().getType().getColumns())
    return emitOpError() << "operand must have the fragment's " << getFragment().getType().getColumns()
                         << " columns, got " << getResult().getType().getColumns();
  return success();
}

LogicalResult PutOperandOp::verify() {
  BufferType buffer = getBuffer().getType();
  if (buffer.getRows() != 64 || buffer.getBoxes() != 1 ||
      buffer.getColumns() != getOperand().getType().getColumns())
    return emitOpError() << "buffer must be 64 rows of " << getOperand().getType().getColumns()
                         << " columns in one box, got " << buffer;
  return success();
}

LogicalResult LoadOperandOp::verify() {
  BufferType buffer = getBuffer().getType();
  if (buffer.getRows() != 64 || int64_t(getBox()) >= buffer.getBoxes())
    return emitOpError() << "buffer must have 64 rows and a box " << getBox() << ", got " << buffer;
  if (getOperand().getType().getColumns() > buffer.getBoxColumns())
    return emitOpError() << "a box has " << buffer.getBoxColumns() << " columns, the operand "
                         << getOperand().getType().getColumns();
  return success();
}

LogicalResult PutRowsOp::verify() { return verifyCount(*this, getCount()); }
LogicalResult GetRowsOp::verify() { return verifyCount(*this, getCount()); }

/// A region from a row (i32) to its element offset (i64) and whether it is written (i1).
static LogicalResult verifyRowRegion(Operation *op, Region &region) {
  if (region.getNumArguments() != 1 || !region.getArgument(0).getType().isInteger(32))
    return op->emitOpError() << "region takes one argument, the row (i32)";
  YieldOp yield = yieldOf(region.front());
  if (!yield || yield.getValues().size() != 2 || !yield.getValues()[0].getType().isInteger(64) ||
      !yield.getValues()[1].getType().isInteger(1))
    return op->emitOpError() << "region must yield an element offset (i64) and a condition (i1)";
  return success();
}

LogicalResult StoreOp::verify() {
  if (!getElement().isBF16() && !getElement().isF16() && !getElement().isF32())
    return emitOpError() << "element must be bf16, f16 or f32, got " << getElement();
  if (getLimit() % 8 != 0)
    return emitOpError() << "limit must be a multiple of 8 columns, got " << getLimit();
  return verifyRowRegion(*this, getBody());
}

LogicalResult StoreRowsOp::verify() {
  if (!getRows().getType().getElementType().isF32())
    return emitOpError() << "writes f32 rows, got " << getRows().getType();
  return verifyRowRegion(*this, getBody());
}
