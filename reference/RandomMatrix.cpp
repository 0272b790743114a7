#include "lathe/reference/RandomMatrix.h"

#include <algorithm>

using namespace lathe;
using namespace lathe::reference;

/// Elements of the random block that a large matrix repeats (8 MiB of bfloat16), and of a run of rows in it.
static constexpr int64_t blockElements = 4 << 20, runElements = 1 << 20;

RandomMatrix::RandomMatrix(Random &random, int64_t rows, int64_t width, double deviation)
    : rows_(rows), width_(width), runRows_(std::max<int64_t>(rows, 1)) {
  int64_t blockSize = rows * width;
  if (blockSize > blockElements) {
    runRows_ = std::max<int64_t>(1, runElements / width);
    blockSize = std::max(blockElements, 2 * runRows_ * width);
  }
  block_ = normalBf16(random, blockSize, deviation);
  const int64_t run = std::min(runRows_ * width, blockSize);
  for (int64_t first = 0; first < rows; first += runRows_)
    offsets_.push_back(random.below(blockSize - run + 1)); // 0 for the only run of a small matrix.
}

void RandomMatrix::upload(runtime::Device &device, runtime::DevicePtr to, int64_t strideRow) const {
  const int64_t step = strideRow == width_ ? runRows_ : 1;
  for (int64_t first = 0; first < rows_; first += step)
    device.copyToDevice(to + uint64_t(first * strideRow) * 2, row(first),
                        size_t(std::min(step, rows_ - first) * width_) * 2);
}
