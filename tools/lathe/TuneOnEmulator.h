//===- TuneOnEmulator.h - Candidates on the emulator --------------------------------------------------===//
//
// The tuner's callbacks for `lathe tune --verify` where there is no GPU: compile into the cache, run on the
// PTX emulator, compare with the CPU reference. A configuration that is wrong or breaks a rule of the
// hardware cannot win then, whatever the cost model says. Called by `lathe tune`.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "TuneOnGpu.h"

namespace lathe::tools {

/// The workload on a small scale: the least, the middle and the longest of its lengths, none above 512
/// tokens.
std::vector<int> sampleLengths(std::vector<int> lengths);

/// "10 corner lengths up to 1,500 tokens, and 4 of the workload's (at most 512): 300, …".
std::string verifiedText(const std::vector<int> &workloadLengths);

/// compile and verify; no measure. The emulator has the target's number of multiprocessors. `jit` must
/// outlive the callbacks.
autotuner::SearchCallbacks emulatorCallbacks(const runtime::Jit &jit, CandidateJob job,
                                             const codegen::Target &target);

} // namespace lathe::tools
