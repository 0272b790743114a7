#include "lathe/runtime/Tensors.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

using namespace lathe;
using namespace lathe::runtime;

static constexpr int elementBytes = 2; // bf16
static constexpr int granule = 8;      // Elements of a 16-byte access.

[[noreturn]] static void refuse(const Manifest &manifest, const char *what, std::string rule,
                                std::string value, std::string wayOut) {
  throw UserError({fmt::format("{}, {}", manifest.description, what), std::move(rule), std::move(value),
                   std::move(wayOut)});
}

static void checkPointer(const Manifest &manifest, const char *what, DevicePtr pointer, unsigned alignment) {
  if (pointer == 0) [[unlikely]]
    refuse(manifest, what, "the pointer must be set", "null", "pass device memory");
  if (pointer % alignment != 0) [[unlikely]]
    refuse(manifest, what, fmt::format("the address must be a multiple of {} bytes", alignment),
           fmt::format("{:#x}", pointer), "align the tensor");
}

namespace {
/// A stride in elements with what it must satisfy.
struct StrideRule {
  const char *name;
  int64_t extent;  ///< Of its dimension: 1 makes the stride meaningless.
  int64_t natural; ///< The contiguous value.
  int64_t least;   ///< Below it elements overlap.
  int multiple;
};
} // namespace

static void settle(const Manifest &manifest, const char *what, int64_t &stride, const StrideRule &rule) {
  if (stride == 0 || rule.extent <= 1)
    stride = rule.natural;
  if (stride < rule.least) [[unlikely]]
    refuse(manifest, what, fmt::format("{} must be at least {} elements", rule.name, rule.least),
           fmt::format("{}", stride), "strides are in elements; 0 means contiguous");
  if (stride % rule.multiple != 0) [[unlikely]]
    refuse(manifest, what,
           fmt::format("{} must be a multiple of {} elements (16 bytes)", rule.name, rule.multiple),
           fmt::format("{}", stride), "pad the rows of the tensor");
}

static void settleInputs(const Manifest &m, DecodeTensors &t) {
  int64_t rows = int64_t(m.heads) * m.queryTokens;
  checkPointer(m, "q", t.q, 16);
  settle(m, "q (query tokens and heads must merge into rows of one stride)", t.qStrideRow,
         {"qStrideRow", rows, m.keyDim, m.keyDim, granule});
  settle(m, "q", t.qStrideBatch, {"qStrideBatch", t.batch, rows * t.qStrideRow, m.keyDim, granule});

  checkPointer(m, "kv", t.kv, 16);
  if (t.numPages < 1 || t.numPages > std::numeric_limits<int32_t>::max()) [[unlikely]]
    refuse(m, "kv", "numPages must be between 1 and 2^31 - 1", fmt::format("{}", t.numPages), "");
  settle(m, "kv", t.kvStrideToken, {"kvStrideToken", m.page, m.keyDim, m.keyDim, granule});
  settle(m, "kv", t.kvStridePage, {"kvStridePage", t.numPages, m.page * t.kvStrideToken, m.keyDim, granule});

  checkPointer(m, "lengths", t.lengths, 4);
  checkPointer(m, "block table", t.blockTable, 4);
  if (t.batch > 1 && t.blockTableStride < 1) [[unlikely]]
    refuse(m, "block table", "blockTableStride must be at least 1 entry",
           fmt::format("{}", t.blockTableStride), "set it to the entries between two sequences' rows");
  if (t.batch == 1)
    t.blockTableStride = 0;
}

static void settleOutputs(const Manifest &m, DecodeTensors &t) {
  checkPointer(m, "out", t.out, 16);
  settle(m, "out", t.outStrideHead, {"outStrideHead", m.heads, m.valueDim, m.valueDim, granule});
  settle(m, "out", t.outStrideQuery,
         {"outStrideQuery", m.queryTokens, m.heads * t.outStrideHead, m.valueDim, granule});
  settle(m, "out", t.outStrideBatch,
         {"outStrideBatch", t.batch, m.queryTokens * t.outStrideQuery, m.valueDim, granule});
  checkPointer(m, "lse", t.lse, 4);
  settle(m, "lse", t.lseStrideQuery, {"lseStrideQuery", m.queryTokens, 1, 1, 1});
  settle(m, "lse", t.lseStrideHead, {"lseStrideHead", m.heads, m.queryTokens * t.lseStrideQuery, 1, 1});
  settle(m, "lse", t.lseStrideBatch, {"lseStrideBatch", t.batch, m.heads * t.lseStrideHead, 1, 1});
}

DecodeTensors runtime::resolveTensors(const Manifest &manifest, const DecodeTensors &tensors) {
  DecodeTensors resolved = tensors;
  settleInputs(manifest, resolved);
  settleOutputs(manifest, resolved);
  if (!(tensors.scale > 0) || !std::isfinite(tensors.scale)) [[unlikely]]
    refuse(manifest, "scale", "the softmax scale must be positive and finite",
           fmt::format("{}", tensors.scale), "set it, for example to (nope + rope)^-0.5");
  return resolved;
}

static TensorMapSpec mapOf(const Manifest &manifest, const TensorMapRecipe &recipe, DevicePtr base,
                           std::array<int64_t, 2> extents, std::array<int64_t, 2> strides) {
  TensorMapSpec spec;
  spec.base = base;
  spec.dtype = Dtype::BF16;
  spec.rank = 3;
  spec.extent = {uint64_t(manifest.keyDim), uint64_t(extents[0]), uint64_t(extents[1])};
  spec.strideBytes = {uint64_t(strides[0]) * elementBytes, uint64_t(strides[1]) * elementBytes};
  spec.box = {uint32_t(recipe.boxColumns), uint32_t(recipe.boxRows), 1};
  return spec;
}

TensorMapSpec runtime::queryMap(const Manifest &manifest, const TensorMapRecipe &recipe,
                                const DecodeTensors &t) {
  return mapOf(manifest, recipe, t.q, {int64_t(manifest.heads) * manifest.queryTokens, t.batch},
               {t.qStrideRow, t.qStrideBatch});
}

TensorMapSpec runtime::cacheMap(const Manifest &manifest, const TensorMapRecipe &recipe,
                                const DecodeTensors &t) {
  return mapOf(manifest, recipe, t.kv, {manifest.page, t.numPages}, {t.kvStrideToken, t.kvStridePage});
}
