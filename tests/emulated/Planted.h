//===- Planted.h - A mistake planted into a correct kernel -------------------------------------------===//
//
// What is edited, in which kernel, and what the emulator must say of it. Each file of planted bugs makes a
// list of them for the one test in Planted.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "EmulatedKernels.h"
#include "PlantedBug.h"

#include <gtest/gtest.h>

namespace lathe::emulatedtest {

using runtime::emulator::FindingKind;

/// What is run: the default kernel, one consumer warpgroup, two CTAs a cluster, operands exchanged, two
/// consumers in turns, or these with the next scores begun early.
enum class Base { Plain, Single, Cluster, Swapped, Seesaw, SeesawEarly };

struct Planted {
  std::string name;
  FindingKind kind;      ///< Of the first finding, or of a later one where `orFirst` says so.
  std::string address;   ///< Must be part of the finding's address; may be empty.
  std::string operation; ///< Must be part of the tile operation's text; may be empty.
  std::function<void(PtxEditor &)> edit;
  Base base = Base::Plain;
  std::string kernel = "attend";
  std::function<void(Manifest &)> editManifest = {};
  /// What may be found before it, as another view of the same mistake.
  std::vector<FindingKind> orFirst = {};
  // NOLINTNEXTLINE(readability-identifier-naming): GoogleTest's.
  friend void PrintTo(const Planted &entry, std::ostream *stream) { *stream << entry.name; }
};

class PlantedBugs : public testing::TestWithParam<Planted> {};

inline std::string plantedName(const testing::TestParamInfo<Planted> &info) { return info.param.name; }

/// Removes a spinning wait: the lines of its loop.
void removeWait(PtxEditor &e, size_t wait);
/// Finds the constant fields of WGMMA descriptors.
inline constexpr const char *descriptorFields = R"(or.b64 .*, \d{12,};)";
/// Changes the fields that a line adds to an address.
void changeDescriptorAt(PtxEditor &e, size_t line, const std::function<uint64_t(uint64_t)> &change);

} // namespace lathe::emulatedtest
