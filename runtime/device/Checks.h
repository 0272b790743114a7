//===- Checks.h - What a device and a tensor map must satisfy ----------------------------------------===//
//
// Rules of the hardware that need no driver to be checked: the compute capability Lathe generates code for,
// and the limits of a TMA tensor map. They stand apart from the CUDA backend so that every message is tested
// without a GPU. Called by the CUDA backend before it asks the driver, which only answers "invalid value".
//
//===----------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"

namespace lathe::runtime {

/// Throws DeviceError unless the GPU has compute capability 9.0 (code for sm_90a runs nowhere else).
void checkCapability(const DeviceProperties &properties, int ordinal);

/// Throws UserError naming the first broken limit: rank, base, extents, strides, box (CUDA driver API,
/// section "Tensor Map Object Management", cuTensorMapEncodeTiled), swizzled boxes spanning their swizzle.
void checkTensorMap(const TensorMapSpec &spec);

} // namespace lathe::runtime
