#include "lathe/runtime/device/Checks.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::runtime;

static constexpr uint64_t strideGranuleBytes = 16;

void runtime::checkCapability(const DeviceProperties &properties, int ordinal) {
  if (properties.major == 9 && properties.minor == 0)
    return;
  throw DeviceError({fmt::format("GPU {} ({})", ordinal, properties.name),
                     "Lathe's kernels need compute capability 9.0 (Hopper: H100, H200, GH200)",
                     fmt::format("{}.{}", properties.major, properties.minor),
                     "choose a Hopper GPU, for example with CUDA_VISIBLE_DEVICES, or emulate one with "
                     "LATHE_DEVICE=emulator"});
}

static void require(bool holds, const char *rule, std::string value, const char *wayOut = "") {
  if (!holds)
    throw UserError({"tensor map", rule, std::move(value), wayOut});
}

static void checkExtents(const TensorMapSpec &spec) {
  for (int i = 0; i < spec.rank; ++i)
    if (spec.extent[i] == 0 || spec.extent[i] > (uint64_t(1) << 32))
      throw UserError({"tensor map", fmt::format("extent {} must be between 1 and 2^32 elements", i),
                       fmt::format("{}", spec.extent[i]), ""});
}

static void checkStrides(const TensorMapSpec &spec) {
  for (int i = 0; i + 1 < spec.rank; ++i)
    if (spec.strideBytes[i] == 0 || spec.strideBytes[i] % strideGranuleBytes != 0 ||
        spec.strideBytes[i] >= (uint64_t(1) << 40))
      throw UserError(
          {"tensor map",
           fmt::format("the stride of dimension {} must be a multiple of 16 bytes, from 16 to below 2^40",
                       i + 1),
           fmt::format("{} bytes", spec.strideBytes[i]), "pad the rows of the tensor"});
}

static void checkBox(const TensorMapSpec &spec) {
  for (int i = 0; i < spec.rank; ++i)
    if (spec.box[i] == 0 || spec.box[i] > 256)
      throw UserError({"tensor map", fmt::format("box extent {} must be between 1 and 256 elements", i),
                       fmt::format("{}", spec.box[i]), ""});
  uint64_t innerBytes = uint64_t(spec.box[0]) * byteSize(spec.dtype);
  auto spanned = [&] {
    return fmt::format("{} bytes ({} elements of {})", innerBytes, spec.box[0], name(spec.dtype));
  };
  if (spec.swizzleBytes != 0 && innerBytes != uint64_t(spec.swizzleBytes))
    throw UserError({"tensor map",
                     fmt::format("box extent 0 must span the swizzle width, {} bytes", spec.swizzleBytes),
                     spanned(), ""});
  if (innerBytes % 16 != 0)
    throw UserError({"tensor map", "box extent 0 must be a multiple of 16 bytes", spanned(), ""});
}

void runtime::checkTensorMap(const TensorMapSpec &spec) {
  require(spec.rank >= 1 && spec.rank <= 5, "rank must be between 1 and 5", fmt::format("{}", spec.rank));
  require(spec.base != 0 && spec.base % 16 == 0,
          "the base address must be a multiple of 16 bytes and not null", fmt::format("{:#x}", spec.base),
          "align the tensor");
  require(spec.dtype != Dtype::Bool, "the element type must be one that TMA moves", "bool");
  require(spec.swizzleBytes == 0 || spec.swizzleBytes == 32 || spec.swizzleBytes == 64 ||
              spec.swizzleBytes == 128,
          "the swizzle must be 0, 32, 64 or 128 bytes", fmt::format("{}", spec.swizzleBytes));
  checkExtents(spec);
  checkStrides(spec);
  checkBox(spec);
}
