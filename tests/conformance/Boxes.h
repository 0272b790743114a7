//===- Boxes.h - What TMA does with a box ------------------------------------------------------------===//
//
// The way of every element of a box between a tensor and shared memory, stated element by element from the
// PTX ISA ("Tensors", "Swizzling modes"), and the parts that kernels with tensor maps share. Called by the
// cases of TMA loads, stores, reductions and clusters.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Case.h"

#include "lathe/support/Dtype.h"

#include <array>
#include <functional>

namespace lathe::conformance {

using Coordinates = std::array<int32_t, 5>;

/// Byte of shared memory, counted from a multiple of 1024, that holds byte `linear` under a swizzle of 32, 64
/// or 128 bytes (0: none): of rows as wide as the swizzle, the 16-byte chunks of the r-th of eight change
/// places by a pattern.
size_t swizzledByte(size_t linear, int swizzleBytes);

/// A tensor of rank 1 to 5 with random extents, and a box for it.
struct Tensor {
  runtime::TensorMapSpec spec;
  size_t bytes = 0; ///< That it spans in memory.
};
Tensor randomTensor(Random &random, Dtype dtype, int rank, int swizzleBytes);
size_t boxBytes(const runtime::TensorMapSpec &spec);

enum class Side : uint8_t { Load, Store };
/// Coordinates that put the box inside, across each side, and outside of the tensor: those that an H100
/// takes. The innermost is a multiple of 16 bytes, and none is negative where a box is stored.
Coordinates randomCoordinates(Random &random, const runtime::TensorMapSpec &spec, Side side);

/// body(byte in the box, byte in the tensor or -1) for each element.
void overElements(const runtime::TensorMapSpec &spec, const Coordinates &at,
                  const std::function<void(size_t, int64_t)> &body);

/// Loads %x0, … of `rank` coordinates from `offset` bytes behind a pointer.
std::string loadCoordinates(int rank, const std::string &pointer, size_t offset);

/// All threads copy `bytes` between shared memory at %smem + `offset` and `pointer`, 16 at a time.
std::string copyToGlobal(const std::string &pointer, size_t offset, size_t bytes, unsigned threads,
                         const std::string &label);
std::string copyToShared(const std::string &pointer, size_t offset, size_t bytes, unsigned threads,
                         const std::string &label);
/// By cp.async, without a wait.
std::string copyToSharedLate(const std::string &pointer, size_t offset, size_t bytes, unsigned threads,
                             const std::string &label);

} // namespace lathe::conformance
