//===- DirectFormula.h - A second opinion on attention -----------------------------------------------===//
//
// Attention of one row in long double, read from device memory through table and strides as a kernel would,
// columns outside and tokens backwards, without a maximum. It shares no code with the references it checks.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/reference/AttentionReference.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace lathe::reference {

struct DirectRow {
  std::vector<long double> out;
  long double lse = std::numeric_limits<long double>::infinity();
};

inline long double readBf16(runtime::DevicePtr base, int64_t element) {
  uint16_t bits = 0;
  std::memcpy(&bits, reinterpret_cast<const char *>(base) + element * 2, 2);
  uint32_t wide = uint32_t(bits) << 16;
  float value = 0;
  std::memcpy(&value, &wide, 4);
  return value;
}

inline int32_t readInt(runtime::DevicePtr base, int64_t element) {
  int32_t value = 0;
  std::memcpy(&value, reinterpret_cast<const char *>(base) + element * 4, 4);
  return value;
}

/// First element of a token's cache row.
inline int64_t tokenElement(const runtime::DecodeTensors &t, int page, int sequence, int token) {
  int32_t entry = readInt(t.blockTable, sequence * t.blockTableStride + token / page);
  return entry * t.kvStridePage + token % page * t.kvStrideToken;
}

/// `device` memory must be host memory.
inline DirectRow directRow(const AttentionInstance &instance, int sequence, int query, int head) {
  const runtime::DecodeTensors t = instance.tensors();
  const AttentionShape &shape = instance.shape();
  DirectRow row{std::vector<long double>(size_t(shape.valueDim), 0.0L)};
  const int length = readInt(t.lengths, sequence);
  const int last = shape.causal ? length - shape.queryTokens + query : length - 1; // Last token attended to.
  if (last < 0)
    return row;
  const int64_t q = sequence * t.qStrideBatch + (query * shape.heads + head) * t.qStrideRow;
  std::vector<long double> weights(size_t(last) + 1);
  long double sum = 0;
  for (int token = last; token >= 0; --token) {
    const int64_t k = tokenElement(t, shape.page, sequence, token);
    long double score = 0;
    for (int i = shape.keyDim - 1; i >= 0; --i)
      score += readBf16(t.q, q + i) * readBf16(t.kv, k + i);
    sum += weights[size_t(token)] = std::exp(score * shape.scale);
  }
  for (int column = 0; column < shape.valueDim; ++column) {
    long double element = 0;
    for (int token = last; token >= 0; --token)
      element +=
          weights[size_t(token)] * readBf16(t.kv, tokenElement(t, shape.page, sequence, token) + column);
    row.out[size_t(column)] = element / sum;
  }
  row.lse = std::log(sum);
  return row;
}

} // namespace lathe::reference
