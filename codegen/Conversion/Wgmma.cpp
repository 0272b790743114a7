//===- Wgmma.cpp - Lowering of tensor-core products --------------------------------------------------===//
//
// Up to four chained wgmma in one piece of assembly (instruction selection on operands by the hundred
// dominates the time to PTX), with the constant parts of descriptors added inside it, out of the reach of
// loop-invariant code motion: hoisted offsets cost two registers each and spill the kernel. Descriptor
// fields: PTX ISA, "Matrix-descriptor format".
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Conversion/Lowering.h"
#include "lathe/codegen/Layout/Swizzle.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr int64_t stepsPerAssembly = 4, widestProduct = 256;
using layout::stepDepth;

static layout::BoxedMatrix matrixOf(BufferType type) { return {type.getRows(), type.getSwizzle()}; }

/// Descriptor of the matrix at `address`, which is aligned to 16 bytes.
static Value descriptor(Emit &e, Value address, const layout::Descriptor &constant) {
  // In a cluster an address carries the CTA's rank above its 18 bits, which must not reach the leading
  // offset.
  Value local = e.band(LLVM::PtrToIntOp::create(e.b, e.loc, e.i32(), address), 0x3FFFF);
  Value start = arith::ExtUIOp::create(e.b, e.loc, e.i64(), e.shr(local, 4));
  return e.bor(start, e.c64(int64_t(constant.fields())));
}

namespace {

/// One operand of a chain: a descriptor with a constant offset a step, or registers, four a step.
struct ChainOperand {
  Value descriptor;
  SmallVector<int64_t> offsets;
  SmallVector<Value> registers;
};

struct Chain {
  ChainOperand a, b;
  bool fromZero = false;    ///< The first step overwrites the accumulator.
  bool aTransposed = false; ///< A is stored with its rows contiguous (MN-major).
  bool bTransposed = false; ///< B is stored with its columns contiguous (MN-major).
};

} // namespace

static std::string registerList(int64_t first, int64_t count) {
  std::string text = "{";
  for (int64_t i = 0; i < count; ++i)
    text += (i ? ",$" : "$") + std::to_string(first + i);
  return text + "}";
}

/// One piece of assembly: all steps of the chain on the accumulator `acc`.
static Value emitChain(Emit &e, Value acc, const Chain &chain) {
  SmallVector<Value> operands = e.unpack(acc);
  auto registers = int64_t(operands.size());
  std::string constraints;
  for (int64_t i = 0; i < registers; ++i)
    constraints += i ? ",=f" : "=f";
  for (int64_t i = 0; i < registers; ++i)
    constraints += "," + std::to_string(i);
  int64_t next = 2 * registers, aFirst = next;
  for (Value value : chain.a.registers) {
    operands.push_back(value);
    constraints += ",r";
    ++next;
  }
  if (chain.a.descriptor) {
    operands.push_back(chain.a.descriptor);
    constraints += ",l";
    ++next;
  }
  operands.push_back(chain.b.descriptor);
  constraints += ",l";
  int64_t bIndex = next;

  std::string text =
      llvm::formatv("{{ .reg .pred p; .reg .b64 da, db; setp.ne.b32 p, {0}, 0; ", chain.fromZero ? 0 : 1);
  for (size_t step = 0; step < chain.b.offsets.size(); ++step) {
    std::string a = "da";
    if (chain.a.descriptor)
      text += llvm::formatv("add.s64 da, ${0}, {1}; ", aFirst, chain.a.offsets[step]);
    else
      a = registerList(aFirst + 4 * step, 4);
    text += llvm::formatv("add.s64 db, ${0}, {1}; ", bIndex, chain.b.offsets[step]);
    text += llvm::formatv(
        "wgmma.mma_async.sync.aligned.m64n{0}k16.f32.bf16.bf16 {1}, {2}, db, {3}, 1, 1,{4} {5}; ",
        2 * registers, registerList(0, registers), a, step == 0 ? "p" : "1",
        !chain.a.descriptor ? ""
        : chain.aTransposed ? " 1,"
                            : " 0,",
        chain.bTransposed ? 1 : 0);
  }
  return e.assembly(acc.getType(), text + "}", constraints, operands);
}

/// An accumulator's registers in equal parts, and put together again.
static SmallVector<Value> partsOf(Emit &e, Value whole, int64_t parts) {
  if (parts == 1)
    return {whole};
  const SmallVector<Value> registers = e.unpack(whole);
  const size_t each = registers.size() / size_t(parts);
  auto type = LLVM::LLVMStructType::getLiteral(e.b.getContext(), SmallVector<Type>(each, e.f32()));
  SmallVector<Value> result;
  for (size_t part = 0; part < size_t(parts); ++part)
    result.push_back(e.pack(type, ArrayRef(registers).slice(part * each, each)));
  return result;
}

static Value wholeOf(Emit &e, Type type, ArrayRef<Value> parts) {
  if (parts.size() == 1)
    return parts.front();
  SmallVector<Value> registers;
  for (Value part : parts)
    registers.append(e.unpack(part));
  return e.pack(type, registers);
}

namespace {

struct MmaNtLowering : OpConversionPattern<MmaNtOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(MmaNtOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    BufferType b = op.getB().getType();
    auto a = dyn_cast<BufferType>(op.getA().getType());
    Value first = in.getRow() ? e.at(in.getA(), e.mul(in.getRow(), a.getSwizzle())) : in.getA();
    Value aBase = a ? descriptor(e, first, layout::sumsColumns(matrixOf(a))) : Value();
    const SmallVector<Value> aRegisters = a ? SmallVector<Value>() : e.unpack(in.getA());
    Value bBase = descriptor(e, in.getB(), layout::sumsColumns(matrixOf(b)));
    bool onto = bool(op.getAcc());
    Type type = getTypeConverter()->convertType(op.getResult().getType());
    const int64_t columns = op.getResult().getType().getColumns(), parts = columns > widestProduct ? 2 : 1;
    SmallVector<Value> acc = partsOf(e, onto ? in.getAcc() : e.undef(type), parts);
    int64_t begin = op.getFrom() / stepDepth, steps = begin + op.getDepth() / stepDepth;
    for (int64_t start = begin; start < steps; start += stepsPerAssembly)
      for (int64_t part = 0; part < parts; ++part) {
        const int64_t below = part * (columns / parts) * b.getSwizzle(); // Rows of `b`, whole patterns of 8.
        Chain chain{{aBase, {}, {}}, {bBase, {}, {}}, start == begin && !onto};
        for (int64_t step = start; step < std::min(steps, start + stepsPerAssembly); ++step) {
          if (a)
            chain.a.offsets.push_back(layout::columnStep(matrixOf(a), step) / layout::chunkBytes);
          else
            chain.a.registers.append(aRegisters.begin() + 4 * (step - begin),
                                     aRegisters.begin() + 4 * (step - begin) + 4);
          chain.b.offsets.push_back((layout::columnStep(matrixOf(b), step) + below) / layout::chunkBytes);
        }
        acc[size_t(part)] = emitChain(e, acc[size_t(part)], chain);
      }
    rewriter.replaceOp(op, wholeOf(e, type, acc));
    return success();
  }
};

struct MmaNnLowering : OpConversionPattern<MmaNnOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(MmaNnOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    BufferType b = op.getB().getType();
    Value first = e.at(in.getB(), e.mul(in.getBox(), b.getBoxBytes()));
    Value bBase = descriptor(e, first, layout::sumsRows(matrixOf(b)));
    auto aBuffer = dyn_cast<BufferType>(op.getA().getType());
    Value aBase = aBuffer ? descriptor(e, in.getA(), layout::sumsColumns(matrixOf(aBuffer))) : Value();
    SmallVector<Value> aRegisters = aBuffer ? SmallVector<Value>() : e.unpack(in.getA());
    Value acc = in.getAcc();
    int64_t steps = b.getRows() / stepDepth;
    for (int64_t start = 0; start < steps; start += stepsPerAssembly) {
      Chain chain{{aBase, {}, {}}, {bBase, {}, {}}};
      chain.bTransposed = true;
      for (int64_t step = start; step < std::min(steps, start + stepsPerAssembly); ++step) {
        chain.b.offsets.push_back(layout::rowStep(matrixOf(b), step) / layout::chunkBytes);
        if (aBuffer)
          chain.a.offsets.push_back(layout::columnStep(matrixOf(aBuffer), step) / layout::chunkBytes);
        else
          chain.a.registers.append(aRegisters.begin() + 4 * step, aRegisters.begin() + 4 * step + 4);
      }
      acc = emitChain(e, acc, chain);
    }
    rewriter.replaceOp(op, acc);
    return success();
  }
};

struct MmaTtLowering : OpConversionPattern<MmaTtOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(MmaTtOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    layout::BoxedMatrix a = matrixOf(op.getA().getType()), b = matrixOf(op.getB().getType());
    // The box is a constant of the steps: all products of a tile then share one descriptor of it.
    Value aBase = descriptor(e, in.getA(), layout::sumsRows(a));
    Value bBase = descriptor(e, in.getB(), layout::sumsColumns(b));
    Value acc = in.getAcc();
    int64_t steps = a.rows / stepDepth;
    for (int64_t first = 0; first < steps; first += stepsPerAssembly) {
      Chain chain{{aBase, {}, {}}, {bBase, {}, {}}};
      chain.aTransposed = true;
      for (int64_t step = first; step < std::min(steps, first + stepsPerAssembly); ++step) {
        int64_t offset = int64_t(op.getBox()) * a.boxBytes() + layout::rowStep(a, step);
        chain.a.offsets.push_back(offset / layout::chunkBytes);
        chain.b.offsets.push_back(layout::columnStep(b, step) / layout::chunkBytes);
      }
      acc = emitChain(e, acc, chain);
    }
    rewriter.replaceOp(op, acc);
    return success();
  }
};

template <class Op, class Target>
struct DirectLowering : OpConversionPattern<Op> {
  using OpConversionPattern<Op>::OpConversionPattern;
  LogicalResult matchAndRewrite(Op op, typename Op::Adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOpWithNewOp<Target>(op);
    return success();
  }
};

/// The wait has every accumulator tied through its assembly, so that nothing reads one earlier.
struct MmaWaitLowering : OpConversionPattern<MmaWaitOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(MmaWaitOp op, OpAdaptor in,
                                ConversionPatternRewriter &rewriter) const override {
    Emit e{rewriter, op.getLoc()};
    SmallVector<Value> values;
    for (Value fragment : in.getFragments())
      values.append(e.unpack(fragment));
    std::string text = llvm::formatv("wgmma.wait_group.sync.aligned {0};", op.getPending());
    if (values.empty()) {
      e.assembly(Type(), text, "", {});
      rewriter.eraseOp(op);
      return success();
    }
    std::string constraints;
    for (size_t i = 0; i < values.size(); ++i)
      constraints += i ? ",=f" : "=f";
    for (size_t i = 0; i < values.size(); ++i)
      constraints += "," + std::to_string(i);
    auto all = LLVM::LLVMStructType::getLiteral(getContext(), SmallVector<Type>(values.size(), e.f32()));
    SmallVector<Value> waited = e.unpack(e.assembly(all, text, constraints, values));
    SmallVector<Value> results;
    size_t at = 0;
    for (Value fragment : in.getFragments()) {
      size_t count = cast<LLVM::LLVMStructType>(fragment.getType()).getBody().size();
      results.push_back(e.pack(fragment.getType(), ArrayRef(waited).slice(at, count)));
      at += count;
    }
    rewriter.replaceOp(op, results);
    return success();
  }
};

} // namespace

void populateWgmmaPatterns(const TileTypeConverter &types, RewritePatternSet &patterns) {
  patterns.add<MmaNtLowering, MmaNnLowering, MmaTtLowering, MmaWaitLowering,
               DirectLowering<MmaFenceOp, NVVM::WgmmaFenceAlignedOp>,
               DirectLowering<MmaCommitOp, NVVM::WgmmaGroupSyncAlignedOp>>(types, patterns.getContext());
}

} // namespace lathe::codegen
