//===- Alone.cpp - The sequences of a batch, each by itself --------------------------------------------===//
//
// The results of the batch are kept, the outputs poisoned, every sequence run in a batch of one at its own
// place in the same tensors, and all bytes compared, gaps included.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Alone.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::tools;
using runtime::DecodeTensors;

namespace {
/// An output as the device holds it: element (sequence, row of the sequence) begins at a stride's multiple.
struct OutputBytes {
  runtime::DevicePtr at;
  size_t elementBytes;
  int64_t strideBatch, strideQuery, strideHead, columns;
  int batch, queries, heads;

  int64_t offset(int sequence, int query, int head) const {
    return sequence * strideBatch + query * strideQuery + head * strideHead;
  }
  size_t bytes() const { return size_t(offset(batch - 1, queries - 1, heads - 1) + columns) * elementBytes; }

  std::vector<uint8_t> fetch(runtime::Device &device) const {
    std::vector<uint8_t> host(bytes());
    device.copyToHost(host.data(), at, host.size());
    return host;
  }

  /// The first element that differs.
  std::string difference(const char *name, const std::vector<uint8_t> &batched,
                         const std::vector<uint8_t> &alone) const {
    for (int sequence = 0; sequence < batch; ++sequence)
      for (int query = 0; query < queries; ++query)
        for (int head = 0; head < heads; ++head)
          for (int64_t column = 0; column < columns; ++column) {
            const size_t first = size_t(offset(sequence, query, head) + column) * elementBytes;
            if (!std::equal(&batched[first], &batched[first] + elementBytes, &alone[first]))
              return fmt::format(
                  "{} of sequence {}, query {}, head {}, column {} has other bits alone than in "
                  "the batch: the kernel is not batch-invariant",
                  name, sequence, query, head, column);
          }
    return "";
  }
};
} // namespace

static int64_t given(int64_t stride, int64_t contiguous) { return stride ? stride : contiguous; }

static OutputBytes outputOf(const DecodeTensors &t, const reference::AttentionShape &shape) {
  const int64_t head = given(t.outStrideHead, shape.valueDim),
                query = given(t.outStrideQuery, head * shape.heads),
                batch = given(t.outStrideBatch, query * shape.queryTokens);
  return {t.out, 2, batch, query, head, shape.valueDim, t.batch, shape.queryTokens, shape.heads};
}

static OutputBytes logarithmsOf(const DecodeTensors &t, const reference::AttentionShape &shape) {
  const int64_t query = given(t.lseStrideQuery, 1), head = given(t.lseStrideHead, shape.queryTokens),
                batch = given(t.lseStrideBatch, head * shape.heads);
  return {t.lse, 4, batch, query, head, 1, t.batch, shape.queryTokens, shape.heads};
}

/// The tensors of one sequence of a batch.
static DecodeTensors only(DecodeTensors t, const reference::AttentionShape &shape, int sequence,
                          const OutputBytes &out, const OutputBytes &lse) {
  const int64_t row = given(t.qStrideRow, shape.keyDim), q = given(t.qStrideBatch, row * shape.rows());
  t.batch = 1;
  t.q += size_t(sequence * q) * 2;
  t.blockTable += size_t(sequence * t.blockTableStride) * 4;
  t.lengths += size_t(sequence) * 4;
  t.out += size_t(out.offset(sequence, 0, 0)) * out.elementBytes;
  t.lse += size_t(lse.offset(sequence, 0, 0)) * lse.elementBytes;
  return t;
}

std::string lathe::tools::faultOfAlone(const runtime::Kernel &kernel,
                                       const reference::AttentionInstance &instance) {
  constexpr int fewWorkers = 3;
  runtime::Device &device = kernel.device();
  DecodeTensors tensors = instance.tensors();
  tensors.scale = instance.shape().scale;
  if (tensors.batch == 0)
    return "";
  const OutputBytes out = outputOf(tensors, instance.shape()), lse = logarithmsOf(tensors, instance.shape());
  const std::vector<uint8_t> batchedOut = out.fetch(device), batchedLse = lse.fetch(device);
  device.fill(out.at, 0xff, out.bytes(), {});
  device.fill(lse.at, 0xff, lse.bytes(), {});
  runtime::Plan plans[] = {kernel.makePlan(1), kernel.makePlan(1, fewWorkers)};
  for (int sequence = 0; sequence < tensors.batch; ++sequence) {
    runtime::Plan &plan = plans[sequence % 2];
    const DecodeTensors one = only(tensors, instance.shape(), sequence, out, lse);
    kernel.plan(plan, one.lengths, 1, {});
    kernel.run(plan, one, {});
  }
  device.synchronize();
  const std::string fault = out.difference("out", batchedOut, out.fetch(device));
  return fault.empty() ? lse.difference("lse", batchedLse, lse.fetch(device)) : fault;
}
