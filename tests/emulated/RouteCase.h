//===- RouteCase.h - The routing kernel on the emulator ----------------------------------------------===//
//
// Random inputs of a routing, a run of the kernel in buffers of exactly what it may write, and the judge of
// all its results. Used by RouteTest.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "RoutePtx.h"

#include "lathe/dsl/models/Moe.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace lathe::emulatedtest {

/// How logits are drawn.
enum class RouteInputs {
  Normal,
  Ties, ///< Three values, and two of the bias; both zeros.
  Wild  ///< NaN, infinities, huge numbers; a row of nothing else.
};

struct RouteCase {
  dsl::MoeShape shape;
  codegen::MoeConfig config = {};
  int rows = 1;
  int blocks = 0;      ///< CTAs; 0: what the manifest would say.
  int firstExpert = 0; ///< Of a local part.
  RouteInputs inputs = RouteInputs::Normal;
  uint64_t seed = 1;        ///< Of the inputs.
  uint64_t order = 0;       ///< Of the emulator.
  int hostThreads = 0;      ///< Of the emulator.
  int launches = 1;         ///< One after the other into the same memory, every other one of two CTAs.
  bool oneTakesAll = false; ///< A given routing: all choices are of one expert.
  bool plain = false;       ///< Scores are the logits, and there is no layer.
  std::pair<std::string, std::string> planted = {}; ///< A mistake: a text of the PTX and what stands for it.
  std::string str() const;
};

/// What the kernel is given.
struct RouteData {
  std::vector<double> logits;   ///< As the kernel sees them.
  std::vector<std::byte> bytes; ///< The same, as they lie in memory.
  std::vector<float> bias;
  std::vector<int32_t> ids; ///< Of a given routing.
};

/// Elements of what it writes.
struct RouteExtents {
  explicit RouteExtents(const RouteCase &route);
  size_t choices, experts, sharedStart, slots, tiles;
};

/// All that the kernel leaves.
struct RouteResult {
  static constexpr auto nothing = int32_t(0xA5A5A5A5); ///< Where it has written nothing.
  std::vector<int32_t> ids;
  std::vector<float> weights;
  std::vector<int32_t> counts, offsets, slots, places, tiles, tileCount;
  int32_t launches = 0; ///< That the scratch memory counts, times two.
  bool operator==(const RouteResult &) const = default;
};

/// The first fault of a result; empty: none.
std::string judgeRoute(const RouteCase &route, const RouteData &inputs, const RouteResult &result);

/// What the kernel routed, and the first fault; empty: none. Findings of the emulator are faults.
struct RouteRun {
  std::string fault;
  RouteResult result;
};
RouteRun runRoute(const RouteCase &route);

} // namespace lathe::emulatedtest
