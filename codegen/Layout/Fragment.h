//===- Fragment.h - Which thread holds which element -------------------------------------------------===//
//
// How WGMMA spreads its 64-row accumulator over a warpgroup, and which 8×8 matrices stmatrix takes from
// there. Pure arithmetic, proved by enumeration in tests/unit/schedule, used by the lowerings. Source: PTX
// ISA, "Register fragments and shared memory matrix layouts" of wgmma.mma_async.m64nNk16, and stmatrix.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <cstdint>

namespace lathe::codegen::layout {

struct Position {
  int64_t row, column;
  constexpr bool operator==(const Position &) const = default;
};

/// Which of a lane's two rows register i holds: 0, or 1 for the one eight below.
constexpr int64_t rowHalf(int64_t i) { return i >> 1 & 1; }
/// Column of register i in the lane with the lowest number of its row; the others hold 2, 4 and 6 more.
constexpr int64_t firstColumn(int64_t i) { return i / 4 * 8 + i % 2; }

/// Which of a lane's columns register i holds, in their order.
constexpr int64_t columnPlace(int64_t i) { return i / 4 * 2 + i % 2; }
/// The first register of the lane's column number `place`.
constexpr int64_t ofColumn(int64_t place) { return place / 2 * 4 + place % 2; }

/// Element that register `i` of thread `thread` (0 to 127) of the warpgroup holds.
constexpr Position accumulator(int64_t thread, int64_t i) {
  return {thread / 32 * 16 + thread % 32 / 4 + 8 * rowHalf(i), firstColumn(i) + thread % 4 * 2};
}

/// Bytes of a row that `fragments` fragments, one below the other, have in a column: elements of 16 bits, and
/// 16 bytes more, so that eight rows' chunks lie in different banks.
constexpr int64_t transposedRowBytes(int64_t fragments) { return fragments * 128 + 16; }
/// The same of a fragment whose rows are combined by pairs.
constexpr int64_t pairsRowBytes = 64 + 16;

/// The row of 16 bytes (eight bf16) that a lane names to stmatrix.x4.trans for columns 16·pair …: row and
/// column are those of the fragment where the eight elements lie, one below the other.
constexpr Position transposedRow(int64_t thread, int64_t pair) {
  int64_t matrix = thread % 32 / 8;
  return {thread / 32 * 16 + matrix % 2 * 8, pair * 16 + matrix / 2 * 8 + thread % 8};
}

/// The row of 16 bytes (eight bf16) that a lane names to stmatrix.x4 for columns 16·step …: lane l names row
/// l mod 8 of matrix l / 8; odd matrices are eight rows below, matrices 2 and 3 eight columns to the right.
/// `column` counts elements.
constexpr Position matrixRow(int64_t thread, int64_t step) {
  int64_t matrix = thread % 32 / 8;
  return {thread / 32 * 16 + matrix % 2 * 8 + thread % 8, step * 16 + matrix / 2 * 8};
}

} // namespace lathe::codegen::layout
