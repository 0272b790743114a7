//===- Tensors.h - A decode step's tensors, checked --------------------------------------------------===//
//
// Fills in the strides that a caller left at 0, checks every pointer and stride, and describes the two
// tensors that the kernel loads by TMA. All mistakes of a caller are found here, before anything is launched.
// Called by Kernel::run.
//
//===----------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/Kernel.h"

namespace lathe::runtime {

/// `tensors` with every stride set: zeros become contiguous (from the inner strides outwards), and so do
/// strides of dimensions of extent 1, which address nothing. Throws UserError naming tensor, rule and value.
DecodeTensors resolveTensors(const Manifest &manifest, const DecodeTensors &tensors);

/// Tensor maps of resolved tensors. q: {keyDim, rows, batch}; kv: {keyDim, page, numPages}.
TensorMapSpec queryMap(const Manifest &manifest, const TensorMapRecipe &recipe, const DecodeTensors &tensors);
TensorMapSpec cacheMap(const Manifest &manifest, const TensorMapRecipe &recipe, const DecodeTensors &tensors);

/// Copies lengths and table of resolved tensors to the host and checks every entry that the lengths make a
/// kernel read. Throws UserError "block_table[sequence 3][7] is 812, the cache has 512 pages".
void checkTable(Device &device, const Manifest &manifest, const DecodeTensors &tensors,
                int maxPagesPerSequence);

} // namespace lathe::runtime
