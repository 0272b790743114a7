//===- MoeManifest.h - What the compiler promises the runtime of experts -----------------------------===//
//
// As Manifest.h, for mixtures of experts: which kernels an artifact has, how each is launched, what its
// arguments mean. The compiler writes it, the cache keeps it, runtime/Moe.h launches by it.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/support/Manifest.h"

namespace lathe {

struct MoeManifest {
  static constexpr int currentVersion =
      4; // 4: both products in one. 3: w1_base, w2_base. 2: a gate, permuted.

  int version = currentVersion;
  std::string family = "moe";
  std::string description; ///< Name of the dsl::Kernel.
  std::string arch = "sm_90a";
  std::string router;         ///< "logits" or "given".
  std::string logits = "f32"; ///< Element type of the logits: f32, bf16, f16.
  std::string gate;           ///< Element type of the gate matrix, bf16 or f32; empty: logits are an input.
  int gateRows = 0, gateExperts = 0; ///< That a CTA of `gate` makes the logits of.
  bool bias = false;                 ///< The router takes one.
  bool offset = false;               ///< The id of the first local expert is a parameter.
  int routedExperts = 0;             ///< That logits are for; 0 where the routing is given.
  int experts = 0;                   ///< Local ones, whose weights the kernel takes.
  int topK = 0;
  int hidden = 0, intermediate = 0;
  int halves = 2;      ///< Of the first weights.
  int shared = 0;      ///< Experts that every row goes to.
  int slotTile = 8;    ///< Slots of an expert begin at multiples of it.
  int tokenTile = 16;  ///< Rows of a tile.
  int ctasPerSm = 1;   ///< Of the grouped products.
  int routeRows = 1;   ///< Rows that a CTA of `route` takes at least.
  int routeBlocks = 1; ///< CTAs of `route` at most.
  int routeScratchWords =
      0; ///< i32 words of its scratch memory for routeBlocks CTAs, zero before its first launch.
  nlohmann::json config; ///< The schedule's MoeConfig.
  std::vector<TensorMapRecipe>
      tensorMaps;            ///< "w1", "w2", "shared1", "shared2", "activated", "permuted": boxes.
  KernelEntry gateKernel;    ///< Where there is a gate.
  bool permute = false;      ///< Rows are copied into the order of slots before `up`.
  KernelEntry permuteKernel; ///< Then.
  bool atomic = false;       ///< `down` adds to float32 sums, which `combine` rounds and sets to zero.
  bool oneLaunch = false;    ///< One kernel in place of `up` and `down`.
  KernelEntry expertsKernel; ///< Then.
  KernelEntry route, up, down, combine;
  std::string assembler;

  /// Of a step, in the order of their launches.
  std::vector<const KernelEntry *> kernels() const {
    std::vector<const KernelEntry *> all{&route, &up, &down, &combine};
    if (oneLaunch)
      all = {&route, &expertsKernel, &combine};
    if (permute)
      all.insert(all.begin() + 1, &permuteKernel);
    if (!gate.empty())
      all.insert(all.begin(), &gateKernel);
    return all;
  }
};

void to_json(nlohmann::json &json, const MoeManifest &manifest);
/// Throws UserError when a field is missing or the version is not ours.
void from_json(const nlohmann::json &json, MoeManifest &manifest);

} // namespace lathe
