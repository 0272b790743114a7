//===- GpuKernels.h - Source of the GPU reference kernel ---------------------------------------------===//
//
// The CUDA C++ text that NVRTC compiles and the argument structure that it shares with the host. Apart from
// its launch so that a test can compile it on a machine without a GPU.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <cstdint>

namespace lathe::reference {

/// Argument of reference_rows, by value; the source declares the same fields in the same order. Strides in
/// elements.
struct GpuProblem {
  uint64_t q, kv, table, lengths; ///< As DecodeTensors.
  uint64_t scratch;               ///< double [sequences of a launch, rows, maxLength].
  uint64_t out;                   ///< double [sequences of a launch, rows, valueDim].
  uint64_t lse;                   ///< double [sequences of a launch, rows].
  int64_t qStrideBatch, qStrideRow, kvStridePage, kvStrideToken, tableStride;
  int32_t heads, queryTokens, keyDim, valueDim, page, causal, maxLength, firstSequence;
  double scale;
};

constexpr int gpuThreads = 256;
constexpr const char *gpuKernelName = "reference_rows";

/// Grid (rows, sequences), gpuThreads threads, keyDim doubles of dynamic shared memory.
extern const char *const gpuKernelSource;

} // namespace lathe::reference
