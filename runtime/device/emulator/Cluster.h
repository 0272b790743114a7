//===- Cluster.h - CTAs that run together ------------------------------------------------------------===//
//
// One cluster of a grid (a single CTA where the kernel has none): the CTAs' shared memory, barriers and
// register pools, the warps that take turns on one host thread, and the asynchronous copies on their way.
// What two warps agree on without the global memory happens in here, so no host lock is needed. Made and run
// by Grid; the instructions reach everything through it.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/emulator/Layout.h"
#include "lathe/runtime/device/emulator/SharedMemory.h"
#include "lathe/runtime/device/emulator/Warp.h"

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <utility>

namespace lathe::runtime::emulator {

class Grid;

/// bar.sync and its relatives: sixteen a CTA.
struct NamedBarrier {
  uint32_t expected = 0; ///< Threads; 0: nobody has come yet.
  bool all = false;      ///< Without a number: all threads that have not exited.
  uint32_t arrived = 0;
  uint32_t pc = 0; ///< Of who came first.
  Clock clock;
};

/// Four warps that multiply together.
struct Warpgroup {
  uint32_t arrived = 0; ///< Warps that wait at the product, a bit each.
  uint32_t pc = 0;
  Agent agent = 0; ///< In whose name the tensor cores read shared memory.
};

struct Cta {
  Cta(Cluster &cluster, uint32_t rank, uint32_t sharedBytes)
      : cluster(cluster), rank(rank), shared(sharedBytes) {}
  Cluster &cluster;
  uint32_t rank; ///< In the cluster.
  uint32_t x = 0, y = 0, z = 0;
  SharedMemory shared;
  std::vector<std::unique_ptr<Warp>> warps;
  std::vector<Warpgroup> warpgroups;
  std::array<NamedBarrier, 16> named;
  uint32_t freeRegisters = 0; ///< Of those that the CTA got at launch, given back by setmaxnreg.dec.
  /// The latest use of this CTA's memory by another CTA's warp.
  struct RemoteUse {
    uint32_t step = 0, pc = 0, offset = 0;
    std::string agent;
  };
  std::map<Agent, RemoteUse> remoteUses;
  uint32_t liveWarps = 0;
  bool exited() const { return liveWarps == 0; }
  uint32_t liveThreads() const;
};

/// A load into shared memory that was issued and has not arrived.
struct PendingLoad {
  uint32_t rank = 0;    ///< CTA of the barrier and of the bytes.
  uint32_t barrier = 0; ///< Offset of the mbarrier.
  uint32_t phase = 0;   ///< In which it was issued.
  uint32_t pc = 0;
  uint32_t bytes = 0;
  Warp *issuer = nullptr;
  uint32_t lane = 0;
  std::function<void()> move; ///< Brings the bytes.
};

/// Where a value that comes from nowhere began.
struct Origin {
  enum class Kind : uint8_t { Register, Shared, Global, Race, Unfenced, Layout } kind = Kind::Register;
  uint32_t pc = 0;                    ///< Of the read that found nothing.
  uint32_t otherPc = UINT32_MAX;      ///< Of a race or a missing fence: the other access.
  std::string address;                ///< In words.
  std::string agent;                  ///< Who read.
  uint64_t time = 0;                  ///< Cluster::now() of the read.
  std::string what = {}, wayOut = {}; ///< Of a race or a missing fence in global memory: the finding's words.
};

/// A finding as an instruction tells it; names and lines are added by who keeps it.
struct Report {
  FindingKind kind = FindingKind::OutOfBounds;
  uint32_t pc = 0;
  std::string what, wayOut, address;
  uint32_t otherPc = UINT32_MAX;
  std::string agent;
  uint64_t time = 0; ///< When it happened; 0: now.
};

class Cluster {
public:
  Cluster(Grid &grid, uint32_t number);
  ~Cluster();

  enum class Ended : uint8_t {
    Exited, ///< All CTAs have, or a deadlock was reported.
    Budget, ///< About `budget` instructions of warps are done.
    Spins   ///< Every warp waits, or looks at memory again and again and finds nothing new.
  };
  /// Runs until then, and leaves in `budget` what is left. A patient run lets warps spin.
  Ended run(uint64_t &budget, bool patient = false);

  Grid &grid() { return grid_; }
  const Program &program() const { return program_; }
  uint32_t number() const { return number_; }
  std::vector<std::unique_ptr<Cta>> &ctas() { return ctas_; }
  Counters counters;

  /// Orders findings: by cluster, then by what happened first in it.
  uint64_t now() { return uint64_t(number_) << 40 | ++time_; }
  /// Something happened that others can see.
  void progress() { ++changes_; }
  /// How often.
  uint64_t changes() const { return changes_; }
  bool patient() const { return patient_; }
  /// Stands for all registers and places of all warps.
  uint64_t state() const;

  /// Who waits for what, by what it is; and the first of them.
  struct Waits {
    std::map<std::string, std::vector<std::string>> agents;
    const Warp *first = nullptr;
    uint32_t pc = 0;
    std::string address; ///< What the first looks at.
    std::string text() const;
  };
  void addWaits(Waits &waits);
  /// Warp::partLanes() of all warps.
  bool partLanes();

  //===- Barriers -------------------------------------------------------------------------------------===//

  /// Throws DeviceError when there are more than clocks can well count.
  Agent newAgent();
  /// Arrivals and bytes of an mbarrier; ends the phase and wakes who waits when nothing is left.
  void arrive(Cta &cta, Mbarrier &barrier, uint32_t arrivals, const Warp &by);
  void completeBytes(Cta &cta, Mbarrier &barrier, int64_t bytes, const Warp &by, uint32_t pc);
  void endPhaseIfDone(Cta &cta, Mbarrier &barrier);
  /// A warp's lanes reach a named barrier; `wait` false only arrives. True: go on at once.
  bool arriveNamed(Warp &warp, uint32_t number, uint32_t threads, bool wait);
  /// Lanes reach the cluster's barrier.
  void arriveCluster(Warp &warp, uint32_t lanes, bool release);
  /// True when the phase that the lanes arrived in has ended.
  bool clusterPassed(Warp &warp, uint32_t lanes);
  /// Called when lanes exit: barriers of all threads may be complete now.
  void exited(Warp &warp, uint32_t lanes);
  /// Wakes all groups that wait for registers of the CTA.
  void wakeRegisterWaits(Cta &cta);

  //===- Asynchronous copies --------------------------------------------------------------------------===//

  void addLoad(PendingLoad load) { loads_.push_back(std::move(load)); }
  /// Completes all loads on their way.
  void completeLoads();

  //===- Values from nowhere --------------------------------------------------------------------------===//

  /// The number of an origin, one for each kind and instruction; 0 where it was not seen before.
  uint32_t findOrigin(Origin::Kind kind, uint32_t pc) const;
  uint32_t addOrigin(Origin origin);
  /// Reports that lanes of a value from nowhere reach what they must not: memory, an address, a branch.
  void reportUndefined(const Warp &warp, uint32_t lanes, uint32_t origin, const char *use);

  void report(Report report);

  /// True the first time that an operand's descriptor constants are seen at an instruction.
  bool firstSight(uint32_t pc, bool isA, const MatrixDescriptor &constants) {
    return seenDescriptors_
        .insert({pc, isA, constants.leading, constants.stride, constants.baseLines, constants.swizzle})
        .second;
  }

  //===- Names ----------------------------------------------------------------------------------------===//

  /// "kv stage 2, row 17, column 40" for an offset in a CTA's window, "… of CTA 1 of the cluster" where it is
  /// another's.
  std::string nameShared(const Cta &cta, uint32_t offset, const Cta *from = nullptr) const;
  /// "out + 4096 bytes".
  std::string nameGlobal(uint64_t address) const;
  /// "consumer 1 (warp 5), lane 3, CTA 0, 7".
  std::string nameAgent(const Warp &warp, int lane) const;

private:
  void makeCta(uint32_t rank);
  void releaseNamed(Cta &cta, uint32_t number);
  void completeIfAllArrived(Cta &cta, uint32_t number);
  /// What one turn of every warp that can run has come to.
  struct Round {
    bool alive = false, ran = false;
    bool spins = true; ///< All that ran.
  };
  Round runRound(uint64_t &budget);
  void endClusterPhaseIfDone();
  void reportDeadlock();
  std::string describeSpin(const Warp &warp) const;
  void checkExit(Cta &cta);
  std::string describeWait(const Warp &warp, const Group &group) const;
  std::string describeBarrier(const Cta &cta, const Mbarrier &barrier) const;

  Grid &grid_;
  const Program &program_;
  uint32_t number_;
  uint64_t time_ = 0;
  std::vector<std::unique_ptr<Cta>> ctas_;
  Agent agents_ = 0;
  std::deque<PendingLoad> loads_;
  std::vector<Origin> origins_;
  std::set<std::array<uint32_t, 6>> seenDescriptors_;
  uint64_t changes_ = 0;
  bool patient_ = false;

  std::mt19937_64 random_;                ///< Orders warps and copies where the run has a seed.
  Clock clusterArriving_, clusterPassed_; ///< Of the cluster's barrier.
};

} // namespace lathe::runtime::emulator
