//===- BenchMla.h - Timing MLA decode as a model runs it ---------------------------------------------===//
//
// A CUDA graph of N layers back to back, each over its own cache, replayed many times; successive replays
// rotate over caches that together exceed the L2 cache several times, so every replay reads memory cold.
// `lathe bench mla` prints what this measures; the numbers in docs/benchmarks come from here.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/Kernel.h"

#include <cstdint>
#include <vector>

namespace lathe::tools {

struct BenchMlaOptions {
  std::vector<int> lengths;  ///< KV tokens of each sequence; its size is the batch.
  int layers = 1;            ///< Layers in one graph.
  int replays = 50;          ///< Timed replays, at least 30.
  int warmup = 10;           ///< Replays before timing starts.
  int workers = 0;           ///< 0: as many as the GPU runs at once.
  float scale = 0.07216878f; ///< Softmax scale; the default is 192^-0.5.
  bool causal = true;        ///< As the kernel's description: counts attended pairs.
  uint64_t seed = 1;         ///< Of the random q, cache and page order.
};

/// Counted work of one layer. Causality and ragged lengths are counted, not padded over.
struct MlaWork {
  double bytes = 0;      ///< tokens × keyDim × 2, plus q, out and lse.
  double operations = 0; ///< 2 × heads × attended (query, token) pairs × (keyDim + valueDim).
  int64_t tokens = 0;    ///< KV tokens of the batch.
};

struct BenchMlaResult {
  MlaWork work;
  double medianUs = 0, p10Us = 0, p90Us = 0, bestUs = 0; ///< Of one layer: a replay divided by its layers.
  double planUs = 0; ///< One plan (once a step, not a layer), from a graph of its own.
  int caches = 0;    ///< Distinct caches that replays rotate over.
  int workers = 0;
  double gbps = 0;               ///< work.bytes over medianUs.
  double tflops = 0;             ///< work.operations over medianUs.
  std::vector<double> samplesUs; ///< Each timed replay, microseconds a layer.
};

/// Work of one layer for a kernel's shape. Causal: the last query token attends to all tokens, the one before
/// to all but one, …
MlaWork countWork(const Manifest &manifest, const std::vector<int> &lengths, bool causal);

/// Allocates, warms up, measures. Synchronous. Throws UserError (no lengths, fewer than 30 replays, not
/// enough memory for the caches, with the size that would be needed) and DeviceError.
BenchMlaResult benchMla(const runtime::Kernel &kernel, const BenchMlaOptions &options);

} // namespace lathe::tools
