//===- Products.h - Plain matrix products -------------------------------------------------------------===//
//
// The projections of a layer, which any library does well: cuBLAS where it can be opened, else the host, so
// that the layer runs on the emulator too. Called by Layer.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"
#include "lathe/support/Dtype.h"

#include <cstdint>
#include <memory>
#include <string>

namespace lathe::examples {

/// out[row, part, n] = sum over k of rows[row, part, k] · weights[part, n, k], for each part (a head, or all
/// there is). Rows and weights bf16, sums float32. Strides in elements; what is not said is contiguous.
struct Product {
  runtime::DevicePtr rows = 0, weights = 0, out = 0;
  int count = 0; ///< Rows.
  int parts = 1;
  int columns = 0, outColumns = 0;          ///< k and n.
  int64_t rowStride = 0, rowPartStride = 0; ///< Of rows.
  int64_t outStride = 0, outPartStride = 0; ///< Of out.
  Dtype outType = Dtype::BF16;              ///< Or F32.
};

class Products {
public:
  virtual ~Products() = default;
  virtual std::string name() const = 0; ///< "cuBLAS", "the host".
  /// Whether multiply() is asynchronous and capturable.
  virtual bool onDevice() const = 0;
  virtual void multiply(const Product &product, runtime::Stream stream) const = 0;
};

/// On GPU 0, with `library`, or where it is looked for when that is empty; null where libcublas cannot be
/// opened. Throws DeviceError when it fails.
std::unique_ptr<Products> cublasProducts(runtime::Device &device, const std::string &library);
/// In binary64, rounded once. Synchronous; slow for a model's sizes.
std::unique_ptr<Products> hostProducts(runtime::Device &device);

} // namespace lathe::examples
