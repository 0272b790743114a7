#include "lathe/runtime/device/emulator/Shadow.h"

using namespace lathe::runtime::emulator;

Shadow::Shadow(uint32_t bytes) : cells_((bytes + 3) / 4), more_(1) {}

/// Nothing more than overlap and order: equal steps of an async agent are one operation's or one phase's, of
/// which no part waits for another.
static Order orderOf(const Access &earlier, const Access &access, const Clock &clock) {
  const bool meet = (earlier.bytes & access.bytes) && !(earlier.strong && access.strong);
  return meet ? order(earlier, access.proxy, clock) : Order::Ordered;
}

void Shadow::keepRead(Cell &cell, const Access &access, const Clock &clock) {
  for (Access &read : cell.reads) {
    const bool same = read.bytes && read.agent == access.agent && read.proxy == access.proxy;
    // A read that this one has seen adds nothing: who orders against this one orders against it too.
    const bool covered = read.proxy == access.proxy && (read.bytes & ~access.bytes) == 0 &&
                         clock.seen(read.agent) >= read.step;
    if (read.bytes == 0 || same || covered) {
      const uint8_t bytes = same ? read.bytes | access.bytes : access.bytes;
      read = access;
      read.bytes = bytes;
      return;
    }
  }
  if (cell.more == 0) {
    if (spare_.empty()) {
      spare_.push_back(uint32_t(more_.size()));
      more_.emplace_back();
    }
    cell.more = spare_.back();
    spare_.pop_back();
  }
  for (Access &read : more_[cell.more])
    if (read.agent == access.agent && read.proxy == access.proxy) {
      const uint8_t bytes = read.bytes | access.bytes;
      read = access;
      read.bytes = bytes;
      return;
    }
  more_[cell.more].push_back(access);
}

Conflict Shadow::read(uint32_t word, const Access &access, const Clock &clock) {
  Cell &cell = cells_[word];
  const Access &last = cell.reads[0];
  if (last.agent == access.agent && last.step == access.step && last.pc == access.pc &&
      last.bytes == access.bytes && last.proxy == access.proxy)
    return {}; // The same read again: checked before.
  Conflict conflict{orderOf(cell.write, access, clock), false, cell.write};
  keepRead(cell, access, clock);
  return conflict;
}

Conflict Shadow::checkReads(Cell &cell, const Access &access, const Clock &clock) {
  for (const Access &read : cell.reads)
    if (Order found = orderOf(read, access, clock); found != Order::Ordered)
      return {found, true, read};
  if (cell.more == 0)
    return {};
  for (const Access &read : more_[cell.more])
    if (Order found = orderOf(read, access, clock); found != Order::Ordered)
      return {found, true, read};
  return {};
}

Conflict Shadow::write(uint32_t word, const Access &access, const Clock &clock) {
  Cell &cell = cells_[word];
  Conflict conflict{orderOf(cell.write, access, clock), false, cell.write};
  if (!conflict)
    conflict = checkReads(cell, access, clock);
  for (Access &read : cell.reads)
    read = {};
  if (cell.more != 0) {
    more_[cell.more].clear();
    spare_.push_back(cell.more);
    cell.more = 0;
  }
  cell.write = access;
  return conflict;
}
