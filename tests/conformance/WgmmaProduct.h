//===- WgmmaProduct.h - One product of a warpgroup as a case -----------------------------------------===//
//
// What can be chosen of a product, and the case that it makes: the kernel's text, operands in the input, and
// the result in binary64 with the bound that the order of additions leaves. Called by WgmmaCases.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Case.h"
#include "Numbers.h"
#include "WgmmaOperand.h"

namespace lathe::conformance {

inline constexpr unsigned productRows = 64, stepDepth = 16, productThreads = 128;

struct WgmmaProduct {
  std::string suffix = {};
  bool half = false; ///< f16, else bf16.
  bool aInRegisters = false;
  WgmmaOperand a, b;            ///< `b.extent`: the columns.
  bool keepsAccumulator = true; ///< The first step adds to what is there.
  bool negatesA = false, negatesB = false;
  bool byTma = false;    ///< TMA brings the operands, and swizzles them.
  bool byCopies = false; ///< cp.async brings the operands.
  bool special = false;  ///< Infinities and NaNs among the elements.
  std::string question = {};

  unsigned columns() const { return b.extent; }
  unsigned depth() const { return b.depth; }
  unsigned steps() const { return depth() / stepDepth; }
  unsigned registers() const { return columns() / 2; } ///< Of a thread's accumulators.
  Format format() const { return half ? f16 : bf16; }
};

/// The case of a product; operand A gets its rows, and its depth from B.
Case makeProduct(WgmmaProduct form);

} // namespace lathe::conformance
