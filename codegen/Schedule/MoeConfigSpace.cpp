//===- MoeConfigSpace.cpp - The space of the mixture-of-experts schedule and its default -------------===//
//
// All candidate values of each axis, and which of them serve when nothing was tuned; docs/schedules/moe.md
// has the measurements.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/MoeAxes.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace lathe::codegen {

/// Whether several widths, clusters and permuted rows are worth a try: with consumers that share rows.
static bool forManyRows(const MoeConfig &config) {
  return config.consumers > 1 && config.ctasPerSm == 1 && (config.cluster == 1 || config.permute);
}

/// The configuration with all values of what changes no result and no place in memory.
static void addWithHints(std::vector<MoeConfig> &space, MoeConfig config) {
  for (bool evictFirst : {false, true})
    for (DependentLaunch launch : {DependentLaunch::Off, DependentLaunch::Early})
      for (auto [up, down] : {std::pair{false, false}, {false, true}, {true, false}, {true, true}}) {
        if ((up || down) && (launch == DependentLaunch::Off || config.consumers > 1))
          continue;
        config.evictFirst = evictFirst, config.dependentLaunch = launch;
        config.prefetchUp = up, config.prefetchDown = down;
        space.push_back(config);
      }
}

std::vector<MoeConfig> enumerateMoeConfigs(const MoeProblem &problem) {
  std::vector<MoeConfig> space;
  for (int tokenTile : tokenTileAxis)
    for (int widths : widthsAxis)
      for (int consumers : consumersAxis)
        for (int cluster : clusterAxis)
          for (int depthTile : depthTileAxis)
            for (int stages : stagesAxis)
              for (int ctas : ctasPerSmAxis)
                for (auto [permute, dynamic] :
                     {std::pair{false, false}, {true, false}, {false, true}, {true, true}}) {
                  MoeConfig config{tokenTile, widths, consumers, cluster, depthTile,
                                   stages,    ctas,   permute,   dynamic};
                  if ((widths > 1 || cluster > 1 || permute) && !forManyRows(config))
                    continue;
                  if (consumers > 2) // Until they have been measured.
                    continue;
                  addWithHints(space, config);
                }
  return space;
}

static constexpr int fewRows = 64;        // Up to so many a tile weights are the limit.
static constexpr int severalWidths = 128; // From so many on tiles are worth main loops of several widths.
static constexpr int narrowTile = 32;     // Up to so many rows are few beside a stage's weights.
static constexpr int longColumns = 10000; // Of weights, that a CTA's items have together.

/// Rows that an expert has no more of, `deviations` standard deviations above the mean, when rows spread
/// evenly by chance.
static double usualCount(const MoeProblem &problem, int rows, double deviations) {
  const double choices = double(rows) * problem.topK;
  const double mean = choices / std::max({problem.experts, problem.routedExperts, 1});
  return std::min<double>(rows, mean + deviations * std::sqrt(mean));
}

/// Whether an expert's rows are more than one product serves, so that weights are read again.
static bool readsAgain(const MoeProblem &problem, int rows) {
  return usualCount(problem, rows, 2.5) > moeProductRows;
}

/// The smallest tile that holds most experts' rows, for each further one reads the weights again; where none
/// does, that which cuts them into as few parts. Wide ones are such that they may have several widths.
static int usualTile(const MoeProblem &problem, int rows) {
  double usual = usualCount(problem, rows, 2.5);
  if (readsAgain(problem, rows)) {
    usual = usualCount(problem, rows, 2);
    usual /= std::ceil(usual / tokenTileAxis.back());
  }
  for (int tile : tokenTileAxis)
    if (tile >= usual && (tile < severalWidths || tile % moeNarrowBox == 0))
      return tile;
  return tokenTileAxis.back();
}

/// Items of `up` that a CTA has in the mean, where rows choose as many experts as they can.
static double itemsOfCta(const MoeProblem &problem, const MoeConfig &config, const Target &target, int rows) {
  const int64_t tiles = std::min<int64_t>(problem.experts, int64_t(rows) * problem.topK) + problem.shared;
  const int64_t blocks =
      int64_t(problem.intermediate) * problem.halves / (int64_t(moeWeightRows) * config.consumers);
  return double(tiles * blocks) / (double(target.smCount) * config.ctasPerSm);
}

/// Whether CTAs read for long.
static bool readsLong(const MoeProblem &problem, const MoeConfig &config, const Target &target, int rows) {
  return itemsOfCta(problem, config, target, rows) * problem.hidden > longColumns;
}

/// Finer stages, more of them, keep more bytes in flight, which counts where CTAs read for long; before that
/// the barriers of twice as many stages do.
static int usualDepth(const MoeProblem &problem, const MoeConfig &config, const Target &target, int rows) {
  const bool fine =
      config.tokenTile >= severalWidths ||
      (config.tokenTile <= narrowTile && config.ctasPerSm > 1 && readsLong(problem, config, target, rows));
  return fine ? depthTileAxis.front() : depthTileAxis.back();
}

/// CTAs of a multiprocessor: with many rows one whose consumers share them. Else two of a product; or, of the
/// narrowest tiles where CTAs read for long, one of `up` beside one of `down`, whose ring is full before `up`
/// ends.
static int usualCtas(const MoeProblem &problem, const Target &target, int tile, int rows) {
  const MoeConfig two{.tokenTile = tile, .ctasPerSm = 2};
  const bool beside = tile == tokenTileAxis.front() && readsLong(problem, two, target, rows);
  return tile > fewRows || beside ? 1 : 2;
}

/// Whether a CTA of each product fits beside the other, or two of one.
static bool leavesHalf(const MoeConfig &config, const Target &target) {
  return moeMemory(config).sharedBytes <= moeShareOfCta(target, {.ctasPerSm = 2});
}

MoeConfig defaultMoeConfig(const MoeProblem &problem, const Target &target, int rows) {
  const int tile = usualTile(problem, rows);
  const bool many = tile > fewRows, several = tile >= severalWidths, again = readsAgain(problem, rows);
  const int ctas = usualCtas(problem, target, tile, rows);
  std::optional<MoeConfig> best;
  Verdict closest;
  // With many rows two consumers that share them; then the usual stages, where there are three of them, and
  // deep rings.
  auto rank = [&](const MoeConfig &config) {
    const int form = (config.consumers == (many ? 2 : 1)) + (config.ctasPerSm == ctas) +
                     (config.widths == (several ? widthsAxis.back() : 1)) + (config.permute == again);
    return std::make_tuple(-std::abs(config.tokenTile - tile), form, config.stages >= 3,
                           config.depthTile == usualDepth(problem, config, target, rows), config.stages);
  };
  for (const MoeConfig &config : enumerateMoeConfigs(problem)) {
    const bool turns = itemsOfCta(problem, config, target, rows) > 1, few = config.consumers == 1;
    if (config.cluster > 1 || config.evictFirst == again ||
        config.dependentLaunch != DependentLaunch::Early || config.dynamic != turns ||
        config.prefetchUp != (few && turns) || config.prefetchDown != few ||
        (few && !leavesHalf(config, target)))
      continue; // Weights that several tiles read stay.
    if (Verdict verdict = check(problem, config, target); !verdict)
      closest = verdict;
    else if (!best || rank(config) > rank(*best))
      best = config;
  }
  if (!best)
    throw UserError(Fault{problem.name.empty() ? "mixture of experts" : problem.name,
                          fmt::format("no schedule serves this problem, constraint '{}'", closest.constraint),
                          {},
                          closest.reason});
  return *best;
}

} // namespace lathe::codegen
