//===- MoeConfig.h - Everything about a mixture-of-experts kernel that depends on the machine --------===//
//
// The axes of the grouped schedule, what a configuration costs, and which rule it breaks. The tuner chooses
// it, the schedule obeys it, the cache key contains it. Plain C++, no MLIR.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/Config.h"
#include "lathe/codegen/Schedule/MoeProblem.h"

namespace lathe::codegen {

/// Weights lie on WGMMA's M (64 rows a consumer warpgroup), rows of one expert on its N. Units in names.
struct MoeConfig {
  int tokenTile = 16;  ///< Rows of an expert that a tile serves: WGMMA's N, 8 to 256, or 288 of two products.
  int widths = 1;      ///< Main loops, for tiles of tokenTile, tokenTile - moeWidthStep, … rows: 1, 4 or 8.
  int consumers = 1;   ///< Consumer warpgroups of a CTA, each with 64 rows of weights: 1 or 2.
  int cluster = 1;     ///< CTAs that share rows by multicast, each with weights of its own: 1 or 2.
  int depthTile = 128; ///< Columns that a stage holds of weights and rows: 64 or 128.
  int stages = 6;      ///< Stages of the rings of weights and of rows.
  int ctasPerSm = 1;   ///< CTAs of a grouped product that share a multiprocessor: 1 to 4.
  int tileGroup = 0;   ///< Tiles of an expert that go through its weights together; 0: moeTileGroup's choice.
  bool permute = false; ///< Rows are first copied into the order of slots.
  bool dynamic = false; ///< A CTA takes the item that is next when it is ready, instead of every n-th one.
  /// `down` adds to float32 sums, in no certain order, instead of leaving the sums to `combine`.
  bool atomic = false;
  /// One kernel makes both products: items of `down` follow those of `up`, each as soon as its rows are
  /// there.
  bool oneLaunch = false;
  /// Before `up` knows the routing it brings weights of the first experts to the L2 cache.
  bool prefetchUp = false;
  /// While `up` ends, `down` brings weights of its first items to the L2 cache that its ring has no room for.
  bool prefetchDown = false;
  bool evictFirst = true;                                   ///< Weights leave the L2 cache before other data.
  DependentLaunch dependentLaunch = DependentLaunch::Early; ///< Off or early.

  bool operator==(const MoeConfig &) const = default;
  std::string str() const; ///< "tokenTile=16 depthTile=128 …", stable, one line.
};

void to_json(nlohmann::json &json, const MoeConfig &config);
/// Throws UserError on unknown or ill-typed fields.
void from_json(const nlohmann::json &json, MoeConfig &config);

/// Slots of an expert begin at multiples of this.
inline constexpr int moeSlotTile = 8;
/// Rows by which the widths of a kernel's main loops differ.
inline constexpr int moeWidthStep = 16;

/// Bytes that each CTA brings with MoeConfig::prefetchUp or prefetchDown; a multiple of 16.
inline int moePrefetchBytes(const MoeConfig &config) { return 65536 / config.ctasPerSm / 16 * 16; }

/// Rows that one WGMMA serves at most.
inline constexpr int moeProductRows = 256;

/// Items that a CTA's producer may be ahead of its consumers.
inline constexpr int moeQueueSlots = 4;

/// Whether a kernel has two rings of rows: one that threads gather for `up`, one that TMA brings for `down`.
inline bool moeGathersAndLoads(const MoeConfig &config) { return config.oneLaunch && !config.permute; }

/// Rows of the units in which an expert's rows are cut into tiles.
int moeTileUnit(const MoeConfig &config);
/// Tiles of an expert, whose rows have so many columns, that go through its blocks of weights together. Where
/// the configuration leaves it open: those that stay in the L2, or if that is more, as many as have about as
/// many rows as the blocks that an H100's 132 CTAs multiply them with at once, so that least is read.
int moeTileGroup(const MoeConfig &config, int columns);
/// Widths of the main loops, descending.
std::vector<int> moeWidths(const MoeConfig &config);
/// Rows of a box of the activated halves; divides tokenTile.
int moeRowBox(const MoeConfig &config);

/// Byte offsets of a grouped product's shared memory.
struct MoeMemory {
  int weightBytes = 0;  ///< Of a stage: 64 × consumers × depthTile bf16.
  int rowBytes = 0;     ///< Of a stage: tokenTile × depthTile bf16.
  int atOnce = 0;       ///< Columns of a result that pass through shared memory at once.
  int pairsAtOnce = 0;  ///< The same where results are pairs of gate and up, half as many bytes a column.
  int stagingBytes = 0; ///< For one consumer's results.
  int weights = 0, rows = 0, staging = 0, barriers = 0; ///< Byte offsets; staging of the first consumer.
  int togetherBarriers = 0;        ///< Of the second ring of rows where a kernel has two; else unused.
  int items = 0, itemBarriers = 0; ///< Byte offsets of the queue of items.
  int sharedBytes = 0;
};
MoeMemory moeMemory(const MoeConfig &config);

/// Accepts or rejects with the reason.
Verdict check(const MoeProblem &problem, const MoeConfig &config, const Target &target);
/// The configuration used when nothing was tuned, for about so many rows a step. Throws UserError naming the
/// rule when no config serves the problem.
MoeConfig defaultMoeConfig(const MoeProblem &problem, const Target &target, int rows);
/// All candidate values of each axis, legal or not.
std::vector<MoeConfig> enumerateMoeConfigs(const MoeProblem &problem);

} // namespace lathe::codegen
