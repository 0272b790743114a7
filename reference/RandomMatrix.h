//===- RandomMatrix.h - A random matrix that costs little on the host --------------------------------===//
//
// A matrix on the host is a random block and the place in it of each run of rows, so that gigabytes of
// weights cost megabytes, are made as fast as they are copied, and are read by the references like any other.
// Used by random problems, and by examples that need weights.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/reference/Random.h"
#include "lathe/runtime/device/Device.h"

#include <cstdint>
#include <vector>

namespace lathe::reference {

/// A random bfloat16 matrix. Rows of a run lie behind each other in the block.
class RandomMatrix {
public:
  RandomMatrix() = default;
  /// N(0, deviation²).
  RandomMatrix(Random &random, int64_t rows, int64_t width, double deviation);
  /// Given elements, for results computed by hand.
  RandomMatrix(std::vector<uint16_t> elements, int64_t width)
      : rows_(int64_t(elements.size()) / width), width_(width), runRows_(rows_), block_(std::move(elements)),
        offsets_{0} {}
  int64_t rows() const { return rows_; }
  int64_t width() const { return width_; }
  int64_t elements() const { return rows_ * width_; }
  const uint16_t *row(int64_t index) const {
    return block_.data() + offsets_[size_t(index / runRows_)] + index % runRows_ * width_;
  }
  /// Copies all rows to the device, `strideRow` elements apart; what is between them stays.
  void upload(runtime::Device &device, runtime::DevicePtr to, int64_t strideRow) const;

private:
  int64_t rows_ = 0, width_ = 0, runRows_ = 1;
  std::vector<uint16_t> block_;
  std::vector<int64_t> offsets_; ///< Of each run, in the block.
};

} // namespace lathe::reference
