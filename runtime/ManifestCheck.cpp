#include "lathe/runtime/ManifestCheck.h"

#include "lathe/runtime/Planner.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::runtime;

static constexpr const char *compileAgain = "compile the kernel again";

//===- Of all families -------------------------------------------------------------------------------===//

template <class M>
static void require(const M &manifest, bool holds, std::string rule, std::string value) {
  if (!holds)
    throw UserError({"manifest of " + manifest.description, std::move(rule), std::move(value), compileAgain});
}

template <class M>
static void require(const M &manifest, bool holds, const char *rule, int value) {
  require(manifest, holds, rule, fmt::format("{}", value));
}

template <class M>
static void checkFamily(const M &manifest, const char *family) {
  if (manifest.family != family)
    throw UserError({"manifest of " + manifest.description, fmt::format("the family must be {}", family),
                     manifest.family, "load it with the runtime of its family"});
  require(manifest, manifest.version == M::currentVersion, "the version must be the one of this runtime",
          manifest.version);
}

template <class M>
static void checkEntry(const M &manifest, const KernelEntry &entry, const char *role) {
  require(manifest, !entry.name.empty(), fmt::format("kernel '{}' must have a name", role), "nothing");
  if (entry.threads < 32 || entry.threads > 1024 || entry.threads % 32 != 0)
    throw UserError({fmt::format("manifest, kernel {}", entry.name),
                     "threads must be a multiple of 32 up to 1024", fmt::format("{}", entry.threads),
                     compileAgain});
}

template <class M>
static void checkArch(const M &manifest, const DeviceProperties &properties) {
  std::string arch = fmt::format("sm_{}{}a", properties.major, properties.minor);
  if (manifest.arch != arch)
    throw DeviceError({fmt::format("{} on {}", manifest.description, properties.name),
                       fmt::format("the kernel must be compiled for {}", arch), manifest.arch,
                       "compile it for this GPU"});
}

template <class M>
static const TensorMapRecipe &recipeIn(const M &manifest, const std::string &name) {
  for (const TensorMapRecipe &recipe : manifest.tensorMaps)
    if (recipe.name == name)
      return recipe;
  throw UserError({"manifest of " + manifest.description,
                   fmt::format("there must be a tensor map '{}'", name), "none", compileAgain});
}

const TensorMapRecipe &runtime::recipeOf(const Manifest &manifest, const std::string &name) {
  return recipeIn(manifest, name);
}
const TensorMapRecipe &runtime::recipeOf(const MoeManifest &manifest, const std::string &name) {
  return recipeIn(manifest, name);
}

//===- Attention -------------------------------------------------------------------------------------===//

static void checkShape(const Manifest &manifest) {
  require(manifest, manifest.heads >= 1, "heads must be positive", manifest.heads);
  require(manifest, manifest.queryTokens >= 1, "queryTokens must be positive", manifest.queryTokens);
  require(manifest, manifest.keyDim >= 1, "keyDim must be positive", manifest.keyDim);
  require(manifest, manifest.valueDim >= 1, "valueDim must be positive", manifest.valueDim);
  require(manifest, manifest.page >= 1, "page must be positive", manifest.page);
  require(manifest, manifest.splitPolicy >= 0 && manifest.splitPolicy <= 2, "splitPolicy must be 0, 1 or 2",
          manifest.splitPolicy);
  require(manifest, manifest.fixedSplits >= 1, "fixedSplits must be positive", manifest.fixedSplits);
  require(manifest, manifest.combineColumns >= 1, "combineColumns must be positive", manifest.combineColumns);
  require(manifest, manifest.rowBlocks >= 1, "rowBlocks must be positive", manifest.rowBlocks);
  int64_t covered = int64_t(manifest.rowBlocks) * rowsPerCta(manifest);
  require(manifest, covered >= int64_t(manifest.heads) * manifest.queryTokens,
          "rowBlocks times rowsPerCta must cover heads times queryTokens", static_cast<int>(covered));
  int cluster = manifest.attend.cluster;
  require(manifest, cluster >= 1 && manifest.rowBlocks % cluster == 0, "the cluster must divide rowBlocks",
          cluster);
}

void runtime::checkManifest(const Manifest &manifest, const DeviceProperties &properties) {
  checkFamily(manifest, "paged_attention");
  checkShape(manifest);
  checkEntry(manifest, manifest.plan, "plan");
  checkEntry(manifest, manifest.attend, "attend");
  if (static_cast<Split>(manifest.splitPolicy) != Split::Whole)
    checkEntry(manifest, manifest.combine, "combine");
  checkArch(manifest, properties);
}

//===- Mixtures of experts ---------------------------------------------------------------------------===//

static bool takes(const KernelEntry &entry, const std::string &name) {
  for (const KernelArgument &argument : entry.arguments)
    if (argument.name == name)
      return true;
  return false;
}

/// The kernels that make products, by their names in the manifest.
static std::vector<std::pair<const char *, const KernelEntry *>> productsOf(const MoeManifest &m) {
  if (m.oneLaunch)
    return {{"expertsKernel", &m.expertsKernel}};
  return {{"up", &m.up}, {"down", &m.down}};
}

static void checkGate(const MoeManifest &m) {
  if (m.gate.empty())
    return;
  require(m, m.gate == "bf16" || m.gate == "f32", "the gate must be bf16 or f32, or none",
          "'" + m.gate + "'");
  require(m, m.router == "logits" && m.logits == "f32", "a gate makes the logits of a router, in f32",
          m.router + ", " + m.logits);
  require(m, m.gateRows >= 1 && m.gateExperts >= 1, "gateRows and gateExperts must be positive",
          fmt::format("{} and {}", m.gateRows, m.gateExperts));
  checkEntry(m, m.gateKernel, "gateKernel");
  require(m, m.gateKernel.cluster == 1, "gate has no clusters", m.gateKernel.cluster);
}

static void checkRouter(const MoeManifest &m) {
  const bool given = m.router == "given";
  require(m, given || m.router == "logits", "the router must be 'logits' or 'given'", "'" + m.router + "'");
  require(m, m.logits == "f32" || m.logits == "bf16" || m.logits == "f16", "logits must be f32, bf16 or f16",
          "'" + m.logits + "'");
  require(m, given ? m.routedExperts == 0 : m.routedExperts >= m.experts,
          given ? "a given routing has no routedExperts" : "routedExperts must be at least experts",
          m.routedExperts);
  require(m, given || m.topK <= m.routedExperts, "topK must be at most routedExperts", m.topK);
  require(m, takes(m.route, "logits") != given, "route must take logits, or a given routing", m.router);
  require(m, takes(m.route, "bias") == m.bias, "route must take a bias where there is one",
          m.bias ? "a bias that it does not take" : "none");
}

static void checkExperts(const MoeManifest &m) {
  for (const auto &[name, value] : {std::pair{"experts", m.experts},
                                    {"topK", m.topK},
                                    {"slotTile", m.slotTile},
                                    {"ctasPerSm", m.ctasPerSm},
                                    {"routeRows", m.routeRows},
                                    {"routeBlocks", m.routeBlocks}})
    require(m, value >= 1, fmt::format("{} must be positive", name), fmt::format("{}", value));
  for (const auto &[name, value] : {std::pair{"hidden", m.hidden}, {"intermediate", m.intermediate}})
    require(m, value >= 64 && value % 64 == 0, fmt::format("{} must be a multiple of 64", name),
            fmt::format("{}", value));
  require(m, m.halves == 1 || m.halves == 2, "halves must be 1 or 2", m.halves);
  require(m, m.shared >= 0, "shared must not be negative", m.shared);
  require(m, m.routeScratchWords >= 0, "routeScratchWords must not be negative", m.routeScratchWords);
  bool takesShared = false;
  for (const auto &[name, entry] : productsOf(m)) {
    require(m, entry->cluster == 1 || (entry->cluster == 2 && !m.oneLaunch),
            fmt::format("the clusters of {} must be {}", name, m.oneLaunch ? "1" : "1 or 2"),
            fmt::format("{}", entry->cluster));
    takesShared |= takes(*entry, "shared1") || takes(*entry, "shared2");
  }
  require(m, m.tokenTile >= m.slotTile && m.tokenTile <= 288, "tokenTile must be from slotTile to 288",
          m.tokenTile);
  require(m, takesShared == (m.shared > 0),
          "products must take the weights of shared experts where there are some", m.shared);
}

/// Who makes the sums, and who counts what is ready, and whether both sides know.
static void checkSums(const MoeManifest &m) {
  for (const auto &[role, entry] : {productsOf(m).back(), {"combine", &m.combine}}) {
    require(m, takes(*entry, "ready") == m.oneLaunch,
            fmt::format("{} must {}", role, m.oneLaunch ? "take ready" : "not take ready"),
            takes(*entry, "ready") ? "taken" : "not taken");
    require(m, takes(*entry, "sums") == m.atomic && takes(*entry, "expert_out") != m.atomic,
            fmt::format("{} must take {}", role, m.atomic ? "sums, for it is atomic" : "expert_out"),
            takes(*entry, "sums") ? "sums" : "no sums");
  }
}

/// The boxes that MoeTensors.cpp encodes: those of weights have eights of two halves.
static void checkBox(const MoeManifest &m, const std::string &name, int unit) {
  const TensorMapRecipe &recipe = recipeOf(m, name);
  require(m,
          recipe.boxColumns == 64 && recipe.boxRows >= unit && recipe.boxRows % unit == 0 &&
              recipe.boxRows <= 256,
          fmt::format("tensor map '{}' must have boxes of 64 columns and {} to 256 rows, a multiple of {}",
                      name, unit, unit),
          fmt::format("{} and {}", recipe.boxColumns, recipe.boxRows));
}

void runtime::checkManifest(const MoeManifest &manifest, const DeviceProperties &properties) {
  checkFamily(manifest, "moe");
  checkExperts(manifest);
  checkRouter(manifest);
  checkGate(manifest);
  checkEntry(manifest, manifest.route, "route");
  if (manifest.permute)
    checkEntry(manifest, manifest.permuteKernel, "permute");
  for (const auto &[name, entry] : productsOf(manifest))
    checkEntry(manifest, *entry, name);
  checkEntry(manifest, manifest.combine, "combine");
  checkSums(manifest);
  for (const char *weights : {"w1", "w2"})
    checkBox(manifest, weights, 16);
  checkBox(manifest, "activated", manifest.slotTile);
  if (manifest.permute)
    checkBox(manifest, "permuted", manifest.slotTile);
  if (manifest.shared > 0)
    for (const char *weights : {"shared1", "shared2"})
      checkBox(manifest, weights, 16);
  checkArch(manifest, properties);
}
