//===- RoutePlan.h - The extents of the routing kernel -----------------------------------------------===//
//
// How many rows a CTA takes, how many CTAs there may be, and where what lies in shared memory and in scratch
// memory. Plain C++: the kernel is built by it, the manifest tells the runtime the same.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/MoeProblem.h"

namespace lathe::codegen {

/// What the kernel serves.
inline constexpr int routeMaxExperts = 512; ///< A thread an expert.
inline constexpr int routeMaxTopK = 32;     ///< A lane a choice.
inline constexpr int routeMaxGroups = 32;   ///< A lane a group.

/// As few as the experts allow: meeting in a CTA costs the more the more warps it has.
inline int routeWarps(const MoeProblem &problem) { return problem.experts <= 256 ? 8 : 16; }
inline int routeThreads(const MoeProblem &problem) { return 32 * routeWarps(problem); }

/// Experts that a lane holds the logits of.
inline int routeLaneExperts(const MoeProblem &problem) { return (problem.routedExperts + 31) / 32; }

/// Rows that a CTA takes at least, best of all numbers from 64 rows on. Exchanging counts costs 0.7 µs, each
/// further row of a warp 0.6 with 64 experts and 1.4 with 256 in 8 groups (an H200, graphs of 40 launches).
inline int routeRows(const MoeProblem &problem) { return problem.router == MoeRouter::Given ? 32 : 8; }

/// CTAs at most. They wait for each other, so all must be resident: any Hopper has more multiprocessors.
inline int routeBlocks(const MoeProblem &) { return 64; }

/// Scratch memory begins with the number of launches, in a line of the cache of its own. Behind it each CTA
/// publishes the count of each expert, two words each: the count, and which launch it is of.
inline constexpr int routeCountsWord = 32;
inline int routeScratchWords(const MoeProblem &problem) {
  return routeCountsWord + 2 * routeBlocks(problem) * problem.experts;
}

/// A warp's view of the groups of experts: `lanes` neighbouring lanes look at one group, whose values lie
/// `stride` words from those of the next. An odd multiple of `lanes` keeps all lanes in banks of their own.
struct RouteGroups {
  int size = 0;   ///< Experts of a group.
  int lanes = 1;  ///< A power of two.
  int stride = 0; ///< Words.
};
inline RouteGroups routeGroups(const MoeProblem &problem) {
  RouteGroups groups;
  groups.size = problem.routedExperts / problem.groups;
  while (groups.lanes * 2 * problem.groups <= 32)
    groups.lanes *= 2;
  groups.stride = (groups.size + groups.lanes - 1) / groups.lanes * groups.lanes;
  if (groups.stride / groups.lanes % 2 == 0)
    groups.stride += groups.lanes;
  return groups;
}
/// Whether experts are chosen from some of the groups only.
inline bool routeHasGroups(const MoeProblem &problem) {
  return problem.router != MoeRouter::Given && problem.topGroups < problem.groups;
}

/// Word offsets into shared memory.
struct RouteMemory {
  int counts = 0; ///< [warps][experts]: choices of a warp; later those of the warps before.
  int base = 0;   ///< [experts]: first slot of the CTA's choices.
  int first = 0;  ///< [experts]: first slot.
  int rows = 0;   ///< [experts]: choices of all CTAs.
  int tiles = 0;  ///< [experts + 1]: tiles of the experts before.
  int sums = 0;   ///< [2][warps]: slots and tiles of a warp's experts.
  int launch = 0; ///< What this launch's counts are marked with.
  int many = 0;   ///< Whether an expert has more tiles than one thread writes.
  int keys = 0;   ///< [warps][groups of a row]: what groups are judged by.
  int chosen = 0; ///< [warps][topGroups]: the chosen groups, ascending.
  int sharedWords = 0;
};
inline RouteMemory routeMemory(const MoeProblem &problem) {
  RouteMemory memory;
  memory.base = routeWarps(problem) * problem.experts;
  memory.first = memory.base + problem.experts;
  memory.rows = memory.first + problem.experts;
  memory.tiles = memory.rows + problem.experts;
  memory.sums = memory.tiles + problem.experts + 1;
  memory.launch = memory.sums + 2 * routeWarps(problem);
  memory.many = memory.launch + 1;
  memory.keys = memory.chosen = memory.sharedWords = memory.many + 1;
  if (routeHasGroups(problem)) {
    memory.chosen += routeWarps(problem) * problem.groups * routeGroups(problem).stride;
    memory.sharedWords = memory.chosen + routeWarps(problem) * problem.topGroups;
  }
  return memory;
}

} // namespace lathe::codegen
