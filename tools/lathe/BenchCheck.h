//===- BenchCheck.h - Whether a contender of a benchmark is right --------------------------------------===//
//
// A wrong kernel can be fast, so no time is taken before the result is looked at: a few random rows against
// float64 on the host, and every row against a contender that passed. The bounds are those of `lathe
// verify`. Called for every contender of a row.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "BenchTensors.h"

#include <string>

namespace lathe::tools {

/// Order of a log-sum-exp in memory, as PeerInterface.h numbers it.
enum class LseOrder { HeadsFirst = 0, TokensFirst = 1, None = 2 };

/// What a contender wrote, rows [sequence][query token][head].
struct Outputs {
  std::vector<uint16_t> out; ///< bf16 [rows, valueDim].
  std::vector<float> lse;    ///< [rows]; empty where there is none.
};
/// Waits for the device.
Outputs fetchOutputs(runtime::Device &device, const BenchTensors &tensors, LseOrder order);

/// Random rows of layer 0 in float64.
struct ExactSample {
  std::vector<size_t> rows;
  std::vector<uint16_t> out; ///< bf16 [rows, valueDim].
  std::vector<double> lse;
};
/// As many rows as are worth the host's time: 2 to 16, some 400 million multiply-adds at most. The last row,
/// which a short grid leaves out, is one of them.
ExactSample exactSample(const BenchTensors &tensors, uint64_t seed = 1);

/// The sampled rows against float64. Empty: right; else the first fault.
std::string faultOfSample(const reference::AttentionShape &shape, const Outputs &outputs,
                          const ExactSample &sample);

/// All rows against another contender's.
std::string faultAgainst(const reference::AttentionShape &shape, const Outputs &outputs,
                         const Outputs &trusted);

} // namespace lathe::tools
