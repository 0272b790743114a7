//===- Alu.h - Instructions that compute lane by lane ------------------------------------------------===//
//
// Handlers made from an operation on one lane: Op{}(a, b, …) over the active lanes, results as defined as the
// sources. A decoder picks the instance for its types. Used by the arithmetic families.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/emulator/Decoder.h"
#include "lathe/runtime/device/emulator/Warp.h"

namespace lathe::runtime::emulator {

/// Result D from sources S…, by Op.
template <class Op, class D, class... S>
void lanewise(Warp &w, const Instr &i) {
  std::byte *result = w.row(i.result());
  [&]<size_t... N>(std::index_sequence<N...>) {
    const std::byte *sources[] = {w.row(i.source(int(N)))...};
    overLanes(w.mask, [&](int lane) { setLane<D>(result, lane, D(Op{}(laneAt<S>(sources[N], lane)...))); });
  }(std::index_sequence_for<S...>());
  w.define(i);
}

/// lanewise with result and all sources of the integer type `type`; null for other types.
template <class Op, int sources>
Handler integerHandler(Type type) {
  auto pick = []<class T>(T) -> Handler {
    if constexpr (sources == 1)
      return &lanewise<Op, T, T>;
    else if constexpr (sources == 2)
      return &lanewise<Op, T, T, T>;
    else
      return &lanewise<Op, T, T, T, T>;
  };
  switch (type) {
  // NOLINTNEXTLINE(bugprone-branch-clone): the types differ.
  case Type::U16:
  case Type::B16:
    return pick(uint16_t());
  case Type::S16:
    return pick(int16_t());
  case Type::U32:
  case Type::B32:
    return pick(uint32_t());
  case Type::S32:
    return pick(int32_t());
  case Type::U64:
  case Type::B64:
    return pick(uint64_t());
  case Type::S64:
    return pick(int64_t());
  default:
    return nullptr;
  }
}

} // namespace lathe::runtime::emulator
