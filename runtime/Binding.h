//===- Binding.h - Kernel arguments by name ----------------------------------------------------------===//
//
// A manifest lists each kernel's arguments by kind and name; here the names are looked up once, when a kernel
// is loaded, and become slots of a small table of values. A launch then only copies words, so it neither
// compares strings nor allocates. Called by Kernel and MoeKernel.
//
//===----------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"
#include "lathe/support/Manifest.h"

#include <array>
#include <bit>
#include <string>

namespace lathe::runtime {

/// What a kernel argument can mean (names and kinds in Binding.cpp, meaning in Kernel.h and Moe.h).
enum class Slot : uint8_t {
  Lengths,
  Batch,
  Workers,
  MemoryGbs,
  Items,
  WorkerBegin,
  Splits,
  Q,
  Kv,
  KvBase,
  KvPageBytes,
  KvRowBytes,
  BlockTable,
  BlockTableStride,
  NumPages,
  Scale,
  Out,
  OutStrideBatch,
  OutStrideQuery,
  OutStrideHead,
  Lse,
  LseStrideBatch,
  LseStrideHead,
  LseStrideQuery,
  PartialOut,
  PartialLse,
  CombineShift,
  Gate,
  Logits,
  Bias,
  Ids,
  Weights,
  Rows,
  FirstExpert,
  Counts,
  Offsets,
  Slots,
  Places,
  Tiles,
  TileCount,
  Ready,
  Scratch,
  SharedStart,
  X,
  XStride,
  ActivatedBase,
  W1Base,
  W2Base,
  ExpertOut,
  Sums,
  Y,
  YStride,
  W1,
  W2,
  Shared1,
  Shared2,
  Activated,
  Permuted,
  Count
};

/// The kernel that an argument list belongs to: planning knows lengths and lists, a step of attention
/// everything of attention, a step of experts everything of experts.
enum class Phase : uint8_t { Plan, Step, Experts };

/// One value a slot. Integers and pointers are stored as 64 bits; tensor maps belong to the caller.
struct ArgumentValues {
  std::array<uint64_t, static_cast<size_t>(Slot::Count)> words{};
  std::array<TensorMap *, static_cast<size_t>(Slot::Count)> maps{};

  void set(Slot slot, uint64_t value) { words[static_cast<size_t>(slot)] = value; }
  void set(Slot slot, TensorMap &map) { maps[static_cast<size_t>(slot)] = &map; }
  void set(Slot slot, float value) { set(slot, uint64_t(std::bit_cast<uint32_t>(value))); }
};

/// The argument list of one kernel, bound to slots. Immutable.
class Binding {
public:
  static constexpr int maxArguments = 32;

  /// Storage of one launch, on the caller's stack.
  struct Packed {
    std::array<uint64_t, maxArguments> words;
    std::array<void *, maxArguments> pointers; ///< What Device::launch takes.
  };

  Binding() = default;
  /// Throws UserError for an unknown name, a kind that does not fit the name, or too many arguments: the
  /// manifest was written by another version.
  Binding(const KernelEntry &entry, Phase phase);

  /// Fills `packed`, which points into itself and into `values`. Throws UserError when a value does not fit
  /// 32 bits.
  void pack(ArgumentValues &values, Packed &packed) const;

private:
  struct Bound {
    bool narrow; ///< "i32": the value must fit.
    bool map;    ///< A tensor map.
    Slot slot;
  };
  std::array<Bound, maxArguments> bound_{};
  int count_ = 0;
};

} // namespace lathe::runtime
