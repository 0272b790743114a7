//===- Config.h - Everything about a kernel that depends on the machine ------------------------------===//
//
// A description says what; a Config says how: tile sizes, stages, roles, split policy. The tuner chooses it,
// the schedule obeys it, the cache key contains it. Pure data, no MLIR.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace lathe::codegen {

/// How the tokens of a batch are divided among workers (a worker is one CTA, or one CTA per block of rows).
enum class SplitPolicy {
  Balanced, ///< What takes least time for the batch (PlanCosts.h): where a sequence is cut depends on all
            ///< others.
  Whole,    ///< Whole sequences; nothing to combine.
  Fixed     ///< A sequence in parts that depend on its own length alone: fixedSplits, partTokens.
};

/// Programmatic dependent launch: when a kernel lets the next one start.
enum class DependentLaunch {
  Off,   ///< Launches follow one another.
  Early, ///< At once: the next kernel's set-up hides behind this one.
  Late   ///< After the main loop: nothing of the next kernel disturbs it.
};

const char *name(SplitPolicy policy);     ///< "balanced", "whole", "fixed".
const char *name(DependentLaunch launch); ///< "off", "early", "late".

/// Cost of a sequence beside its units of KV tiles (query, output, statistics), as the plan kernel weighs it.
inline constexpr int planOverheadUnits = 1;

/// Axes of the paged-attention schedule. Units in names.
struct Config {
  int kvTile = 32; ///< KV tokens a pipeline stage: 16, 32 or 64.
  int rowsPerCta =
      64;         ///< Query rows (heads × query tokens) a CTA: 64 (WGMMA's M), or exchanged 8, 16, 24 or 32.
  int stages = 4; ///< Stages of the KV ring.
  int consumers = 2; ///< Consumer warpgroups.
  int cluster = 1;   ///< CTAs of a cluster that share KV tiles by multicast.
  SplitPolicy split = SplitPolicy::Balanced;
  int fixedSplits = 1; ///< Most parts of a sequence under SplitPolicy::Fixed.
  int partTokens = 0;  ///< And most tokens of a part while there are fewer parts; 0: always fixedSplits.
  bool swapOperands = false; ///< KV tokens on WGMMA's M and query rows on its N: for few rows.
  bool seesaw = false;       ///< Two consumers in turns over two KV tiles: for many rows.
  /// With seesaw: the next two KV tiles come to the L2 cache, scores begin early. With swapOperands: a
  /// launch's first tiles do, before the launch before has ended.
  bool prefetch = false;
  /// A launch loads old tokens, all but the last queryTokens of a sequence, before the launch before has
  /// ended: with swapOperands, and with seesaw where one CTA reads a tile.
  bool cacheAhead = false;
  bool evictFirst = false; ///< KV tiles leave the L2 cache before other data.
  /// The combine prefers the largest shared memory carve-out, so that where a CTA of it has an idle SM to
  /// itself one of the next layer's main kernel finds room beside it.
  bool combineCarveout = false;
  DependentLaunch dependentLaunch = DependentLaunch::Off;

  bool operator==(const Config &) const = default;
  std::string str() const; ///< "kvTile=32 rowsPerCta=64 …", stable, one line.
};

void to_json(nlohmann::json &json, const Config &config);
void from_json(const nlohmann::json &json,
               Config &config); ///< Throws UserError on unknown or ill-typed fields.

/// What the schedule must know of a recognised contraction–softmax–contraction pattern over a paged cache.
struct AttentionProblem {
  std::string name; ///< Name of the dsl::Kernel.
  int heads = 0;
  int queryTokens = 1;
  int keyDim = 0;   ///< Cache row elements that scores use; a multiple of 16, at most 576.
  int valueDim = 0; ///< Leading cache row elements that are the value; a multiple of 16, at most 512.
  int page = 64;    ///< Tokens a page.
  int rows() const { return heads * queryTokens; }
};

/// Facts about the machine that a schedule is checked against.
struct Target {
  std::string arch = "sm_90a";
  int sharedBytesPerCta = 232448;
  int sharedBytesReserved = 1024; ///< The system's, in each CTA's share of a multiprocessor.
  int registersPerSm = 65536;
  int smCount = 132;
};

/// What a Config costs: the numbers that check() compares with the Target.
struct Resources {
  int stageBytes = 0;
  int sharedBytes = 0;
  int threads = 0;
  int consumerRegisters = 0; ///< setmaxnreg of a consumer warpgroup.
  int producerRegisters = 0; ///< setmaxnreg of the producer warpgroup.
  int launchRegisters = 0;   ///< Of a thread at launch (.maxnreg); 0: as many as fit.
  int mbarriers = 0;
  int rowBlocks = 1;
};

/// A named rule and, where it is broken, why. `--explain` counts rejections by name.
struct Verdict {
  bool accepted = true;
  std::string constraint; ///< Name of the first broken constraint, for example "shared_memory".
  std::string reason;     ///< "needs 240,128 bytes of shared memory, the limit is 232,448".
  explicit operator bool() const { return accepted; }
};

/// Resources of a Config for a problem. Pure arithmetic; meaningful only where check() accepts.
Resources resources(const AttentionProblem &problem, const Config &config);

/// Accepts or rejects with the reason. The tuner never sees a config that is rejected here.
Verdict check(const AttentionProblem &problem, const Config &config, const Target &target);

/// Whether the result of a sequence depends on its own tensors and length alone, bit for bit: not on the
/// other sequences of the batch, their number or order, nor on the number of workers. So it is for whole
/// sequences and for parts that depend on the length alone.
bool batchInvariant(const Config &config);

/// Most units of the work list (kvTile * consumers tokens) in a part under SplitPolicy::Fixed, while a
/// sequence has fewer parts than fixedSplits; at least 1.
int fixedPartUnits(const Config &config);

/// Named constraints in the order check() applies them (for --explain).
std::vector<std::string> constraintNames();

/// All candidate values of each axis, legal or not: the space that the tuner enumerates.
std::vector<Config> enumerateConfigs(const AttentionProblem &problem);

/// The configuration used when nothing was tuned. Always accepted by check() for a problem that any config
/// serves; throws UserError naming the rule when no config serves the problem. `invariant`: the default among
/// those for which batchInvariant() holds.
Config defaultConfig(const AttentionProblem &problem, const Target &target, bool invariant = false);

/// The configuration with the fields of `given` (as JSON has them), the others as the best of those that
/// check() accepts with them: 'swapOperands=true' also takes the tile that goes with it. Where none is
/// accepted, the default with the fields. `invariant`: of those for which batchInvariant() holds. Throws
/// UserError for an unknown or ill-typed field, and for one that contradicts `invariant`.
Config completedConfig(const AttentionProblem &problem, const Target &target, const nlohmann::json &given,
                       bool invariant = false);

} // namespace lathe::codegen
