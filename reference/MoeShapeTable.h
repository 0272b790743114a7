//===- MoeShapeTable.h - The expert layers that every kernel must get right --------------------------===//
//
// A named list of shapes, routers, row counts and spreads that covers the corners of expert layers: no rows,
// one row, ragged tiles, idle and crowded experts, ties, NaN, slices of experts, shared experts. One table
// for tests, `lathe verify` and the emulator, so that "passes the table" means the same everywhere.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/reference/MoeReference.h"

namespace lathe::reference {

struct MoeCase {
  std::string name; ///< Unique; letters, digits and '_' only, so that it can be part of a test's name.
  MoeShape shape;
  int rows = 0;
  MoeOptions options;

  /// Multiply-adds of the reference, if every choice is local; gate included.
  double work() const;
  /// Cheap enough for an emulator: at most 60 million multiply-adds and 32 MB of weights.
  bool small() const;
};

/// All cases, in a fixed order, seeds included. Those of full size need a GPU.
const std::vector<MoeCase> &moeShapeTable();

/// The cases with small(): every axis of the full table, at a size that runs anywhere within seconds.
std::vector<MoeCase> smallMoeShapeTable();

/// Throws UserError when there is no case of that name.
const MoeCase &moeCase(const std::string &name);

} // namespace lathe::reference
