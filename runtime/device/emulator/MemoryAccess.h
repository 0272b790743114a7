//===- MemoryAccess.h - One lane's way to memory -----------------------------------------------------===//
//
// Finds the bytes that a lane of an ordinary instruction means, in whatever space, and reports what is wrong
// with the access: address, alignment, bytes that nothing wrote, races. Used by loads, stores, atomics and
// matrix moves; the asynchronous copies share the checks of shared memory.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/emulator/Cluster.h"
#include "lathe/runtime/device/emulator/Decoder.h"
#include "lathe/runtime/device/emulator/GlobalMemory.h"

namespace lathe::runtime::emulator {

/// What is done with the bytes.
struct AccessMode {
  bool write = false;
  bool strong = false; ///< Atomic, volatile, relaxed, acquire, release.
  bool ordered = true; ///< What orders it is checked; else the caller does so.
  bool wide = true;    ///< A strong one: of the whole GPU, not only of the CTA or cluster.
};

/// Bytes of memory that an access may use; null where it was refused.
struct Place {
  std::byte *bytes = nullptr;
  Cta *cta = nullptr;           ///< Of shared memory; null for global.
  uint32_t offset = 0;          ///< In the CTA's window.
  Allocation *buffer = nullptr; ///< Of global memory.
  uint64_t address = 0;
  bool undefined = false; ///< A read of a value that comes from nowhere, by `origin`.
  uint32_t origin = 0;
  explicit operator bool() const { return bytes != nullptr; }
};

/// Addresses of all active lanes; lanes whose address comes from nowhere are reported and taken out of
/// `mask`.
struct LaneAddresses {
  uint64_t at[laneCount];
  uint32_t mask = 0;
};
/// The base is source `base`, or shared memory of the own CTA where it is -1.
LaneAddresses laneAddresses(Warp &warp, const Instr &instr, int base);

/// A warp's ordinary access, for orderGlobal().
GlobalAccess globalAccess(const Warp &warp, AccessMode mode, bool changes = true);

/// The bytes of one lane's access, checked.
Place access(Warp &warp, Space space, uint64_t address, uint32_t size, AccessMode mode, int lane);
/// Shared memory by window address. `own`: only the CTA's own may be meant.
Place accessShared(Warp &warp, uint32_t address, bool own, uint32_t size, AccessMode mode, int lane);

/// A CTA and an offset for an address in the shared window; reports and gives null for none. No bytes are
/// touched.
Cta *findShared(Warp &warp, uint32_t address, bool own, uint32_t size, int lane);

/// Reports a fault of an access to shared memory by a warp.
void reportShared(Warp &warp, const Cta &cta, const AccessFault &fault, bool write, int lane);

/// Reports a cache policy, the last source of an instruction with a hint, that is none.
void checkPolicy(Warp &warp, const Instr &instr);

/// Passes that the banks need for these 4-, 8- or 16-byte accesses of one instruction, counted as the
/// hardware does: 32, 16 or 8 lanes at a time.
void countBanks(Warp &warp, const uint32_t *offsets, uint32_t lanes, uint32_t size);
/// 32-byte sectors that the lanes touch.
uint64_t countSectors(const LaneAddresses &addresses, uint32_t size);

} // namespace lathe::runtime::emulator
