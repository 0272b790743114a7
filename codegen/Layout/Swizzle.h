//===- Swizzle.h - Where an element of a shared-memory matrix lies -----------------------------------===//
//
// TMA writes boxes of swizzled rows and WGMMA reads them through descriptors; both name the same bytes only
// if every formula agrees. They are stated here once, as pure arithmetic, proved by enumeration in
// tests/unit/schedule, and used by the lowerings. Source: PTX ISA, "Asynchronous warpgroup level matrix
// shared memory layout" and "Swizzling modes".
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <cstdint>

namespace lathe::codegen::layout {

inline constexpr int64_t chunkBytes = 16;  ///< What a swizzle moves, and the unit of a descriptor's offsets.
inline constexpr int64_t elementBytes = 2; ///< bf16.
inline constexpr int64_t atomRows = 8;     ///< Rows of the smallest swizzled block.
inline constexpr int64_t stepDepth = 16;   ///< K of a bf16 wgmma.

/// Within a row of `swizzle` bytes (32, 64 or 128), row r's chunks are permuted by xor with (r >> shift) &
/// mask.
struct ChunkPattern {
  int64_t shift, mask;
  constexpr int64_t operator()(int64_t row) const { return (row >> shift) & mask; }
};
constexpr ChunkPattern chunkPattern(int64_t swizzle) {
  return swizzle == 128 ? ChunkPattern{0, 7} : swizzle == 64 ? ChunkPattern{1, 3} : ChunkPattern{2, 1};
}

/// A bf16 matrix as a tile.buffer holds it: boxes of swizzle/2 columns, each `rows` rows of `swizzle` bytes.
struct BoxedMatrix {
  int64_t rows, swizzle;

  constexpr int64_t boxColumns() const { return swizzle / elementBytes; }
  constexpr int64_t boxBytes() const { return rows * swizzle; }
  /// Byte of element (row, column) from the buffer's start, which is aligned to 1024 bytes.
  constexpr int64_t offset(int64_t row, int64_t column) const {
    int64_t inBox = column % boxColumns() * elementBytes;
    int64_t chunk = inBox / chunkBytes ^ chunkPattern(swizzle)(row);
    return column / boxColumns() * boxBytes() + row * swizzle + chunk * chunkBytes + inBox % chunkBytes;
  }
};

/// The constant part of a WGMMA matrix descriptor; offsets in bytes.
struct Descriptor {
  int64_t leading, stride, swizzle;

  /// All bits but the start address (bits 0 to 13, in 16-byte units).
  constexpr uint64_t fields() const {
    uint64_t mode = swizzle == 128 ? 1 : swizzle == 64 ? 2 : 3;
    return mode << 62 | uint64_t(stride / chunkBytes) << 32 | uint64_t(leading / chunkBytes) << 16;
  }
};

/// The product sums over the matrix' columns (K-major): the leading offset is not used, eight rows are the
/// stride.
constexpr Descriptor sumsColumns(const BoxedMatrix &matrix) {
  return {chunkBytes, atomRows * matrix.swizzle, matrix.swizzle};
}
/// Bytes from the matrix' start to columns 16·step.
constexpr int64_t columnStep(const BoxedMatrix &matrix, int64_t step) {
  int64_t column = step * stepDepth;
  return column / matrix.boxColumns() * matrix.boxBytes() + column % matrix.boxColumns() * elementBytes;
}

/// The product sums over the matrix' rows (MN-major): the next box is the leading offset, eight rows are the
/// stride.
constexpr Descriptor sumsRows(const BoxedMatrix &matrix) {
  return {matrix.boxBytes(), atomRows * matrix.swizzle, matrix.swizzle};
}
/// Bytes from the matrix' start to rows 16·step.
constexpr int64_t rowStep(const BoxedMatrix &matrix, int64_t step) {
  return step * stepDepth * matrix.swizzle;
}

} // namespace lathe::codegen::layout
