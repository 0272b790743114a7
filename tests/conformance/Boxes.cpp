#include "Boxes.h"

#include "Kernel.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::conformance;

static constexpr size_t chunk = 16;

size_t conformance::swizzledByte(size_t linear, int swizzleBytes) {
  // By the row of eight, of rows as wide as the swizzle: what its chunks' numbers are combined with.
  static constexpr size_t by128[] = {0, 1, 2, 3, 4, 5, 6, 7}, by64[] = {0, 0, 1, 1, 2, 2, 3, 3},
                          by32[] = {0, 0, 0, 0, 1, 1, 1, 1};
  if (swizzleBytes == 0)
    return linear;
  const size_t *pattern = swizzleBytes == 128 ? by128 : swizzleBytes == 64 ? by64 : by32;
  const size_t row = linear / size_t(swizzleBytes), inRow = linear % size_t(swizzleBytes);
  return row * size_t(swizzleBytes) + (inRow / chunk ^ pattern[row % 8]) * chunk + inRow % chunk;
}

Tensor conformance::randomTensor(Random &random, Dtype dtype, int rank, int swizzleBytes) {
  Tensor tensor;
  runtime::TensorMapSpec &spec = tensor.spec;
  const auto element = uint32_t(byteSize(dtype));
  spec.dtype = dtype;
  spec.rank = rank;
  spec.swizzleBytes = swizzleBytes;
  const uint32_t widths[] = {16, 48, 64, 96};
  spec.box[0] = (swizzleBytes ? uint32_t(swizzleBytes) : widths[random() % 4]) / element;
  spec.extent[0] = spec.box[0] + random() % (2 * uint64_t(spec.box[0]));
  // Each stride is a multiple of the one before it, as the driver's documentation wants it.
  uint64_t stride = (spec.extent[0] * element + 15) / 16 * 16 + 16 * (random() % 3);
  for (int i = 1; i < rank; ++i) {
    spec.box[size_t(i)] = uint32_t(1 + random() % (rank > 3 ? 3 : 5));
    spec.extent[size_t(i)] = 1 + random() % 6;
    spec.strideBytes[size_t(i - 1)] = stride;
    stride *= spec.extent[size_t(i)] + random() % 2;
  }
  tensor.bytes = stride;
  return tensor;
}

size_t conformance::boxBytes(const runtime::TensorMapSpec &spec) {
  size_t bytes = size_t(byteSize(spec.dtype));
  for (int i = 0; i < spec.rank; ++i)
    bytes *= spec.box[size_t(i)];
  return bytes;
}

Coordinates conformance::randomCoordinates(Random &random, const runtime::TensorMapSpec &spec, Side side) {
  Coordinates at{};
  for (int i = 0; i < spec.rank; ++i) {
    const auto box = int64_t(spec.box[size_t(i)]), extent = int64_t(spec.extent[size_t(i)]);
    // Rarely far outside, or else boxes of many dimensions would hardly ever meet their tensor.
    const bool anywhere = random() % 8 == 0;
    const int64_t least = anywhere ? -box - 2 : 1 - box, most = anywhere ? extent + 1 : extent - 1;
    auto coordinate = int32_t(least + int64_t(random() % uint64_t(most - least + 1)));
    if (side == Side::Store)
      coordinate = std::max(coordinate, 0);
    const int step = i == 0 ? std::max(1, 16 / lathe::byteSize(spec.dtype)) : 1;
    at[size_t(i)] = coordinate / step * step;
  }
  return at;
}

void conformance::overElements(const runtime::TensorMapSpec &spec, const Coordinates &at,
                               const std::function<void(size_t, int64_t)> &body) {
  const auto element = size_t(byteSize(spec.dtype));
  for (size_t i = 0; i < boxBytes(spec) / element; ++i) {
    size_t rest = i;
    int64_t where = 0;
    bool inside = true;
    for (size_t k = 0; k < size_t(spec.rank); ++k) {
      const int64_t coordinate = at[k] + int64_t(rest % spec.box[k]);
      rest /= spec.box[k];
      inside = inside && coordinate >= 0 && coordinate < int64_t(spec.extent[k]);
      where += coordinate * int64_t(k == 0 ? element : spec.strideBytes[k - 1]);
    }
    body(i * element, inside ? where : -1);
  }
}

std::string conformance::loadCoordinates(int rank, const std::string &pointer, size_t offset) {
  std::string text;
  for (int i = 0; i < rank; ++i)
    text += fmt::format("  ld.global.b32 %x{}, [{}+{}];\n", i, pointer, offset + 4 * size_t(i));
  return text;
}

/// {0}: label, {1}: pointer, {2}: offset, {3}: chunks, {4}: threads, {5} and {6}: the two moves.
static constexpr const char *loop = R"(  {{
  .reg .b32 i, s, c<4>;
  .reg .b64 g;
  .reg .pred more;
  mov.b32 i, %t;
{0}:
  setp.ge.u32 more, i, {3};
  @more bra {0}_end;
  mad.lo.s32 s, i, 16, %smem;
  mad.wide.u32 g, i, 16, {1};
  {5}
  {6}
  add.s32 i, i, {4};
  bra {0};
{0}_end:
  }}
)";

std::string conformance::copyToGlobal(const std::string &pointer, size_t offset, size_t bytes,
                                      unsigned threads, const std::string &label) {
  return fmt::format(loop, label, pointer, offset, bytes / chunk, threads,
                     fmt::format("ld.shared.v4.b32 {{c0, c1, c2, c3}}, [s+{}];", offset),
                     "st.global.v4.b32 [g], {c0, c1, c2, c3};");
}

std::string conformance::copyToShared(const std::string &pointer, size_t offset, size_t bytes,
                                      unsigned threads, const std::string &label) {
  return fmt::format(loop, label, pointer, offset, bytes / chunk, threads,
                     "ld.global.v4.b32 {c0, c1, c2, c3}, [g];",
                     fmt::format("st.shared.v4.b32 [s+{}], {{c0, c1, c2, c3}};", offset));
}

std::string conformance::copyToSharedLate(const std::string &pointer, size_t offset, size_t bytes,
                                          unsigned threads, const std::string &label) {
  return fmt::format(loop, label, pointer, offset, bytes / chunk, threads, "",
                     fmt::format("cp.async.cg.shared.global [s+{}], [g], 16;", offset));
}
