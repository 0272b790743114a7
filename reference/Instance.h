//===- Instance.h - The inside of a random problem ---------------------------------------------------===//
//
// Buffers, strides and host copies behind AttentionInstance, shared by the files of this room and by nobody
// else. The host copy of the cache is a random block and an offset for each page: small caches use every
// element of the block once, large ones repeat it, and the CPU reference reads both the same way.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/reference/AttentionReference.h"

#include <functional>
#include <limits>

namespace lathe::reference {

constexpr uint16_t poisonBits = 0xffff; ///< A bfloat16 NaN; every byte is 0xff, as Device::fill wants it.

/// What the outputs must be, row by row ([sequence][query][head]); out is rounded to bfloat16.
struct Expected {
  std::vector<uint16_t> out; ///< [rows, valueDim].
  std::vector<double> lse;   ///< [rows].
};

/// Where a row belongs, for messages.
struct RowName {
  int sequence = 0, query = 0, head = 0;
};

struct AttentionInstance::Impl {
  runtime::Device *device = nullptr;
  AttentionShape shape;
  AttentionProblemOptions options;
  std::vector<int> lengths;
  runtime::DecodeTensors tensors;
  int maxPages = 1;
  bool hostKept = false;

  std::vector<int32_t> table;       ///< [batch, blockTableStride], garbage included.
  std::vector<uint16_t> query;      ///< [batch, rows, keyDim], contiguous.
  std::vector<uint16_t> block;      ///< Random cache content.
  std::vector<int64_t> pageOffsets; ///< Where in `block` each page of the cache starts.

  runtime::Buffer q, kv, blockTable, lengthsBuffer, out, lse;
  int64_t outElements = 0, lseElements = 0; ///< Extents of the output buffers, gaps included.
  std::unique_ptr<Expected> gpuExpected;    ///< Filled by the first compareWithGpu.

  int batch() const { return int(lengths.size()); }
  int64_t totalRows() const { return int64_t(batch()) * shape.rows(); }
  int pagesOf(int sequence) const { return (lengths[size_t(sequence)] + shape.page - 1) / shape.page; }
  RowName rowName(int64_t row) const {
    int inSequence = int(row % shape.rows());
    return {int(row / shape.rows()), inSequence / shape.heads, inSequence % shape.heads};
  }
  const uint16_t *queryRow(int sequence, int query, int head) const;
  /// Host copy of one valid token's cache row, keyDim elements.
  const uint16_t *cacheRow(int sequence, int token) const;
  void requireHost(const char *place) const; ///< Throws UserError without host copies.
};

/// Outputs as a kernel left them, packed like Expected, and whether a gap was written.
struct Produced {
  std::vector<uint16_t> out;
  std::vector<float> lse;
  std::string gapFault; ///< Empty, or which gap of a strided output lost its poison.
};

/// One row in float64, with its magnitudes where they are asked for.
ReferenceRow computeRow(const AttentionInstance::Impl &impl, const RowName &name, bool magnitudes = false);

/// Calls body(i) for i in [0, count) from all cores, in no order.
void parallelFor(int64_t count, const std::function<void(int64_t)> &body);

/// Waits for the device and downloads the outputs.
Produced download(const AttentionInstance::Impl &impl);

} // namespace lathe::reference
