//===- TensorMapCode.h - Tensor maps as the emulator encodes them ------------------------------------===//
//
// The 128 bytes of a tensor map are the driver's secret; the emulator fills them with the specification
// itself and a mark. Made by the device's encode(), after the checks that the CUDA backend makes too, and
// read by the TMA instructions, which walk the rows of a box with it.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

namespace lathe::runtime::emulator {

inline constexpr uint64_t tensorMapMark = 0x50414d454854414cull;

struct EncodedTensorMap {
  uint64_t mark = tensorMapMark;
  TensorMapSpec spec;
};
static_assert(sizeof(EncodedTensorMap) <= sizeof(TensorMap));

inline TensorMap encodeTensorMap(const TensorMapSpec &spec) {
  TensorMap map{};
  const EncodedTensorMap encoded{tensorMapMark, spec};
  std::memcpy(map.bytes.data(), &encoded, sizeof(encoded));
  return map;
}

/// Whether a specification that lay in memory is one that encode() takes, as far as it must be to be walked.
inline bool isWhole(const TensorMapSpec &spec) {
  if (spec.rank < 1 || spec.rank > 5 || uint8_t(spec.dtype) >= uint8_t(Dtype::Bool))
    return false;
  for (size_t i = 0; i < size_t(spec.rank); ++i)
    if (spec.box[i] == 0 || spec.box[i] > 256)
      return false;
  return spec.swizzleBytes == 0 || spec.swizzleBytes == 32 || spec.swizzleBytes == 64 ||
         spec.swizzleBytes == 128;
}

/// The specification; nothing where the bytes are no map of the emulator's.
inline std::optional<TensorMapSpec> decodeTensorMap(const std::byte *bytes) {
  EncodedTensorMap encoded;
  std::memcpy(static_cast<void *>(&encoded), bytes, sizeof(encoded));
  if (encoded.mark != tensorMapMark || !isWhole(encoded.spec))
    return std::nullopt;
  return encoded.spec;
}

inline uint64_t boxRows(const TensorMapSpec &spec) {
  uint64_t rows = 1;
  for (int i = 1; i < spec.rank; ++i)
    rows *= spec.box[size_t(i)];
  return rows;
}
inline uint64_t boxRowBytes(const TensorMapSpec &spec) {
  return uint64_t(spec.box[0]) * uint64_t(byteSize(spec.dtype));
}
inline uint64_t boxBytes(const TensorMapSpec &spec) { return boxRows(spec) * boxRowBytes(spec); }

/// One row of a box: which of its bytes lie in the tensor, and where.
struct BoxRow {
  uint64_t inBox = 0;            ///< Byte of the row's start in the box.
  uint64_t first = 0, count = 0; ///< Bytes of the row that the tensor has.
  DevicePtr address = 0;         ///< Of the first of them.
};

/// body(row) for each row of the box at `coordinates` (innermost first), in the order of its bytes.
template <class Body>
void overBoxRows(const TensorMapSpec &spec, const std::array<int32_t, 5> &coordinates, Body body) {
  const auto elementBytes = uint64_t(byteSize(spec.dtype));
  const int64_t begin = std::max<int64_t>(coordinates[0], 0),
                end = std::min<int64_t>(int64_t(coordinates[0]) + spec.box[0], int64_t(spec.extent[0]));
  const uint64_t rows = boxRows(spec), rowBytes = boxRowBytes(spec);
  for (uint64_t row = 0; row < rows; ++row) {
    BoxRow out{row * rowBytes, 0, 0, spec.base + uint64_t(begin) * elementBytes};
    bool inside = begin < end;
    uint64_t rest = row;
    for (int i = 1; i < spec.rank; ++i) {
      const int64_t at = int64_t(coordinates[size_t(i)]) + int64_t(rest % spec.box[size_t(i)]);
      rest /= spec.box[size_t(i)];
      inside = inside && at >= 0 && uint64_t(at) < spec.extent[size_t(i)];
      out.address += uint64_t(at) * spec.strideBytes[size_t(i - 1)];
    }
    if (inside) {
      out.first = uint64_t(begin - coordinates[0]) * elementBytes;
      out.count = uint64_t(end - begin) * elementBytes;
    }
    body(out);
  }
}

} // namespace lathe::runtime::emulator
