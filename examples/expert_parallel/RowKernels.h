//===- RowKernels.h - Packing rows and summing what comes back ---------------------------------------===//
//
// The two kernels that expert parallelism adds to those of the layer. They are a few lines of PTX, so that
// neither NVRTC nor a toolkit is needed and the emulator runs them too. Called by Rank.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"

#include <memory>

namespace lathe::examples {

/// For one device. Both calls are asynchronous; no rows launch nothing.
class RowKernels {
public:
  explicit RowKernels(runtime::Device &device);

  /// to[i] = from[index[i]], rows of `words` 32-bit words; index i32 [rows]. Moves 8 bytes a word.
  struct Gather {
    runtime::DevicePtr to = 0, from = 0, index = 0;
    int rows = 0, words = 0;
  };
  void gather(const Gather &call, runtime::Stream stream) const;

  /// y[row] = sum of parts[places[rank][row]] over ranks, in their order and in float32, without those whose
  /// place is negative. y and parts: bf16, `words` · 2 columns; places i32 [ranks, rows].
  struct Sum {
    runtime::DevicePtr y = 0, parts = 0, places = 0;
    int ranks = 0, rows = 0, words = 0;
  };
  void sum(const Sum &call, runtime::Stream stream) const;

private:
  runtime::Device &device_;
  std::unique_ptr<runtime::Module> module_;
  runtime::Function gather_, sum_;
};

} // namespace lathe::examples
