//===- Windows.h - Where state spaces lie in the generic one -----------------------------------------===//
//
// Generic addresses of shared memory and of kernel parameters lie in windows far above global memory. A
// shared address of 32 bits holds the CTA's rank in its cluster above 24 bits of offset, as on Hopper, also
// for a CTA's own memory. Used by all instructions that make or take addresses.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <cstdint>

namespace lathe::runtime::emulator {

inline constexpr uint64_t sharedWindow = uint64_t(1) << 56, parameterWindow = uint64_t(1) << 57;
inline constexpr uint64_t windowBytes = uint64_t(1) << 32;
inline constexpr unsigned rankShift = 24;

constexpr uint32_t sharedWindowAddress(uint32_t rank, uint32_t offset) {
  return (rank << rankShift) | offset;
}
constexpr uint32_t rankOf(uint32_t address) { return address >> rankShift; }
constexpr uint32_t offsetOf(uint32_t address) { return address & ((uint32_t(1) << rankShift) - 1); }

} // namespace lathe::runtime::emulator
