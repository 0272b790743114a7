//===- MoeGpuKernels.h - Source of the GPU reference of expert layers --------------------------------===//
//
// The CUDA C++ text that NVRTC compiles and the argument structures that it shares with the host. Apart from
// its launch so that a test can compile it on a machine without a GPU.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <cstdint>

namespace lathe::reference {

/// Up to moeTile pairs of one expert.
struct MoeGpuTile {
  int32_t expert, firstPair, pairs;
};

/// Argument of reference_activate and reference_project, by value; the source declares the same fields in the
/// same order. Strides in elements.
struct MoeGpuProducts {
  uint64_t x, w1, w2;      ///< As MoeTensors; of routed or of shared experts.
  uint64_t tiles;          ///< MoeGpuTile [grid y].
  uint64_t pairRows;       ///< int [pairs]: row of x.
  uint64_t pairWeights;    ///< float [pairs].
  uint64_t activated;      ///< double [pairs, inner].
  uint64_t parts, squares; ///< double [pairs, hidden]: c_k, and its share of MoeSums::square.
  int64_t xStrideRow, w1StrideExpert, w1StrideHalf, w2StrideExpert, w2StrideRow;
  int32_t hidden, inner, activation, roundActivated;
};

/// Argument of reference_sum.
struct MoeGpuSum {
  uint64_t rowFirst;       ///< int [rows + 1]: first entry of each row in rowPairs.
  uint64_t rowPairs;       ///< int: pairs of each row.
  uint64_t parts, squares; ///< As above.
  uint64_t out, allowed;   ///< float [rows, hidden].
  int32_t hidden;
};

constexpr int moeTile = 64; ///< Pairs and columns of a CTA's tile.
constexpr int moeGpuThreads = 256;
constexpr const char *moeActivateName = "reference_activate";
constexpr const char *moeProjectName = "reference_project";
constexpr const char *moeSumName = "reference_sum";

/// reference_activate: grid (inner / moeTile rounded up, tiles); reference_project: (hidden / moeTile rounded
/// up, tiles); reference_sum: (rows). All moeGpuThreads threads, no dynamic shared memory.
extern const char *const moeGpuKernelSource;

} // namespace lathe::reference
