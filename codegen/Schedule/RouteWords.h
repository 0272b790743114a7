//===- RouteWords.h - Short names for the routing kernel's operations --------------------------------===//
//
// What Emit.h has no word for: reductions of a warp, floats compared as integers. Included by the files of
// the routing kernel.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Conversion/Emit.h"

#include <limits>

namespace lathe::codegen::route {

using mlir::Value;

inline constexpr float infinity = std::numeric_limits<float>::infinity();
/// Below every key: experts that are chosen already, of groups that are not, or that do not exist.
inline constexpr int64_t noKey = std::numeric_limits<int32_t>::min();
inline constexpr int64_t noExpert = std::numeric_limits<int32_t>::max();

inline Value redux(Emit &e, Value value, mlir::NVVM::ReduxKind kind) {
  return mlir::NVVM::ReduxOp::create(e.b, e.loc, e.i32(), value, kind, e.c(-1));
}
inline Value compare(Emit &e, mlir::arith::CmpFPredicate how, Value x, Value y) {
  return mlir::arith::CmpFOp::create(e.b, e.loc, how, x, y);
}
inline Value isNan(Emit &e, Value x) { return compare(e, mlir::arith::CmpFPredicate::UNO, x, x); }
inline Value equals(Emit &e, Value x, float y) {
  return compare(e, mlir::arith::CmpFPredicate::OEQ, x, e.cf(y));
}
inline Value fmin(Emit &e, Value x, Value y) { return mlir::arith::MinNumFOp::create(e.b, e.loc, x, y); }
inline Value bitcast(Emit &e, mlir::Type type, Value x) {
  return mlir::arith::BitcastOp::create(e.b, e.loc, type, x);
}
/// Bits that are set.
inline Value bits(Emit &e, Value x) { return mlir::LLVM::CtPopOp::create(e.b, e.loc, x); }
inline Value differs(Emit &e, Value x, int64_t y) { return e.cmp(Emit::Int::ne, x, e.c(y)); }

/// Turns negative numbers over: floats' bits to integers of the same order, and back.
inline Value turned(Emit &e, Value bits) {
  Value sign = mlir::arith::ShRSIOp::create(e.b, e.loc, bits, e.c(31));
  return e.bxor(bits, e.band(sign, 0x7fffffff));
}
/// An integer in the order of `x`, which is no NaN. Both zeros are equal.
inline Value orderOf(Emit &e, Value x) { return turned(e, bitcast(e, e.i32(), e.fadd(x, e.cf(0)))); }
inline Value fromOrder(Emit &e, Value order) { return bitcast(e, e.f32(), turned(e, order)); }

template <class Combine>
Value tree(llvm::SmallVector<Value> values, Combine combine) {
  while (values.size() > 1) {
    llvm::SmallVector<Value> half;
    for (size_t i = 0; i + 1 < values.size(); i += 2)
      half.push_back(combine(values[i], values[i + 1]));
    if (values.size() % 2)
      half.push_back(values.back());
    values = std::move(half);
  }
  return values.front();
}

inline Value ceilDiv(Emit &e, Value x, int by) { return e.divu(e.add(x, by - 1), by); }
inline Value roundUp(Emit &e, Value x, int to) { return e.mul(ceilDiv(e, x, to), to); }
inline void syncWarp(Emit &e) { mlir::NVVM::SyncWarpOp::create(e.b, e.loc, e.c(-1)); }
inline void barrier(Emit &e) { mlir::NVVM::Barrier0Op::create(e.b, e.loc); }

} // namespace lathe::codegen::route
