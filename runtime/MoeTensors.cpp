#include "lathe/runtime/MoeTensors.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

using namespace lathe;
using namespace lathe::runtime;

static constexpr int elementBytes = 2; // bf16
static constexpr int granule = 8;      // Elements of a 16-byte access.
static constexpr size_t alignment = 256;
static constexpr int maxTilesOfExpert = 0x7FFF; // They are counted in the upper half of a word.

//===- Tensors ---------------------------------------------------------------------------------------===//

namespace {
/// Checks a step's tensors one by one, in the words of an error.
struct Checker {
  const MoeManifest &manifest;

  [[noreturn]] void refuse(const char *what, std::string rule, std::string value, std::string wayOut) const {
    throw UserError({fmt::format("{}, {}", manifest.description, what), std::move(rule), std::move(value),
                     std::move(wayOut)});
  }
  void pointer(const char *what, DevicePtr pointer, unsigned bytes) const {
    if (pointer == 0) [[unlikely]]
      refuse(what, "the pointer must be set", "null", "pass device memory");
    if (pointer % bytes != 0) [[unlikely]]
      refuse(what, fmt::format("the address must be a multiple of {} bytes", bytes),
             fmt::format("{:#x}", pointer), "align the tensor");
  }
  void stride(const char *what, int64_t &stride, int rows) const {
    if (stride == 0 || rows <= 1)
      stride = manifest.hidden;
    if (stride < manifest.hidden || stride % granule != 0) [[unlikely]]
      refuse(what,
             fmt::format("the stride must be at least {} elements and a multiple of {}", manifest.hidden,
                         granule),
             fmt::format("{}", stride), "strides are in elements; 0 means contiguous");
  }
};
} // namespace

static void checkRouting(const Checker &check, const MoeManifest &manifest, const MoeTensors &t) {
  const bool given = manifest.router == "given";
  if (!manifest.gate.empty())
    check.pointer("gate", t.gate, 16);
  if (!given && (manifest.gate.empty() || t.logits))
    check.pointer("logits", t.logits, manifest.logits == "f32" ? 4 : 2);
  if (!given && manifest.bias)
    check.pointer("bias", t.bias, 4);
  if (given || t.ids || t.weights) {
    check.pointer("ids", t.ids, 4);
    check.pointer("weights", t.weights, 4);
  }
}

/// Which of all experts the local ones are.
static void checkFirstExpert(const Checker &check, const MoeManifest &manifest, int first) {
  if (!manifest.offset && first != 0) [[unlikely]]
    check.refuse("firstExpert", "the local experts must be the first ones", fmt::format("{}", first),
                 "describe the layer with a parameter for the first local expert");
  const bool given = manifest.router == "given";
  const int last = (given ? std::numeric_limits<int32_t>::max() : manifest.routedExperts) - manifest.experts;
  if (first < 0 || first > last) [[unlikely]]
    check.refuse("firstExpert",
                 fmt::format("the {} local experts must be among all, so that it is from 0 to {}",
                             manifest.experts, last),
                 fmt::format("{}", first), "");
}

MoeTensors runtime::resolveTensors(const MoeManifest &manifest, const MoeTensors &tensors) {
  const Checker check{manifest};
  MoeTensors t = tensors;
  check.pointer("x", t.x, 16);
  check.stride("x", t.xStrideRow, t.rows);
  checkRouting(check, manifest, t);
  checkFirstExpert(check, manifest, t.firstExpert);
  check.pointer("w1", t.w1, 16);
  check.pointer("w2", t.w2, 16);
  if (manifest.shared > 0) {
    check.pointer("shared1", t.shared1, 16);
    check.pointer("shared2", t.shared2, 16);
  }
  check.pointer("y", t.y, 16);
  check.stride("y", t.yStrideRow, t.rows);
  return t;
}

//===- Tensor maps -----------------------------------------------------------------------------------===//

/// Rows of a box of the weights that are named `name`.
static uint32_t boxRows(const MoeManifest &m, const char *name) {
  for (const TensorMapRecipe &recipe : m.tensorMaps)
    if (recipe.name == name)
      return uint32_t(recipe.boxRows);
  throw UserError({"manifest of " + m.description, "each tensor map must have a recipe",
                   fmt::format("none for '{}'", name), "compile the kernel again"});
}

TensorMapSpec runtime::firstWeightsMap(const MoeManifest &m, DevicePtr weights, bool shared) {
  const uint64_t hidden = m.hidden, inner = m.intermediate, row = hidden * elementBytes;
  const uint64_t experts = shared ? m.shared : m.experts;
  const uint32_t rows = boxRows(m, shared ? "shared1" : "w1");
  TensorMapSpec spec;
  spec.base = weights;
  if (m.halves == 1) {
    spec.rank = 3;
    spec.extent = {hidden, inner, experts};
    spec.strideBytes = {row, inner * row};
    spec.box = {64, rows, 1};
    return spec;
  }
  // Eight rows of the gate, the same eight of the other half, four times: a tile's results are pairs.
  const uint64_t half = (shared ? experts : 1) * inner * row, expert = (shared ? 1 : 2) * inner * row;
  spec.rank = 5;
  spec.extent = {hidden, 8, 2, inner / 8, experts};
  spec.strideBytes = {row, half, 8 * row, expert};
  spec.box = {64, 8, 2, rows / 16, 1};
  return spec;
}

TensorMapSpec runtime::secondWeightsMap(const MoeManifest &m, DevicePtr weights, bool shared) {
  const uint64_t hidden = m.hidden, inner = m.intermediate, row = inner * elementBytes;
  TensorMapSpec spec;
  spec.base = weights;
  spec.rank = 3;
  spec.extent = {inner, hidden, uint64_t(shared ? m.shared : m.experts)};
  spec.strideBytes = {shared ? m.shared * row : row, shared ? row : hidden * row};
  spec.box = {64, boxRows(m, shared ? "shared2" : "w2"), 1};
  return spec;
}

static TensorMapSpec slotsMap(DevicePtr base, int columns, int64_t slots, uint32_t rows) {
  TensorMapSpec spec;
  spec.base = base;
  spec.rank = 2;
  spec.extent = {uint64_t(columns), uint64_t(slots)};
  spec.strideBytes = {uint64_t(columns) * elementBytes};
  spec.box = {64, rows};
  return spec;
}

TensorMapSpec runtime::activatedMap(const MoeManifest &m, DevicePtr activated, int64_t slots) {
  return slotsMap(activated, m.intermediate, slots, boxRows(m, "activated"));
}
TensorMapSpec runtime::permutedMap(const MoeManifest &m, DevicePtr permuted, int64_t slots) {
  return slotsMap(permuted, m.hidden, slots, boxRows(m, "permuted"));
}

//===- Workspace -------------------------------------------------------------------------------------===//

static int64_t roundUp(int64_t value, int64_t by) { return (value + by - 1) / by * by; }

MoeBounds runtime::boundsOf(const MoeManifest &m, int rows) {
  const int64_t choices = int64_t(rows) * m.topK, busy = std::min<int64_t>(m.experts, choices);
  MoeBounds bounds;
  bounds.sharedStart = roundUp(choices + busy * (m.slotTile - 1), m.slotTile);
  bounds.slots = bounds.sharedStart + m.shared * roundUp(rows, m.slotTile);
  // Tiles of an expert are cut at slots that are multiples of slotTile; each but an expert's first has one at
  // least.
  bounds.tiles = busy + choices / m.slotTile + int64_t(m.shared) * (rows / m.slotTile + 1);
  return bounds;
}

MoeLayout runtime::layoutWorkspace(const MoeManifest &m, int maxRows) {
  const MoeBounds bounds = boundsOf(m, std::max(maxRows, 1));
  const int64_t most = int64_t(maxTilesOfExpert) * m.tokenTile;
  if (maxRows < 1 || maxRows > most || bounds.slots > std::numeric_limits<int32_t>::max())
    throw UserError({fmt::format("workspace of {}", m.description),
                     fmt::format("rows must be 1 to {} and their choices count less than 2^31", most),
                     fmt::format("{}", maxRows), "run the layer on parts of the rows"});
  MoeLayout layout;
  auto place = [&layout](size_t bytes) {
    const size_t offset = layout.bytes;
    layout.bytes += size_t(roundUp(int64_t(bytes), alignment));
    return offset;
  };
  const size_t word = sizeof(int32_t), choices = size_t(maxRows) * size_t(m.topK),
               slots = size_t(bounds.slots);
  layout.counts = place(word * size_t(m.experts));
  layout.offsets = place(word * (size_t(m.experts) + 1));
  layout.slots = place(word * slots);
  layout.places = place(word * choices);
  layout.tiles = place(4 * word * size_t(bounds.tiles));
  layout.tileCount = place(3 * word);
  if (m.oneLaunch)
    layout.ready = place(word * (slots / size_t(m.slotTile)));
  layout.ids = place(word * choices);
  layout.weights = place(word * choices);
  if (!m.gate.empty())
    layout.logits = place(word * size_t(maxRows) * size_t(m.routedExperts));
  layout.scratch = place(word * size_t(m.routeScratchWords));
  layout.activated = place(slots * size_t(m.intermediate) * elementBytes);
  if (!m.atomic || m.permute)
    layout.expertOut = place(slots * size_t(m.hidden) * elementBytes);
  if (m.atomic)
    layout.sums = place(sizeof(float) * size_t(maxRows) * size_t(m.hidden));
  return layout;
}
