//===- GroupedActivation.cpp - What experts do between their projections -----------------------------===//
//
// Applied in registers before the results of `up` are written: SwiGLU to pairs of gate and up rows, SiLU and
// GELU to single ones.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/Grouped.h"

#include <cmath>

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

Value GroupedBuilder::mapped(Value sum) {
  auto op = MapOp::create(k.b, k.loc, sum.getType(), ValueRange{sum});
  fill(op.getBody(), {k.f32()}, [&](Block &block) {
    Value x = block.getArgument(0);
    return Values{problem.activation == MoeActivation::Gelu ? gelu(x) : siluTimes(x, Value())};
  });
  return op.getResult();
}

Value GroupedBuilder::activated(Value gate, Value other) {
  return problem.activation == MoeActivation::SwiGlu ? siluTimes(gate, other) : gate;
}

Value GroupedBuilder::siluTimes(Value x, Value y) {
  Value half = k.fmul(x, k.cf(0.5f)), both = y ? k.fmul(half, y) : half;
  return k.fma(both, TanhOp::create(k.b, k.loc, k.f32(), half), both);
}

Value GroupedBuilder::gelu(Value x) {
  Value z = k.fmul(x, k.cf(float(M_SQRT1_2))), size = magnitude(z);
  Value t = RcpOp::create(k.b, k.loc, k.f32(), k.fma(size, k.cf(0.3275911f), k.cf(1)));
  Value sum = k.cf(1.061405429f);
  for (float next : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f})
    sum = k.fma(sum, t, k.cf(next));
  Value square = k.fmul(k.fmul(z, z), k.cf(float(-M_LOG2E)));
  Value tail = k.fmul(k.fmul(sum, t), Exp2Op::create(k.b, k.loc, k.f32(), square));
  Value half = k.fmul(x, k.cf(0.5f)), kept = k.fsub(k.cf(1), tail); // erf of |z|.
  return k.fma(magnitude(half), kept, half);
}

} // namespace lathe::codegen
