//===- Lanes.h - Rows of a register file as values of a type -----------------------------------------===//
//
// A row holds one value for each of 32 lanes, in 4 bytes or, for 64-bit values, in 8. These read and write
// lanes as any type of that size; narrower values lie in the low bits, zero above. Written so that ordinary
// compiler vectorisation turns loops over lanes into vector code.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace lathe::runtime::emulator {

inline constexpr int laneCount = 32;
inline constexpr uint32_t allLanes = ~uint32_t(0);

template <class T>
using LaneStorage = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

template <class T>
T laneAt(const std::byte *row, int lane) {
  LaneStorage<T> bits;
  std::memcpy(&bits, row + size_t(lane) * sizeof(bits), sizeof(bits));
  if constexpr (sizeof(T) < 4)
    return std::bit_cast<T>(static_cast<std::conditional_t<sizeof(T) == 1, uint8_t, uint16_t>>(bits));
  else
    return std::bit_cast<T>(bits);
}

template <class T>
void setLane(std::byte *row, int lane, T value) {
  LaneStorage<T> bits;
  if constexpr (sizeof(T) < 4)
    bits = std::bit_cast<std::conditional_t<sizeof(T) == 1, uint8_t, uint16_t>>(value);
  else
    bits = std::bit_cast<LaneStorage<T>>(value);
  std::memcpy(row + size_t(lane) * sizeof(bits), &bits, sizeof(bits));
}

/// body(lane) for each lane of the mask.
template <class Body>
void overLanes(uint32_t mask, Body body) {
  if (mask == allLanes) {
    for (int lane = 0; lane < laneCount; ++lane)
      body(lane);
    return;
  }
  for (; mask; mask &= mask - 1)
    body(std::countr_zero(mask));
}

} // namespace lathe::runtime::emulator
