//===- Limits.h - What the GPU can do at most --------------------------------------------------------===//
//
// A time in microseconds says little without the two limits behind it: how fast memory can be read, and how
// fast the tensor cores can multiply. Both are measured on the GPU at hand by two small kernels kept here as
// PTX (a streaming read, a chain of WGMMA on random numbers); without a GPU the named target's datasheet
// stands in. `lathe bench` uses it.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"

#include <nlohmann/json.hpp>

#include <string>

namespace lathe::tools {

/// The two limits, each with where it comes from: "measured" or "datasheet".
struct Limits {
  double readGbps = 0;     ///< Bytes read from device memory, 1e9 a second.
  double matrixTflops = 0; ///< bf16 WGMMA with float32 accumulation, 1e12 operations a second.
  std::string readSource, matrixSource;
};

void to_json(nlohmann::json &json, const Limits &limits);

/// Datasheet figures of the H100 SXM, for machines without a GPU.
Limits datasheetLimits();

/// Measures both on `device`, about a second altogether. A limit that cannot be measured (too little free
/// memory, a kernel that does not load) falls back to the datasheet and says so.
Limits measureLimits(runtime::Device &device);

/// PTX of the streaming read: entry `read_stream(base u64, iterations u32, sink u64)`; every thread loads
/// `readUnroll` times 16 bytes an iteration, consecutive threads consecutive addresses.
std::string readStreamPtx();
/// PTX of the matrix loop: entry `wgmma_rate(iterations u32, sink u64)`, 256 threads, each warpgroup
/// `matrixUnroll` products of 64 × 256 × 16 an iteration, operands random in shared memory.
std::string matrixRatePtx();

constexpr int readUnroll = 8, readThreads = 512;
constexpr int matrixUnroll = 16, matrixThreads = 256;
constexpr int matrixSharedBytes = 2 * 8192 + 32768;

} // namespace lathe::tools
