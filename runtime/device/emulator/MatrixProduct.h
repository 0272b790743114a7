//===- MatrixProduct.h - The arithmetic of one WGMMA -------------------------------------------------===//
//
// acc += a · b in float32 for 64 rows and a depth of 16, on plain row-major arrays, so that the compiler's
// vectoriser sees nothing but loops. Called by the WGMMA instruction after it has gathered its operands.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

namespace lathe::runtime::emulator {

inline constexpr int productRows = 64, productDepth = 16, productColumns = 256;

/// acc [64][columns], a [64][16], b [16][columns]; `columns` a multiple of 8 up to 256. Products are added
/// one after the other in the order of the depth; the hardware adds the sixteen of them in an order of its
/// own, so results agree within the rounding of sixteen additions.
void multiplyAdd(float *acc, const float *a, const float *b, int columns);

} // namespace lathe::runtime::emulator
