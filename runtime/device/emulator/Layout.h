//===- Layout.h - Swizzles, matrix descriptors and fragments as the hardware has them ----------------===//
//
// The emulator's own statement of the layouts, made from the PTX ISA alone ("Swizzling modes", "Asynchronous
// warpgroup level matrix shared memory layout", "Matrix-descriptor format", "Register fragments"), so that
// it can contradict the compiler's (codegen/Layout). Pure arithmetic. Used by TMA, WGMMA and the notes.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <cstdint>

namespace lathe::runtime::emulator {

/// Where a byte at `address` lies under a swizzle of 32, 64 or 128 bytes (0: none): the 16-byte chunk number
/// within the swizzle width is combined with the number of the 128-byte line within the pattern. The pattern
/// starts at a multiple of 8 · swizzle, or `lines` 128-byte lines after one (a descriptor's base offset). Its
/// own inverse.
constexpr uint32_t swizzled(uint32_t address, uint32_t swizzle, uint32_t lines = 0) {
  if (swizzle == 0)
    return address;
  const uint32_t mask = swizzle / 16 - 1; // Chunks of a row: 1, 3 or 7.
  return address ^ ((((address >> 7) - lines) & mask) << 4);
}

/// A WGMMA shared-memory descriptor, decoded; offsets in bytes.
struct MatrixDescriptor {
  uint32_t start = 0, leading = 0, stride = 0;
  uint32_t baseLines = 0; ///< The base offset field: 128-byte lines.
  uint32_t swizzle = 0;   ///< 0, 32, 64 or 128.
  uint64_t unused = 0;    ///< Bits that must be zero.

  static constexpr MatrixDescriptor decode(uint64_t bits) {
    constexpr uint32_t swizzles[] = {0, 128, 64, 32};
    constexpr uint64_t known = 0xC00E'3FFF'3FFF'3FFFull;
    return {uint32_t(bits & 0x3FFF) << 4,
            uint32_t(bits >> 16 & 0x3FFF) << 4,
            uint32_t(bits >> 32 & 0x3FFF) << 4,
            uint32_t(bits >> 49 & 7),
            swizzles[bits >> 62],
            bits & ~known};
  }

  /// Address of element (row or column `mn`, depth `k`) of 16-bit elements. `transposed`: neighbours along mn
  /// are contiguous (MN-major), else neighbours along k.
  constexpr uint32_t address(uint32_t mn, uint32_t k, bool transposed) const {
    uint32_t offset = 0;
    if (transposed) {
      const uint32_t width = swizzle ? swizzle / 2 : 8; // Elements of one row.
      const uint32_t across = swizzle ? leading : stride, down = swizzle ? stride : leading;
      offset = mn / width * across + mn % width * 2 + k / 8 * down + k % 8 * (width * 2);
    } else if (swizzle) {
      offset = mn / 8 * stride + mn % 8 * swizzle + k * 2;
    } else {
      offset = mn / 8 * stride + mn % 8 * 16 + k / 8 * leading + k % 8 * 2;
    }
    return swizzled(start + offset, swizzle, baseLines);
  }
};

/// Row (0 to 63) and column that register `i` of lane `lane` of warp `warp` (0 to 3) of a warpgroup holds in
/// the float32 accumulator of m64nNk16.
constexpr uint32_t accumulatorRow(uint32_t warp, uint32_t lane, uint32_t i) {
  return 16 * warp + lane / 4 + 8 * (i / 2 % 2);
}
constexpr uint32_t accumulatorColumn(uint32_t lane, uint32_t i) { return i / 4 * 8 + lane % 4 * 2 + i % 2; }

/// Row and first of the two columns in register `i` (0 to 3) of the 64 × 16 first operand of 16-bit elements.
constexpr uint32_t operandRow(uint32_t warp, uint32_t lane, uint32_t i) {
  return 16 * warp + lane / 4 + 8 * (i % 2);
}
constexpr uint32_t operandColumn(uint32_t lane, uint32_t i) { return lane % 4 * 2 + 8 * (i / 2); }

} // namespace lathe::runtime::emulator
