#include "lathe/runtime/device/emulator/WriteLog.h"

#include "lathe/runtime/device/emulator/Mapped.h"

using namespace lathe::runtime::emulator;

static constexpr size_t pageWords = 1024;
/// Fields of a packed write, in bits. Clusters and steps beyond are not kept: nothing is said of them.
static constexpr unsigned clusterBits = 20, agentBits = 12, stepBits = 24;

static uint64_t pack(const LoggedWrite &write) {
  const Access &access = write.access;
  if (write.cluster >> clusterBits || access.agent >> agentBits || access.step >> stepBits)
    return 0;
  return uint64_t(write.cluster) << 43 | uint64_t(access.agent) << 31 | uint64_t(access.step) << 7 |
         uint64_t(access.proxy == Proxy::Async) << 6 | uint64_t(access.strong) << 5 |
         uint64_t(write.wide) << 4 | access.bytes;
}

static LoggedWrite unpack(uint64_t bits) {
  LoggedWrite write;
  write.cluster = uint32_t(bits >> 43);
  write.wide = (bits >> 4 & 1) != 0;
  write.access.agent = uint16_t(bits >> 31 & ((1u << agentBits) - 1));
  write.access.step = uint32_t(bits >> 7 & ((1u << stepBits) - 1));
  write.access.proxy = bits >> 6 & 1 ? Proxy::Async : Proxy::Generic;
  write.access.strong = (bits >> 5 & 1) != 0;
  write.access.bytes = uint8_t(bits & 15);
  return write;
}

WriteLog::~WriteLog() {
  if (auto *writes = writes_.load()) {
    unmapBytes(writes, words_ * sizeof(*writes));
    unmapBytes(pcs_, words_ * sizeof(*pcs_));
  }
}

/// Forgets what other launches wrote of a page.
void WriteLog::open(size_t page, uint32_t launch) {
  std::lock_guard lock(mutex_);
  if (!pages_) {
    pages_ = std::make_unique<std::atomic<uint32_t>[]>(words_ / pageWords + 1);
    pcs_ = static_cast<std::atomic<uint32_t> *>(mapBytes(words_ * sizeof(*pcs_)));
    writes_.store(static_cast<std::atomic<uint64_t> *>(mapBytes(words_ * sizeof(uint64_t))),
                  std::memory_order_release);
  }
  if (pages_[page].load(std::memory_order_relaxed) == launch)
    return;
  std::atomic<uint64_t> *writes = writes_.load(std::memory_order_relaxed);
  const size_t end = std::min(words_, (page + 1) * pageWords);
  if (pages_[page].load(std::memory_order_relaxed) != 0)
    for (size_t word = page * pageWords; word < end; ++word)
      writes[word].store(0, std::memory_order_relaxed);
  pages_[page].store(launch, std::memory_order_release);
  launch_.store(launch, std::memory_order_relaxed);
}

LoggedWrite WriteLog::at(size_t word, uint32_t launch) const {
  const std::atomic<uint64_t> *writes = writes_.load(std::memory_order_acquire);
  if (!writes || pages_[word / pageWords].load(std::memory_order_acquire) != launch)
    return {};
  const uint64_t bits = writes[word].load(std::memory_order_relaxed);
  if (bits == 0)
    return {};
  LoggedWrite write = unpack(bits);
  write.access.pc = pcs_[word].load(std::memory_order_relaxed);
  return write;
}

void WriteLog::keep(size_t word, uint32_t launch, const LoggedWrite &write) {
  const size_t page = word / pageWords;
  std::atomic<uint64_t> *writes = writes_.load(std::memory_order_acquire);
  if (!writes || pages_[page].load(std::memory_order_acquire) != launch) {
    open(page, launch);
    writes = writes_.load(std::memory_order_relaxed);
  }
  uint64_t bits = pack(write);
  // Halves of a word that one agent writes, one after the other, are one write.
  if (const uint64_t old = writes[word].load(std::memory_order_relaxed); (old ^ bits) >> 4 == 0)
    bits |= old;
  writes[word].store(bits, std::memory_order_relaxed);
  pcs_[word].store(write.access.pc, std::memory_order_relaxed);
}
