#include "lathe/runtime/ManifestCheck.h"

#include "lathe/runtime/Planner.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::runtime;

static constexpr const char *compileAgain = "compile the kernel again";

static void require(const Manifest &manifest, bool holds, const char *rule, int value) {
  if (!holds)
    throw UserError({"manifest of " + manifest.description, rule, fmt::format("{}", value), compileAgain});
}

static void checkEntry(const Manifest &manifest, const KernelEntry &entry, const char *role) {
  if (entry.name.empty())
    throw UserError({"manifest of " + manifest.description, fmt::format("kernel '{}' must have a name", role),
                     "nothing", compileAgain});
  if (entry.threads < 32 || entry.threads > 1024 || entry.threads % 32 != 0)
    throw UserError({fmt::format("manifest, kernel {}", entry.name),
                     "threads must be a multiple of 32 up to 1024", fmt::format("{}", entry.threads),
                     compileAgain});
}

static void checkShape(const Manifest &manifest) {
  require(manifest, manifest.heads >= 1, "heads must be positive", manifest.heads);
  require(manifest, manifest.queryTokens >= 1, "queryTokens must be positive", manifest.queryTokens);
  require(manifest, manifest.keyDim >= 1, "keyDim must be positive", manifest.keyDim);
  require(manifest, manifest.valueDim >= 1, "valueDim must be positive", manifest.valueDim);
  require(manifest, manifest.page >= 1, "page must be positive", manifest.page);
  require(manifest, manifest.splitPolicy >= 0 && manifest.splitPolicy <= 2, "splitPolicy must be 0, 1 or 2",
          manifest.splitPolicy);
  require(manifest, manifest.fixedSplits >= 1, "fixedSplits must be positive", manifest.fixedSplits);
  require(manifest, manifest.rowBlocks >= 1, "rowBlocks must be positive", manifest.rowBlocks);
  int64_t covered = int64_t(manifest.rowBlocks) * rowsPerCta(manifest);
  require(manifest, covered >= int64_t(manifest.heads) * manifest.queryTokens,
          "rowBlocks times rowsPerCta must cover heads times queryTokens", static_cast<int>(covered));
  int cluster = manifest.attend.cluster;
  require(manifest, cluster >= 1 && manifest.rowBlocks % cluster == 0, "the cluster must divide rowBlocks",
          cluster);
}

void runtime::checkManifest(const Manifest &manifest, const DeviceProperties &properties) {
  if (manifest.family != "paged_attention")
    throw UserError({"manifest of " + manifest.description, "the family must be paged_attention",
                     manifest.family, "load it with the runtime of its family"});
  require(manifest, manifest.version == Manifest::currentVersion,
          "the version must be the one of this runtime", manifest.version);
  checkShape(manifest);
  checkEntry(manifest, manifest.plan, "plan");
  checkEntry(manifest, manifest.attend, "attend");
  if (static_cast<Split>(manifest.splitPolicy) != Split::Whole)
    checkEntry(manifest, manifest.combine, "combine");
  std::string arch = fmt::format("sm_{}{}a", properties.major, properties.minor);
  if (manifest.arch != arch)
    throw DeviceError({fmt::format("{} on {}", manifest.description, properties.name),
                       fmt::format("the kernel must be compiled for {}", arch), manifest.arch,
                       "compile it for this GPU"});
}

const TensorMapRecipe &runtime::recipeOf(const Manifest &manifest, const std::string &name) {
  for (const TensorMapRecipe &recipe : manifest.tensorMaps)
    if (recipe.name == name)
      return recipe;
  throw UserError({"manifest of " + manifest.description,
                   fmt::format("there must be a tensor map '{}'", name), "none", compileAgain});
}
