#include "lathe/runtime/device/emulator/Counters.h"

#include <numeric>

using namespace lathe::runtime::emulator;

std::string_view lathe::runtime::emulator::name(Mix mix) {
  static constexpr std::string_view names[mixKinds] = {
      "integer", "float",       "special",      "convert",     "move",         "compare",        "branch",
      "shuffle", "global_load", "global_store", "shared_load", "shared_store", "parameter_load", "atomic",
      "barrier", "async_copy",  "mma",          "wgmma",       "other"};
  return names[int(mix)];
}

uint64_t Counters::warpInstructions() const {
  return std::accumulate(instructions.begin(), instructions.end(), uint64_t(0));
}

void Counters::add(const Counters &other) {
  for (size_t i = 0; i < instructions.size(); ++i)
    instructions[i] += other.instructions[i];
  for (uint64_t Counters::*member : {&Counters::tmaLoads,          &Counters::tmaLoadBytes,
                                     &Counters::tmaFilledBytes,    &Counters::tmaMulticastBytes,
                                     &Counters::tmaStores,         &Counters::tmaStoreBytes,
                                     &Counters::globalLoadBytes,   &Counters::globalStoreBytes,
                                     &Counters::globalLoadSectors, &Counters::globalStoreSectors,
                                     &Counters::sharedLoadBytes,   &Counters::sharedStoreBytes,
                                     &Counters::sharedAccesses,    &Counters::bankConflicts,
                                     &Counters::atomics,           &Counters::wgmmas,
                                     &Counters::wgmmaFlops,        &Counters::mmas,
                                     &Counters::mmaFlops,          &Counters::barrierWaits,
                                     &Counters::barrierStalls,     &Counters::namedBarriers,
                                     &Counters::clusterBarriers,   &Counters::ctas})
    this->*member += other.*member;
}
