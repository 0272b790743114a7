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
  bool planning; ///< Known to the plan kernel too.
};
} // namespace

static constexpr Row table[] = {
    {"lengths", Slot::Lengths, Class::Pointer, true},
    {"batch", Slot::Batch, Class::Integer, true},
    {"workers", Slot::Workers, Class::Integer, true},
    {"items", Slot::Items, Class::Pointer, true},
    {"worker_begin", Slot::WorkerBegin, Class::Pointer, true},
    {"splits", Slot::Splits, Class::Pointer, true},
    {"q", Slot::Q, Class::Map, false},
    {"kv", Slot::Kv, Class::Map, false},
    {"kv_base", Slot::KvBase, Class::Pointer, false},
    {"kv_page_bytes", Slot::KvPageBytes, Class::Integer, false},
    {"kv_row_bytes", Slot::KvRowBytes, Class::Integer, false},
    {"block_table", Slot::BlockTable, Class::Pointer, false},
    {"block_table_stride", Slot::BlockTableStride, Class::Integer, false},
    {"num_pages", Slot::NumPages, Class::Integer, false},
    {"scale", Slot::Scale, Class::Float, false},
    {"out", Slot::Out, Class::Pointer, false},
    {"out_stride_batch", Slot::OutStrideBatch, Class::Integer, false},
    {"out_stride_query", Slot::OutStrideQuery, Class::Integer, false},
    {"out_stride_head", Slot::OutStrideHead, Class::Integer, false},
    {"lse", Slot::Lse, Class::Pointer, false},
    {"lse_stride_batch", Slot::LseStrideBatch, Class::Integer, false},
    {"lse_stride_head", Slot::LseStrideHead, Class::Integer, false},
    {"lse_stride_query", Slot::LseStrideQuery, Class::Integer, false},
    {"partial_out", Slot::PartialOut, Class::Pointer, false},
    {"partial_lse", Slot::PartialLse, Class::Pointer, false},
    {"combine_shift", Slot::CombineShift, Class::Integer, false},
};

static constexpr const char *otherVersion =
    "the artifact was written by another version of Lathe: compile it again";

static const Row *findRow(const std::string &name, Phase phase) {
  for (const Row &row : table)
    if (name == row.name && (phase == Phase::Step || row.planning))
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
    bound_[count_++] = {argument.kind == "i32", row->slot};
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
    if (slot == Slot::Q || slot == Slot::Kv) {
      packed.pointers[i] = slot == Slot::Q ? &values.q : &values.kv;
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
