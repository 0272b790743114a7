//===- Isolated.h - Work that may hang or crash -------------------------------------------------------===//
//
// Runs work in a child process and kills it when it takes too long. A kernel that hangs cannot be stopped
// from inside, and one that faults takes its CUDA context along; in a process of its own it costs only
// itself. Called by `lathe tune` around verification and measurement.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <nlohmann/json.hpp>

#include <functional>

namespace lathe::autotuner {

/// Forks, runs `work` in the child, returns its result. What `work` throws is thrown here with the same type
/// (of UserError, CompileError, DeviceError) and text. Throws DeviceError when the child crashes or is killed
/// after `timeoutSeconds`. The calling process must not have initialised CUDA: the child opens the device
/// itself.
nlohmann::json runIsolated(const std::function<nlohmann::json()> &work, double timeoutSeconds);

} // namespace lathe::autotuner
