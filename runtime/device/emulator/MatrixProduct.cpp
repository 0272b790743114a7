#include "lathe/runtime/device/emulator/MatrixProduct.h"

namespace lathe::runtime::emulator {

static constexpr int blockColumns = 8; ///< Divides every width; a vector register or two.

/// Built for the host's base instruction set and for AVX2 with FMA; the loader picks.
#if defined(__x86_64__) && defined(__clang__)
__attribute__((target_clones("arch=haswell", "default")))
#endif
void multiplyAdd(float *acc, const float *a, const float *b, int columns) {
  for (int first = 0; first < columns; first += blockColumns)
    for (int row = 0; row < productRows; row += 4) {
      float sums[4][blockColumns];
      for (int r = 0; r < 4; ++r)
        for (int c = 0; c < blockColumns; ++c)
          sums[r][c] = acc[(row + r) * columns + first + c];
      for (int k = 0; k < productDepth; ++k)
        for (int r = 0; r < 4; ++r)
          for (int c = 0; c < blockColumns; ++c)
            sums[r][c] += a[(row + r) * productDepth + k] * b[k * columns + first + c];
      for (int r = 0; r < 4; ++r)
        for (int c = 0; c < blockColumns; ++c)
          acc[(row + r) * columns + first + c] = sums[r][c];
    }
}

} // namespace lathe::runtime::emulator
