//===- Moe.h - A compiled mixture-of-experts layer, run ----------------------------------------------===//
//
// Loads an artifact on a device and launches its kernels: gate (rows times a gate matrix to logits, where the
// artifact has one), route (logits or given choices to the map of
// rows by expert), up (first projection and activation), down (second projection) or both in one, combine
// (weighted sum).
// Nothing is allocated and nothing synchronises in run(), so it can be captured in a CUDA graph. A MoeKernel
// is immutable and thread-safe; a workspace belongs to one stream at a time.
//
// Argument names that an artifact's kernels may use (support/MoeManifest.h), strides in elements:
//   gate     x x_stride rows gate logits
//   route    logits bias ids weights rows first_expert counts offsets slots places tiles tile_count scratch
//            shared_start
//   permute  x x_stride rows places shared_start expert_out
//   up       w1 shared1 permuted (tensor maps)  x x_stride slots tiles tile_count activated_base w1_base
//   down     w2 shared2 activated (tensor maps)  tiles tile_count expert_out w2_base; atomic: slots weights
//            sums
//   experts  in place of up and down, what both take, and ready
//   combine  expert_out places weights shared_start, or atomic: sums; rows y y_stride tile_count ready
// The grids: gate a CTA for gateRows rows and gateExperts experts, all experts of some rows first; route
// min(routeBlocks, rows / routeRows) CTAs, all resident; up, down and experts ctasPerSm an SM, but no more
// than are resident at once, whole clusters of them, which the device is asked at loading; combine a warp for
// each row and 256 columns. Where config.dependentLaunch is not "off", each waits for its predecessor itself
// and is launched with programmatic stream serialization.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"
#include "lathe/support/MoeManifest.h"

#include <memory>
#include <string>

namespace lathe::runtime {

/// One step's tensors, device pointers; bf16 where nothing else is said, contiguous but for the row strides,
/// which are in elements. Alignment: 16 bytes for x, gate, w1, w2, shared1, shared2 and y; 4 for the others
/// (2 for logits of 16 bits).
struct MoeTensors {
  int rows = 0;
  DevicePtr x = 0;        ///< [rows, hidden].
  int64_t xStrideRow = 0; ///< 0: hidden.
  /// [rows, routedExperts] in the manifest's type, where the kernel routes: an input, or with a gate an
  /// output (f32), which may be left out (0).
  DevicePtr logits = 0;
  DevicePtr gate = 0; ///< [routedExperts, hidden] in the manifest's type, where there is one.
  DevicePtr bias = 0; ///< f32 [routedExperts], where its router has one.
  /// i32 and f32 [rows, topK]. With a given routing inputs; else outputs, best first, which may be left out
  /// (0).
  DevicePtr ids = 0, weights = 0;
  int firstExpert = 0;    ///< Id of the first local expert, where the artifact has an offset.
  DevicePtr w1 = 0;       ///< [experts, halves, intermediate, hidden]; gate half before up half.
  DevicePtr w2 = 0;       ///< [experts, hidden, intermediate].
  DevicePtr shared1 = 0;  ///< [halves, shared, intermediate, hidden]; where there are shared experts.
  DevicePtr shared2 = 0;  ///< [hidden, shared, intermediate].
  DevicePtr y = 0;        ///< [rows, hidden], written.
  int64_t yStrideRow = 0; ///< 0: hidden.
};

class MoeKernel;

/// Device memory for the map of rows and what lies between the kernels, for up to maxRows rows.
class MoeWorkspace {
public:
  int maxRows() const { return maxRows_; }
  size_t bytes() const { return memory_ ? memory_->memory.bytes() : 0; }

private:
  friend class MoeKernel;
  struct Memory {
    std::shared_ptr<Device> device;
    Buffer memory;
  };
  uint64_t kernel_ = 0; ///< Identity of the kernel that made it.
  int maxRows_ = 0;
  std::unique_ptr<Memory> memory_;
};

class MoeKernel {
public:
  /// `image` is the cubin or the PTX, as device->imageKind() wants it. Throws DeviceError, UserError
  /// (manifest not ours).
  MoeKernel(std::shared_ptr<Device> device, std::string_view image, MoeManifest manifest);
  ~MoeKernel();
  MoeKernel(MoeKernel &&) noexcept;

  const MoeManifest &manifest() const;
  Device &device() const;

  /// Allocates for steps of up to maxRows rows, at least 1. Synchronous.
  MoeWorkspace makeWorkspace(int maxRows) const;

  /// One layer. Asynchronous, no allocation, capturable; no rows launch nothing. Ids outside of the local
  /// experts take no part, whatever they are. Throws UserError naming tensor, rule and value before anything
  /// is launched.
  void run(const MoeWorkspace &workspace, const MoeTensors &tensors, Stream stream) const;

  /// up, down and combine alone, for the routing that the last run() with as many rows left in the workspace,
  /// on the same stream: the experts' part of a step, for measurements. Otherwise as run().
  void runExperts(const MoeWorkspace &workspace, const MoeTensors &tensors, Stream stream) const;

  /// route alone: writes ids and weights, for a routing whose experts are on several GPUs
  /// (examples/expert_parallel), and the map that runExperts() goes by. Otherwise as run().
  void route(const MoeWorkspace &workspace, const MoeTensors &tensors, Stream stream) const;

private:
  enum class Part { All, Route, Experts };
  void enqueue(const MoeWorkspace &workspace, const MoeTensors &tensors, Stream stream, Part part) const;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

} // namespace lathe::runtime
