//===- Cache.h - The paged cache of a batch ------------------------------------------------------------===//
//
// Sequences of different lengths in shuffled pages, with room for the token that this step adds and NaN
// behind it. What a serving framework keeps; here random. Used by Layer and Reference.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Weights.h"

namespace lathe::examples {

class Cache {
public:
  /// `tokens`: of a sequence in the mean, the new one included. The first of several sequences has no other.
  Cache(runtime::Device &device, const LayerShape &shape, int batch, int tokens, reference::Random &random);

  int batch() const { return int(lengths_.host.size()); }
  int length(int sequence) const { return lengths_.host[size_t(sequence)]; } ///< The new token included.
  int position(int sequence) const { return length(sequence) - 1; }          ///< Of the new token.
  /// Host copy of an older token's row, keyDim elements.
  const uint16_t *row(int sequence, int token) const { return rows_.host.row(slot(sequence, token)); }
  /// Where a token's row is in the cache, in rows.
  int64_t slot(int sequence, int token) const;

  runtime::DevicePtr rows() const { return rows_.get(); } ///< bf16 [pages, page, keyDim].
  int64_t pages() const { return rows_.host.rows() / page_; }
  runtime::DevicePtr table() const { return table_.get(); } ///< i32 [batch, tableStride()].
  int tableStride() const { return tableStride_; }
  runtime::DevicePtr lengths() const { return lengths_.get(); }     ///< i32 [batch].
  runtime::DevicePtr positions() const { return positions_.get(); } ///< i32 [batch], of the new tokens.
  runtime::DevicePtr newSlots() const { return newSlots_.get(); }   ///< i32 [batch], of the new tokens.

private:
  void place(runtime::Device &device, reference::Random &random);
  void poison(runtime::Device &device) const;

  const int page_;
  int tableStride_ = 1;
  Matrix rows_;
  Vector<int32_t> lengths_, positions_, newSlots_, table_;
};

} // namespace lathe::examples
