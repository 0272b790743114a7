//===- WgmmaOperand.h - How a product's operands lie in shared memory --------------------------------===//
//
// The layouts that wgmma reads through a descriptor, stated from the PTX ISA's figures ("Asynchronous
// warpgroup level matrix shared memory layout"): both major orders, all swizzles, both orders of blocks, and
// a pattern that begins between two multiples of its length. Called by the wgmma cases.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <cstddef>
#include <cstdint>

namespace lathe::conformance {

/// A matrix of 16-bit elements in shared memory, `extent` rows (of A) or columns (of B) by `depth`.
struct WgmmaOperand {
  unsigned extent = 64, depth = 64;
  bool mnMajor = false;   ///< Neighbours along the extent lie together, else neighbours along the depth.
  int swizzleBytes = 128; ///< 0, 32, 64, 128.
  bool blocksAlongDepth =
      false;                 ///< Which way the blocks beyond a descriptor's two dimensions follow each other.
  unsigned patternLines = 0; ///< Lines of 128 bytes between a multiple of 1024 and the start of the matrix.

  /// Byte of an element from the multiple of 1024 below the matrix.
  size_t offset(unsigned mn, unsigned k) const;
  /// Bytes from there to the end.
  size_t bytes() const;
  /// Bytes from the matrix' start to elements 16·step of the depth.
  size_t stepBytes(unsigned step) const;
  /// The descriptor without the start address.
  uint64_t descriptor() const;

private:
  unsigned rowElements() const {
    return swizzleBytes ? unsigned(swizzleBytes) / 2 : 8;
  } ///< Of what lies together.
  size_t blockBytes() const {
    return size_t(rowElements()) * 2 * 8;
  } ///< Eight rows: a core matrix, or a swizzle's pattern.
  unsigned blocksOf(unsigned elements, unsigned width) const { return (elements + width - 1) / width; }
  size_t blockOffset(unsigned mn, unsigned k) const;
};

} // namespace lathe::conformance
