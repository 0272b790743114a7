#include "lathe/runtime/device/emulator/GlobalMemory.h"

#include "lathe/runtime/device/emulator/Mapped.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <mutex>

using namespace lathe;
using namespace lathe::runtime;
using namespace lathe::runtime::emulator;

static constexpr size_t alignment = 256;
static constexpr size_t gapBytes = 1 << 16; ///< Between buffers; nothing is ever there.
static constexpr size_t keptReleases = 1024;

//===- Allocation ------------------------------------------------------------------------------------===//

void *lathe::runtime::emulator::mapBytes(size_t bytes) {
  void *mapped = mmap(nullptr, std::max<size_t>(bytes, 1), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED)
    throw DeviceError({fmt::format("allocating {} bytes on the emulator", bytes), "the host must have memory",
                       std::strerror(errno), "use a smaller problem"});
  return mapped;
}

void lathe::runtime::emulator::unmapBytes(void *mapped, size_t bytes) {
  munmap(mapped, std::max<size_t>(bytes, 1));
}

static size_t bitmapWords(size_t bytes) { return bytes / 64 + 1; }

Allocation::Allocation(DevicePtr base, size_t bytes, uint64_t number)
    : base_(base), bytes_(bytes), number_(number), data_(static_cast<std::byte *>(mapBytes(bytes))),
      log_(bytes) {
  written_ = static_cast<std::atomic<uint64_t> *>(mapBytes(bitmapWords(bytes) * sizeof(uint64_t)));
}

Allocation::~Allocation() {
  unmapBytes(data_, bytes_);
  unmapBytes(written_, bitmapWords(bytes_) * sizeof(uint64_t));
}

/// Bits [from, to) of a word.
static uint64_t bitsBetween(size_t from, size_t to) {
  const uint64_t below = to >= 64 ? ~uint64_t(0) : (uint64_t(1) << to) - 1;
  return below & ~((uint64_t(1) << from) - 1);
}

/// body(word, bits) for each word of the bitmap that the range touches; stops when it gives false.
template <class Body>
static bool overBits(size_t begin, size_t end, Body body) {
  for (size_t at = begin; at < end;) {
    const size_t word = at / 64, stop = std::min(end, (word + 1) * 64);
    if (!body(word, bitsBetween(at % 64, stop - word * 64)))
      return false;
    at = stop;
  }
  return true;
}

void Allocation::markWritten(DevicePtr address, size_t size) {
  const size_t begin = address - base_;
  overBits(begin, begin + size, [this](size_t word, uint64_t bits) {
    if ((written_[word].load(std::memory_order_relaxed) & bits) != bits)
      written_[word].fetch_or(bits, std::memory_order_relaxed);
    return true;
  });
}

void Allocation::markUnwritten(DevicePtr address, size_t size) {
  const size_t begin = address - base_;
  overBits(begin, begin + size, [this](size_t word, uint64_t bits) {
    written_[word].fetch_and(~bits, std::memory_order_relaxed);
    return true;
  });
}

bool Allocation::written(DevicePtr address, size_t size) const {
  const size_t begin = address - base_;
  return overBits(begin, begin + size, [this](size_t word, uint64_t bits) {
    return (written_[word].load(std::memory_order_relaxed) & bits) == bits;
  });
}

//===- Memory ----------------------------------------------------------------------------------------===//

DevicePtr GlobalMemory::allocate(size_t bytes) {
  std::unique_lock lock(mutex_);
  if (bytes > capacity_ - used_)
    throw DeviceError({fmt::format("allocating {} bytes on the emulator", bytes),
                       fmt::format("{} of {} bytes are free", capacity_ - used_, capacity_), "",
                       "free memory or plan for a smaller batch"});
  const DevicePtr base = next_;
  buffers_[base] = std::make_unique<Allocation>(base, bytes, ++count_);
  next_ += (bytes + gapBytes + alignment - 1) / alignment * alignment;
  used_ += bytes;
  return base;
}

void GlobalMemory::release(DevicePtr base) {
  std::unique_lock lock(mutex_);
  auto found = buffers_.find(base);
  if (found == buffers_.end())
    return;
  used_ -= found->second->bytes();
  released_[base] = {found->second->bytes(), found->second->number()};
  if (released_.size() > keptReleases)
    released_.erase(released_.begin());
  buffers_.erase(found);
}

Allocation *GlobalMemory::findLocked(DevicePtr address) const {
  auto after = buffers_.upper_bound(address);
  if (after == buffers_.begin())
    return nullptr;
  Allocation *candidate = std::prev(after)->second.get();
  return candidate->holds(address, 0) ? candidate : nullptr;
}

Allocation *GlobalMemory::find(DevicePtr address) const { return findLocked(address); }

const Allocation *GlobalMemory::nearest(DevicePtr address) const {
  auto after = buffers_.upper_bound(address);
  return after == buffers_.begin() ? nullptr : std::prev(after)->second.get();
}

Allocation &GlobalMemory::require(DevicePtr address, size_t bytes, const char *what) const {
  Allocation *found = findLocked(address);
  if (!found || !found->holds(address, bytes))
    throw DeviceError({what, fmt::format("all {} bytes must lie in a buffer of the device", bytes),
                       fmt::format("{:#x}", address), ""});
  return *found;
}

void GlobalMemory::copyIn(DevicePtr to, const void *from, size_t bytes) {
  if (bytes == 0)
    return;
  Use lock = use();
  Allocation &buffer = require(to, bytes, "copying to the emulator");
  std::memcpy(buffer.at(to), from, bytes);
  buffer.markWritten(to, bytes);
}

void GlobalMemory::copyOut(void *to, DevicePtr from, size_t bytes) const {
  if (bytes == 0)
    return;
  Use lock = use();
  std::memcpy(to, require(from, bytes, "copying from the emulator").at(from), bytes);
}

void GlobalMemory::fill(DevicePtr to, uint8_t byte, size_t bytes) {
  if (bytes == 0)
    return;
  Use lock = use();
  Allocation &buffer = require(to, bytes, "filling memory of the emulator");
  std::memset(buffer.at(to), byte, bytes);
  buffer.markWritten(to, bytes);
}

std::string GlobalMemory::describe(DevicePtr address) const {
  auto tell = [address](DevicePtr base, size_t bytes, uint64_t number, const char *state) {
    const std::string buffer = fmt::format("{}buffer {} ({} bytes)", state, number, bytes);
    if (address < base + bytes)
      return fmt::format("byte {} of {}", address - base, buffer);
    return fmt::format("{} bytes past the end of {}", address - base - bytes, buffer);
  };
  auto after = released_.upper_bound(address);
  if (after != released_.begin())
    if (const auto &[base, record] = *std::prev(after); address - base < record.first)
      return tell(base, record.first, record.second, "the released ");
  auto next = buffers_.upper_bound(address);
  if (next == buffers_.begin())
    return fmt::format("address {:#x}, before every buffer", address);
  const Allocation &before = *std::prev(next)->second;
  if (next != buffers_.end() && next->first - address <= gapBytes / 2 && !before.holds(address, 0))
    return fmt::format("{} bytes before buffer {} ({} bytes)", next->first - address, next->second->number(),
                       next->second->bytes());
  return tell(before.base(), before.bytes(), before.number(), "");
}
