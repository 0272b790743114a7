//===- MoeConfig.cpp - The rules of the mixture-of-experts schedule ----------------------------------===//
//
// What a configuration costs and which rule it breaks, as arithmetic over a few constants that are stated
// once, at the top. The schedule builds exactly what moeMemory() counts.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/MoeConfig.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace lathe::codegen {

static constexpr int weightRows = 64; // WGMMA's M.
static constexpr int elementBytes = 2, barrierBytes = 8, itemBytes = 16, maxStages = 16;
static constexpr int stagingRowBytes = weightRows * elementBytes + 16,
                     pairsRowBytes = weightRows / 2 * elementBytes + 16;
static constexpr int reservedBytes = 1024; // Of shared memory, for each CTA of a multiprocessor.
static constexpr int maxExperts = 512, maxTopK = 16, maxGroups = 32;
static constexpr std::array tokenTileAxis{8,   16,  24,  32,  48,  64,  80,  96,  112, 128,
                                          144, 160, 176, 192, 208, 224, 240, 256, 288};
static constexpr std::array widthsAxis{1, 4, 8};
static constexpr std::array consumersAxis{1, 2}, clusterAxis{1, 2};
static constexpr int narrowBox = 32;   // Rows of a box where tiles differ in width, or CTAs divide them.
static constexpr int usualAtOnce = 64; // Columns of a result that are staged at least.
static constexpr std::array depthTileAxis{64, 128};
static constexpr std::array stagesAxis{2, 3, 4, 5, 6, 8, 10, 12};
static constexpr std::array ctasPerSmAxis{1, 2, 3};

//===- Text and JSON ---------------------------------------------------------------------------------===//

std::string MoeConfig::str() const {
  return fmt::format(
      "tokenTile={} widths={} consumers={} cluster={} depthTile={} stages={} ctasPerSm={} "
      "permute={} dynamic={} atomic={} prefetchUp={} prefetchDown={} evictFirst={} dependentLaunch={}",
      tokenTile, widths, consumers, cluster, depthTile, stages, ctasPerSm, permute, dynamic, atomic,
      prefetchUp, prefetchDown, evictFirst, dependentLaunch == DependentLaunch::Off ? "off" : "early");
}

void to_json(nlohmann::json &json, const MoeConfig &config) {
  json = {{"tokenTile", config.tokenTile},
          {"widths", config.widths},
          {"consumers", config.consumers},
          {"cluster", config.cluster},
          {"depthTile", config.depthTile},
          {"stages", config.stages},
          {"ctasPerSm", config.ctasPerSm},
          {"permute", config.permute},
          {"dynamic", config.dynamic},
          {"atomic", config.atomic},
          {"prefetchUp", config.prefetchUp},
          {"prefetchDown", config.prefetchDown},
          {"evictFirst", config.evictFirst},
          {"dependentLaunch", config.dependentLaunch == DependentLaunch::Off ? "off" : "early"}};
}

static UserError configError(std::string rule, std::string value) {
  return UserError(Fault{
      "schedule config", std::move(rule), std::move(value),
      "fields are tokenTile, widths, consumers, cluster, depthTile, stages, ctasPerSm, permute, dynamic, "
      "atomic, prefetchUp, prefetchDown, evictFirst, dependentLaunch (off, early)"});
}

void from_json(const nlohmann::json &json, MoeConfig &config) {
  if (!json.is_object())
    throw configError("a config must be a JSON object", json.dump());
  MoeConfig read;
  const std::array<std::pair<const char *, int MoeConfig::*>, 7> numbers{
      {{"tokenTile", &MoeConfig::tokenTile},
       {"widths", &MoeConfig::widths},
       {"consumers", &MoeConfig::consumers},
       {"cluster", &MoeConfig::cluster},
       {"depthTile", &MoeConfig::depthTile},
       {"stages", &MoeConfig::stages},
       {"ctasPerSm", &MoeConfig::ctasPerSm}}};
  const std::array<std::pair<const char *, bool MoeConfig::*>, 6> flags{
      {{"permute", &MoeConfig::permute},
       {"dynamic", &MoeConfig::dynamic},
       {"atomic", &MoeConfig::atomic},
       {"prefetchUp", &MoeConfig::prefetchUp},
       {"prefetchDown", &MoeConfig::prefetchDown},
       {"evictFirst", &MoeConfig::evictFirst}}};
  for (const auto &[name, value] : json.items()) {
    auto number =
        std::find_if(numbers.begin(), numbers.end(), [&](auto &field) { return name == field.first; });
    auto flag = std::find_if(flags.begin(), flags.end(), [&](auto &field) { return name == field.first; });
    if (number != numbers.end() && value.is_number_integer() && std::abs(value.get<double>()) < 1e6)
      read.*(number->second) = value.get<int>();
    else if (flag != flags.end() && value.is_boolean())
      read.*(flag->second) = value.get<bool>();
    else if (name == "dependentLaunch" && (value == "off" || value == "early"))
      read.dependentLaunch = value == "off" ? DependentLaunch::Off : DependentLaunch::Early;
    else
      throw configError("unknown field, or a value of the wrong type", name + "=" + value.dump());
  }
  config = read;
}

//===- Resources -------------------------------------------------------------------------------------===//

/// Bytes of shared memory that a CTA may take.
static int shareOfCta(const Target &target, const MoeConfig &config) {
  return (target.sharedBytesPerCta + reservedBytes) / config.ctasPerSm - reservedBytes;
}

std::vector<int> moeWidths(const MoeConfig &config) {
  std::vector<int> widths;
  for (int i = 0; i < config.widths; ++i)
    widths.push_back(config.tokenTile - i * moeWidthStep);
  return widths;
}

int moeTileUnit(const MoeConfig &config) { return config.widths > 1 ? moeWidthStep : moeSlotTile; }

int moeRowBox(const MoeConfig &config) {
  return config.widths > 1 || config.cluster > 1 ? narrowBox : config.tokenTile;
}

MoeMemory moeMemory(const MoeConfig &config) {
  MoeMemory memory;
  memory.weightBytes = weightRows * config.consumers * config.depthTile * elementBytes;
  memory.rowBytes = config.tokenTile * config.depthTile * elementBytes;
  memory.rows = config.stages * memory.weightBytes;
  memory.staging = memory.rows + config.stages * memory.rowBytes;
  // Full and empty ones, of two rings and of the queue behind them.
  const int barriers = 2 * 2 * config.stages * barrierBytes,
            queue = moeQueueSlots * (itemBytes + 2 * barrierBytes);
  // As many columns of a result at a time as the rings leave room for.
  const int left = shareOfCta(Target(), config) - memory.staging - barriers - queue;
  memory.atOnce = std::min(config.tokenTile, usualAtOnce);
  while (memory.atOnce < config.tokenTile &&
         (memory.atOnce + moeSlotTile) * stagingRowBytes * config.consumers <= left)
    memory.atOnce += moeSlotTile;
  memory.stagingBytes = memory.atOnce * stagingRowBytes;
  memory.pairsAtOnce =
      std::min(config.tokenTile, memory.stagingBytes / pairsRowBytes / moeSlotTile * moeSlotTile);
  memory.barriers = memory.staging + config.consumers * memory.stagingBytes;
  memory.items = memory.barriers + barriers;
  memory.itemBarriers = memory.items + moeQueueSlots * itemBytes;
  memory.sharedBytes = memory.items + queue;
  return memory;
}

//===- Constraints -----------------------------------------------------------------------------------===//

static Verdict broken(const char *constraint, std::string reason) {
  return {false, constraint, std::move(reason)};
}

static Verdict checkProblem(const MoeProblem &problem) {
  if (!problem.ffn)
    return broken("experts", "the schedule serves experts, not a router alone; add the layer's output");
  if (problem.activation == MoeActivation::Other)
    return broken("activation", "the activation must be SwiGLU, SiLU or GELU");
  if (problem.output != Dtype::BF16)
    return broken("output", "the output must be bf16");
  if (problem.experts < 1 || problem.experts > maxExperts || problem.routedExperts > maxExperts)
    return broken("experts", fmt::format("experts must be 1 to {}, got {} of {}", maxExperts, problem.experts,
                                         problem.routedExperts));
  if (problem.topK < 1 || problem.topK > maxTopK)
    return broken("top_k", fmt::format("choices a row must be 1 to {}, got {}", maxTopK, problem.topK));
  if (problem.router != MoeRouter::Given && problem.topGroups < problem.groups && problem.groups > maxGroups)
    return broken("groups", fmt::format("groups must be 1 to {}, got {}", maxGroups, problem.groups));
  if (problem.shared > 0 && problem.sharedColumns != problem.intermediate)
    return broken("shared", fmt::format("shared experts must be as wide as the others, got {} and {}",
                                        problem.sharedColumns, problem.intermediate));
  return {};
}

template <class Axis>
static Verdict checkAxis(const char *name, const Axis &axis, int value) {
  if (std::find(axis.begin(), axis.end(), value) != axis.end())
    return {};
  return broken(name, fmt::format("{} must be one of {}, got {}", name, fmt::join(axis, ", "), value));
}

/// The widest tile whose results and activation a thread's registers hold, as assembling found it.
static int mostColumns(const MoeProblem &problem, const MoeConfig &config) {
  if (config.consumers > 1 && config.ctasPerSm > 1)
    return 96;
  const bool two = config.consumers > 1;
  if (problem.activation == MoeActivation::Gelu) // All results of a thread at once, each with its series.
    return two ? 144 : 176;
  return problem.activation == MoeActivation::Silu && two ? 224 : tokenTileAxis.back();
}

/// A CTA's rows of weights fill whole items, with gate and up beside each other.
static Verdict checkBlocks(const MoeProblem &problem, const MoeConfig &config) {
  const int second = weightRows * config.consumers * config.cluster, first = second / problem.halves;
  if (problem.intermediate % first != 0 || problem.hidden % second != 0)
    return broken(
        "blocks",
        fmt::format("intermediate and hidden must be multiples of {} and {} with {} consumers of {} "
                    "CTAs, got {} and {}",
                    first, second, config.consumers, config.cluster, problem.intermediate, problem.hidden));
  if (config.widths > 1 || config.cluster > 1)
    if (config.tokenTile % narrowBox != 0 || config.tokenTile <= (config.widths - 1) * moeWidthStep)
      return broken("widths",
                    fmt::format("with several widths or CTAs of a cluster tokenTile must be a multiple of {} "
                                "and above {}, got {}",
                                narrowBox, (config.widths - 1) * moeWidthStep, config.tokenTile));
  if (config.tokenTile > moeProductRows && (config.widths == 1 || config.consumers == 1 || !config.permute))
    return broken("tokenTile",
                  fmt::format("a tile of more than {} rows needs several widths, two consumers and "
                              "permute",
                              moeProductRows));
  if (config.cluster > 1 && config.ctasPerSm > 1)
    return broken("cluster", "CTAs that share rows have a multiprocessor each; set ctasPerSm to 1");
  if (config.cluster > 1 && config.dynamic)
    return broken("dynamic", "CTAs that share rows take the same items; set dynamic to false");
  if (config.cluster > 1 && !config.permute)
    return broken("cluster", "rows go to several CTAs by TMA alone; set permute");
  const int most = mostColumns(problem, config);
  if (config.tokenTile > most)
    return broken("registers",
                  fmt::format("{} consumers of {} CTAs a multiprocessor have registers for a tokenTile of "
                              "{} at most with this activation, got {}",
                              config.consumers, config.ctasPerSm, most, config.tokenTile));
  return {};
}

static Verdict checkExtents(const MoeProblem &problem, const MoeConfig &config) {
  for (auto [name, extent] : {std::pair{"hidden", problem.hidden}, {"intermediate", problem.intermediate}})
    if (extent < weightRows || extent % weightRows != 0 || extent % config.depthTile != 0)
      return broken(name, fmt::format("{} must be a multiple of {} and of depthTile {}, got {}", name,
                                      weightRows, config.depthTile, extent));
  return {};
}

Verdict check(const MoeProblem &problem, const MoeConfig &config, const Target &target) {
  const std::array verdicts{checkProblem(problem),
                            checkAxis("tokenTile", tokenTileAxis, config.tokenTile),
                            checkAxis("widths", widthsAxis, config.widths),
                            checkAxis("consumers", consumersAxis, config.consumers),
                            checkAxis("cluster", clusterAxis, config.cluster),
                            checkAxis("depthTile", depthTileAxis, config.depthTile),
                            checkAxis("ctasPerSm", ctasPerSmAxis, config.ctasPerSm),
                            checkExtents(problem, config)};
  for (const Verdict &verdict : verdicts)
    if (!verdict)
      return verdict;
  if (Verdict verdict = checkBlocks(problem, config); !verdict)
    return verdict;
  if (config.stages < 2 || config.stages > maxStages)
    return broken("stages", fmt::format("stages must be 2 to {}, got {}", maxStages, config.stages));
  if (config.dependentLaunch == DependentLaunch::Late)
    return broken("dependentLaunch", "dependentLaunch must be off or early");
  if ((config.prefetchUp || config.prefetchDown) && config.dependentLaunch == DependentLaunch::Off)
    return broken("prefetch", "prefetchUp and prefetchDown are for launches that begin before the one before "
                              "has ended, got dependentLaunch=off; set it to early");
  if (config.prefetchUp && config.permute)
    return broken("prefetch", "with permute `up` begins when the routing is known; set prefetchUp=false");
  const int needed = moeMemory(config).sharedBytes;
  const int each = shareOfCta(target, config);
  if (needed > each)
    return broken(
        "shared_memory",
        fmt::format("needs {} bytes of shared memory, {} CTAs a multiprocessor leave {} to each; take "
                    "fewer stages or a smaller tokenTile",
                    needed, config.ctasPerSm, each));
  return {};
}

//===- The space and its fallback --------------------------------------------------------------------===//

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
    if (tile >= usual && (tile < severalWidths || tile % narrowBox == 0))
      return tile;
  return tokenTileAxis.back();
}

/// Items of `up` that a CTA has in the mean, where rows choose as many experts as they can.
static double itemsOfCta(const MoeProblem &problem, const MoeConfig &config, const Target &target, int rows) {
  const int64_t tiles = std::min<int64_t>(problem.experts, int64_t(rows) * problem.topK) + problem.shared;
  const int64_t blocks =
      int64_t(problem.intermediate) * problem.halves / (int64_t(weightRows) * config.consumers);
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
  return moeMemory(config).sharedBytes <= shareOfCta(target, {.ctasPerSm = 2});
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
