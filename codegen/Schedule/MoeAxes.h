//===- MoeAxes.h - What the axes of a mixture-of-experts kernel may be -------------------------------===//
//
// Shared by the rules (MoeConfig.cpp) and the space (MoeConfigSpace.cpp).
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/MoeConfig.h"

#include <array>

namespace lathe::codegen {

inline constexpr int moeWeightRows = 64; ///< WGMMA's M.
inline constexpr int moeNarrowBox = 32;  ///< Rows of a box where tiles differ in width, or CTAs divide them.
inline constexpr std::array tokenTileAxis{8,   16,  24,  32,  48,  64,  80,  96,  112, 128,
                                          144, 160, 176, 192, 208, 224, 240, 256, 288};
inline constexpr std::array widthsAxis{1, 4, 8};
inline constexpr std::array consumersAxis{1, 2};
inline constexpr std::array clusterAxis{1, 2};
inline constexpr std::array depthTileAxis{64, 128};
inline constexpr std::array stagesAxis{2, 3, 4, 5, 6, 7, 8, 10, 12};
inline constexpr std::array ctasPerSmAxis{1, 2, 3};

/// Bytes of shared memory that a CTA may take.
int moeShareOfCta(const Target &target, const MoeConfig &config);

} // namespace lathe::codegen
