//===- Shape.h - Extents of a decoder layer with MLA and experts --------------------------------------===//
//
// What a published configuration says of one layer, in one place, with the extents of its matrices. Used by
// all files of this example.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/dsl/models/Moe.h"

#include <cstdint>

namespace lathe::examples {

struct LayerShape {
  int hidden = 0;
  int heads = 0;
  int latent = 0; ///< Columns of the compressed keys and values.
  int nope = 0;   ///< Columns of a head's query that know no position.
  int rope = 0;   ///< Columns that are rotated by it.
  int value = 0;  ///< Columns of a head's value.
  int page = 64;  ///< Tokens a page of the cache.
  float scale = 0;
  dsl::MoeShape moe; ///< Takes logits.

  int keyDim() const { return latent + rope; }  ///< Columns of a cache row, and of an absorbed query.
  int headQuery() const { return nope + rope; } ///< Columns of a head's query.
  int64_t queryColumns() const { return int64_t(heads) * headQuery(); }
  int64_t valueColumns() const { return int64_t(heads) * value; }
};

constexpr double normEpsilon = 1e-6; ///< rms_norm_eps.
constexpr double ropeBase = 10000;   ///< rope_theta, without the frequencies that YaRN changes.

} // namespace lathe::examples
