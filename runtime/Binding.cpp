#include "lathe/runtime/Binding.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <limits>

using namespace lathe;
using namespace lathe::runtime;

namespace {
enum class Class : uint8_t { Pointer, Integer, Float, Map };

struct Row {
  const char *name;
  Slot slot;
  Class valueClass;
  unsigned phases; ///< That know it, a bit each.
};
} // namespace

static constexpr unsigned bit(Phase phase) { return 1U << unsigned(phase); }
static constexpr unsigned planning = bit(Phase::Plan) | bit(Phase::Step), stepping = bit(Phase::Step),
                          experts = bit(Phase::Experts);

static constexpr Row table[] = {
    {"lengths", Slot::Lengths, Class::Pointer, planning},
    {"batch", Slot::Batch, Class::Integer, planning},
    {"workers", Slot::Workers, Class::Integer, planning},
    {"memory_gbs", Slot::MemoryGbs, Class::Integer, planning},
    {"items", Slot::Items, Class::Pointer, planning},
    {"worker_begin", Slot::WorkerBegin, Class::Pointer, planning},
    {"splits", Slot::Splits, Class::Pointer, planning},
    {"q", Slot::Q, Class::Map, stepping},
    {"kv", Slot::Kv, Class::Map, stepping},
    {"kv_base", Slot::KvBase, Class::Pointer, stepping},
    {"kv_page_bytes", Slot::KvPageBytes, Class::Integer, stepping},
    {"kv_row_bytes", Slot::KvRowBytes, Class::Integer, stepping},
    {"block_table", Slot::BlockTable, Class::Pointer, stepping},
    {"block_table_stride", Slot::BlockTableStride, Class::Integer, stepping},
    {"num_pages", Slot::NumPages, Class::Integer, stepping},
    {"scale", Slot::Scale, Class::Float, stepping},
    {"out", Slot::Out, Class::Pointer, stepping},
    {"out_stride_batch", Slot::OutStrideBatch, Class::Integer, stepping},
    {"out_stride_query", Slot::OutStrideQuery, Class::Integer, stepping},
    {"out_stride_head", Slot::OutStrideHead, Class::Integer, stepping},
    {"lse", Slot::Lse, Class::Pointer, stepping},
    {"lse_stride_batch", Slot::LseStrideBatch, Class::Integer, stepping},
    {"lse_stride_head", Slot::LseStrideHead, Class::Integer, stepping},
    {"lse_stride_query", Slot::LseStrideQuery, Class::Integer, stepping},
    {"partial_out", Slot::PartialOut, Class::Pointer, stepping},
    {"partial_lse", Slot::PartialLse, Class::Pointer, stepping},
    {"combine_shift", Slot::CombineShift, Class::Integer, stepping},
    {"gate", Slot::Gate, Class::Pointer, experts},
    {"logits", Slot::Logits, Class::Pointer, experts},
    {"bias", Slot::Bias, Class::Pointer, experts},
    {"ids", Slot::Ids, Class::Pointer, experts},
    {"weights", Slot::Weights, Class::Pointer, experts},
    {"rows", Slot::Rows, Class::Integer, experts},
    {"first_expert", Slot::FirstExpert, Class::Integer, experts},
    {"counts", Slot::Counts, Class::Pointer, experts},
    {"offsets", Slot::Offsets, Class::Pointer, experts},
    {"slots", Slot::Slots, Class::Pointer, experts},
    {"places", Slot::Places, Class::Pointer, experts},
    {"tiles", Slot::Tiles, Class::Pointer, experts},
    {"tile_count", Slot::TileCount, Class::Pointer, experts},
    {"ready", Slot::Ready, Class::Pointer, experts},
    {"scratch", Slot::Scratch, Class::Pointer, experts},
    {"shared_start", Slot::SharedStart, Class::Integer, experts},
    {"x", Slot::X, Class::Pointer, experts},
    {"x_stride", Slot::XStride, Class::Integer, experts},
    {"activated_base", Slot::ActivatedBase, Class::Pointer, experts},
    {"w1_base", Slot::W1Base, Class::Pointer, experts},
    {"w2_base", Slot::W2Base, Class::Pointer, experts},
    {"expert_out", Slot::ExpertOut, Class::Pointer, experts},
    {"sums", Slot::Sums, Class::Pointer, experts},
    {"y", Slot::Y, Class::Pointer, experts},
    {"y_stride", Slot::YStride, Class::Integer, experts},
    {"w1", Slot::W1, Class::Map, experts},
    {"w2", Slot::W2, Class::Map, experts},
    {"shared1", Slot::Shared1, Class::Map, experts},
    {"shared2", Slot::Shared2, Class::Map, experts},
    {"activated", Slot::Activated, Class::Map, experts},
    {"permuted", Slot::Permuted, Class::Map, experts},
};

static constexpr const char *otherVersion =
    "the artifact was written by another version of Lathe: compile it again";

static const Row *findRow(const std::string &name, Phase phase) {
  for (const Row &row : table)
    if (name == row.name && (row.phases & bit(phase)))
      return &row;
  return nullptr;
}

static const char *nameOf(Slot slot) {
  for (const Row &row : table)
    if (row.slot == slot)
      return row.name;
  return "?";
}

static bool fits(const std::string &kind, Class valueClass) {
  switch (valueClass) {
  case Class::Pointer:
    return kind == "pointer";
  case Class::Integer:
    return kind == "i32" || kind == "i64";
  case Class::Float:
    return kind == "f32";
  case Class::Map:
    return kind == "tensor_map";
  }
  return false;
}

Binding::Binding(const KernelEntry &entry, Phase phase) {
  std::string place = fmt::format("manifest, kernel {}", entry.name);
  if (entry.arguments.size() > maxArguments)
    throw UserError({place, fmt::format("a kernel may have at most {} arguments", maxArguments),
                     fmt::format("{}", entry.arguments.size()), otherVersion});
  for (const KernelArgument &argument : entry.arguments) {
    const Row *row = findRow(argument.name, phase);
    if (!row)
      throw UserError({place, fmt::format("argument {} must be one that this runtime knows", count_),
                       fmt::format("'{}' ({})", argument.name, argument.kind), otherVersion});
    if (!fits(argument.kind, row->valueClass))
      throw UserError({place,
                       fmt::format("argument {}, '{}', must have a kind that fits it", count_, argument.name),
                       fmt::format("'{}'", argument.kind), otherVersion});
    bound_[count_++] = {argument.kind == "i32", row->valueClass == Class::Map, row->slot};
  }
}

static void requireNarrow(Slot slot, int64_t value) {
  if (value < std::numeric_limits<int32_t>::min() || value > std::numeric_limits<int32_t>::max()) [[unlikely]]
    throw UserError({"kernel arguments", fmt::format("{} must fit 32 bits", nameOf(slot)),
                     fmt::format("{}", value), "use a smaller batch or a denser layout"});
}

void Binding::pack(ArgumentValues &values, Packed &packed) const {
  for (int i = 0; i < count_; ++i) {
    Slot slot = bound_[i].slot;
    if (bound_[i].map) {
      packed.pointers[i] = values.maps[static_cast<size_t>(slot)];
      continue;
    }
    uint64_t word = values.words[static_cast<size_t>(slot)];
    if (bound_[i].narrow) {
      requireNarrow(slot, static_cast<int64_t>(word));
      word = static_cast<uint32_t>(word); // Little-endian: the low half comes first.
    }
    packed.words[i] = word;
    packed.pointers[i] = &packed.words[i];
  }
}
