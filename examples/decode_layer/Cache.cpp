//===- Cache.cpp - The paged cache of a batch ----------------------------------------------------------===//
//
// Draws lengths, deals out pages and fills the rows of older tokens.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Cache.h"

#include <algorithm>
#include <numeric>

using namespace lathe;
using namespace lathe::examples;
using reference::Random;
using runtime::Device;

static std::vector<int32_t> drawLengths(int batch, int tokens, Random &random) {
  std::vector<int32_t> lengths;
  for (int i = 0; i < batch; ++i) // From half the mean to one and a half.
    lengths.push_back(i == 0 && batch > 1 ? 1 : std::max(1, int(tokens / 2 + random.below(tokens + 1))));
  return lengths;
}

Cache::Cache(Device &device, const LayerShape &shape, int batch, int tokens, Random &random)
    : page_(shape.page), lengths_(device, drawLengths(batch, tokens, random)) {
  place(device, random);
  std::vector<int32_t> positions, newSlots;
  for (int i = 0; i < batch; ++i) {
    positions.push_back(position(i));
    newSlots.push_back(int32_t(slot(i, position(i))));
  }
  positions_ = {device, std::move(positions)};
  newSlots_ = {device, std::move(newSlots)};
  int64_t pages = 1; // A spare one, which nobody has.
  for (const int32_t length : lengths_.host)
    pages += (length + page_ - 1) / page_;
  rows_ = Matrix(device, random, pages * page_, shape.keyDim(), 1);
  poison(device);
}

/// Every sequence's pages are anywhere.
void Cache::place(Device &device, Random &random) {
  int pages = 0;
  for (const int32_t length : lengths_.host) {
    tableStride_ = std::max(tableStride_, (length + page_ - 1) / page_);
    pages += (length + page_ - 1) / page_;
  }
  std::vector<int32_t> order(static_cast<size_t>(pages));
  std::iota(order.begin(), order.end(), 0);
  for (size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[size_t(random.below(int64_t(i)))]);
  std::vector<int32_t> table(size_t(batch()) * size_t(tableStride_),
                             pages); // Unused entries: the spare page.
  size_t next = 0;
  for (int i = 0; i < batch(); ++i)
    for (int token = 0; token < length(i); token += page_)
      table[size_t(i) * size_t(tableStride_) + size_t(token / page_)] = order[next++];
  table_ = {device, std::move(table)};
}

int64_t Cache::slot(int sequence, int token) const {
  const size_t entry = size_t(sequence) * size_t(tableStride_) + size_t(token / page_);
  return int64_t(table_.host[entry]) * page_ + token % page_;
}

/// NaN in the new tokens' rows and behind them, and in the spare page.
void Cache::poison(Device &device) const {
  const uint64_t rowBytes = uint64_t(rows_.host.width()) * 2;
  const auto fill = [&](int64_t first, int64_t count) {
    device.fill(rows_.get() + uint64_t(first) * rowBytes, 0xff, size_t(uint64_t(count) * rowBytes), {});
  };
  for (int i = 0; i < batch(); ++i)
    fill(slot(i, position(i)), page_ - position(i) % page_);
  fill(rows_.host.rows() - page_, page_);
  device.synchronize();
}
