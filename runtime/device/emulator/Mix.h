//===- Mix.h - Kinds of instructions -----------------------------------------------------------------===//
//
// What the counters count an instruction as. Apart from the interpreter, so that whoever reads counters sees
// nothing of it. Set by the decoder, read by Counters.h.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <string_view>

namespace lathe::runtime::emulator {

/// What counters count an instruction as.
enum class Mix : uint8_t {
  Integer,
  Float,
  Special, ///< ex2, lg2, rcp, …
  Convert,
  Move,
  Compare,
  Branch,
  Shuffle,
  GlobalLoad,
  GlobalStore,
  SharedLoad,
  SharedStore,
  ParameterLoad,
  Atomic,
  Barrier,
  AsyncCopy,
  Mma, ///< mma.sync
  Wgmma,
  Other
};
inline constexpr int mixKinds = int(Mix::Other) + 1;
std::string_view name(Mix mix); ///< "integer", "global_load", …

} // namespace lathe::runtime::emulator
