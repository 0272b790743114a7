//===- ManifestCheck.h - Can this device serve this artifact? ----------------------------------------===//
//
// A manifest comes from a file that anyone may have edited, or from another version. Everything that a launch
// would take on trust is checked once, when a kernel is loaded. Called by the constructors of Kernel and
// MoeKernel.
//
//===----------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"
#include "lathe/support/Manifest.h"
#include "lathe/support/MoeManifest.h"

namespace lathe::runtime {

/// Throws UserError when the manifest is not ours or contradicts itself, DeviceError when the device has
/// another architecture than the kernels were compiled for.
void checkManifest(const Manifest &manifest, const DeviceProperties &properties);
void checkManifest(const MoeManifest &manifest, const DeviceProperties &properties);

/// The recipe called `name`. Throws UserError when there is none.
const TensorMapRecipe &recipeOf(const Manifest &manifest, const std::string &name);
const TensorMapRecipe &recipeOf(const MoeManifest &manifest, const std::string &name);

} // namespace lathe::runtime
