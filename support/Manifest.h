//===- Manifest.h - What the compiler promises the runtime --------------------------------------------===//
//
// A compiled artifact is bytes plus this description: which kernels are in it, how each is launched, and what
// its arguments mean, by name. The compiler writes it, the cache stores it as stats.json, the runtime
// launches by it; so the runtime needs no compiler and no knowledge of a schedule.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace lathe {

/// One kernel argument, in order. Kinds: "tensor_map" (128 bytes by value, 64-byte aligned), "pointer" (8
/// bytes), "i32", "i64", "f32".
struct KernelArgument {
  std::string kind;
  std::string name; ///< What the runtime binds, for example "block_table" (docs in runtime/Kernel.h).
};

/// What assembling found out about one kernel.
struct KernelResources {
  int registers = 0;  ///< Registers a thread at launch (before setmaxnreg).
  int spillBytes = 0; ///< Spill stores plus loads, bytes a thread. Must be 0.
  int stackBytes = 0; ///< Stack frame, bytes a thread. Must be 0.
  int staticSharedBytes = 0;
  int wgmmaCount = 0;   ///< wgmma.mma_async instructions in the PTX.
  int tmaLoadCount = 0; ///< cp.async.bulk.tensor loads in the PTX.
  int mbarrierWaitCount = 0;
  bool usesSetmaxnreg = false;
};

/// How one kernel of the artifact is launched.
struct KernelEntry {
  std::string name;    ///< Symbol in the cubin.
  int threads = 0;     ///< Threads a CTA.
  int sharedBytes = 0; ///< Dynamic shared memory a CTA.
  int cluster = 1;     ///< CTAs a cluster, along x.
  std::vector<KernelArgument> arguments;
  KernelResources resources;
};

/// A tensor map that the runtime must encode for the kernel: which boxes it loads.
struct TensorMapRecipe {
  std::string name;    ///< "q" or "kv".
  int boxColumns = 64; ///< Elements of the innermost box extent (128 bytes: the swizzle width).
  int boxRows = 64;    ///< Rows of a box (query rows, or tokens of one page).
};

/// The whole artifact. Shapes are those of the description; "rows" is heads × query tokens of one sequence.
struct Manifest {
  static constexpr int currentVersion = 3; // 3: a list of split sequences, combineColumns, memory_gbs.

  int version = currentVersion;
  std::string family = "paged_attention";
  std::string description; ///< Name of the dsl::Kernel.
  std::string arch = "sm_90a";
  int heads = 0;
  int queryTokens = 0;
  int keyDim = 0;        ///< Elements of a cache row that scores use (latent + RoPE).
  int valueDim = 0;      ///< Leading elements of a cache row that are the value.
  int page = 0;          ///< Tokens a page.
  nlohmann::json config; ///< The schedule's Config, as the tuner wrote it.
  int kvTile = 0;        ///< Tokens of one unit of the work list.
  int rowBlocks = 1;     ///< CTAs that share one worker's list, each with its own block of rows.
  int splitPolicy = 0;   ///< 0 balanced, 1 whole sequences, 2 fixed number of splits (see codegen Config).
  int fixedSplits = 1;
  int combineColumns = 256; ///< Value columns that a warp of combine merges.
  std::vector<TensorMapRecipe> tensorMaps;
  KernelEntry plan;      ///< lengths → work list; one CTA.
  KernelEntry attend;    ///< the main kernel; grid (workers × rowBlocks).
  KernelEntry combine;   ///< merges the partial results of split sequences.
  std::string assembler; ///< "nvptxcompiler 13.0", "ptxas 13.0", "driver".
};

void to_json(nlohmann::json &json, const Manifest &manifest);
/// Throws UserError when a field is missing or the version is not ours.
void from_json(const nlohmann::json &json, Manifest &manifest);

} // namespace lathe
