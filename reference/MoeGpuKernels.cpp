//===- MoeGpuKernels.cpp - Source of the GPU reference of expert layers ------------------------------===//
//
// The same two products as the CPU reference, tiled through shared memory, all in binary64, and the sum over
// a row's experts with the allowed error of MoeCompare.h. It is meant to be read and believed; it is as fast
// as binary64 needs to be for the largest shapes. Compiled by NVRTC in MoeNvrtcReference.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/reference/MoeGpuKernels.h"

const char *const lathe::reference::moeGpuKernelSource = R"cuda(
struct Tile { int expert, firstPair, pairs; };

struct Products {
  const unsigned short *x, *w1, *w2;
  const Tile *tiles;
  const int *pairRows;
  const float *pairWeights;
  double *activated, *parts, *squares;
  long long xStrideRow, w1StrideExpert, w1StrideHalf, w2StrideExpert, w2StrideRow;
  int hidden, inner, activation, roundActivated;
};

struct Sum {
  const int *rowFirst, *rowPairs;
  const double *parts, *squares;
  float *out, *allowed;
  int hidden;
};

constexpr int tileSize = 64, threads = 256, depth = 16, side = 4;

__device__ double fromBf16(unsigned short bits) { return double(__uint_as_float(unsigned(bits) << 16)); }

__device__ double roundToBf16(double value) {
  const float narrow = float(value);
  unsigned bits = __float_as_uint(narrow);
  // If float rounding hit a bf16 tie exactly, the discarded part of the binary64 value decides it.
  if ((bits & 0xffff) == 0x8000 && double(narrow) != value)
    bits += (double(narrow) > value) == (value > 0) ? -1 : 1;
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
  return double(__uint_as_float(bits));
}

__device__ double activate(int activation, double gate, double up) {
  if (activation == 2)
    return gate * (1 + erf(gate * 0.70710678118654752440)) / 2;
  const double silu = gate / (1 + exp(-gate));
  return activation == 0 ? silu * up : silu;
}

// Each thread has elements (pair ty + 16 i, column tx + 16 j) of a tile of 64 by 64.
extern "C" __global__ void __launch_bounds__(threads) reference_activate(Products p) {
  __shared__ double tokens[depth][tileSize + 1], gates[depth][tileSize + 1], ups[depth][tileSize + 1];
  const Tile tile = p.tiles[blockIdx.y];
  const int tx = threadIdx.x % 16, ty = threadIdx.x / 16, firstColumn = blockIdx.x * tileSize;
  const int halves = p.activation == 0 ? 2 : 1;
  double gate[side][side] = {}, up[side][side] = {};
  for (int k0 = 0; k0 < p.hidden; k0 += depth) {
    __syncthreads();
    for (int line = ty; line < tileSize; line += 16) {
      const int k = k0 + tx, column = firstColumn + line;
      const bool inside = k < p.hidden, hasToken = inside && line < tile.pairs;
      const bool hasWeight = inside && column < p.inner;
      const unsigned short *w = p.w1 + tile.expert * p.w1StrideExpert + (long long)column * p.hidden + k;
      tokens[tx][line] =
          hasToken ? fromBf16(p.x[p.pairRows[tile.firstPair + line] * p.xStrideRow + k]) : 0;
      gates[tx][line] = hasWeight ? fromBf16(w[0]) : 0;
      ups[tx][line] = hasWeight && halves == 2 ? fromBf16(w[p.w1StrideHalf]) : 0;
    }
    __syncthreads();
    for (int k = 0; k < depth; ++k)
#pragma unroll
      for (int i = 0; i < side; ++i)
#pragma unroll
        for (int j = 0; j < side; ++j) {
          gate[i][j] += tokens[k][ty + 16 * i] * gates[k][tx + 16 * j];
          up[i][j] += tokens[k][ty + 16 * i] * ups[k][tx + 16 * j];
        }
  }
#pragma unroll
  for (int i = 0; i < side; ++i)
#pragma unroll
    for (int j = 0; j < side; ++j) {
      const int pair = ty + 16 * i, column = firstColumn + tx + 16 * j;
      if (pair >= tile.pairs || column >= p.inner)
        continue;
      const double value = activate(p.activation, gate[i][j], up[i][j]);
      p.activated[(long long)(tile.firstPair + pair) * p.inner + column] =
          p.roundActivated ? roundToBf16(value) : value;
    }
}

extern "C" __global__ void __launch_bounds__(threads) reference_project(Products p) {
  __shared__ double values[depth][tileSize + 1], weights[depth][tileSize + 1];
  const Tile tile = p.tiles[blockIdx.y];
  const int tx = threadIdx.x % 16, ty = threadIdx.x / 16, firstColumn = blockIdx.x * tileSize;
  double part[side][side] = {}, square[side][side] = {};
  for (int k0 = 0; k0 < p.inner; k0 += depth) {
    __syncthreads();
    for (int line = ty; line < tileSize; line += 16) {
      const int k = k0 + tx, column = firstColumn + line;
      const bool inside = k < p.inner;
      values[tx][line] = inside && line < tile.pairs
                             ? p.activated[(long long)(tile.firstPair + line) * p.inner + k]
                             : 0;
      weights[tx][line] = inside && column < p.hidden
                              ? fromBf16(p.w2[tile.expert * p.w2StrideExpert + column * p.w2StrideRow + k])
                              : 0;
    }
    __syncthreads();
    for (int k = 0; k < depth; ++k)
#pragma unroll
      for (int i = 0; i < side; ++i)
#pragma unroll
        for (int j = 0; j < side; ++j) {
          const double product = values[k][ty + 16 * i] * weights[k][tx + 16 * j];
          part[i][j] += product;
          square[i][j] += product * product;
        }
  }
#pragma unroll
  for (int i = 0; i < side; ++i)
#pragma unroll
    for (int j = 0; j < side; ++j) {
      const int pair = ty + 16 * i, column = firstColumn + tx + 16 * j;
      if (pair >= tile.pairs || column >= p.hidden)
        continue;
      const long long at = (long long)(tile.firstPair + pair) * p.hidden + column;
      const double weight = p.pairWeights[tile.firstPair + pair];
      p.parts[at] = weight * part[i][j];
      p.squares[at] = weight * weight * square[i][j];
    }
}

extern "C" __global__ void __launch_bounds__(threads) reference_sum(Sum p) {
  const long long row = blockIdx.x;
  for (int column = threadIdx.x; column < p.hidden; column += threads) {
    double value = 0, magnitude = 0, square = 0;
    for (int entry = p.rowFirst[row]; entry < p.rowFirst[row + 1]; ++entry) {
      const long long at = (long long)p.rowPairs[entry] * p.hidden + column;
      value += p.parts[at];
      magnitude += fabs(p.parts[at]);
      square += p.squares[at];
    }
    const double scatter = 7 / sqrt(3.0) * sqrt(square);
    p.out[row * p.hidden + column] = float(value);
    p.allowed[row * p.hidden + column] =
        magnitude == 0 ? 0 : float((fabs(value) + 3 * magnitude + scatter) / 256 + 1e-36);
  }
}
)cuda";
