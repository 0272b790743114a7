//===- GpuKernels.cpp - Source of the GPU reference kernel -------------------------------------------===//
//
// The same three loops as the CPU reference, one CTA a row: scores, softmax, weighted sum of values, all in
// binary64. It is meant to be read and believed, not to be fast. Compiled by NVRTC in NvrtcReference.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/reference/GpuKernels.h"

const char *const lathe::reference::gpuKernelSource = R"cuda(
struct Problem {
  const unsigned short *q, *kv;
  const int *table, *lengths;
  double *scratch, *out, *lse;
  long long qStrideBatch, qStrideRow, kvStridePage, kvStrideToken, tableStride;
  int heads, queryTokens, keyDim, valueDim, page, causal, maxLength, firstSequence;
  double scale;
};

constexpr int threads = 256;

__device__ double fromBf16(unsigned bits) { return double(__uint_as_float(bits << 16)); }

// Every thread gets the sum (or maximum) over the CTA, always added in the same order.
template <bool maximum> __device__ double reduce(double value) {
  __shared__ double parts[threads];
  __syncthreads();
  parts[threadIdx.x] = value;
  for (int half = threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) {
      double other = parts[threadIdx.x + half], own = parts[threadIdx.x];
      parts[threadIdx.x] = maximum ? fmax(own, other) : own + other;
    }
  }
  __syncthreads();
  return parts[0];
}

extern "C" __global__ void __launch_bounds__(threads) reference_rows(Problem p) {
  extern __shared__ double query[];
  const int row = blockIdx.x, rows = gridDim.x;
  const int sequence = p.firstSequence + blockIdx.y;
  const long long outputRow = (long long)blockIdx.y * rows + row;
  const int length = p.lengths[sequence];
  int visible = p.causal ? length - (p.queryTokens - 1 - row / p.heads) : length;
  double *out = p.out + outputRow * p.valueDim;
  if (visible <= 0) {
    for (int column = threadIdx.x; column < p.valueDim; column += threads)
      out[column] = 0;
    if (threadIdx.x == 0)
      p.lse[outputRow] = __longlong_as_double(0x7ff0000000000000LL);
    return;
  }
  const unsigned short *q = p.q + sequence * p.qStrideBatch + row * p.qStrideRow;
  for (int i = threadIdx.x; i < p.keyDim; i += threads)
    query[i] = fromBf16(q[i]);
  __syncthreads();

  // Scores: a warp a token. Rows are 16-byte aligned and keyDim is even, so elements are read in pairs.
  const int *table = p.table + sequence * p.tableStride;
  double *weights = p.scratch + outputRow * p.maxLength;
  const int lane = threadIdx.x % 32;
  double top = -__longlong_as_double(0x7ff0000000000000LL);
  for (int token = threadIdx.x / 32; token < visible; token += threads / 32) {
    const unsigned short *k =
        p.kv + table[token / p.page] * p.kvStridePage + token % p.page * p.kvStrideToken;
    double score = 0;
    for (int i = 2 * lane; i < p.keyDim; i += 64) {
      const unsigned pair = *(const unsigned *)(k + i);
      score += query[i] * fromBf16(pair & 0xffff);
      score += query[i + 1] * fromBf16(pair >> 16);
    }
    for (int distance = 16; distance > 0; distance /= 2)
      score += __shfl_xor_sync(0xffffffff, score, distance);
    score *= p.scale;
    top = fmax(top, score);
    if (lane == 0)
      weights[token] = score;
  }

  top = reduce<true>(top);
  double sum = 0;
  for (int token = threadIdx.x; token < visible; token += threads)
    sum += weights[token] = exp(weights[token] - top);
  sum = reduce<false>(sum);

  for (int column = threadIdx.x; column < p.valueDim; column += threads) {
    double element = 0;
    for (int start = 0; start < visible; start += p.page) {
      const unsigned short *v = p.kv + table[start / p.page] * p.kvStridePage + column;
      const int tokens = min(p.page, visible - start);
      for (int token = 0; token < tokens; ++token)
        element += weights[start + token] * fromBf16(v[token * p.kvStrideToken]);
    }
    out[column] = element / sum;
  }
  if (threadIdx.x == 0)
    p.lse[outputRow] = top + log(sum);
}
)cuda";
