//===- BenchTensors.h - What the layers of a benchmark read and write ----------------------------------===//
//
// One pool of random numbers in device memory serves all rows of a run: a row cuts its caches from it, so
// that nothing is made anew but queries, table and outputs. How many caches a row needs, so that every replay
// of its graphs reads cold memory, and how many layers fit, is arithmetic and stated here.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/reference/AttentionReference.h"

#include <cstdint>
#include <vector>

namespace lathe::tools {

/// Pages of a batch; at least 1.
int64_t pageCount(const std::vector<int> &lengths, int page);

/// Layers of a graph of the standard table, and of the tuner's, where their caches fit.
inline constexpr int tableLayers = 16;

/// How many graphs of how many layers, each layer with a cache of its own.
struct CachePlan {
  int layers = 1;
  int graphs = 1;
  size_t cacheBytes = 0;
  int caches() const { return layers * graphs; }
  size_t bytes() const { return cacheBytes * size_t(caches()); }
};

/// Memory of a GPU that caches may take, bytes.
size_t cacheMemory(const runtime::DeviceProperties &properties);

/// Graphs of `layers` layers whose caches exceed three times the L2 altogether; where memory is short fewer
/// graphs. Where `mayShrink`, as few layers as fit and as have 1.6 GB of caches, but one. Throws UserError
/// when that is not enough.
CachePlan planCaches(size_t cacheBytes, int layers, const runtime::DeviceProperties &properties,
                     bool mayShrink);

/// Bytes of one layer's cache.
size_t cacheBytes(const reference::AttentionShape &shape, const std::vector<int> &lengths);

/// Normally distributed bf16, a block of 8 million numbers over and over.
class RandomPool {
public:
  /// Throws DeviceError when memory is short.
  RandomPool(runtime::Device &device, size_t bytes, uint64_t seed);

  runtime::DevicePtr address() const { return buffer_.get(); }
  size_t bytes() const { return buffer_.bytes(); }
  uint64_t seed() const { return seed_; }
  /// The number at an offset from address(), in elements.
  uint16_t at(size_t element) const { return block_[element % block_.size()]; }

private:
  uint64_t seed_;
  std::vector<uint16_t> block_;
  runtime::Buffer buffer_;
};

/// The tensors of one row. All layers share q, table and outputs. `pool` must outlive it.
class BenchTensors {
public:
  BenchTensors(runtime::Device &device, const reference::AttentionShape &shape, std::vector<int> lengths,
               const CachePlan &plan, const RandomPool &pool);

  const reference::AttentionShape &shape() const { return shape_; }
  const std::vector<int> &lengths() const { return lengths_; }
  const CachePlan &plan() const { return plan_; }
  int batch() const { return common_.batch; }
  int64_t pages() const { return common_.numPages; }
  int64_t tableStride() const { return common_.blockTableStride; }

  /// With the cache of layer `cache` of all layers of all graphs.
  runtime::DecodeTensors layer(int cache) const;
  /// NaN in all of out and lse. Synchronous.
  void poisonOutputs();

  /// Host copies: a query row of keyDim elements, and one of a token of layer 0's cache.
  void queryRow(int sequence, int query, int head, std::vector<float> &row) const;
  void cacheRow(int sequence, int token, std::vector<float> &row) const;

private:
  runtime::Device &device_;
  const reference::AttentionShape shape_;
  const std::vector<int> lengths_;
  const CachePlan plan_;
  const RandomPool &pool_;
  std::vector<int32_t> table_;
  std::vector<uint16_t> queries_;
  runtime::Buffer q_, out_, lse_, lengthsBuffer_, tableBuffer_;
  runtime::DecodeTensors common_;
};

} // namespace lathe::tools
