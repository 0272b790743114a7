//===- Emit.h - Short names for the operations that lowerings write ----------------------------------===//
//
// A builder with a location and one-word methods for constants, arithmetic, addresses, assembly and lane
// facts. Without it a lowering is mostly punctuation. Used by codegen/Conversion and by the schedules' scalar
// kernels.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"

namespace lathe::codegen {

struct Emit {
  mlir::OpBuilder &b;
  mlir::Location loc;
  using Value = mlir::Value;
  using Values = mlir::ValueRange;

  mlir::Type i1() { return b.getI1Type(); }
  mlir::Type i32() { return b.getI32Type(); }
  mlir::Type i64() { return b.getI64Type(); }
  mlir::Type f32() { return b.getF32Type(); }
  mlir::Type pointer(unsigned space) { return mlir::LLVM::LLVMPointerType::get(b.getContext(), space); }

  Value c(int64_t value) { return mlir::arith::ConstantIntOp::create(b, loc, i32(), value); }
  Value c64(int64_t value) { return mlir::arith::ConstantIntOp::create(b, loc, i64(), value); }
  Value cf(float value) {
    return mlir::arith::ConstantFloatOp::create(b, loc, b.getF32Type(), llvm::APFloat(value));
  }
  Value yes() { return mlir::arith::ConstantIntOp::create(b, loc, i1(), 1); }

  Value add(Value x, Value y) { return mlir::arith::AddIOp::create(b, loc, x, y); }
  Value sub(Value x, Value y) { return mlir::arith::SubIOp::create(b, loc, x, y); }
  Value mul(Value x, Value y) { return mlir::arith::MulIOp::create(b, loc, x, y); }
  Value divu(Value x, Value y) { return mlir::arith::DivUIOp::create(b, loc, x, y); }
  Value remu(Value x, Value y) { return mlir::arith::RemUIOp::create(b, loc, x, y); }
  Value band(Value x, Value y) { return mlir::arith::AndIOp::create(b, loc, x, y); }
  Value bor(Value x, Value y) { return mlir::arith::OrIOp::create(b, loc, x, y); }
  Value bxor(Value x, Value y) { return mlir::arith::XOrIOp::create(b, loc, x, y); }
  Value shl(Value x, Value y) { return mlir::arith::ShLIOp::create(b, loc, x, y); }
  Value shr(Value x, Value y) { return mlir::arith::ShRUIOp::create(b, loc, x, y); }
  Value min(Value x, Value y) { return mlir::arith::MinSIOp::create(b, loc, x, y); }
  Value max(Value x, Value y) { return mlir::arith::MaxSIOp::create(b, loc, x, y); }
  Value add(Value x, int64_t y) { return y == 0 ? x : add(x, c(y)); }
  Value sub(Value x, int64_t y) { return sub(x, c(y)); }
  Value mul(Value x, int64_t y) { return y == 1 ? x : mul(x, c(y)); }
  Value divu(Value x, int64_t y) { return y == 1 ? x : divu(x, c(y)); }
  Value remu(Value x, int64_t y) { return remu(x, c(y)); }
  Value band(Value x, int64_t y) { return band(x, c(y)); }
  Value bxor(Value x, int64_t y) { return y == 0 ? x : bxor(x, c(y)); }
  Value shl(Value x, int64_t y) { return shl(x, c(y)); }
  Value shr(Value x, int64_t y) { return shr(x, c(y)); }
  Value wide(Value x) { return mlir::arith::ExtSIOp::create(b, loc, i64(), x); }
  Value select(Value cond, Value x, Value y) { return mlir::arith::SelectOp::create(b, loc, cond, x, y); }

  using Int = mlir::arith::CmpIPredicate;
  Value cmp(Int how, Value x, Value y) { return mlir::arith::CmpIOp::create(b, loc, how, x, y); }
  Value eq(Value x, Value y) { return cmp(Int::eq, x, y); }
  Value lt(Value x, Value y) { return cmp(Int::slt, x, y); }
  Value ge(Value x, Value y) { return cmp(Int::sge, x, y); }
  Value eq(Value x, int64_t y) { return eq(x, c(y)); }
  Value lt(Value x, int64_t y) { return lt(x, c(y)); }

  Value fadd(Value x, Value y) { return mlir::arith::AddFOp::create(b, loc, x, y, fast()); }
  Value fsub(Value x, Value y) { return mlir::arith::SubFOp::create(b, loc, x, y, fast()); }
  Value fmul(Value x, Value y) { return mlir::arith::MulFOp::create(b, loc, x, y, fast()); }
  Value fmax(Value x, Value y) { return mlir::arith::MaxNumFOp::create(b, loc, x, y); }
  Value fma(Value x, Value y, Value z) { return mlir::LLVM::FMAOp::create(b, loc, x, y, z); }
  /// Contraction into fma is allowed, nothing else: infinities carry meaning (masked scores).
  mlir::arith::FastMathFlags fast() { return mlir::arith::FastMathFlags::contract; }

  /// pointer + bytes.
  Value at(Value pointer, Value bytes) {
    return mlir::LLVM::GEPOp::create(b, loc, pointer.getType(), b.getI8Type(), pointer,
                                     mlir::ArrayRef<mlir::LLVM::GEPArg>{bytes},
                                     mlir::LLVM::GEPNoWrapFlags::inbounds);
  }
  Value at(Value pointer, int64_t bytes) {
    if (bytes == 0)
      return pointer;
    return mlir::LLVM::GEPOp::create(b, loc, pointer.getType(), b.getI8Type(), pointer,
                                     mlir::ArrayRef<mlir::LLVM::GEPArg>{int32_t(bytes)},
                                     mlir::LLVM::GEPNoWrapFlags::inbounds);
  }
  Value load(mlir::Type type, Value pointer) { return mlir::LLVM::LoadOp::create(b, loc, type, pointer); }
  void store(Value value, Value pointer) { mlir::LLVM::StoreOp::create(b, loc, value, pointer); }

  Value extract(Value aggregate, int64_t position) {
    return mlir::LLVM::ExtractValueOp::create(b, loc, aggregate, mlir::ArrayRef<int64_t>{position});
  }
  llvm::SmallVector<Value> unpack(Value aggregate) {
    llvm::SmallVector<Value> values;
    auto type = mlir::cast<mlir::LLVM::LLVMStructType>(aggregate.getType());
    for (size_t i = 0; i < type.getBody().size(); ++i)
      values.push_back(extract(aggregate, i));
    return values;
  }
  Value undef(mlir::Type type) { return mlir::LLVM::UndefOp::create(b, loc, type); }
  Value pack(mlir::Type type, llvm::ArrayRef<Value> values) {
    Value aggregate = undef(type);
    for (auto [i, value] : llvm::enumerate(values))
      aggregate =
          mlir::LLVM::InsertValueOp::create(b, loc, aggregate, value, mlir::ArrayRef<int64_t>{int64_t(i)});
    return aggregate;
  }
  /// A vector of equal scalars' types, as wide loads and stores take them.
  Value vector(llvm::ArrayRef<Value> values) {
    Value all = undef(mlir::VectorType::get({int64_t(values.size())}, values.front().getType()));
    for (auto [i, value] : llvm::enumerate(values))
      all = mlir::LLVM::InsertElementOp::create(b, loc, all, value, c(int64_t(i)));
    return all;
  }

  /// Assembly with side effects; `result` null for none.
  Value assembly(mlir::Type result, llvm::StringRef text, llvm::StringRef constraints, Values operands) {
    auto op = mlir::LLVM::InlineAsmOp::create(
        b, loc, result ? mlir::TypeRange{result} : mlir::TypeRange{}, operands, text, constraints,
        /*has_side_effects=*/true, /*is_align_stack=*/false, mlir::LLVM::tailcallkind::TailCallKind::None,
        mlir::LLVM::AsmDialectAttr::get(b.getContext(), mlir::LLVM::AsmDialect::AD_ATT), mlir::ArrayAttr());
    return result ? op.getResult(0) : Value();
  }

  Value thread() { return mlir::NVVM::ThreadIdXOp::create(b, loc, i32()); }
  Value lane() { return band(thread(), 31); }
  /// Warp within its warpgroup, 0 to 3.
  Value warp() { return band(shr(thread(), 5), 3); }
  /// The lane's first row of a fragment; the second is 8 below.
  Value row() { return add(mul(warp(), 16), shr(lane(), 2)); }
  /// Lane within the four that share a row.
  Value quad() { return band(thread(), 3); }
  Value shuffle(Value value, Value offset, mlir::NVVM::ShflKind kind) {
    return mlir::NVVM::ShflOp::create(b, loc, value.getType(), c(-1), value, offset,
                                      c(kind == mlir::NVVM::ShflKind::up ? 0 : 31), kind, mlir::UnitAttr());
  }
  Value butterfly(Value value, int64_t offset) {
    return shuffle(value, c(offset), mlir::NVVM::ShflKind::bfly);
  }
  /// Lane 0's value, known to be the same in the whole warp.
  Value uniform(Value value) { return shuffle(value, c(0), mlir::NVVM::ShflKind::idx); }
  Value shared() { return mlir::LLVM::AddressOfOp::create(b, loc, pointer(3), "lathe_shared"); }
  /// The same address of shared memory, from a base that only this place has in a register. LLVM would keep
  /// one base for the whole kernel, beside its largest fragments, and ptxas spill it.
  Value rebased(Value address) {
    Value base = assembly(pointer(3), "mov.b64 $0, lathe_shared;", "=l", {});
    auto number = [&](Value p) -> Value { return mlir::LLVM::PtrToIntOp::create(b, loc, i64(), p); };
    return at(base, mlir::LLVM::SubOp::create(b, loc, number(address), number(shared())));
  }
  void fenceAsyncGlobal() {
    mlir::NVVM::FenceProxyOp::create(b, loc, mlir::NVVM::ProxyKind::async_global, {});
  }
  void fenceAsyncShared() {
    mlir::NVVM::FenceProxyOp::create(
        b, loc, mlir::NVVM::ProxyKind::async_shared,
        mlir::NVVM::SharedSpaceAttr::get(b.getContext(), mlir::NVVM::SharedSpace::shared_cta));
  }
  /// Two floats rounded to bf16 or f16 in one i32, `low` in the low half.
  Value packHalves(mlir::Type element, Value low, Value high) {
    auto pair = mlir::VectorType::get({2}, element);
    constexpr auto nearest = mlir::NVVM::FPRoundingMode::RN;
    Value packed =
        element.isBF16()
            ? Value(mlir::NVVM::ConvertF32x2ToBF16x2Op::create(b, loc, pair, high, low, Value(), nearest))
            : Value(mlir::NVVM::ConvertF32x2ToF16x2Op::create(b, loc, pair, high, low, Value(), nearest));
    return mlir::LLVM::BitcastOp::create(b, loc, i32(), packed);
  }
  Value packBf16(Value low, Value high) { return packHalves(b.getBF16Type(), low, high); }
  /// if (condition) { then() }.
  template <class Then>
  void when(Value condition, Then then) {
    auto op = mlir::scf::IfOp::create(b, loc, condition, /*withElseRegion=*/false);
    mlir::OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(op.thenBlock()->getTerminator());
    then();
  }
  /// for (i = from; i < to; i += step) body(i).
  template <class Body>
  void loop(Value from, Value to, Value step, Body body) {
    auto op = mlir::scf::ForOp::create(b, loc, from, to, step);
    mlir::OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(op.getBody()->getTerminator());
    body(op.getInductionVar());
  }
  /// for (i = from; i < to; i += step) carried = body(i, carried).
  llvm::SmallVector<Value> loop(Value from, Value to, Value step, mlir::ValueRange carried,
                                llvm::function_ref<llvm::SmallVector<Value>(Value, mlir::ValueRange)> body) {
    auto op = mlir::scf::ForOp::create(b, loc, from, to, step, carried);
    mlir::OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(op.getBody());
    llvm::SmallVector<Value> next = body(op.getInductionVar(), op.getRegionIterArgs());
    mlir::scf::YieldOp::create(b, loc, next);
    return llvm::SmallVector<Value>(op.getResults());
  }
  /// values = first; while (condition, known = before(values)) values = body(known). All of them are i32, the
  /// condition aside, which `before` gives first; `count` of them are known. Gives what is known at the end.
  llvm::SmallVector<Value> loopWhile(mlir::ValueRange first, size_t count,
                                     llvm::function_ref<llvm::SmallVector<Value>(mlir::ValueRange)> before,
                                     llvm::function_ref<llvm::SmallVector<Value>(mlir::ValueRange)> body) {
    const llvm::SmallVector<mlir::Type> types(count, i32());
    auto op = mlir::scf::WhileOp::create(b, loc, types, first);
    mlir::OpBuilder::InsertionGuard guard(b);
    auto enter = [&](mlir::Region &region, mlir::TypeRange types) {
      mlir::Block *block =
          b.createBlock(&region, {}, types, llvm::SmallVector<mlir::Location>(types.size(), loc));
      return mlir::ValueRange(block->getArguments());
    };
    llvm::SmallVector<Value> known = before(enter(op.getBefore(), first.getTypes()));
    mlir::scf::ConditionOp::create(b, loc, known.front(), mlir::ValueRange(known).drop_front());
    mlir::scf::YieldOp::create(b, loc, body(enter(op.getAfter(), types)));
    return llvm::SmallVector<Value>(op.getResults());
  }
};

/// Declares the kernels' dynamic shared memory in the module, where it is not yet.
void declareShared(mlir::ModuleOp module);

} // namespace lathe::codegen
