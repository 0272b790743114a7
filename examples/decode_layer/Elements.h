//===- Elements.h - The small kernels between the large ones ------------------------------------------===//
//
// Norm, rotation and sum: what a model's framework has already. Here they are CUDA C++ compiled by NVRTC
// where it is there, else the host does them, so that the layer runs on the emulator too. Called by Layer.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"

#include <cstdint>
#include <memory>
#include <string>

namespace lathe::examples {

/// Row i of all bf16 tensors of a call is at i · stride, or, where there are slots, at slots[i] · stride for
/// what is written. Strides in elements.
struct NormCall {
  runtime::DevicePtr in = 0, gain = 0, out = 0; ///< [rows, width], [width], [rows, width].
  runtime::DevicePtr slots = 0;                 ///< i32 [rows]; 0: i.
  int64_t inStride = 0, outStride = 0;
  int rows = 0, width = 0;
};

/// Rotates `width` columns of each head of each row by the row's position.
struct RotateCall {
  runtime::DevicePtr in = 0, out = 0;     ///< [rows, heads, width].
  runtime::DevicePtr positions = 0;       ///< i32 [rows].
  runtime::DevicePtr slots = 0;           ///< As above.
  int64_t inStride = 0, inHeadStride = 0; ///< Between rows, and between heads of a row.
  int64_t outStride = 0, outHeadStride = 0;
  int rows = 0, heads = 1, width = 0;
};

/// out = a + b, contiguous.
struct AddCall {
  runtime::DevicePtr a = 0, b = 0, out = 0;
  int64_t count = 0;
};

class Elements {
public:
  virtual ~Elements() = default;
  virtual std::string name() const = 0; ///< "NVRTC", "the host".
  /// Whether the calls are asynchronous and capturable.
  virtual bool onDevice() const = 0;
  virtual void norm(const NormCall &call, runtime::Stream stream) const = 0;
  virtual void rotate(const RotateCall &call, runtime::Stream stream) const = 0;
  virtual void add(const AddCall &call, runtime::Stream stream) const = 0;
};

/// Null where NVRTC cannot be opened. Throws CompileError, DeviceError.
std::unique_ptr<Elements> nvrtcElements(runtime::Device &device);
/// In binary64, rounded once. Synchronous.
std::unique_ptr<Elements> hostElements(runtime::Device &device);

} // namespace lathe::examples
