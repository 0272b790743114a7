//===- BenchTensors.cpp - What the layers of a benchmark read and write --------------------------------===//
//
// Pages lie shuffled in their cache. Caches of a row lie one after the other in the pool, so no two layers
// share memory; the pool repeats its block, which no kernel can notice.
//
//===--------------------------------------------------------------------------------------------------===//
#include "BenchTensors.h"

#include "lathe/reference/Bf16.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <random>

using namespace lathe;
using namespace lathe::tools;
using runtime::Buffer;
using runtime::Device;

static constexpr size_t blockElements = size_t(8) << 20;
static constexpr int maxGraphs = 64;
/// As in the problems of `lathe verify`, whose bounds these results must keep.
static constexpr double cacheDeviation = 0.1, queryDeviation = 10;

int64_t lathe::tools::pageCount(const std::vector<int> &lengths, int page) {
  int64_t pages = 0;
  for (int length : lengths)
    pages += (int64_t(length) + page - 1) / page;
  return std::max<int64_t>(pages, 1);
}

size_t lathe::tools::cacheBytes(const reference::AttentionShape &shape, const std::vector<int> &lengths) {
  return size_t(pageCount(lengths, shape.page)) * size_t(shape.page) * size_t(shape.keyDim) * 2;
}

size_t lathe::tools::cacheMemory(const runtime::DeviceProperties &properties) {
  return size_t(properties.memoryBytes) / 100 * 85; // The rest: outputs, partial results, code.
}

/// A graph is to run for some hundred microseconds, not to heat the GPU until it lowers its clock.
static constexpr size_t maxGraphBytes = 1'600'000'000;

CachePlan lathe::tools::planCaches(size_t cacheBytes, int layers, const runtime::DeviceProperties &properties,
                                   bool mayShrink) {
  const size_t memory = cacheMemory(properties);
  const size_t fitting = memory / std::max<size_t>(cacheBytes, 1);
  const int least = mayShrink ? 1 : layers;
  if (fitting < size_t(least))
    throw UserError(
        {"caches", fmt::format("those of {} layer(s) must fit in device memory", least),
         fmt::format("{:.1f} GB of {:.1f} GB", double(cacheBytes) * least * 1e-9, double(memory) * 1e-9),
         fmt::format("use {}a smaller --batch or shorter --lengths", mayShrink ? "" : "fewer --layers, ")});
  CachePlan plan;
  plan.cacheBytes = cacheBytes;
  plan.layers = int(std::min<size_t>(fitting, size_t(layers)));
  if (mayShrink)
    plan.layers = std::min(plan.layers, std::max(int(maxGraphBytes / std::max<size_t>(cacheBytes, 1)), 1));
  const size_t cold = 3 * size_t(std::max<int64_t>(properties.l2Bytes, 32 << 20));
  const size_t graphBytes = std::max<size_t>(cacheBytes, 1) * size_t(plan.layers);
  const size_t wanted = std::clamp<size_t>((cold + graphBytes - 1) / graphBytes, 1, maxGraphs);
  plan.graphs = int(std::min(wanted, std::max<size_t>(memory / graphBytes, 1)));
  return plan;
}

/// Bf16 near a normal distribution: drawn from 65,536 samples of it.
static std::vector<uint16_t> randomBlock(size_t elements, double deviation, std::mt19937_64 &random) {
  std::normal_distribution<double> normal(0, deviation);
  std::vector<uint16_t> samples(1 << 16), block(elements);
  for (uint16_t &sample : samples)
    sample = reference::toBf16(normal(random));
  for (uint16_t &value : block)
    value = samples[random() & 0xffff];
  return block;
}

static std::vector<uint16_t> seededBlock(size_t elements, uint64_t seed) {
  std::mt19937_64 random(seed);
  return randomBlock(elements, cacheDeviation, random);
}

RandomPool::RandomPool(Device &device, size_t bytes, uint64_t seed)
    : seed_(seed), block_(seededBlock(blockElements, seed)), buffer_(device, bytes) {
  const size_t blockBytes = block_.size() * 2;
  for (size_t at = 0; at < bytes; at += blockBytes)
    device.copyToDevice(buffer_.get() + at, block_.data(), std::min(blockBytes, bytes - at));
}

template <typename T>
static Buffer upload(Device &device, const std::vector<T> &values) {
  Buffer buffer(device, values.size() * sizeof(T));
  device.copyToDevice(buffer.get(), values.data(), values.size() * sizeof(T));
  return buffer;
}

/// A page of its own for every page of tokens, in random order; rows as wide as the longest sequence.
static std::vector<int32_t> makeTable(const std::vector<int> &lengths, int page, int64_t widest,
                                      std::mt19937_64 &random) {
  std::vector<int32_t> order(size_t(pageCount(lengths, page))), table(lengths.size() * size_t(widest), 0);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  size_t next = 0;
  for (size_t b = 0; b < lengths.size(); ++b)
    for (int64_t p = 0; p * page < lengths[b]; ++p)
      table[b * size_t(widest) + size_t(p)] = order[next++];
  return table;
}

BenchTensors::BenchTensors(Device &device, const reference::AttentionShape &shape, std::vector<int> lengths,
                           const CachePlan &plan, const RandomPool &pool)
    : device_(device), shape_(shape), lengths_(std::move(lengths)), plan_(plan), pool_(pool) {
  std::mt19937_64 random(pool.seed() + 1);
  const int longest = *std::max_element(lengths_.begin(), lengths_.end());
  const int64_t widest = std::max<int64_t>((longest + shape.page - 1) / shape.page, 1);
  table_ = makeTable(lengths_, shape.page, widest, random);
  const size_t rows = lengths_.size() * size_t(shape.rows());
  queries_ = randomBlock(rows * size_t(shape.keyDim), queryDeviation, random);
  q_ = upload(device, queries_);
  out_ = Buffer(device, rows * size_t(shape.valueDim) * 2);
  lse_ = Buffer(device, rows * 4);
  lengthsBuffer_ = upload(device, std::vector<int32_t>(lengths_.begin(), lengths_.end()));
  tableBuffer_ = upload(device, table_);

  common_.batch = int(lengths_.size());
  common_.q = q_.get();
  common_.numPages = pageCount(lengths_, shape.page);
  common_.blockTable = tableBuffer_.get();
  common_.blockTableStride = widest;
  common_.lengths = lengthsBuffer_.get();
  common_.out = out_.get();
  common_.lse = lse_.get();
  common_.scale = shape.scale;
}

runtime::DecodeTensors BenchTensors::layer(int cache) const {
  runtime::DecodeTensors tensors = common_;
  tensors.kv = pool_.address() + size_t(cache % plan_.caches()) * plan_.cacheBytes;
  return tensors;
}

void BenchTensors::poisonOutputs() {
  device_.fill(out_.get(), 0xff, out_.bytes(), {});
  device_.fill(lse_.get(), 0xff, lse_.bytes(), {});
  device_.synchronize();
}

void BenchTensors::queryRow(int sequence, int query, int head, std::vector<float> &row) const {
  const size_t at = (size_t(sequence) * size_t(shape_.rows()) + size_t(query * shape_.heads + head)) *
                    size_t(shape_.keyDim);
  row.resize(size_t(shape_.keyDim));
  for (size_t i = 0; i < row.size(); ++i)
    row[i] = reference::fromBf16(queries_[at + i]);
}

void BenchTensors::cacheRow(int sequence, int token, std::vector<float> &row) const {
  const size_t entry = size_t(sequence) * size_t(common_.blockTableStride) + size_t(token / shape_.page);
  const size_t at =
      (size_t(table_[entry]) * size_t(shape_.page) + size_t(token % shape_.page)) * size_t(shape_.keyDim);
  row.resize(size_t(shape_.keyDim));
  for (size_t i = 0; i < row.size(); ++i)
    row[i] = reference::fromBf16(pool_.at(at + i));
}
