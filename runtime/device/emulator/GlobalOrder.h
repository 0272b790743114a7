//===- GlobalOrder.h - What orders accesses to global memory -----------------------------------------===//
//
// CTAs of a grid agree by releases and acquires in global memory. Who acquires learns what was done before
// the release, in its own cluster (Clock.h) and in others (Others); a read or a write of bytes that somebody
// wrote in the same launch must come after that write, and with a proxy fence between where one of the two is
// TMA's. Writes over what others may still read are not watched. Called by all accesses to global memory.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/emulator/Clock.h"
#include "lathe/runtime/device/emulator/Shadow.h"

#include <map>
#include <mutex>

namespace lathe::runtime::emulator {

class Allocation;
class Warp;

/// What of other clusters happened before, and what of that a proxy fence follows.
struct Knowledge {
  OthersPtr seen, fenced;
  explicit operator bool() const { return seen != nullptr; }
  void join(const Knowledge &other);
};
/// All that an agent of a cluster knows, and what its cluster did.
Knowledge knowledgeOf(uint32_t cluster, const Clock &clock);

/// What was released where, in one launch.
class GlobalOrder {
public:
  /// `wide`: to the whole GPU, else to the cluster's own.
  void release(uint64_t address, uint32_t cluster, bool wide, const Knowledge &knowledge);
  Knowledge acquire(uint64_t address, uint32_t cluster, bool wide);

private:
  std::mutex mutex_;
  std::map<std::pair<uint64_t, uint32_t>, Knowledge> released_; ///< By address, and cluster + 1 or 0: all.
};

/// Fences of a warp and what they have to do with the accesses around them.
struct FenceState {
  Knowledge released, releasedInCluster; ///< What the latest fence lets later strong writes tell.
  Knowledge pending, pendingInCluster;   ///< What strong reads have seen and the next fence makes known.
};

/// Before a strong write at an address; `releases`: by itself, not by a fence before.
void releaseGlobal(Warp &w, uint64_t address, bool wide, bool releases);
/// After a strong read.
void acquireGlobal(Warp &w, uint64_t address, bool wide, bool acquires);
/// fence.acq_rel, fence.sc, membar.
void fenceGlobal(Warp &w, bool wide);

/// An access to global memory. Agent and step are those of who makes it.
struct GlobalAccess {
  bool write = false, strong = false, wide = false;
  bool changes = true; ///< A write of other values than there were: the same again do no harm.
  Proxy proxy = Proxy::Generic;
  Agent agent = 0;
  uint32_t step = 0;
};
/// Reports an access that nothing orders after the last write, and keeps it where it writes. The bytes lie in
/// the buffer.
void orderGlobal(Warp &w, Allocation &buffer, uint64_t address, uint64_t size, const GlobalAccess &access,
                 int lane);
/// The same for what TMA reads, which may be bytes that nobody uses: where nothing orders the read after a
/// write its result is of the origin that this gives, to be reported where it is used; else 0.
uint32_t orderRead(Warp &w, Allocation &buffer, uint64_t address, uint64_t size, int lane);

} // namespace lathe::runtime::emulator
