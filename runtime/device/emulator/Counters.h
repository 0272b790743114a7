//===- Counters.h - What a run did -------------------------------------------------------------------===//
//
// Exact counts of a grid's work: bytes by the way they moved, products, conflicts, waits, instructions by
// kind. Unlike times they are the same on every machine. Filled by the interpreter, printed by
// `lathe inspect --run`, at hand for the cost model.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/emulator/Mix.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace lathe::runtime::emulator {

struct Counters {
  std::array<uint64_t, mixKinds> instructions{}; ///< Of warps, by Mix.

  uint64_t tmaLoads = 0, tmaLoadBytes = 0; ///< Boxes and bytes read from global memory, once a multicast.
  uint64_t tmaFilledBytes = 0;             ///< Of boxes, outside the tensor: zeros.
  uint64_t tmaMulticastBytes = 0;          ///< Delivered to further CTAs of the cluster.
  uint64_t tmaStores = 0, tmaStoreBytes = 0;
  uint64_t globalLoadBytes = 0, globalStoreBytes = 0; ///< By ordinary instructions, all lanes.
  uint64_t globalLoadSectors = 0,
           globalStoreSectors = 0;                    ///< 32-byte sectors touched, an instruction at a time.
  uint64_t sharedLoadBytes = 0, sharedStoreBytes = 0; ///< By ordinary instructions and matrix moves.
  uint64_t sharedAccesses = 0; ///< Instructions times the passes that they take without conflicts.
  uint64_t bankConflicts = 0;  ///< Further passes.
  uint64_t atomics = 0;        ///< Lanes.
  uint64_t wgmmas = 0;         ///< wgmma.mma_async of a warpgroup.
  uint64_t wgmmaFlops = 0;     ///< Two a multiply-add.
  uint64_t mmas = 0;           ///< mma.sync of a warp.
  uint64_t mmaFlops = 0;       ///< Two a multiply-add.
  uint64_t barrierWaits = 0;   ///< mbarrier waits that succeeded, of warps.
  uint64_t barrierStalls = 0;  ///< Of these, those that found the phase not complete.
  uint64_t namedBarriers = 0;  ///< Arrivals of warps at bar.sync and bar.arrive.
  uint64_t clusterBarriers = 0;
  uint64_t ctas = 0;

  uint64_t warpInstructions() const;
  void add(const Counters &other);
};

/// Counters of one launch, in order.
struct LaunchRecord {
  std::string kernel;
  uint32_t gridX = 1, gridY = 1, gridZ = 1, threads = 1, sharedBytes = 0;
  Counters counters;
  double hostMilliseconds = 0; ///< What emulating took; not a time of the GPU.
};

} // namespace lathe::runtime::emulator
