#include "lathe/runtime/device/emulator/SharedMemory.h"

#include "lathe/runtime/device/emulator/Program.h"

#include <algorithm>

using namespace lathe::runtime::emulator;

/// What memory that nobody wrote looks like: a bf16, f16 and f32 NaN, and no valid address.
static constexpr std::byte poison{0xff};

SharedMemory::SharedMemory(uint32_t bytes)
    : data_(bytes, poison), shadow_(bytes), sources_(bytes / chunkBytes + 1), barrierOf_(bytes / 8 + 1) {}

bool SharedMemory::holds(uint32_t offset, uint32_t size) const {
  return offset >= reservedSharedBytes && size <= data_.size() && offset <= data_.size() - size;
}

AccessFault SharedMemory::visit(uint32_t offset, uint32_t size, const Accessor &who, bool write) {
  AccessFault first;
  const uint32_t end = offset + size;
  for (uint32_t chunk = offset / chunkBytes; write && chunk * chunkBytes < end; ++chunk)
    sources_[chunk].known = false;
  for (uint32_t at = offset & ~3u; at < end; at += 4) {
    const uint32_t from = std::max(at, offset) - at, to = std::min(end - at, 4u);
    const auto bytes = uint8_t((0xfu >> (4 - to)) & (0xfu << from));
    const Access access{uint16_t(who.agent), bytes, who.strong, who.proxy, who.step, who.pc};
    AccessFault fault;
    fault.onBarrier = barrierOf_[at / 8] != 0;
    if (write) {
      fault.conflict = shadow_.write(at / 4, access, *who.clock);
      shadow_.define(at / 4, bytes);
    } else {
      fault.conflict = shadow_.read(at / 4, access, *who.clock);
      fault.undefined = (shadow_.defined(at / 4) & bytes) != bytes;
      fault.origin = shadow_.origin(at / 4);
    }
    if (fault && !first) [[unlikely]] {
      fault.offset = at + from;
      first = fault;
    }
  }
  return first;
}

void SharedMemory::undefine(uint32_t offset, uint32_t size, uint32_t origin) {
  const uint32_t end = offset + size;
  for (uint32_t at = offset & ~3u; at < end; at += 4) {
    const uint32_t from = std::max(at, offset) - at, to = std::min(end - at, 4u);
    shadow_.undefine(at / 4, uint8_t((0xfu >> (4 - to)) & (0xfu << from)), origin);
  }
}

Mbarrier *SharedMemory::barrierAt(uint32_t offset) {
  if (offset % 8 != 0 || offset / 8 >= barrierOf_.size() || barrierOf_[offset / 8] == 0)
    return nullptr;
  return barriers_[barrierOf_[offset / 8] - 1].get();
}

Mbarrier &SharedMemory::makeBarrier(uint32_t offset) {
  barriers_.push_back(std::make_unique<Mbarrier>());
  barriers_.back()->offset = offset;
  barrierOf_[offset / 8] = uint16_t(barriers_.size());
  return *barriers_.back();
}

void SharedMemory::dropBarrier(uint32_t offset) { barrierOf_[offset / 8] = 0; }
