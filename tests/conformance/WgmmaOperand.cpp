#include "WgmmaOperand.h"

#include "Boxes.h"

using namespace lathe;
using namespace lathe::conformance;

/// Where the block of an element begins. A block is eight rows, each of elements that lie together: along the
/// depth, eight rows or columns of the matrix; along the extent, eight steps of the depth.
size_t WgmmaOperand::blockOffset(unsigned mn, unsigned k) const {
  const unsigned alongMn = mnMajor ? mn / rowElements() : mn / 8,
                 alongDepth = mnMajor ? k / 8 : k / rowElements();
  const unsigned mnBlocks = blocksOf(extent, mnMajor ? rowElements() : 8),
                 depthBlocks = blocksOf(depth, mnMajor ? 8 : rowElements());
  return (blocksAlongDepth ? alongMn * depthBlocks + alongDepth : alongDepth * mnBlocks + alongMn) *
         blockBytes();
}

size_t WgmmaOperand::offset(unsigned mn, unsigned k) const {
  const unsigned row = mnMajor ? k % 8 : mn % 8, inRow = (mnMajor ? mn : k) % rowElements();
  const size_t linear = blockOffset(mn, k) + (size_t(row) * rowElements() + inRow) * 2;
  return 128 * size_t(patternLines) + swizzledByte(linear, swizzleBytes);
}

size_t WgmmaOperand::bytes() const {
  return 128 * size_t(patternLines) + size_t(blocksOf(extent, mnMajor ? rowElements() : 8)) *
                                          blocksOf(depth, mnMajor ? 8 : rowElements()) * blockBytes();
}

size_t WgmmaOperand::stepBytes(unsigned step) const {
  // Within a swizzled row the address just goes on: the hardware swizzles what it computes.
  return blockOffset(0, 16 * step) + (mnMajor ? 0 : 16 * step % rowElements() * 2);
}

uint64_t WgmmaOperand::descriptor() const {
  const size_t nextMn = blockOffset(mnMajor ? rowElements() : 8, 0), nextDepth = blockOffset(0, 8);
  size_t leading = 0, stride = 0;
  if (!mnMajor) { // Stride: eight rows further; leading: without a swizzle eight elements of depth further.
    stride = nextMn;
    leading = swizzleBytes ? 16 : nextDepth;
  } else if (swizzleBytes) { // Leading: the next elements that lie together; stride: eight steps of depth
                             // further.
    leading = nextMn;
    stride = nextDepth;
  } else {
    leading = nextDepth;
    stride = nextMn;
  }
  const uint64_t mode = swizzleBytes == 128 ? 1 : swizzleBytes == 64 ? 2 : swizzleBytes == 32 ? 3 : 0;
  return uint64_t(leading / 16) << 16 | uint64_t(stride / 16) << 32 | uint64_t(patternLines) << 49 |
         mode << 62;
}
