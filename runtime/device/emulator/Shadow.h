//===- Shadow.h - Who wrote and read each word of shared memory --------------------------------------===//
//
// For every four bytes of a CTA's shared memory: the last write, the reads since, and whether the bytes hold
// anything. An access is checked against what its agent has seen (Clock.h): two accesses of which one writes
// and that nothing orders are a race, and one that crosses from the generic to the async proxy needs a fence
// on the way. The bookkeeping of SharedMemory; it holds no bytes itself.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/emulator/Clock.h"

#include <cstdint>
#include <vector>

namespace lathe::runtime::emulator {

enum class Proxy : uint8_t { Generic, Async };

/// An access that somebody made: which step of which agent, by the instruction at `pc`.
struct Access {
  uint16_t agent = 0;
  uint8_t bytes : 4 = 0;   ///< Of the word, a bit each; 0: no access.
  bool strong : 1 = false; ///< Atomic, or with an order of its own: does not race with another strong access.
  Proxy proxy = Proxy::Generic;
  uint32_t step = 0;
  uint32_t pc = 0;
};

enum class Order : uint8_t { Ordered, Race, Unfenced };

/// Whether `earlier` happened before an access of proxy `proxy` by someone who knows `clock`.
inline Order order(const Access &earlier, Proxy proxy, const Clock &clock) {
  if (clock.seen(earlier.agent) < earlier.step)
    return Order::Race;
  if (proxy == Proxy::Async && earlier.proxy == Proxy::Generic && clock.fenced(earlier.agent) < earlier.step)
    return Order::Unfenced;
  return Order::Ordered;
}

/// What a check found: the order, and where it is broken the earlier access.
struct Conflict {
  Order order = Order::Ordered;
  bool withRead = false; ///< The earlier access was a read.
  Access earlier;
  explicit operator bool() const { return order != Order::Ordered; }
};

class Shadow {
public:
  explicit Shadow(uint32_t bytes);

  /// A read or a write of bytes of word `word` (bits of `access.bytes`): checked against `clock`, then kept.
  Conflict read(uint32_t word, const Access &access, const Clock &clock);
  Conflict write(uint32_t word, const Access &access, const Clock &clock);

  /// Bytes that hold a value, a bit each.
  uint8_t defined(uint32_t word) const { return cells_[word].defined; }
  void define(uint32_t word, uint8_t bytes) { cells_[word].defined |= bytes; }
  /// Bytes that were written with a value that comes from nowhere; `origin` says whence.
  void undefine(uint32_t word, uint8_t bytes, uint32_t origin) {
    cells_[word].defined &= uint8_t(~bytes);
    cells_[word].origin = origin;
  }
  /// Where an undefined word comes from; 0: nothing wrote it.
  uint32_t origin(uint32_t word) const { return cells_[word].origin; }

  /// The last write of a word; bytes 0: none.
  const Access &lastWrite(uint32_t word) const { return cells_[word].write; }

private:
  static constexpr int inlineReads = 2;
  struct Cell {
    Access write;
    Access reads[inlineReads];
    uint32_t more = 0; ///< Index into more_, 0: none.
    uint32_t origin = 0;
    uint8_t defined = 0;
  };
  Conflict checkReads(Cell &cell, const Access &access, const Clock &clock);
  void keepRead(Cell &cell, const Access &access, const Clock &clock);

  std::vector<Cell> cells_;
  std::vector<std::vector<Access>> more_; ///< Reads beyond the inline ones; entry 0 is not used.
  std::vector<uint32_t> spare_;           ///< Entries of more_ that are empty.
};

} // namespace lathe::runtime::emulator
