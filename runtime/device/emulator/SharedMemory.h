//===- SharedMemory.h - Shared memory of one CTA, watched --------------------------------------------===//
//
// Bytes, their shadow (Shadow.h) and the mbarriers that lie among them. Every access says who makes it and
// gets back what is wrong with it; the callers decide whether that is a finding at once or a value that must
// not be used. Offsets count from the start of the CTA's window, whose first kilobyte is the system's.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/emulator/Shadow.h"

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace lathe::runtime::emulator {

/// Everything about one mbarrier. A phase ends when no arrival is pending and no byte is owed.
struct Mbarrier {
  uint32_t offset = 0;
  Agent agent = 0; ///< In whose name loads that complete on it write: step p + 1 is phase p.
  uint32_t expected = 0, pending = 0;
  int64_t owedBytes = 0; ///< Announced and not yet arrived; may be below 0 for a moment.
  uint32_t phase = 0;    ///< Phases that have ended.
  Agent initAgent = 0;
  uint32_t initStep = 0, initPc = 0;
  bool fenced = false; ///< The initialisation has passed a fence: TMA and other CTAs may use it.
  int64_t announcedBytes = 0, arrivedBytes = 0; ///< In this phase, for messages.
  uint32_t loadsInFlight = 0;
  uint32_t loadedPhase = 0, loadPc = 0; ///< Latest phase, from 1, in which a load was issued, and the load.
  uint32_t lastArrivePc = UINT32_MAX;
  Clock arriving; ///< Of those who have arrived in this phase.
  Clock passed;   ///< Of those before the last phase that ended.
};

/// Where sixteen bytes came from that TMA brought: which row of which tensor, which element of the row, under
/// which swizzle. Ordinary writes leave nothing to know.
struct ChunkSource {
  bool known = false;
  uint8_t swizzle = 0;
  int32_t element = 0; ///< Innermost coordinate of the first element.
  uint32_t row = 0;    ///< Stands for the tensor and the other coordinates.
  uint32_t pc = 0;     ///< Of the load.
};
inline constexpr uint32_t chunkBytes = 16;

/// Who accesses, and how.
struct Accessor {
  Agent agent = 0;
  uint32_t step = 0, pc = 0;
  Proxy proxy = Proxy::Generic;
  const Clock *clock = nullptr;
  bool strong = false;
};

/// What is wrong with an access, if anything: the first byte and why.
struct AccessFault {
  uint32_t offset = 0;
  Conflict conflict;
  bool undefined = false; ///< A read of bytes that hold nothing.
  uint32_t origin = 0;    ///< Of an undefined read.
  bool onBarrier = false; ///< The bytes are an mbarrier's.
  explicit operator bool() const { return conflict || undefined || onBarrier; }
};

class SharedMemory {
public:
  explicit SharedMemory(uint32_t bytes);

  uint32_t bytes() const { return uint32_t(data_.size()); }
  std::byte *data() { return data_.data(); }
  bool holds(uint32_t offset, uint32_t size) const;

  /// Checks a read of bytes that lie inside and keeps it. Gives the first fault.
  AccessFault read(uint32_t offset, uint32_t size, const Accessor &who) {
    return visit(offset, size, who, false);
  }
  /// Checks a write and keeps it; marks the bytes as defined.
  AccessFault write(uint32_t offset, uint32_t size, const Accessor &who) {
    return visit(offset, size, who, true);
  }
  void undefine(uint32_t offset, uint32_t size, uint32_t origin);

  ChunkSource &source(uint32_t offset) { return sources_[offset / chunkBytes]; }

  /// What those knew who released something at an offset (st.release, atom.release).
  Clock &released(uint32_t offset) { return released_[offset]; }

  /// The mbarrier at an offset; null where none was initialised.
  Mbarrier *barrierAt(uint32_t offset);
  Mbarrier &makeBarrier(uint32_t offset);
  void dropBarrier(uint32_t offset);
  std::vector<std::unique_ptr<Mbarrier>> &barriers() { return barriers_; }

private:
  AccessFault visit(uint32_t offset, uint32_t size, const Accessor &who, bool write);

  std::vector<std::byte> data_;
  Shadow shadow_;
  std::vector<ChunkSource> sources_;
  std::vector<std::unique_ptr<Mbarrier>> barriers_;
  std::map<uint32_t, Clock> released_;
  std::vector<uint16_t> barrierOf_; ///< By eight bytes: index + 1 into barriers_, 0: none.
};

} // namespace lathe::runtime::emulator
