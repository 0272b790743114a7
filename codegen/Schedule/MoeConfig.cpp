//===- MoeConfig.cpp - The rules of the mixture-of-experts schedule ----------------------------------===//
//
// What a configuration costs and which rule it breaks, as arithmetic over a few constants that are stated
// once, at the top. The schedule builds exactly what moeMemory() counts.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/MoeAxes.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace lathe::codegen {

static constexpr int weightRows = moeWeightRows, narrowBox = moeNarrowBox;
static constexpr int elementBytes = 2, barrierBytes = 8, itemBytes = 16, maxStages = 16;
static constexpr int stagingRowBytes = weightRows * elementBytes + 16,
                     pairsRowBytes = weightRows / 2 * elementBytes + 16;
static constexpr int reservedBytes = 1024; // Of shared memory, for each CTA of a multiprocessor.
static constexpr int maxExperts = 512, maxTopK = 16, maxGroups = 32;
static constexpr int maxTiles = 65535; // Of an expert, whose number has 16 bits in the map.
static constexpr int usualAtOnce = 64; // Columns of a result that are staged at least.

//===- Text and JSON ---------------------------------------------------------------------------------===//

std::string MoeConfig::str() const {
  return fmt::format(
      "tokenTile={} widths={} consumers={} cluster={} depthTile={} stages={} ctasPerSm={} "
      "tileGroup={} permute={} dynamic={} atomic={} oneLaunch={} prefetchUp={} prefetchDown={} "
      "evictFirst={} dependentLaunch={}",
      tokenTile, widths, consumers, cluster, depthTile, stages, ctasPerSm, tileGroup, permute, dynamic,
      atomic, oneLaunch, prefetchUp, prefetchDown, evictFirst,
      dependentLaunch == DependentLaunch::Off ? "off" : "early");
}

void to_json(nlohmann::json &json, const MoeConfig &config) {
  json = {{"tokenTile", config.tokenTile},
          {"widths", config.widths},
          {"consumers", config.consumers},
          {"cluster", config.cluster},
          {"depthTile", config.depthTile},
          {"stages", config.stages},
          {"ctasPerSm", config.ctasPerSm},
          {"tileGroup", config.tileGroup},
          {"permute", config.permute},
          {"dynamic", config.dynamic},
          {"atomic", config.atomic},
          {"oneLaunch", config.oneLaunch},
          {"prefetchUp", config.prefetchUp},
          {"prefetchDown", config.prefetchDown},
          {"evictFirst", config.evictFirst},
          {"dependentLaunch", config.dependentLaunch == DependentLaunch::Off ? "off" : "early"}};
}

static UserError configError(std::string rule, std::string value) {
  return UserError(
      Fault{"schedule config", std::move(rule), std::move(value),
            "fields are tokenTile, widths, consumers, cluster, depthTile, stages, ctasPerSm, tileGroup, "
            "permute, dynamic, atomic, oneLaunch, prefetchUp, prefetchDown, evictFirst, dependentLaunch "
            "(off, early)"});
}

void from_json(const nlohmann::json &json, MoeConfig &config) {
  if (!json.is_object())
    throw configError("a config must be a JSON object", json.dump());
  MoeConfig read;
  const std::array<std::pair<const char *, int MoeConfig::*>, 8> numbers{
      {{"tokenTile", &MoeConfig::tokenTile},
       {"widths", &MoeConfig::widths},
       {"consumers", &MoeConfig::consumers},
       {"cluster", &MoeConfig::cluster},
       {"depthTile", &MoeConfig::depthTile},
       {"stages", &MoeConfig::stages},
       {"ctasPerSm", &MoeConfig::ctasPerSm},
       {"tileGroup", &MoeConfig::tileGroup}}};
  const std::array<std::pair<const char *, bool MoeConfig::*>, 7> flags{
      {{"permute", &MoeConfig::permute},
       {"dynamic", &MoeConfig::dynamic},
       {"atomic", &MoeConfig::atomic},
       {"oneLaunch", &MoeConfig::oneLaunch},
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

int moeShareOfCta(const Target &target, const MoeConfig &config) {
  return (target.sharedBytesPerCta + reservedBytes) / config.ctasPerSm - reservedBytes;
}

std::vector<int> moeWidths(const MoeConfig &config) {
  std::vector<int> widths;
  for (int i = 0; i < config.widths; ++i)
    widths.push_back(config.tokenTile - i * moeWidthStep);
  return widths;
}

int moeTileUnit(const MoeConfig &config) { return config.widths > 1 ? moeWidthStep : moeSlotTile; }

int moeTileGroup(const MoeConfig &config, int columns) {
  constexpr int ctas = 132;
  constexpr int64_t stayBytes = 20'000'000; // Of the L2's 50 MB, which hold some lines twice.
  if (config.tileGroup > 0)
    return config.tileGroup;
  const double blockRows = moeWeightRows * config.consumers * config.cluster;
  const auto level = int(std::lround(std::sqrt(ctas * blockRows / config.tokenTile)));
  return std::max({1, level, int(stayBytes / (int64_t(config.tokenTile) * columns * 2))});
}

int moeRowBox(const MoeConfig &config) {
  return config.widths > 1 || config.cluster > 1 ? narrowBox : config.tokenTile;
}

MoeMemory moeMemory(const MoeConfig &config) {
  MoeMemory memory;
  memory.weightBytes = weightRows * config.consumers * config.depthTile * elementBytes;
  memory.rowBytes = config.tokenTile * config.depthTile * elementBytes;
  memory.rows = config.stages * memory.weightBytes;
  memory.staging = memory.rows + config.stages * memory.rowBytes;
  // Full and empty ones, of two rings, or three, and of the queue behind them.
  const int ring = 2 * config.stages * barrierBytes, barriers = (moeGathersAndLoads(config) ? 3 : 2) * ring,
            queue = moeQueueSlots * (itemBytes + 2 * barrierBytes);
  // As many columns of a result at a time as the rings leave room for.
  const int left = moeShareOfCta(Target(), config) - memory.staging - barriers - queue;
  memory.atOnce = std::min(config.tokenTile, usualAtOnce);
  while (memory.atOnce < config.tokenTile &&
         (memory.atOnce + moeSlotTile) * stagingRowBytes * config.consumers <= left)
    memory.atOnce += moeSlotTile;
  memory.stagingBytes = memory.atOnce * stagingRowBytes;
  memory.pairsAtOnce =
      std::min(config.tokenTile, memory.stagingBytes / pairsRowBytes / moeSlotTile * moeSlotTile);
  memory.barriers = memory.staging + config.consumers * memory.stagingBytes;
  memory.togetherBarriers = memory.barriers + 2 * ring;
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
  if (config.oneLaunch && (config.cluster > 1 || config.atomic))
    return broken("oneLaunch",
                  "one launch for both products is without clusters and without atomic sums; set "
                  "cluster=1 and atomic=false, or oneLaunch=false");
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
  if (config.tileGroup < 0 || config.tileGroup > maxTiles)
    return broken("tileGroup",
                  fmt::format("tileGroup must be 0 (left open) to {}, got {}", maxTiles, config.tileGroup));
  if (config.dependentLaunch == DependentLaunch::Late)
    return broken("dependentLaunch", "dependentLaunch must be off or early");
  if ((config.prefetchUp || config.prefetchDown) && config.dependentLaunch == DependentLaunch::Off)
    return broken("prefetch", "prefetchUp and prefetchDown are for launches that begin before the one before "
                              "has ended, got dependentLaunch=off; set it to early");
  if (config.prefetchDown && config.oneLaunch)
    return broken("prefetch", "with one launch the weights of `down` follow those of `up` anyway; set "
                              "prefetchDown=false");
  if (config.prefetchUp && config.permute)
    return broken("prefetch", "with permute `up` begins when the routing is known; set prefetchUp=false");
  const int needed = moeMemory(config).sharedBytes;
  const int each = moeShareOfCta(target, config);
  if (needed > each)
    return broken(
        "shared_memory",
        fmt::format("needs {} bytes of shared memory, {} CTAs a multiprocessor leave {} to each; take "
                    "fewer stages or a smaller tokenTile",
                    needed, config.ctasPerSm, each));
  return {};
}

} // namespace lathe::codegen
