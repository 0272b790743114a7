//===- LayoutTest.cpp - Layouts proved by enumeration ------------------------------------------------===//
//
// Every element of every layout is visited: TMA's swizzle as the hardware applies it to addresses, the
// elements that a WGMMA descriptor names, and the way of an accumulator through stmatrix.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Layout/Fragment.h"
#include "lathe/codegen/Layout/Swizzle.h"

#include <gtest/gtest.h>

#include <set>
#include <utility>
#include <vector>

namespace lathe::codegen::layout {

/// The hardware's swizzle: bits 4 and up of an address xor its bits 7 and up, as many as the mode has.
static int64_t swizzledAddress(int64_t address, int64_t swizzle) {
  int64_t bits = swizzle == 128 ? 7 : swizzle == 64 ? 3 : 1;
  return address ^ ((address >> 7 & bits) << 4);
}

TEST(Swizzle, BoxesAreWhatTmaWrites) {
  for (int64_t swizzle : {32, 64, 128})
    for (int64_t rows : {8, 16, 32, 64}) {
      BoxedMatrix matrix{rows, swizzle};
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t column = 0; column < matrix.boxColumns(); ++column)
          ASSERT_EQ(matrix.offset(row, column),
                    swizzledAddress(row * swizzle + column * elementBytes, swizzle))
              << swizzle << " bytes, row " << row << ", column " << column;
    }
}

TEST(Swizzle, EveryElementHasItsOwnBytes) {
  for (int64_t swizzle : {32, 64, 128}) {
    BoxedMatrix matrix{64, swizzle};
    std::set<int64_t> seen;
    for (int64_t row = 0; row < 64; ++row)
      for (int64_t column = 0; column < 3 * matrix.boxColumns(); ++column)
        ASSERT_TRUE(seen.insert(matrix.offset(row, column)).second);
    EXPECT_EQ(*seen.rbegin(), 3 * matrix.boxBytes() - elementBytes);
  }
}

TEST(Descriptor, NamesTheColumnsOfEachStep) {
  for (int64_t swizzle : {32, 64, 128})
    for (int64_t rows : {16, 32, 64}) {
      BoxedMatrix matrix{rows, swizzle};
      Descriptor descriptor = sumsColumns(matrix);
      for (int64_t step = 0; step < 9 * matrix.boxColumns() / stepDepth; ++step)
        for (int64_t row = 0; row < rows; ++row)
          for (int64_t k = 0; k < stepDepth; ++k) {
            int64_t address =
                columnStep(matrix, step) + row / 8 * descriptor.stride + row % 8 * swizzle + k * elementBytes;
            ASSERT_EQ(swizzledAddress(address, swizzle), matrix.offset(row, step * stepDepth + k));
          }
    }
}

TEST(Descriptor, NamesTheRowsOfEachStep) {
  for (int64_t rows : {16, 32, 64}) {
    BoxedMatrix matrix{rows, 128};
    Descriptor descriptor = sumsRows(matrix);
    for (int64_t step = 0; step < rows / stepDepth; ++step)
      for (int64_t k = 0; k < stepDepth; ++k)
        for (int64_t column = 0; column < 256; ++column) {
          int64_t address = rowStep(matrix, step) + k / 8 * descriptor.stride + k % 8 * 128 +
                            column / 64 * descriptor.leading + column % 64 * elementBytes;
          ASSERT_EQ(swizzledAddress(address, 128), matrix.offset(step * stepDepth + k, column));
        }
  }
}

TEST(Descriptor, FieldsLieWhereThePtxIsaSays) {
  uint64_t fields = Descriptor{8192, 1024, 128}.fields();
  EXPECT_EQ(fields & 0x3FFF, 0u);
  EXPECT_EQ(fields >> 16 & 0x3FFF, 8192u / 16);
  EXPECT_EQ(fields >> 32 & 0x3FFF, 1024u / 16);
  EXPECT_EQ(fields >> 62, 1u);
  EXPECT_EQ((Descriptor{16, 512, 64}.fields() >> 62), 2u);
  EXPECT_EQ((Descriptor{16, 256, 32}.fields() >> 62), 3u);
}

TEST(Fragment, EveryElementIsHeldOnce) {
  for (int64_t columns : {8, 32, 256}) {
    std::set<std::pair<int64_t, int64_t>> seen;
    for (int64_t thread = 0; thread < 128; ++thread)
      for (int64_t i = 0; i < columns / 2; ++i) {
        Position at = accumulator(thread, i);
        ASSERT_TRUE(at.row < 64 && at.column < columns);
        ASSERT_TRUE(seen.insert({at.row, at.column}).second);
      }
    EXPECT_EQ(int64_t(seen.size()), 64 * columns);
  }
}

/// stmatrix: register m of lane l holds elements 2·(l mod 4) and the next of row l / 4 of matrix m, and is
/// stored to the row that lane 8·m + l / 4 names.
TEST(Fragment, StoredMatricesKeepEveryElementInPlace) {
  for (int64_t step = 0; step < 4; ++step)
    for (int64_t thread = 0; thread < 128; ++thread)
      for (int64_t matrix = 0; matrix < 4; ++matrix)
        for (int64_t half = 0; half < 2; ++half) {
          Position held =
              accumulator(thread, 8 * step + 2 * matrix + half); // Packed in pairs, four registers a step.
          Position named = matrixRow(thread / 32 * 32 + 8 * matrix + thread % 32 / 4, step);
          ASSERT_EQ(held, (Position{named.row, named.column + thread % 4 * 2 + half}))
              << thread << " " << matrix;
        }
}

/// The columns of a thread, as the accumulator's definition has them, are counted from left to right.
TEST(Fragment, PlacesCountTheColumnsOfALane) {
  for (int64_t columns = 8; columns <= 256; columns += 8)
    for (int64_t thread = 0; thread < 128; ++thread) {
      std::set<int64_t> mine;
      for (int64_t i = 0; i < columns / 2; ++i)
        mine.insert(accumulator(thread, i).column);
      ASSERT_EQ(int64_t(mine.size()), columns / 4);
      const std::vector<int64_t> inOrder(mine.begin(), mine.end());
      for (int64_t i = 0; i < columns / 2; ++i)
        ASSERT_EQ(inOrder[size_t(columnPlace(i))], accumulator(thread, i).column) << thread << " " << i;
    }
}

TEST(Fragment, AColumnHasTwoRegistersEightRowsApart) {
  std::set<int64_t> registers;
  for (int64_t place = 0; place < 64; ++place) {
    const int64_t first = ofColumn(place), second = first + 2;
    EXPECT_EQ(columnPlace(first), place);
    EXPECT_EQ(columnPlace(second), place);
    EXPECT_TRUE(registers.insert(first).second && registers.insert(second).second) << place;
    for (int64_t thread : {0, 1, 31, 127}) {
      const Position upper = accumulator(thread, first), lower = accumulator(thread, second);
      EXPECT_EQ(lower, (Position{upper.row + 8, upper.column})) << place;
    }
  }
  EXPECT_EQ(*registers.rbegin(), 127); // All of them, each once.
  EXPECT_EQ(registers.size(), 128u);
}

/// stmatrix.trans: register m of lane l holds elements 2·(l mod 4) and the next of row l / 4 of matrix m, as
/// without it, but an element goes to the row that the lane with its column's number names, to the place of
/// its row.
TEST(Fragment, TransposedMatricesKeepEveryElementInPlace) {
  for (int64_t pair = 0; pair < 16; ++pair)
    for (int64_t thread = 0; thread < 128; ++thread)
      for (int64_t matrix = 0; matrix < 4; ++matrix)
        for (int64_t half = 0; half < 2; ++half) {
          Position held = accumulator(thread, 8 * pair + 2 * matrix + half);
          Position named = transposedRow(thread / 32 * 32 + 8 * matrix + thread % 4 * 2 + half, pair);
          ASSERT_EQ(held, (Position{named.row + thread % 32 / 4, named.column})) << thread << " " << matrix;
        }
}

/// Which of the eight groups of banks a chunk of 16 bytes lies in.
static int64_t banks(int64_t address) { return address / chunkBytes % 8; }

/// The eight rows of a matrix that stmatrix writes at once lie in different banks, staged or swizzled.
TEST(Fragment, TransposedRowsOfAMatrixLieInDifferentBanks) {
  for (int64_t thread = 0; thread < 128; thread += 8)
    for (int64_t pair = 0; pair < 2; ++pair) {
      for (int64_t fragments = 1; fragments <= 8; ++fragments) {
        std::set<int64_t> seen;
        for (int64_t lane = thread; lane < thread + 8; ++lane) {
          Position row = transposedRow(lane, pair);
          int64_t address = row.column * transposedRowBytes(fragments) + row.row * elementBytes;
          ASSERT_EQ(address % chunkBytes, 0);
          seen.insert(banks(address));
        }
        EXPECT_EQ(seen.size(), 8u) << thread << " " << fragments;
      }
      std::set<int64_t> seen;
      for (int64_t lane = thread; lane < thread + 8; ++lane) {
        Position row = transposedRow(lane, pair);
        seen.insert(banks(BoxedMatrix{32, 128}.offset(row.column, row.row)));
      }
      EXPECT_EQ(seen.size(), 8u) << thread << " swizzled";
    }
}

/// Rows of whole boxes are read by eight lanes a row of chunks at a time: never two in the same banks.
TEST(Fragment, StagedRowsAreReadWithoutConflicts) {
  for (int64_t fragments = 1; fragments <= 8; ++fragments) {
    EXPECT_GE(transposedRowBytes(fragments), fragments * 64 * elementBytes);
    const int64_t rowChunks = fragments * 8;
    for (int64_t first = 0; first < 8 * rowChunks; first += 8) {
      std::set<int64_t> seen;
      for (int64_t index = first; index < first + 8; ++index)
        seen.insert(
            banks(index / rowChunks * transposedRowBytes(fragments) + index % rowChunks * chunkBytes));
      ASSERT_EQ(seen.size(), 8u) << fragments << " " << first;
    }
  }
}

} // namespace lathe::codegen::layout
