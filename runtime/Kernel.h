//===- Kernel.h - A compiled attention kernel, planned and run ---------------------------------------===//
//
// Loads an artifact on a device, turns this step's sequence lengths into a work list on the GPU, and launches
// the main kernel and the combine. Nothing is allocated and nothing synchronises in plan() and run(), so both
// can be captured in a CUDA graph. A Kernel is immutable and thread-safe; a Plan belongs to one stream at a
// time.
//
// Argument names that an artifact's kernels may use (support/Manifest.h), all strides in elements:
//   plan:    lengths batch workers memory_gbs items worker_begin splits
//   attend:  q kv (tensor maps)  block_table block_table_stride lengths items worker_begin scale
//            out out_stride_batch out_stride_query out_stride_head
//            lse lse_stride_batch lse_stride_head lse_stride_query  partial_out partial_lse
//   combine: splits partial_out partial_lse batch workers combine_shift out… lse… (as attend)
// attend and combine may use any of these, and num_pages; a name outside the list is refused at loading. The
// grids: plan one CTA; attend (rowBlocks, workers), clusters along x; combine 2^combine_shift warps for each
// (sequence, row, combineColumns of the manifest) of as many sequences as a plan splits at most, threads / 32
// a CTA. Where config.dependentLaunch is not "off", attend and combine wait for their predecessor themselves
// (griddepcontrol.wait) and are launched with programmatic stream serialization; but the first attend after a
// plan, for attend reads the work list and the block table before it waits, and may have tokens brought to
// the L2 cache. So nothing but Kernel::plan may write a plan's memory, and after a change of the block table
// there must be a plan before the next run. With config.cacheAhead, the default for up to 64 query rows, the
// same goes for tokens: only the last queryTokens of each sequence may be written between plan and run, as a
// step appends them; whoever writes others there (copies pages, appends more) compiles with cacheAhead=false.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"
#include "lathe/support/Manifest.h"

#include <memory>
#include <string>

namespace lathe::runtime {

/// One decode step's tensors. bf16 unless stated; device pointers; strides in elements, innermost dimension
/// contiguous.
struct DecodeTensors {
  int batch = 0;
  DevicePtr q = 0;          ///< [batch, queryTokens, heads, keyDim].
  int64_t qStrideBatch = 0; ///< 0: contiguous.
  int64_t qStrideRow =
      0; ///< Between consecutive (query token, head) rows; 0: keyDim. Rows are (token, head) merged.
  DevicePtr kv = 0; ///< [numPages, page, keyDim]; written before plan, but for each last queryTokens tokens.
  int64_t numPages = 0;
  int64_t kvStridePage = 0;  ///< 0: page * row stride.
  int64_t kvStrideToken = 0; ///< 0: keyDim.
  DevicePtr blockTable =
      0; ///< int32 [batch, maxPagesPerSequence]; plan() again when its content has changed.
  int64_t blockTableStride = 0;
  DevicePtr lengths = 0; ///< int32 [batch], valid KV tokens; 0 allowed.
  DevicePtr out = 0;     ///< [batch, queryTokens, heads, valueDim].
  int64_t outStrideBatch = 0, outStrideQuery = 0, outStrideHead = 0; ///< 0: contiguous.
  DevicePtr lse =
      0; ///< float32 [batch, heads, queryTokens], natural logarithm; +inf where nothing is attended.
  int64_t lseStrideBatch = 0, lseStrideHead = 0, lseStrideQuery = 0; ///< 0: contiguous.
  float scale = 0; ///< Softmax scale, for example (nope + rope)^-0.5.
};

class Kernel;

/// The work list of one batch shape, in device memory, with the workspace for partial results. Created once
/// for a maximum batch, refilled by Kernel::plan for each step's lengths.
class Plan {
public:
  int maxBatch() const { return maxBatch_; }
  int workers() const { return workers_; }
  /// Device memory that the plan holds.
  size_t workspaceBytes() const { return workspace_ ? workspace_->memory.bytes() : 0; }

private:
  friend class Kernel;
  /// items, worker_begin, splits, partial results (runtime/Planner.h) in one allocation, and the device that
  /// it is on.
  struct Workspace {
    std::shared_ptr<Device> device;
    Buffer memory;
  };
  uint64_t kernel_ = 0; ///< Identity of the kernel that made this plan.
  int maxBatch_ = 0;
  int workers_ = 0;
  int batch_ = -1;            ///< Batch of the last Kernel::plan; -1: never planned.
  mutable bool fresh_ = true; ///< No step has run since the last Kernel::plan.
  std::unique_ptr<Workspace> workspace_;
  DevicePtr items_ = 0, workerBegin_ = 0, splits_ = 0, partialOut_ = 0, partialLse_ = 0;
};

class Kernel {
public:
  /// `image` is the cubin or the PTX, as device->imageKind() wants it. Throws DeviceError, UserError
  /// (manifest not ours).
  Kernel(std::shared_ptr<Device> device, std::string_view image, Manifest manifest);
  ~Kernel();
  Kernel(Kernel &&) noexcept;

  const Manifest &manifest() const;
  Device &device() const;

  /// Allocates a plan for batches up to maxBatch. `workers` 0: as many as the GPU runs at once, one CTA an SM
  /// and only whole clusters that fit together.
  Plan makePlan(int maxBatch, int workers = 0) const;

  /// Lengths (device, int32 [batch]) to work list, on the GPU, asynchronously on `stream`. Batch 0 launches
  /// nothing. Throws UserError: a plan of another kernel, a batch above its maximum, a stream of another
  /// device.
  void plan(Plan &plan, DevicePtr lengths, int batch, Stream stream) const;

  /// One decode step: attend and, where the policy splits, combine. Asynchronous, no allocation, capturable.
  /// The batch is the one that was planned. Throws UserError naming tensor, rule and value before anything is
  /// launched.
  void run(const Plan &plan, const DecodeTensors &tensors, Stream stream) const;

  /// Checked mode: validates every table entry that the plan will read (host-synchronous, for debugging).
  /// Throws UserError naming sequence, position and entry.
  void validate(const Plan &plan, const DecodeTensors &tensors, int maxPagesPerSequence, Stream stream) const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

} // namespace lathe::runtime
