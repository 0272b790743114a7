//===- Grid.h - One launch ---------------------------------------------------------------------------===//
//
// Runs all clusters of a launch on the host's threads, as many at a time as the GPU would hold, and gathers
// findings and counters. A cluster runs on one thread at a time; which one is next, Turns.h says. Called by
// the device.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/emulator/Cluster.h"
#include "lathe/runtime/device/emulator/Emulator.h"
#include "lathe/runtime/device/emulator/GlobalMemory.h"
#include "lathe/runtime/device/emulator/GlobalOrder.h"
#include "lathe/runtime/device/emulator/Turns.h"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <set>

namespace lathe::runtime::emulator {

/// What a launch is made of.
struct Launch {
  std::shared_ptr<const Program> program;
  LaunchShape shape;
  std::vector<std::byte> parameters; ///< As the kernel's parameter space holds them.
};

/// How many CTAs of `threads` threads and `windowBytes` of shared memory, what is the system's among them,
/// the emulated GPU holds at once, in whole clusters; at least one cluster. Its SMs have no borders between
/// them.
uint32_t residentClusters(const Program &program, const DeviceProperties &properties, uint32_t threads,
                          uint32_t windowBytes);

class Grid {
public:
  /// `properties` of the GPU that is emulated. Throws DeviceError when the launch is impossible.
  Grid(Launch launch, GlobalMemory &memory, const DeviceProperties &properties,
       const EmulatorOptions &options);

  /// Runs all CTAs to their end.
  void run();
  FindingList takeFindings() { return std::move(findings_); }
  LaunchRecord record() const;

  //===- For clusters ---------------------------------------------------------------------------------===//

  const Launch &launch() const { return launch_; }
  const Program &program() const { return *launch_.program; }
  GlobalMemory &memory() { return memory_; }
  uint32_t clusterSize() const { return program().kernel->cluster; }
  uint32_t sharedBytes() const { return sharedBytes_; } ///< Of a CTA's window.
  uint32_t registersAtEntry() const { return registersAtEntry_; }
  uint32_t number() const { return number_; } ///< Of the launch, among all on the device.
  GlobalOrder &order() { return order_; }
  uint64_t seed() const { return options_.seed; }
  bool limited() const { return options_.maxInstructions != 0; }
  bool stopped() const { return stopped_.load(std::memory_order_relaxed); }
  /// Ends the run: what follows would mean nothing.
  void stop() { stopped_.store(true, std::memory_order_relaxed); }

  /// Counts a finding; true where it is the earliest at this place so far. Times order findings: by cluster,
  /// then as they happened in it, so that host threads do not change what is told.
  bool isNew(FindingKind kind, uint32_t pc, uint64_t time);
  /// Keeps a finding that isNew() said yes to.
  void add(Finding finding, uint32_t pc, uint64_t time);
  CodePlace placeOf(uint32_t pc) const;

private:
  void check(const DeviceProperties &properties);
  void work();
  std::optional<Turn> take(std::unique_lock<std::mutex> &lock);
  void runTurn(Turn turn, std::unique_lock<std::mutex> &lock);
  void watch();
  void reportDeadlock();
  void reportLivelock();
  void stopAtLimit(Cluster &cluster);
  void gatherFindings();

  Launch launch_;
  GlobalMemory &memory_;
  EmulatorOptions options_;
  uint32_t number_;
  GlobalOrder order_;
  uint32_t sharedBytes_ = 0, registersAtEntry_ = 0;
  std::atomic<bool> stopped_ = false;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Turns> turns_;
  uint64_t instructions_ = 0; ///< Of warps, of all turns so far.
  std::exception_ptr failure_;

  std::mutex findingsMutex_;
  struct Kept {
    uint64_t time = 0;
    uint32_t pc = 0;
    Finding finding;
  };
  std::vector<Kept> kept_;
  FindingList findings_;
  struct Count {
    uint64_t count = 0, earliest = 0;
  };
  std::map<std::pair<FindingKind, uint32_t>, Count> counts_;
  Counters counters_;
  double hostMilliseconds_ = 0;
};

} // namespace lathe::runtime::emulator
