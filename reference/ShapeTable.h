//===- ShapeTable.h - The problems that every kernel must get right ----------------------------------===//
//
// A named list of shapes, lengths and memory layouts that covers the corners of paged decode: empty and
// one-token sequences, ragged tails, page sizes, head counts that fill no tile, several query tokens,
// strides. One table for tests, `lathe verify` and the emulator, so that "passes the table" means the same
// everywhere.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/reference/AttentionReference.h"

namespace lathe::reference {

struct ShapeCase {
  std::string name; ///< Unique; letters, digits and '_' only, so that it can be part of a test's name.
  AttentionShape shape;
  std::vector<int> lengths; ///< Tokens of each sequence; the size is the batch.
  AttentionProblemOptions options;

  /// Multiply-adds of the reference, 0 for an empty batch.
  double work() const;
  /// Cheap enough for an emulator: at most 60 million multiply-adds.
  bool small() const;
};

/// All cases, in a fixed order, seeds included.
const std::vector<ShapeCase> &shapeTable();

/// The cases with small(): every axis of the full table, at a size that runs anywhere within seconds.
std::vector<ShapeCase> smallShapeTable();

/// Throws UserError when there is no case of that name.
const ShapeCase &shapeCase(const std::string &name);

} // namespace lathe::reference
