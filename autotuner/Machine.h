//===- Machine.h - What the cost model knows of a GPU -------------------------------------------------===//
//
// A handful of rates for each GPU, each with its source: measured on the GPU, or a data sheet figure. They
// rank candidates before anything is measured and stand in for a GPU that is not there. Called by the cost
// model and `lathe tune --target`.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/Config.h"

#include <string>
#include <vector>

namespace lathe::autotuner {

struct Machine {
  std::string name; ///< "h100-sxm".
  int smCount = 0;
  int memoryGBs = 0;       ///< Peak DRAM bandwidth, 1e9 bytes a second.
  double readGBs = 0;      ///< DRAM read bandwidth, 1e9 bytes a second.
  double l2ReadGBs = 0;    ///< L2 to SM, all SMs.
  double matrixTflops = 0; ///< Dense bf16, float32 accumulation.
  std::string source;      ///< Where the rates are from.

  codegen::Target target() const;
};

/// All GPUs known by name; the first is the default.
const std::vector<Machine> &machines();

/// Throws UserError listing the names.
const Machine &machineByName(const std::string &name);

/// The machine whose device name ("NVIDIA H100 80GB HBM3") it is; for an unknown one the first, with its own
/// SM count.
Machine machineForDevice(const std::string &deviceName, int smCount);

} // namespace lathe::autotuner
