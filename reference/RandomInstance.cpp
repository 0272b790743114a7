//===- RandomInstance.cpp - Random decode problems with poisoned unused memory -----------------------===//
//
// Draws queries, cache pages, page tables and lengths from a seed and uploads them, with NaN or garbage in
// all that a correct kernel must not let into its result. Large caches repeat one random block at random
// offsets, so generation is bound by the copy to the device. Called through AttentionInstance's constructor
// by tests, tuner and tools.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/reference/Instance.h"
#include "lathe/reference/Random.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace lathe;
using namespace lathe::reference;

/// Elements of the random block that a large cache repeats: 8 MiB of bfloat16.
static constexpr int64_t blockElements = 4 << 20;
/// Pages of the cache that belong to no sequence.
static constexpr int64_t sparePages = 3;

/// Values as the tolerances were set for: FlashMLA's tests draw cache entries from N(0, 0.1²). The query is
/// larger here, so that scores spread by about 1.7 (576 dimensions, scale 192^-0.5) and the softmax is far
/// from uniform.
static constexpr double cacheDeviation = 0.1;
static constexpr double queryDeviation = 10;

static void require(bool holds, const char *rule, int64_t value) {
  if (!holds)
    throw UserError({"random attention problem", rule, std::to_string(value), "correct the shape"});
}

static void checkShape(const AttentionShape &shape, const std::vector<int> &lengths) {
  require(shape.heads >= 1, "heads must be at least 1", shape.heads);
  require(shape.queryTokens >= 1, "query tokens must be at least 1", shape.queryTokens);
  require(shape.page >= 1, "page size must be at least 1", shape.page);
  require(shape.keyDim >= 8 && shape.keyDim % 8 == 0, "key dimension must be a multiple of 8", shape.keyDim);
  require(shape.valueDim >= 1, "value dimension must be at least 1", shape.valueDim);
  require(shape.valueDim <= shape.keyDim, "value dimension must be at most the key dimension",
          shape.valueDim);
  for (int length : lengths)
    require(length >= 0, "a sequence length must not be negative", length);
}

/// All strides, in elements. Gaps are multiples of 8 elements, so that every row stays 16-byte aligned.
static void layOut(AttentionInstance::Impl &impl, int64_t usedPages) {
  const AttentionShape &shape = impl.shape;
  const AttentionProblemOptions &options = impl.options;
  runtime::DecodeTensors &t = impl.tensors;
  t.batch = impl.batch();
  t.scale = shape.scale;
  t.qStrideRow = shape.keyDim + (options.stridedQuery ? 8 : 0);
  t.qStrideBatch = shape.rows() * t.qStrideRow + (options.stridedQuery ? 24 : 0);
  t.numPages = usedPages + sparePages;
  t.kvStrideToken = shape.keyDim + (options.stridedCache ? 8 : 0);
  t.kvStridePage = shape.page * t.kvStrideToken + (options.stridedCache ? 72 : 0);
  t.blockTableStride = impl.maxPages + (options.stridedTable ? 5 : 0);
  int64_t gap = options.stridedOutputs ? 8 : 0;
  t.outStrideHead = shape.valueDim + gap;
  t.outStrideQuery = shape.heads * t.outStrideHead + 2 * gap;
  t.outStrideBatch = shape.queryTokens * t.outStrideQuery + 5 * gap;
  int64_t lseGap = options.stridedOutputs ? 1 : 0;
  t.lseStrideQuery = 1 + lseGap;
  t.lseStrideHead = shape.queryTokens * t.lseStrideQuery + lseGap;
  t.lseStrideBatch = shape.heads * t.lseStrideHead + 3 * lseGap;
  impl.outElements = t.batch * t.outStrideBatch;
  impl.lseElements = t.batch * t.lseStrideBatch;
}

static int32_t garbageEntry(Random &random, int64_t numPages) {
  switch (random.below(6)) {
  case 0:
    return 0x7fffffff;
  case 1:
    return -1;
  case 2:
    return std::numeric_limits<int32_t>::min();
  case 3:
    return int32_t(numPages);
  case 4:
    return int32_t(numPages + 1 + random.below(1 << 20));
  default:
    return int32_t(random.below(numPages)); // In range, but another sequence's page or a spare one.
  }
}

/// Gives every sequence its own pages; garbage elsewhere in the table.
static void drawTable(AttentionInstance::Impl &impl, Random &random) {
  const runtime::DecodeTensors &t = impl.tensors;
  std::vector<int32_t> pages(size_t(t.numPages));
  std::iota(pages.begin(), pages.end(), 0);
  if (impl.options.shufflePages)
    for (int64_t i = t.numPages - 1; i > 0; --i)
      std::swap(pages[size_t(i)], pages[size_t(random.below(i + 1))]);
  impl.table.resize(size_t(t.batch * t.blockTableStride));
  size_t next = 0;
  for (int b = 0; b < t.batch; ++b)
    for (int64_t i = 0; i < t.blockTableStride; ++i)
      impl.table[size_t(b * t.blockTableStride + i)] =
          i < impl.pagesOf(b) ? pages[next++] : garbageEntry(random, t.numPages);
}

/// Draws the cache's content: the block, and where in it each page starts.
static void drawCache(AttentionInstance::Impl &impl, Random &random, int64_t usedPages) {
  int64_t pageElements = int64_t(impl.shape.page) * impl.shape.keyDim;
  int64_t total = usedPages * pageElements;
  bool repeats = total > std::max(blockElements, 2 * pageElements);
  impl.block =
      normalBf16(random, repeats ? std::max(blockElements, 2 * pageElements) : total, cacheDeviation);
  impl.pageOffsets.assign(size_t(impl.tensors.numPages), -1);
  int64_t next = 0;
  for (int b = 0; b < impl.batch(); ++b)
    for (int i = 0; i < impl.pagesOf(b); ++i, next += pageElements)
      impl.pageOffsets[size_t(impl.table[size_t(b * impl.tensors.blockTableStride + i)])] =
          repeats ? random.below(int64_t(impl.block.size()) - pageElements + 1) : next;
}

/// Copies the used tokens of every page, leaving what the fill put into all other slots and gaps.
static void uploadCache(AttentionInstance::Impl &impl) {
  const runtime::DecodeTensors &t = impl.tensors;
  const int keyDim = impl.shape.keyDim;
  impl.device->fill(t.kv, impl.options.poison ? 0xff : 0x00, impl.kv.bytes(), {});
  impl.device->synchronize();
  std::vector<uint16_t> gapped;
  for (int b = 0; b < t.batch; ++b)
    for (int i = 0; i < impl.pagesOf(b); ++i) {
      int64_t page = impl.table[size_t(b * t.blockTableStride + i)];
      int tokens = std::min(impl.shape.page, impl.lengths[size_t(b)] - i * impl.shape.page);
      const uint16_t *rows = impl.block.data() + impl.pageOffsets[size_t(page)];
      runtime::DevicePtr to = t.kv + uint64_t(page * t.kvStridePage) * 2;
      if (t.kvStrideToken == keyDim) {
        impl.device->copyToDevice(to, rows, size_t(tokens) * size_t(keyDim) * 2);
        continue;
      }
      gapped.assign(size_t(tokens * t.kvStrideToken), impl.options.poison ? poisonBits : 0);
      for (int token = 0; token < tokens; ++token)
        std::copy_n(rows + int64_t(token) * keyDim, keyDim, gapped.data() + token * t.kvStrideToken);
      impl.device->copyToDevice(to, gapped.data(), gapped.size() * 2);
    }
}

/// copyToDevice that allows nothing to copy.
template <class Element>
static void upload(runtime::Device &device, runtime::DevicePtr to, const std::vector<Element> &elements) {
  if (!elements.empty())
    device.copyToDevice(to, elements.data(), elements.size() * sizeof(Element));
}

static void uploadQuery(AttentionInstance::Impl &impl) {
  const runtime::DecodeTensors &t = impl.tensors;
  std::vector<uint16_t> gapped(impl.q.bytes() / 2, impl.options.poison ? poisonBits : 0);
  const int rows = impl.shape.rows();
  for (int64_t row = 0; row < impl.totalRows(); ++row)
    std::copy_n(impl.query.data() + row * impl.shape.keyDim, impl.shape.keyDim,
                gapped.data() + row / rows * t.qStrideBatch + row % rows * t.qStrideRow);
  upload(*impl.device, t.q, gapped);
}

static void allocate(AttentionInstance::Impl &impl) {
  runtime::DecodeTensors &t = impl.tensors;
  auto make = [&](runtime::DevicePtr &pointer, int64_t bytes) {
    runtime::Buffer buffer(*impl.device, size_t(std::max<int64_t>(bytes, 16)));
    pointer = buffer.get();
    return buffer;
  };
  impl.q = make(t.q, t.batch * t.qStrideBatch * 2);
  impl.kv = make(t.kv, t.numPages * t.kvStridePage * 2);
  impl.blockTable = make(t.blockTable, t.batch * t.blockTableStride * 4);
  impl.lengthsBuffer = make(t.lengths, int64_t(t.batch) * 4);
  impl.out = make(t.out, impl.outElements * 2);
  impl.lse = make(t.lse, impl.lseElements * 4);
}

int AttentionShape::visibleTokens(int length, int query) const {
  return causal ? std::max(0, length - (queryTokens - 1 - query)) : length;
}

const uint16_t *AttentionInstance::Impl::queryRow(int sequence, int queryToken, int head) const {
  return query.data() + (int64_t(sequence) * shape.rows() + queryToken * shape.heads + head) * shape.keyDim;
}

const uint16_t *AttentionInstance::Impl::cacheRow(int sequence, int token) const {
  int32_t page = table[size_t(sequence * tensors.blockTableStride + token / shape.page)];
  return block.data() + pageOffsets[size_t(page)] + int64_t(token % shape.page) * shape.keyDim;
}

void AttentionInstance::Impl::requireHost(const char *place) const {
  if (!hostKept)
    throw UserError({place, "needs the host copies of the problem", "keepHost = false",
                     "make the instance with keepHost, or compare on the GPU"});
}

AttentionInstance::AttentionInstance(runtime::Device &device, const AttentionShape &shape,
                                     const std::vector<int> &lengths, const AttentionProblemOptions &options,
                                     bool keepHost)
    : impl_(std::make_unique<Impl>()) {
  checkShape(shape, lengths);
  Impl &impl = *impl_;
  impl.device = &device;
  impl.shape = shape;
  impl.options = options;
  impl.lengths = lengths;
  impl.hostKept = keepHost;
  if (impl.shape.scale == 0)
    impl.shape.scale = float(1 / std::sqrt(192.0));
  int64_t usedPages = 0;
  for (int b = 0; b < impl.batch(); ++b) {
    usedPages += impl.pagesOf(b);
    impl.maxPages = std::max(impl.maxPages, impl.pagesOf(b));
  }
  layOut(impl, usedPages);

  Random random(options.seed);
  drawTable(impl, random);
  drawCache(impl, random, usedPages);
  impl.query = normalBf16(random, impl.totalRows() * shape.keyDim, queryDeviation);

  allocate(impl);
  uploadCache(impl);
  uploadQuery(impl);
  upload(device, impl.tensors.blockTable, impl.table);
  upload(device, impl.tensors.lengths, impl.lengths);
  poisonOutputs();
  if (!keepHost) {
    impl.block = {};
    impl.query = {};
  }
}

AttentionInstance::~AttentionInstance() = default;
AttentionInstance::AttentionInstance(AttentionInstance &&) noexcept = default;

runtime::DecodeTensors AttentionInstance::tensors() const { return impl_->tensors; }
const std::vector<int> &AttentionInstance::lengths() const { return impl_->lengths; }
const AttentionShape &AttentionInstance::shape() const { return impl_->shape; }
int AttentionInstance::maxPagesPerSequence() const { return impl_->maxPages; }

void AttentionInstance::poisonOutputs() {
  impl_->device->fill(impl_->tensors.out, 0xff, impl_->out.bytes(), {});
  impl_->device->fill(impl_->tensors.lse, 0xff, impl_->lse.bytes(), {});
  impl_->device->synchronize();
}
