// The emulator's layouts against the compiler's, element by element, and both against small tables from the
// PTX ISA.
#include "lathe/runtime/device/emulator/Layout.h"
#include "lathe/codegen/Layout/Fragment.h"
#include "lathe/codegen/Layout/Swizzle.h"

#include <gtest/gtest.h>

#include <set>

using namespace lathe;
using namespace lathe::runtime::emulator;
namespace layout = codegen::layout;

static constexpr int swizzles[] = {32, 64, 128};

//===- Swizzles --------------------------------------------------------------------------------------===//

/// PTX ISA, "Swizzling modes": where chunk 0 of each row of eight lies, and chunk 1.
TEST(LayoutTable, SwizzlePatterns) {
  struct Row {
    int swizzle;
    uint32_t first[8], second[8]; ///< Chunks, of rows as wide as the swizzle.
  };
  static constexpr Row table[] = {{128, {0, 1, 2, 3, 4, 5, 6, 7}, {1, 0, 3, 2, 5, 4, 7, 6}},
                                  {64, {0, 0, 1, 1, 2, 2, 3, 3}, {1, 1, 0, 0, 3, 3, 2, 2}},
                                  {32, {0, 0, 0, 0, 1, 1, 1, 1}, {1, 1, 1, 1, 0, 0, 0, 0}}};
  for (const Row &row : table)
    for (uint32_t r = 0; r < 8; ++r) {
      const auto width = uint32_t(row.swizzle);
      EXPECT_EQ(swizzled(r * width, width), r * width + 16 * row.first[r]) << row.swizzle << " row " << r;
      EXPECT_EQ(swizzled(r * width + 16, width), r * width + 16 * row.second[r])
          << row.swizzle << " row " << r;
    }
}

TEST(LayoutProof, SwizzleIsItsOwnInverseAndKeepsChunks) {
  for (int swizzle : {0, 32, 64, 128})
    for (uint32_t lines = 0; lines < 8; ++lines) {
      std::set<uint32_t> places;
      for (uint32_t address = 4096; address < 4096 + 2048; ++address) {
        const uint32_t to = swizzled(address, uint32_t(swizzle), lines);
        ASSERT_EQ(swizzled(to, uint32_t(swizzle), lines), address);
        ASSERT_EQ(to % 16, address % 16);
        ASSERT_EQ(to / 128, address / 128);
        places.insert(to);
      }
      EXPECT_EQ(places.size(), 2048u);
    }
}

/// TMA writes boxes of swizzled rows, one behind the other: what the compiler calls a boxed matrix.
TEST(LayoutProof, BoxesOfTmaAreBoxedMatrices) {
  for (int swizzle : swizzles)
    for (int64_t rows : {8, 16, 64, 72}) {
      const layout::BoxedMatrix matrix{rows, swizzle};
      for (int64_t column = 0; column < 3 * matrix.boxColumns(); ++column)
        for (int64_t row = 0; row < rows; ++row) {
          const int64_t box = column / matrix.boxColumns(), inRow = column % matrix.boxColumns() * 2;
          const auto linear = uint32_t(box * rows * swizzle + row * swizzle + inRow);
          ASSERT_EQ(int64_t(swizzled(linear, uint32_t(swizzle))), matrix.offset(row, column))
              << swizzle << " " << rows << " (" << row << ", " << column << ")";
        }
    }
}

//===- Descriptors -----------------------------------------------------------------------------------===//

static MatrixDescriptor decoded(const layout::Descriptor &descriptor, int64_t start) {
  return MatrixDescriptor::decode(descriptor.fields() | uint64_t(start) >> 4);
}

TEST(LayoutProof, DescriptorsOverColumnsReachTheirElements) {
  for (int swizzle : swizzles)
    for (int64_t rows : {8, 64, 128}) {
      const layout::BoxedMatrix matrix{rows, swizzle};
      for (int64_t step = 0; step < 8; ++step) {
        const int64_t start = 2048 + layout::columnStep(matrix, step);
        const MatrixDescriptor descriptor = decoded(layout::sumsColumns(matrix), start);
        EXPECT_EQ(descriptor.swizzle, uint32_t(swizzle));
        EXPECT_EQ(descriptor.unused, 0u);
        for (uint32_t row = 0; row < rows; ++row)
          for (uint32_t k = 0; k < 16; ++k)
            ASSERT_EQ(int64_t(descriptor.address(row, k, false)), 2048 + matrix.offset(row, step * 16 + k))
                << swizzle << " step " << step << " (" << row << ", " << k << ")";
      }
    }
}

TEST(LayoutProof, DescriptorsOverRowsReachTheirElements) {
  for (int swizzle : swizzles)
    for (int64_t rows : {16, 64, 128}) {
      const layout::BoxedMatrix matrix{rows, swizzle};
      for (int64_t step = 0; step < rows / 16; ++step) {
        const MatrixDescriptor descriptor =
            decoded(layout::sumsRows(matrix), 2048 + layout::rowStep(matrix, step));
        for (uint32_t column = 0; column < 4 * matrix.boxColumns(); ++column)
          for (uint32_t k = 0; k < 16; ++k)
            ASSERT_EQ(int64_t(descriptor.address(column, k, true)),
                      2048 + matrix.offset(step * 16 + k, column))
                << swizzle << " step " << step << " (" << k << ", " << column << ")";
      }
    }
}

/// PTX ISA, "Matrix-descriptor format".
TEST(LayoutTable, DescriptorFields) {
  const MatrixDescriptor all = MatrixDescriptor::decode(0x400A'0123'0045'0678u);
  EXPECT_EQ(all.start, 0x6780u);
  EXPECT_EQ(all.leading, 0x450u);
  EXPECT_EQ(all.stride, 0x1230u);
  EXPECT_EQ(all.baseLines, 5u);
  EXPECT_EQ(all.swizzle, 128u);
  EXPECT_EQ(all.unused, 0u);
  EXPECT_EQ(MatrixDescriptor::decode(uint64_t(2) << 62).swizzle, 64u);
  EXPECT_EQ(MatrixDescriptor::decode(uint64_t(3) << 62).swizzle, 32u);
  EXPECT_EQ(MatrixDescriptor::decode(0).swizzle, 0u);
  for (int bit : {14, 15, 30, 31, 46, 47, 48, 52, 61})
    EXPECT_EQ(MatrixDescriptor::decode(uint64_t(1) << bit).unused, uint64_t(1) << bit) << bit;
}

/// Without a swizzle: core matrices of eight rows of 16 bytes.
TEST(LayoutTable, CoreMatrices) {
  const MatrixDescriptor descriptor{0, 256, 1024, 0, 0, 0};
  EXPECT_EQ(descriptor.address(0, 7, false), 14u);
  EXPECT_EQ(descriptor.address(1, 0, false), 16u);
  EXPECT_EQ(descriptor.address(0, 8, false), 256u);
  EXPECT_EQ(descriptor.address(8, 0, false), 1024u);
  EXPECT_EQ(descriptor.address(7, 0, true), 14u);
  EXPECT_EQ(descriptor.address(0, 1, true), 16u);
  EXPECT_EQ(descriptor.address(0, 8, true), 256u);
  EXPECT_EQ(descriptor.address(8, 0, true), 1024u);
}

//===- Fragments -------------------------------------------------------------------------------------===//

TEST(LayoutProof, AccumulatorsAreTheCompilers) {
  std::set<std::pair<uint32_t, uint32_t>> seen;
  for (uint32_t thread = 0; thread < 128; ++thread)
    for (uint32_t i = 0; i < 128; ++i) {
      const uint32_t row = accumulatorRow(thread / 32, thread % 32, i),
                     column = accumulatorColumn(thread % 32, i);
      ASSERT_EQ((layout::Position{row, column}), layout::accumulator(thread, i)) << thread << ", " << i;
      seen.insert({row, column});
    }
  EXPECT_EQ(seen.size(), 64u * 256);
}

/// The first operand's fragment is sixteen columns of an accumulator, two to a register.
TEST(LayoutProof, OperandsAreAccumulatorsInPairs) {
  for (uint32_t thread = 0; thread < 128; ++thread)
    for (uint32_t i = 0; i < 4; ++i) {
      const layout::Position low = layout::accumulator(thread, 2 * int64_t(i)),
                             high = layout::accumulator(thread, 2 * int64_t(i) + 1);
      ASSERT_EQ(int64_t(operandRow(thread / 32, thread % 32, i)), low.row);
      ASSERT_EQ(int64_t(operandColumn(thread % 32, i)), low.column);
      ASSERT_EQ(high.row, low.row);
      ASSERT_EQ(high.column, low.column + 1);
    }
}

/// PTX ISA, "Register fragments": a few threads' elements.
TEST(LayoutTable, Fragments) {
  struct Row {
    uint32_t thread, i, row, column;
  };
  static constexpr Row accumulators[] = {{0, 0, 0, 0},     {0, 1, 0, 1},      {0, 2, 8, 0},   {0, 4, 0, 8},
                                         {3, 0, 0, 6},     {4, 0, 1, 0},      {31, 3, 15, 7}, {32, 0, 16, 0},
                                         {127, 7, 63, 15}, {97, 126, 56, 250}};
  for (const Row &row : accumulators) {
    EXPECT_EQ(accumulatorRow(row.thread / 32, row.thread % 32, row.i), row.row)
        << row.thread << ", " << row.i;
    EXPECT_EQ(accumulatorColumn(row.thread % 32, row.i), row.column) << row.thread << ", " << row.i;
  }
  static constexpr Row operands[] = {{0, 0, 0, 0}, {0, 1, 8, 0}, {0, 2, 0, 8},
                                     {0, 3, 8, 8}, {5, 0, 1, 2}, {127, 3, 63, 14}};
  for (const Row &row : operands) {
    EXPECT_EQ(operandRow(row.thread / 32, row.thread % 32, row.i), row.row) << row.thread << ", " << row.i;
    EXPECT_EQ(operandColumn(row.thread % 32, row.i), row.column) << row.thread << ", " << row.i;
  }
}
