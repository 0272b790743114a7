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
#include <tuple>

namespace lathe::codegen {

/// Whether several widths, clusters and permuted rows are worth a try: with consumers that share rows.
static bool forManyRows(const MoeConfig &config) {
  return config.consumers > 1 && config.ctasPerSm == 1 && (config.cluster == 1 || config.permute);
}

/// The configuration with all values of how its launches follow each other and what they bring ahead of use.
static void addWithHints(std::vector<MoeConfig> &space, MoeConfig config) {
  for (bool evictFirst : {false, true})
    for (DependentLaunch launch : {DependentLaunch::Off, DependentLaunch::Early})
      for (auto [one, up, down] : {std::tuple{false, false, false},
                                   {false, false, true},
                                   {false, true, false},
                                   {false, true, true},
                                   {true, false, false},
                                   {true, true, false}}) {
        if ((one || up || down) && launch == DependentLaunch::Off)
          continue;
        if ((one && !config.dynamic) || (up && config.permute) || (down && config.consumers > 1))
          continue;
        config.evictFirst = evictFirst, config.dependentLaunch = launch;
        config.oneLaunch = one, config.prefetchUp = up, config.prefetchDown = down;
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
                  MoeConfig config{.tokenTile = tokenTile,
                                   .widths = widths,
                                   .consumers = consumers,
                                   .cluster = cluster,
                                   .depthTile = depthTile,
                                   .stages = stages,
                                   .ctasPerSm = ctas,
                                   .permute = permute,
                                   .dynamic = dynamic};
                  if ((widths > 1 || cluster > 1 || permute) && !forManyRows(config))
                    continue;
                  addWithHints(space, config);
                }
  return space;
}

static constexpr int fewRows = 64;        // Up to so many a tile weights are the limit.
static constexpr int narrowTile = 32;     // Up to so many rows one consumer does as well as two.
static constexpr int severalWidths = 96;  // From so many on tiles are worth main loops of several widths.
static constexpr int busyTile = 128;      // From so many on multiplying takes as long as reading.
static constexpr int enoughStages = 8;    // Of narrow tiles: more bring nothing.
static constexpr int longColumns = 4096;  // Items of so many are long beside the handover between products.
static constexpr int severalItems = 2;    // A CTA with more than so many takes what is next.
static constexpr double fullRound = 0.75; // Of CTAs with an item in the last round; else two smaller ones.

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

/// Rows that a tile should hold: those of most experts, for each further tile reads the weights again. Up to
/// fewRows a wider tile costs next to nothing, so that it holds the rows of nearly all, and where it is
/// narrow also of experts that are more popular than others. To shared experts all rows go, but most tiles
/// are others'.
static double usualRows(const MoeProblem &problem, int rows) {
  double usual = usualCount(problem, rows, 2.5);
  if (usual > tokenTileAxis.front())
    usual = std::max({usual, std::min<double>(usualCount(problem, rows, 4), fewRows),
                      std::min<double>(usualCount(problem, rows, 6), narrowTile)});
  return problem.shared > 0 ? std::max<double>(usual, std::min(rows, narrowTile)) : usual;
}

/// The smallest tile that holds the usual rows, or where none does, that which cuts them into as few parts.
/// Wide ones are such that they may have several widths.
static int usualTile(const MoeProblem &problem, int rows) {
  double usual = usualRows(problem, rows);
  if (readsAgain(problem, rows)) {
    usual = usualCount(problem, rows, 2);
    usual /= std::ceil(usual / tokenTileAxis.back());
  }
  for (int tile : tokenTileAxis)
    if (tile >= usual && (tile < severalWidths || tile % moeNarrowBox == 0))
      return tile;
  return tokenTileAxis.back();
}

/// Items of `up` that a CTA has in the mean, where rows choose as many experts as they can. To shared experts
/// all rows go.
static double itemsOfCta(const MoeProblem &problem, const MoeConfig &config, const Target &target, int rows) {
  const double here = double(problem.experts) / std::max({problem.experts, problem.routedExperts, 1});
  const double choices = double(rows) * problem.topK * here;
  const double tiles =
      std::max(std::min<double>(problem.experts, std::ceil(choices)), choices / config.tokenTile) +
      problem.shared * std::ceil(double(rows) / config.tokenTile);
  const int blocks = problem.intermediate * problem.halves / (moeWeightRows * config.consumers);
  return tiles * blocks / (double(target.smCount) * config.ctasPerSm);
}

/// The most main loops that a tile can have.
static int mostWidths(int tile) {
  int most = 1;
  for (int widths : widthsAxis)
    if (tile % moeNarrowBox == 0 && tile > (widths - 1) * moeWidthStep)
      most = widths;
  return most;
}

/// What was fastest for about so many rows, with as many stages as are worth having; whether the problem has
/// such a form is not asked. Where CTAs have few items they know theirs, and `down` begins beside the last
/// CTAs of `up`; elsewhere items are given out, mostly in one launch.
static MoeConfig usualForm(const MoeProblem &problem, const Target &target, int rows) {
  MoeConfig form;
  form.tokenTile = usualTile(problem, rows);
  const bool narrow = form.tokenTile <= narrowTile, several = form.tokenTile >= severalWidths,
             busy = form.tokenTile >= busyTile;
  form.permute = readsAgain(problem, rows);
  form.evictFirst = !form.permute; // Weights that several tiles read stay.
  form.consumers = narrow ? 1 : 2;
  const double items = itemsOfCta(problem, form, target, rows);
  form.dynamic = items > severalItems;
  if (narrow && !form.dynamic && !problem.partial && items / std::ceil(items) < fullRound)
    form.ctasPerSm = 2; // How many experts a slice has busy is not known.
  form.widths = several ? mostWidths(form.tokenTile) : 1;
  form.depthTile = several ? depthTileAxis.front() : depthTileAxis.back();
  form.stages = narrow ? enoughStages : stagesAxis.back();
  form.oneLaunch = form.dynamic && (!several || form.permute || problem.hidden >= longColumns);
  form.prefetchUp = form.dynamic && !busy && !form.permute;
  form.prefetchDown = narrow && !form.oneLaunch;
  return form;
}

/// What of a form is wanted whatever the problem's extents.
static bool sameHints(const MoeConfig &config, const MoeConfig &form) {
  const auto hints = [](const MoeConfig &c) {
    return std::make_tuple(c.cluster, c.evictFirst, c.dynamic, c.oneLaunch, c.prefetchUp, c.prefetchDown,
                           c.dependentLaunch);
  };
  return hints(config) == hints(form);
}

MoeConfig defaultMoeConfig(const MoeProblem &problem, const Target &target, int rows) {
  const MoeConfig form = usualForm(problem, target, rows);
  std::optional<MoeConfig> best;
  Verdict closest;
  // The form, where there are three of its stages, and deep rings.
  auto rank = [&](const MoeConfig &config) {
    const int same = (config.consumers == form.consumers) + (config.ctasPerSm == form.ctasPerSm) +
                     (config.widths == form.widths) + (config.permute == form.permute);
    return std::make_tuple(-std::abs(config.tokenTile - form.tokenTile), same, config.stages >= 3,
                           config.depthTile == form.depthTile, config.stages);
  };
  for (const MoeConfig &config : enumerateMoeConfigs(problem)) {
    if (!sameHints(config, form) || config.stages > form.stages)
      continue;
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
