//===- Emulator.h - A device for machines without a GPU ----------------------------------------------===//
//
// Executes the PTX that Lathe emits on the host, as a Device like the CUDA driver's: the same kernels, plans
// and tests run on it, only slower, and it says what a kernel does wrong. A launch runs to its end before it
// returns. Findings of a run are thrown as a DeviceError by the launch that made them, and can be read here;
// counters tell what the kernels did. Opened by openDevice() where there is no GPU, and by name in tools and
// tests.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"
#include "lathe/runtime/device/emulator/Counters.h"
#include "lathe/runtime/device/emulator/Finding.h"

#include <memory>
#include <vector>

namespace lathe::runtime {

struct EmulatorOptions {
  int hostThreads = 0; ///< That run CTAs; 0: all of the host's cores.
  uint64_t seed =
      0; ///< Order of warps and of arriving copies; 0: a fixed one. Findings of races do not depend on it.
  bool throwFindings = true; ///< False: findings are only kept (takeFindings).
  int smCount = 132;         ///< Of the GPU that is emulated: how many CTAs are resident at a time.
  /// Of warps in one launch, about; who runs longer is stopped with a livelock finding. 0: no limit.
  uint64_t maxInstructions = 0;
};

class Emulator : public Device {
public:
  /// Findings since the last call.
  virtual emulator::FindingList takeFindings() = 0;
  /// Launches since the last call, in order.
  virtual std::vector<emulator::LaunchRecord> takeLaunches() = 0;
};

/// An emulated H100. Needs no GPU, no driver and no toolkit.
std::shared_ptr<Emulator> openEmulator(const EmulatorOptions &options = {});

} // namespace lathe::runtime
