//===- LoadedKernel.h - One kernel of a loaded artifact ----------------------------------------------===//
//
// A function with its launch shape and its bound argument list, and the two facts that every family of
// kernels needs beside it: who made a plan or a workspace, and whether kernels wait for their predecessor
// themselves. Called by Kernel and MoeKernel.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/Binding.h"
#include "lathe/runtime/device/Device.h"
#include "lathe/support/Manifest.h"

namespace lathe::runtime {

/// CTAs of a launch, and whether it is one of programmatic stream serialization.
struct Grid {
  int64_t x = 1, y = 1;
  bool dependent = false;
};

/// Immutable. Belongs to its module.
class LoadedKernel {
public:
  LoadedKernel() = default;
  /// Throws UserError where an argument's name or kind is not one of `phase`, DeviceError where the module
  /// has no such kernel.
  LoadedKernel(Module &module, const KernelEntry &entry, Phase phase, Carveout carveout = Carveout::Default)
      : binding_(entry, phase), function_(module.function(entry.name, entry.sharedBytes, carveout)),
        threads_(unsigned(entry.threads)), sharedBytes_(unsigned(entry.sharedBytes)),
        cluster_(unsigned(entry.cluster)) {}

  /// Asynchronous, no allocation. Throws UserError when a value does not fit its argument.
  void launch(Device &device, const Grid &grid, ArgumentValues &values, Stream stream) const;
  int warps() const { return int(threads_ / 32); } ///< Of a CTA.
  /// CTAs that a kernel whose CTAs stay is launched with: ctasPerSm an SM, but no more than `device` holds at
  /// once where it can say; whole clusters, at least one. To be asked at loading: the answer may take long.
  int64_t residentCtas(Device &device, int ctasPerSm) const;

private:
  Binding binding_;
  Function function_;
  unsigned threads_ = 0, sharedBytes_ = 0, cluster_ = 1;
};

/// A number that no other kernel of this process has.
uint64_t nextIdentity();

/// True where a schedule's config says that kernels call griddepcontrol.wait before they touch a
/// predecessor's results: its dependentLaunch is there and not "off".
bool dependentLaunch(const nlohmann::json &config);

} // namespace lathe::runtime
