//===- MoeTensors.h - Tensors and workspace of a mixture-of-experts step -----------------------------===//
//
// Fills in default strides, checks every pointer and stride against the manifest, says which tensor maps the
// kernels want, and lays out the workspace. Pure arithmetic, called by MoeKernel.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/Moe.h"

namespace lathe::runtime {

/// Tensors with strides set. Throws UserError naming tensor, rule, value and way out.
MoeTensors resolveTensors(const MoeManifest &manifest, const MoeTensors &tensors);

/// The weights as the kernels load them. `shared`: those of the experts that every row goes to.
TensorMapSpec firstWeightsMap(const MoeManifest &manifest, DevicePtr weights, bool shared);
TensorMapSpec secondWeightsMap(const MoeManifest &manifest, DevicePtr weights, bool shared);
/// `slots` rows of activated columns; the box is that of a tile.
TensorMapSpec activatedMap(const MoeManifest &manifest, DevicePtr activated, int64_t slots);
TensorMapSpec permutedMap(const MoeManifest &manifest, DevicePtr permuted, int64_t slots);

/// What a step of so many rows needs at most, whatever its routing.
struct MoeBounds {
  int64_t sharedStart = 0; ///< Slots of routed rows, padding included; then those of shared experts.
  int64_t slots = 0;       ///< All slots.
  int64_t tiles = 0;
};
MoeBounds boundsOf(const MoeManifest &manifest, int rows);

/// Where the workspace's parts lie, bytes from its start, each 256-byte aligned (codegen's MoeKernels.h says
/// what they hold).
struct MoeLayout {
  size_t counts = 0, offsets = 0, slots = 0, places = 0, tiles = 0, tileCount = 0, ready = 0, ids = 0,
         weights = 0, logits = 0, scratch = 0, activated = 0, expertOut = 0, sums = 0;
  size_t bytes = 0;
};
/// Throws UserError unless maxRows is at least 1 and its slots can be counted in 31 bits.
MoeLayout layoutWorkspace(const MoeManifest &manifest, int maxRows);

} // namespace lathe::runtime
