//===- Mapped.h - Memory that costs nothing until it is touched --------------------------------------===//
//
// Zeros from the operating system, page by page as they are used: buffers of the emulated GPU may be larger
// than the host's memory. Called by what belongs to such a buffer.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <cstddef>

namespace lathe::runtime::emulator {

/// Throws DeviceError where the host has no more.
void *mapBytes(size_t bytes);
void unmapBytes(void *mapped, size_t bytes);

} // namespace lathe::runtime::emulator
