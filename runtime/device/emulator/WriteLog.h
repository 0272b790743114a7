//===- WriteLog.h - Who wrote what of a buffer in this launch ----------------------------------------===//
//
// For every four bytes of a buffer the latest write by a kernel that runs: which cluster, which agent of it,
// at which step, by which instruction. Costs nothing where no kernel writes. Host threads of one launch write
// it together; a word is always one of its writes. Read by the checks of GlobalOrder.h.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/emulator/Shadow.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

namespace lathe::runtime::emulator {

/// A write of some bytes of a word.
struct LoggedWrite {
  uint32_t cluster = 0;
  bool wide = false; ///< A strong one: of the whole GPU, else of its cluster.
  Access access;     ///< bytes 0: there is none.
};

class WriteLog {
public:
  explicit WriteLog(size_t bytes) : words_((bytes + 3) / 4) {}
  ~WriteLog();
  WriteLog(const WriteLog &) = delete;
  WriteLog &operator=(const WriteLog &) = delete;

  /// Whether a launch, by its number, has written anything.
  bool usedIn(uint32_t launch) const { return launch_.load(std::memory_order_relaxed) == launch; }
  LoggedWrite at(size_t word, uint32_t launch) const;
  void keep(size_t word, uint32_t launch, const LoggedWrite &write);

private:
  void open(size_t page, uint32_t launch);

  size_t words_;
  std::atomic<uint32_t> launch_ = 0;
  std::mutex mutex_;                                      ///< Held while pages are begun.
  std::atomic<std::atomic<uint64_t> *> writes_ = nullptr; ///< All but the instruction, packed.
  std::atomic<uint32_t> *pcs_ = nullptr;
  std::unique_ptr<std::atomic<uint32_t>[]> pages_; ///< The launch that a page's words are of.
};

} // namespace lathe::runtime::emulator
