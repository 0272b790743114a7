//===- TuneOnGpu.h - Candidates on a real GPU ----------------------------------------------------------===//
//
// The tuner's callbacks for a machine with a GPU: compile into the cache, verify against the reference,
// measure. Each touches the GPU in a process of its own, and the calling process never initialises CUDA,
// because a kernel that faults takes its context along. Called by `lathe tune`.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "CandidateCallbacks.h"
#include "Judge.h"

namespace lathe::tools {

/// What a GPU says of itself, found out in another process.
struct GpuFacts {
  bool usable = false;
  std::string reason;                   ///< Where it is not: why.
  runtime::DeviceProperties properties; ///< name, smCount, sharedBytesPerCta.
};
/// No GPU at all is not usable. Throws DeviceError where there are GPUs but this one cannot be opened.
GpuFacts probeGpu(int ordinal);

/// What all candidates of a run have in common.
struct CandidateJob {
  dsl::Kernel description;
  reference::AttentionShape shape; ///< With its scale.
  std::vector<int> lengths;        ///< Of the workload that is tuned for.
  int device = 0;
  double timeoutSeconds = 60;
  bool batchInvariant = false; ///< Verified by running each sequence alone, too.
  TimingOptions timing = candidateTiming;
};

/// A layer as a model runs it, and as `lathe bench mla --grid` measures it: in CUDA graphs of up to 16 layers
/// back to back, each with a cache of its own, planned beforehand, since a plan serves all layers of a step.
autotuner::Measurement measureLayers(const runtime::Kernel &kernel, const CandidateJob &job);

/// What every candidate is verified on before the workload's lengths: the corners of tiles and pages.
const std::vector<int> &cornerLengths();

/// `jit` must outlive the callbacks.
autotuner::SearchCallbacks gpuCallbacks(const runtime::Jit &jit, CandidateJob job,
                                        const codegen::Target &target);

} // namespace lathe::tools
