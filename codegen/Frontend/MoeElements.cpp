//===- MoeElements.cpp - Element-wise functions and inputs of the pattern ----------------------------===//
//
// Reads small regions by their structure, as the import writes them and with the operands of commutative
// operations in either order. Everything else that is element-wise stays a map.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Frontend/MoeParts.h"
#include "lathe/codegen/Frontend/Unserved.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <numbers>

using namespace mlir;
using namespace lathe;
using namespace lathe::codegen;

//===- Element-wise functions -------------------------------------------------------------------------===//

static bool isConstant(Value value, double wanted) {
  APFloat found(0.0);
  return matchPattern(value, m_ConstantFloat(&found)) &&
         std::abs(found.convertToDouble() - wanted) < 1e-6 * std::abs(wanted);
}

/// Whether `value` is an Op whose operands, in either order, satisfy the two conditions.
template <typename Op, typename First, typename Second>
static bool isEither(Value value, First first, Second second) {
  auto op = value.getDefiningOp<Op>();
  return op && ((first(op.getLhs()) && second(op.getRhs())) || (first(op.getRhs()) && second(op.getLhs())));
}

static auto same(Value wanted) {
  return [wanted](Value value) { return value == wanted; };
}

static auto constant(double wanted) {
  return [wanted](Value value) { return isConstant(value, wanted); };
}

/// 1 / (1 + exp(-x)).
static bool isSigmoidOf(Value value, Value x) {
  auto quotient = value.getDefiningOp<arith::DivFOp>();
  return quotient && isConstant(quotient.getLhs(), 1) &&
         isEither<arith::AddFOp>(quotient.getRhs(), constant(1), [&](Value decay) {
           auto exponential = decay.getDefiningOp<math::ExpOp>();
           auto negated =
               exponential ? exponential.getOperand().getDefiningOp<arith::NegFOp>() : arith::NegFOp();
           return negated && negated.getOperand() == x;
         });
}

static bool isSiluOf(Value value, Value x) {
  return isEither<arith::MulFOp>(value, same(x), [&](Value factor) { return isSigmoidOf(factor, x); });
}

/// (x * 0.5) * (1 + erf(x * sqrt(0.5))).
static bool isGeluOf(Value value, Value x) {
  auto isHalf = [&](Value factor) { return isEither<arith::MulFOp>(factor, same(x), constant(0.5)); };
  auto isErf = [&](Value term) {
    auto erf = term.getDefiningOp<math::ErfOp>();
    return erf && isEither<arith::MulFOp>(erf.getOperand(), same(x), constant(std::numbers::sqrt2 / 2));
  };
  return isEither<arith::MulFOp>(
      value, isHalf, [&](Value factor) { return isEither<arith::AddFOp>(factor, constant(1), isErf); });
}

static Value yielded(ir::MapOp map) {
  return cast<ir::YieldOp>(map.getBody().front().getTerminator()).getValue();
}

MoeActivation codegen::activationOf(ir::MapOp map) {
  Value result = yielded(map);
  Block &body = map.getBody().front();
  if (body.getNumArguments() == 1) {
    Value x = body.getArgument(0);
    return isSiluOf(result, x)   ? MoeActivation::Silu
           : isGeluOf(result, x) ? MoeActivation::Gelu
                                 : MoeActivation::Other;
  }
  if (body.getNumArguments() != 2)
    return MoeActivation::Other;
  for (auto [gate, up] : {std::pair(0, 1), std::pair(1, 0)})
    if (isEither<arith::MulFOp>(result, same(body.getArgument(up)),
                                [&](Value factor) { return isSiluOf(factor, body.getArgument(gate)); }))
      return MoeActivation::SwiGlu;
  return MoeActivation::Other;
}

/// The region's only argument in f32, where it has one.
static Value widenedArgument(ir::MapOp map) {
  Block &body = map.getBody().front();
  if (body.getNumArguments() != 1)
    return {};
  if (body.getArgument(0).getType().isF32())
    return body.getArgument(0);
  auto widened = dyn_cast<arith::ExtFOp>(&body.front());
  return widened && widened.getType().isF32() ? widened.getResult() : Value();
}

bool codegen::isSigmoid(ir::MapOp map) {
  Value x = widenedArgument(map);
  return x && isSigmoidOf(yielded(map), x);
}

bool codegen::isWidening(ir::MapOp map) {
  Value x = widenedArgument(map);
  return x && yielded(map) == x;
}

bool codegen::isSumOfTwo(ir::MapOp map) {
  Block &body = map.getBody().front();
  return body.getNumArguments() == 2 &&
         isEither<arith::AddFOp>(yielded(map), same(body.getArgument(0)), same(body.getArgument(1)));
}

//===- Inputs and contractions ------------------------------------------------------------------------===//

Dtype codegen::dtypeOf(Type type) {
  if (type.isBF16())
    return Dtype::BF16;
  if (type.isF16())
    return Dtype::F16;
  if (type.isF32())
    return Dtype::F32;
  if (type.isF64())
    return Dtype::F64;
  return type.isInteger(32) ? Dtype::I32 : type.isInteger(64) ? Dtype::I64 : Dtype::Bool;
}

void codegen::checkInput(ir::InputOp input, const std::string &what, ArrayRef<Dtype> types,
                         ArrayRef<std::string> dims) {
  ir::ArrayType type = input.getResult().getType();
  bool ordered = llvm::equal(type.getNames(), dims, [](StringAttr name, const std::string &wanted) {
    return name.getValue() == wanted;
  });
  if (ordered && llvm::is_contained(types, dtypeOf(type.getElementType())))
    return;
  SmallVector<std::string_view> names;
  for (Dtype each : types)
    names.push_back(name(each));
  std::string wanted = fmt::format("{} [{}]", fmt::join(names, " or "), fmt::join(dims, ", "));
  unserved(input, fmt::format("{} in another type or order than {}", what, wanted),
           "declare it as " + wanted);
}

InputSide codegen::inputSide(ir::ContractOp contract) {
  if (auto input = contract.getLhs().getDefiningOp<ir::InputOp>())
    return {input, contract.getRhs()};
  return {contract.getRhs().getDefiningOp<ir::InputOp>(), contract.getLhs()};
}

std::string codegen::summedDim(ir::ContractOp contract) {
  return contract.getOver().size() == 1 ? str(cast<StringAttr>(contract.getOver()[0])) : "";
}
