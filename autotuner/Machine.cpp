//===- Machine.cpp - What the cost model knows of a GPU -----------------------------------------------===//
//
// The table. Rates of a GPU that nobody measured are the data sheet's, times what the H100 SXM reaches of its
// own (read bandwidth 3098 of 3350 GB/s, matrix rate 745 of 989 TFLOPS), unless said otherwise. L2 rates
// scale with the SM count.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/Machine.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

namespace lathe::autotuner {

// NVIDIA H100 80GB HBM3 (SXM, 700 W): streaming 16-byte loads over 4 GiB; L2 to SM traffic of attention
// kernels 5.0 to 5.7 TB/s; cuBLAS bf16 8192³ sustained.
static constexpr double h100L2GBs = 5400;
static constexpr int h100Sms = 132;

static Machine machine(const char *name, int smCount, int memoryGBs, double readGBs, double matrixTflops,
                       const char *source) {
  return {name, smCount, memoryGBs, readGBs, h100L2GBs * smCount / h100Sms, matrixTflops, source};
}

const std::vector<Machine> &machines() {
  static const std::vector<Machine> table{
      machine("h100-sxm", 132, 3352, 3098, 745, "measured on an NVIDIA H100 80GB HBM3"),
      machine("h200", 132, 4800, 4530, 745, "memory measured on NVIDIA H200s; matrix rate as h100-sxm"),
      machine("h100-pcie", 114, 2000, 2000, 569, "data sheet 2.0 TB/s; 756 TFLOPS, derated as h100-sxm"),
      machine("h800", 132, 3352, 3098, 745, "taken as h100-sxm: same SMs and memory"),
      machine("h20", 78, 4000, 3700, 140, "data sheet 4.0 TB/s and 148 TFLOPS, derated"),
      machine("gh200", 132, 4000, 3700, 745, "data sheet 4.0 TB/s (HBM3), derated; matrix rate as h100-sxm"),
  };
  return table;
}

codegen::Target Machine::target() const {
  codegen::Target target;
  target.smCount = smCount;
  return target;
}

const Machine &machineByName(const std::string &name) {
  std::string names;
  for (const Machine &machine : machines()) {
    if (machine.name == name)
      return machine;
    names += (names.empty() ? "" : ", ") + machine.name;
  }
  throw UserError(
      Fault{"target", "the target must be a known machine", fmt::format("'{}'", name), "one of " + names});
}

static bool has(const std::string &text, const char *word) { return text.find(word) != text.npos; }

Machine machineForDevice(const std::string &deviceName, int smCount) {
  const char *known = has(deviceName, "GH200")                             ? "gh200"
                      : has(deviceName, "H200")                            ? "h200"
                      : has(deviceName, "H20")                             ? "h20"
                      : has(deviceName, "H800")                            ? "h800"
                      : has(deviceName, "H100") && has(deviceName, "PCIe") ? "h100-pcie"
                                                                           : "h100-sxm";
  Machine machine = machineByName(known);
  machine.l2ReadGBs *= double(smCount) / machine.smCount;
  machine.matrixTflops *= double(smCount) / machine.smCount;
  machine.smCount = smCount;
  return machine;
}

} // namespace lathe::autotuner
