//===- Config.cpp - The rules of the paged-attention schedule ----------------------------------------===//
//
// What a Config costs and which rule it breaks, as arithmetic over a few constants that are stated once, at
// the top. The schedule builds exactly what resources() counts; the tuner and the tools ask check() before
// they compile. Every rule has a name, so that a rejected candidate can be counted and explained.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/Config.h"

#include "lathe/codegen/Schedule/MemoryPlan.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <tuple>

namespace lathe::codegen {

// Facts of the schedule. Whoever changes the schedule's memory plan or roles changes these, and nothing else
// here.
static constexpr int warpgroupThreads = 128;
static constexpr int warpThreads = 32;
static constexpr int producerRegisterCount = 40;
static constexpr int consumerRegisterCount = 232;
static constexpr int seesawProducerRegisters = 56; // Pages of two tiles ahead. Not with the prefetch.
static constexpr int seesawConsumerRegisters = 224;
// Exchanged, from so many rows on, the producer is a warpgroup: a lone warp would have as many registers a
// thread as the consumer, and no CTA of the combine would find room beside (docs/schedules/exchanged.md).
static constexpr int swappedWarpgroupRows = 24;
static constexpr int swappedProducerRegisters = 40;
static constexpr int seesawTile = 64, seesawStages = 2, seesawConsumers = 2;
static constexpr int seesawPrefetchPage = 64;   // With 32 the producer, which has 40 registers, spills.
static constexpr int seesawColumns = 128;       // Each consumer has half of the values, in whole boxes.
static constexpr int bookkeepingRegisters = 32; // Addresses, statistics, loop state of a consumer thread.
static constexpr int maxRegistersPerThread = 255;
static constexpr int maxHeads = 128;
static constexpr int maxKeyDim = 576;
static constexpr int maxValueDim = 512;
static constexpr int maxStages = 16;
static constexpr int maxValueColumns = 256; // Largest N of a WGMMA.
static constexpr int dimGranule = 16;       // K of a bf16 WGMMA.
static constexpr int granuleN = 8;          // N of a WGMMA.

static constexpr std::array kvTileAxis{16, 32, 64};
static constexpr std::array rowsPerCtaAxis{64};
static constexpr std::array swappedRowsAxis{8, 16, 24, 32}; // Query rows on WGMMA's N.
static constexpr int swappedTile = 64;                      // WGMMA's M.
static constexpr std::array launchAxis{DependentLaunch::Off, DependentLaunch::Early, DependentLaunch::Late};
static constexpr std::array stagesAxis{1, 2, 3, 4, 5, 6, 8, 10, 12};
static constexpr std::array consumersAxis{1, 2};
static constexpr int maxConsumers = consumersAxis.back();
static constexpr std::array clusterAxis{1, 2, 4};
static constexpr std::array fixedSplitsAxis{2, 4, 8, 16, 32, 64};
static constexpr std::array partTokensAxis{256, 512, 1024, 2048};
static constexpr std::array mostPartsAxis{32, 64}; // With partTokens.

static int ceilDiv(int value, int by) { return (value + by - 1) / by; }

template <class Axis>
static bool contains(const Axis &axis, int value) {
  return std::find(axis.begin(), axis.end(), value) != axis.end();
}

/// 240128 → "240,128".
static std::string grouped(int64_t value) {
  std::string text = std::to_string(value);
  for (int at = int(text.size()) - 3; at > (value < 0 ? 1 : 0); at -= 3)
    text.insert(size_t(at), ",");
  return text;
}

//===--------------------------------------------------------------------------------------------------===//
// Resources
//===--------------------------------------------------------------------------------------------------===//

Resources resources(const AttentionProblem &problem, const Config &config) {
  const MemoryPlan memory = memoryPlan(problem, config);
  Resources cost;
  cost.stageBytes = memory.stageBytes;
  cost.sharedBytes = memory.sharedBytes;
  cost.mbarriers = memory.mbarriers;
  const bool warp = config.swapOperands && config.rowsPerCta < swappedWarpgroupRows;
  cost.threads = config.consumers * warpgroupThreads + (warp ? warpThreads : warpgroupThreads);
  if (config.swapOperands && !warp) {
    cost.consumerRegisters = config.rowsPerCta <= swappedWarpgroupRows ? 184 : 216;
    cost.producerRegisters = swappedProducerRegisters;
    cost.launchRegisters = (cost.consumerRegisters + cost.producerRegisters) / 2;
  } else if (config.seesaw && !config.prefetch) {
    cost.consumerRegisters = seesawConsumerRegisters;
    cost.producerRegisters = seesawProducerRegisters;
  } else if (!warp) { // With a producer of one warp every thread has as many as it can use.
    cost.consumerRegisters = consumerRegisterCount;
    cost.producerRegisters = producerRegisterCount;
  }
  cost.rowBlocks = ceilDiv(problem.rows(), std::max(config.rowsPerCta, 1));
  return cost;
}

/// Registers that a consumer thread needs: its fragments of the output and of the scores, and the rest.
static int consumerNeeds(const AttentionProblem &problem, const Config &config) {
  if (config.swapOperands) // An output fragment for each 64 value columns, the scores, and three states a
                           // column, of which a lane has a quarter.
    return (problem.valueDim + 63) / 64 * config.rowsPerCta / 2 + config.rowsPerCta / 2 +
           3 * config.rowsPerCta / 4 + bookkeepingRegisters;
  return valueColumns(problem, config) / 2 + config.kvTile + bookkeepingRegisters;
}

//===--------------------------------------------------------------------------------------------------===//
// Constraints
//===--------------------------------------------------------------------------------------------------===//

namespace {
/// A rule: empty where it holds, else why it does not and what to do. Later rules rely on earlier ones.
struct Constraint {
  const char *name;
  std::string (*broken)(const AttentionProblem &, const Config &, const Target &);
};
} // namespace

static std::string brokenHeads(const AttentionProblem &problem, const Config &, const Target &) {
  if (problem.heads >= 1 && problem.heads <= maxHeads)
    return {};
  return fmt::format("heads must be 1 to {}, got {}; divide the heads over more GPUs", maxHeads,
                     problem.heads);
}

static std::string brokenQueryTokens(const AttentionProblem &problem, const Config &, const Target &) {
  if (problem.queryTokens >= 1 && problem.queryTokens <= 1024)
    return {};
  return fmt::format("query tokens must be 1 to 1024, got {}; a prefill needs another kernel",
                     problem.queryTokens);
}

static std::string brokenKeyDim(const AttentionProblem &problem, const Config &, const Target &) {
  if (problem.keyDim >= dimGranule && problem.keyDim <= maxKeyDim && problem.keyDim % dimGranule == 0)
    return {};
  return fmt::format("key dimension must be a multiple of {} from {} to {}, got {}; pad the cache rows",
                     dimGranule, dimGranule, maxKeyDim, problem.keyDim);
}

static std::string brokenValueDim(const AttentionProblem &problem, const Config &, const Target &) {
  const int limit = std::min(maxValueDim, problem.keyDim);
  if (problem.valueDim >= dimGranule && problem.valueDim <= limit && problem.valueDim % dimGranule == 0)
    return {};
  return fmt::format(
      "value dimension must be a multiple of {} from {} to {} (the key dimension, at most {}), got {}; "
      "the value is the leading part of a cache row",
      dimGranule, dimGranule, limit, maxValueDim, problem.valueDim);
}

static std::string brokenKvTile(const AttentionProblem &, const Config &config, const Target &) {
  if (contains(kvTileAxis, config.kvTile))
    return {};
  return fmt::format("kvTile must be one of {}, got {}", fmt::join(kvTileAxis, ", "), config.kvTile);
}

static std::string brokenPage(const AttentionProblem &problem, const Config &config, const Target &) {
  if (problem.page < dimGranule || problem.page % dimGranule != 0)
    return fmt::format("page size must be a multiple of {} tokens, got {}; re-page the cache", dimGranule,
                       problem.page);
  if (problem.page % config.kvTile == 0 || config.kvTile % problem.page == 0)
    return {};
  return fmt::format(
      "page size and kvTile must divide one another, got {} and {}; set kvTile to 16 or re-page the "
      "cache",
      problem.page, config.kvTile);
}

static std::string brokenRowsPerCta(const AttentionProblem &, const Config &config, const Target &) {
  if (config.swapOperands && contains(swappedRowsAxis, config.rowsPerCta))
    return {};
  if (config.swapOperands)
    return fmt::format("rowsPerCta must be one of {} with swapOperands, got {}",
                       fmt::join(swappedRowsAxis, ", "), config.rowsPerCta);
  if (contains(rowsPerCtaAxis, config.rowsPerCta))
    return {};
  return fmt::format("rowsPerCta must be one of {}, got {}", fmt::join(rowsPerCtaAxis, ", "),
                     config.rowsPerCta);
}

static std::string brokenConsumers(const AttentionProblem &, const Config &config, const Target &) {
  if (contains(consumersAxis, config.consumers))
    return {};
  return fmt::format("consumers must be one of {}, got {}", fmt::join(consumersAxis, ", "), config.consumers);
}

static std::string brokenSwap(const AttentionProblem &, const Config &config, const Target &) {
  if (!config.swapOperands || (config.kvTile == swappedTile && config.consumers == 1 && config.cluster == 1))
    return {};
  return fmt::format("swapOperands needs kvTile {}, consumers 1 and cluster 1, got {}, {} and {}",
                     swappedTile, config.kvTile, config.consumers, config.cluster);
}

static std::string brokenSeesaw(const AttentionProblem &problem, const Config &config, const Target &) {
  if (!config.seesaw)
    return {};
  if (config.swapOperands || config.kvTile != seesawTile || config.stages != seesawStages ||
      config.consumers != seesawConsumers || (config.cluster > 1 && config.prefetch))
    return fmt::format(
        "seesaw needs kvTile {}, stages {}, consumers {}, operands not exchanged and a cluster "
        "or prefetch, not both; got {}, {}, {}, swapOperands={}, cluster {} and prefetch={}",
        seesawTile, seesawStages, seesawConsumers, config.kvTile, config.stages, config.consumers,
        config.swapOperands, config.cluster, config.prefetch);
  if (problem.valueDim % seesawColumns != 0)
    return fmt::format(
        "seesaw halves the value columns in boxes of 64: they must be a multiple of {}, got {}",
        seesawColumns, problem.valueDim);
  return {};
}

static std::string brokenPrefetch(const AttentionProblem &problem, const Config &config, const Target &) {
  if (!config.prefetch)
    return {};
  if (!config.seesaw && !config.swapOperands)
    return "the plain form has no prefetch, got prefetch 1; set it to false, or seesaw or swapOperands to "
           "true";
  if (config.swapOperands && config.dependentLaunch == DependentLaunch::Off)
    return "exchanged, prefetch 1 is what a launch does before the one before has ended, got dependentLaunch "
           "off; set it to early, or prefetch to false";
  if (!config.seesaw)
    return {};
  if (const int blocks = resources(problem, config).rowBlocks; blocks == 1)
    return fmt::format(
        "prefetch is for tiles that several CTAs read, got {} rows and CTAs of {}; set prefetch=false",
        problem.rows(), config.rowsPerCta);
  if (problem.page < seesawPrefetchPage)
    return fmt::format(
        "prefetch keeps a unit's pages in the producer's registers, which must have at least {} "
        "tokens, got {}; set prefetch=false",
        seesawPrefetchPage, problem.page);
  return {};
}

static std::string brokenCacheAhead(const AttentionProblem &problem, const Config &config, const Target &) {
  if (!config.cacheAhead)
    return {};
  if (config.dependentLaunch == DependentLaunch::Off)
    return "cacheAhead 1 is what a launch does before the one before has ended, got dependentLaunch off; "
           "set it to early, or cacheAhead to false";
  if (config.swapOperands)
    return {};
  if (const int blocks = resources(problem, config).rowBlocks; !config.seesaw || blocks > 1)
    return fmt::format(
        "cacheAhead needs swapOperands, or seesaw with one block of rows, got seesaw={} and {} "
        "block{}; set cacheAhead=false",
        config.seesaw, blocks, blocks == 1 ? "" : "s");
  return {};
}

static std::string brokenCombineCarveout(const AttentionProblem &, const Config &config, const Target &) {
  if (!config.combineCarveout || config.split != SplitPolicy::Whole)
    return {};
  return "combineCarveout 1 is how the combine is launched, got split whole, which has none; set "
         "combineCarveout to false";
}

static std::string brokenStages(const AttentionProblem &, const Config &config, const Target &) {
  if (config.stages >= 1 && config.stages <= maxStages)
    return {};
  return fmt::format("stages must be 1 to {}, got {}", maxStages, config.stages);
}

static std::string brokenStageOwner(const AttentionProblem &, const Config &config, const Target &) {
  if (config.stages >= config.consumers)
    return {};
  return fmt::format("stages must be at least consumers, which each hold one at a time, got {} and {}",
                     config.stages, config.consumers);
}

static std::string brokenValueColumns(const AttentionProblem &problem, const Config &config, const Target &) {
  const int columns = valueColumns(problem, config);
  if (config.swapOperands || columns <= maxValueColumns)
    return {};
  return fmt::format(
      "a consumer can own {} value columns at most, got {} for {} consumer{}; take more consumers",
      maxValueColumns, columns, config.consumers, config.consumers == 1 ? "" : "s");
}

static std::string brokenCluster(const AttentionProblem &, const Config &config, const Target &) {
  if (contains(clusterAxis, config.cluster))
    return {};
  return fmt::format("cluster must be one of {}, got {}", fmt::join(clusterAxis, ", "), config.cluster);
}

static std::string brokenClusterRows(const AttentionProblem &problem, const Config &config, const Target &) {
  if (config.kvTile / config.cluster < 8)
    return fmt::format(
        "each CTA of a cluster loads at least 8 rows of a tile, got {} / {}; take a larger kvTile",
        config.kvTile, config.cluster);
  const int rowBlocks = resources(problem, config).rowBlocks;
  if (rowBlocks % config.cluster == 0)
    return {};
  return fmt::format("the {} row block{} of a sequence must fill clusters of {}; set cluster to 1", rowBlocks,
                     rowBlocks == 1 ? "" : "s", config.cluster);
}

static std::string brokenFixedSplits(const AttentionProblem &, const Config &config, const Target &) {
  if (config.split == SplitPolicy::Fixed && !contains(fixedSplitsAxis, config.fixedSplits))
    return fmt::format("fixedSplits must be one of {} when split is fixed, got {}",
                       fmt::join(fixedSplitsAxis, ", "), config.fixedSplits);
  if (config.split != SplitPolicy::Fixed && config.fixedSplits != 1)
    return fmt::format("fixedSplits must be 1 unless split is fixed, got {}", config.fixedSplits);
  return {};
}

static std::string brokenPartTokens(const AttentionProblem &, const Config &config, const Target &) {
  if (config.partTokens == 0 ||
      (config.split == SplitPolicy::Fixed && contains(partTokensAxis, config.partTokens)))
    return {};
  return fmt::format("partTokens must be 0, or one of {} when split is fixed, got {} and split {}",
                     fmt::join(partTokensAxis, ", "), config.partTokens, name(config.split));
}

static std::string brokenRegisters(const AttentionProblem &problem, const Config &config, const Target &) {
  const int needed = consumerNeeds(problem, config);
  const int budget = resources(problem, config).consumerRegisters;
  const int given = budget == 0 ? maxRegistersPerThread : std::min(budget, maxRegistersPerThread);
  if (needed <= given)
    return {};
  return fmt::format("a consumer thread needs {} registers, the limit is {}", needed, given);
}

static std::string brokenRegisterFile(const AttentionProblem &problem, const Config &config,
                                      const Target &target) {
  const Resources cost = resources(problem, config);
  const int needed = warpgroupThreads * (config.consumers * cost.consumerRegisters + cost.producerRegisters);
  // Registers are handed out at launch, a multiple of 8 to every thread; setmaxnreg only moves them between
  // roles.
  const int fit = target.registersPerSm / cost.threads / 8 * 8;
  const int launched = (cost.launchRegisters != 0 ? std::min(cost.launchRegisters, fit) : fit) * cost.threads;
  if (needed <= launched)
    return {};
  return fmt::format("the roles need {} registers, a launch of {} threads gets {}", grouped(needed),
                     cost.threads, grouped(launched));
}

static std::string brokenSharedMemory(const AttentionProblem &problem, const Config &config,
                                      const Target &target) {
  const int needed = resources(problem, config).sharedBytes;
  if (needed <= target.sharedBytesPerCta)
    return {};
  return fmt::format(
      "needs {} bytes of shared memory, the limit is {}; take fewer stages or a smaller kvTile",
      grouped(needed), grouped(target.sharedBytesPerCta));
}

static constexpr std::array constraints{
    Constraint{"heads", brokenHeads},
    Constraint{"query_tokens", brokenQueryTokens},
    Constraint{"key_dim", brokenKeyDim},
    Constraint{"value_dim", brokenValueDim},
    Constraint{"kv_tile", brokenKvTile},
    Constraint{"page", brokenPage},
    Constraint{"rows_per_cta", brokenRowsPerCta},
    Constraint{"consumers", brokenConsumers},
    Constraint{"swap_operands", brokenSwap},
    Constraint{"seesaw", brokenSeesaw},
    Constraint{"prefetch", brokenPrefetch},
    Constraint{"cache_ahead", brokenCacheAhead},
    Constraint{"stages", brokenStages},
    Constraint{"stage_owner", brokenStageOwner},
    Constraint{"value_columns", brokenValueColumns},
    Constraint{"cluster", brokenCluster},
    Constraint{"cluster_rows", brokenClusterRows},
    Constraint{"fixed_splits", brokenFixedSplits},
    Constraint{"part_tokens", brokenPartTokens},
    Constraint{"combine_carveout", brokenCombineCarveout},
    Constraint{"registers", brokenRegisters},
    Constraint{"register_file", brokenRegisterFile},
    Constraint{"shared_memory", brokenSharedMemory},
};

Verdict check(const AttentionProblem &problem, const Config &config, const Target &target) {
  for (const Constraint &constraint : constraints)
    if (std::string reason = constraint.broken(problem, config, target); !reason.empty())
      return {false, constraint.name, std::move(reason)};
  return {};
}

std::vector<std::string> constraintNames() {
  std::vector<std::string> names;
  for (const Constraint &constraint : constraints)
    names.emplace_back(constraint.name);
  return names;
}

//===--------------------------------------------------------------------------------------------------===//
// The space and its fallback
//===--------------------------------------------------------------------------------------------------===//

/// Values of split, fixedSplits and partTokens.
static std::vector<std::tuple<SplitPolicy, int, int>> splitAxis() {
  std::vector<std::tuple<SplitPolicy, int, int>> axis{{SplitPolicy::Balanced, 1, 0},
                                                      {SplitPolicy::Whole, 1, 0}};
  for (int parts : fixedSplitsAxis)
    axis.emplace_back(SplitPolicy::Fixed, parts, 0);
  for (int parts : mostPartsAxis)
    for (int tokens : partTokensAxis)
      axis.emplace_back(SplitPolicy::Fixed, parts, tokens);
  return axis;
}

/// Exchanged, rows that fill their columns: the fewest that hold all of them in as few blocks.
static std::vector<int> swappedRows(const AttentionProblem &problem) {
  std::vector<int> rows;
  for (int count : swappedRowsAxis)
    if (count < std::min(problem.rows() + granuleN, swappedRowsAxis.back() + 1))
      rows.push_back(count);
  return rows;
}

/// Where it was measured to make a difference; two consumers in turns leave a CTA of the combine no room.
static bool carveoutMatters(const Config &config) {
  return config.swapOperands && config.cacheAhead && config.evictFirst &&
         config.split == SplitPolicy::Balanced && config.dependentLaunch == DependentLaunch::Early;
}

std::vector<Config> enumerateConfigs(const AttentionProblem &problem) {
  std::vector<Config> forms; // All but launch and split.
  for (int stages : stagesAxis) {
    for (int rows : swappedRows(problem))
      for (auto [prefetch, ahead] : {std::pair{false, false}, {true, false}, {true, true}})
        forms.push_back({.kvTile = swappedTile,
                         .rowsPerCta = rows,
                         .stages = stages,
                         .consumers = 1,
                         .swapOperands = true,
                         .prefetch = prefetch,
                         .cacheAhead = ahead});
    for (int kvTile : kvTileAxis)
      for (int rows : rowsPerCtaAxis)
        for (int consumers : consumersAxis)
          for (int cluster : clusterAxis)
            forms.push_back({.kvTile = kvTile,
                             .rowsPerCta = rows,
                             .stages = stages,
                             .consumers = consumers,
                             .cluster = cluster});
  }
  for (auto [cluster, prefetch, ahead] :
       {std::tuple{1, false, false}, {1, true, false}, {1, false, true}, {2, false, false}})
    forms.push_back({.kvTile = seesawTile,
                     .stages = seesawStages,
                     .consumers = seesawConsumers,
                     .cluster = cluster,
                     .seesaw = true,
                     .prefetch = prefetch,
                     .cacheAhead = ahead});
  std::vector<Config> space;
  for (Config config : forms)
    for (auto [split, parts, tokens] : splitAxis())
      for (DependentLaunch launch : launchAxis)
        for (bool evictFirst : {false, true}) {
          if (config.seesaw && evictFirst && config.prefetch)
            continue; // What is brought early must stay: 297 against 268 µs at 128 × 4096, 128 heads.
          if (launch == DependentLaunch::Off &&
              (config.cacheAhead || (config.swapOperands && config.prefetch)))
            continue;
          config.split = split;
          config.fixedSplits = parts;
          config.partTokens = tokens;
          config.dependentLaunch = launch;
          config.evictFirst = evictFirst;
          space.push_back(config);
          if (carveoutMatters(config)) {
            config.combineCarveout = true;
            space.push_back(config);
            config.combineCarveout = false;
          }
        }
  return space;
}

/// Preference among safe configs, from `lathe bench mla` (docs/schedules has the tables): operands exchanged
/// where all rows fit one block, without spare rows (H100: 7.3 against 11.1 µs at 1 × 4096 tokens, 204.5
/// against 221.3 µs at 128 × 4096, with 16 heads); else two consumers in turns (247 against 303 µs at
/// 128 × 4096 whole, with 128 heads), with the prefetch where several CTAs read a tile (H200, 128 heads: 478
/// against 499 µs at 128 × normal(8192), 72.3 against 72.7 at 32 × 4096; but 25.5 against 24.8 at 8 × 4096,
/// whose first units take the longer); else two consumers, then the larger tile (fewer barriers a byte, a
/// wider product for the scores), then the deeper ring.
static auto preference(const AttentionProblem &problem, const Config &config) {
  const bool oneBlock = config.swapOperands && config.rowsPerCta >= problem.rows();
  int form = config.consumers;
  if (config.swapOperands)
    form = oneBlock ? maxConsumers + 1 + swappedRowsAxis.back() - config.rowsPerCta + 1 : 0;
  else if (config.seesaw)
    form = maxConsumers + 1;
  return std::make_tuple(form, config.kvTile, config.stages,
                         config.prefetch == (config.swapOperands || problem.rows() > 64), config.cacheAhead);
}

int fixedPartUnits(const Config &config) {
  return std::max(1, config.partTokens / (config.kvTile * config.consumers));
}

bool batchInvariant(const Config &config) { return config.split != SplitPolicy::Balanced; }

/// The split of the batch-invariant default, a compromise for all batches (docs/batch-invariance.md): parts
/// as short as the work of an item beside its tokens allows.
static bool isInvariantSplit(const Config &config) {
  return config.swapOperands ? config.fixedSplits == 64 && config.partTokens == 512
                             : config.fixedSplits == 32 && config.partTokens == 1024;
}

/// Axes that the default does not explore: what is rarely worse. What the seesaw prefetches must stay in the
/// L2.
static bool isPlain(const Config &config, bool invariant) {
  const bool split = invariant ? isInvariantSplit(config) : config.split == SplitPolicy::Balanced;
  return split && config.cluster == 1 && !config.combineCarveout &&
         config.dependentLaunch == DependentLaunch::Early &&
         config.evictFirst != (config.seesaw && config.prefetch);
}

Config defaultConfig(const AttentionProblem &problem, const Target &target, bool invariant) {
  std::optional<Config> best;
  Verdict closest{false, {}, {}};
  size_t closestRank = 0;
  const std::vector<std::string> names = constraintNames();
  for (const Config &config : enumerateConfigs(problem)) {
    if (!isPlain(config, invariant))
      continue;
    if (Verdict verdict = check(problem, config, target); verdict) {
      if (!best || preference(problem, config) > preference(problem, *best))
        best = config;
    } else if (size_t rank =
                   size_t(std::find(names.begin(), names.end(), verdict.constraint) - names.begin());
               closest.constraint.empty() || rank > closestRank) {
      closest = verdict; // The config that got furthest tells best what stands in the way.
      closestRank = rank;
    }
  }
  if (!best)
    throw UserError(Fault{problem.name.empty() ? "paged attention" : problem.name,
                          fmt::format("no schedule serves this problem, constraint '{}'", closest.constraint),
                          {},
                          closest.reason});
  return *best;
}

Config completedConfig(const AttentionProblem &problem, const Target &target, const nlohmann::json &given,
                       bool invariant) {
  auto with = [&](const Config &config) {
    nlohmann::json merged = config;
    // Another way to divide does not take the default's parts along.
    if (given.contains("split") || given.contains("fixedSplits"))
      merged.update({{"split", "balanced"}, {"fixedSplits", 1}, {"partTokens", 0}});
    merged.update(given);
    return merged.get<Config>();
  };
  std::optional<Config> best;
  for (const Config &config : enumerateConfigs(problem)) {
    if (!isPlain(config, invariant))
      continue;
    const Config candidate = with(config);
    if (check(problem, candidate, target) &&
        (!best || preference(problem, candidate) > preference(problem, *best)))
      best = candidate;
  }
  const Config completed = best ? *best : with(defaultConfig(problem, target, invariant));
  if (invariant && !batchInvariant(completed))
    throw UserError(Fault{"schedule config",
                          "a batch-invariant kernel divides a sequence by its own length alone",
                          std::string("split=") + name(completed.split), "set split to whole or fixed"});
  return completed;
}

} // namespace lathe::codegen
