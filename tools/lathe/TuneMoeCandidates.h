//===- TuneMoeCandidates.h - Candidates for mixtures of experts ---------------------------------------===//
//
// The tuner's callbacks for `lathe tune moe`: verify against the float64 reference and measure as `lathe
// bench moe` does, each in a process of its own; or, without a GPU, verify on the PTX emulator. As TuneOnGpu
// and TuneOnEmulator for attention. Called by `lathe tune moe`.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "CandidateCallbacks.h"

#include "lathe/autotuner/MoeWorkload.h"
#include "lathe/dsl/models/Moe.h"
#include "lathe/reference/MoeShapeTable.h"

namespace lathe::tools {

/// What all candidates of a run have in common.
struct MoeCandidateJob {
  dsl::MoeShape layer;
  autotuner::MoeWorkload workload;
  int device = 0;
  double timeoutSeconds = 60;
  TimingOptions timing = candidateTiming;
};

/// What a configuration is verified on before it may win. First one row more than a tile holds, all of which
/// go to one expert (but where a gate chooses), so that it has a whole tile and one of a single row; then the
/// workload.
struct MoeVerification {
  dsl::MoeShape layer;
  reference::MoeCase crowded, workload;

  /// The layer itself.
  static MoeVerification whole(const MoeCandidateJob &job, const codegen::MoeConfig &config);
  /// As much of it as an emulator runs in seconds: fewer and narrower experts, a few rows of the workload.
  static MoeVerification small(const MoeCandidateJob &job, const codegen::MoeConfig &config);
  /// "8 experts of 256 x 128, top 2: 17 rows of which one expert takes all, and 24 rows, zipf(1) routing".
  std::string text() const;
};

/// On the GPU: compile, verify, measure. `jit` must outlive the callbacks.
autotuner::MoeSearchCallbacks gpuCallbacks(const runtime::Jit &jit, const MoeCandidateJob &job,
                                           const codegen::Target &target);

/// On the emulator: compile, and verify on a small layer; no measure. `jit` must outlive the callbacks.
autotuner::MoeSearchCallbacks emulatorCallbacks(const runtime::Jit &jit, const MoeCandidateJob &job,
                                                const codegen::Target &target);

} // namespace lathe::tools
