#include "lathe/runtime/Planner.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

using namespace lathe;
using namespace lathe::runtime;

static constexpr int maxGridY = 65535; // Workers lie along y.
static constexpr size_t alignment = 256;
static constexpr size_t workItemBytes = 8 * sizeof(int32_t);
static constexpr size_t splitBytes = 4 * sizeof(int32_t);
static constexpr size_t partialBytes = 2; // f16.

int runtime::rowsPerCta(const Manifest &manifest) {
  const nlohmann::json &config = manifest.config;
  auto found = config.is_object() ? config.find("rowsPerCta") : config.end();
  if (found == config.end() || !found->is_number_integer() || found->get<int64_t>() < 1)
    throw UserError({"manifest of " + manifest.description, "config.rowsPerCta must be a positive integer",
                     found == config.end() ? "nothing" : found->dump(), "compile the kernel again"});
  return found->get<int>();
}

int runtime::defaultWorkers(const Manifest &manifest, int64_t residentCtas) {
  return int(std::clamp<int64_t>(residentCtas / std::max(1, manifest.rowBlocks), 1, maxGridY));
}

static int64_t itemBound(const Manifest &manifest, int64_t maxBatch, int64_t workers) {
  switch (static_cast<Split>(manifest.splitPolicy)) {
  case Split::Balanced:
    return maxBatch + workers; // A part more for each sequence that a worker's share cuts.
  case Split::Whole:
    return maxBatch;
  case Split::Fixed:
    return maxBatch * manifest.fixedSplits;
  }
  return 0;
}

static int64_t slotBound(const Manifest &manifest, int64_t maxBatch, int64_t workers) {
  switch (static_cast<Split>(manifest.splitPolicy)) {
  case Split::Balanced:
    return 2 * workers; // The first and the last piece of a worker's share; or its one item.
  case Split::Whole:
    return 0;
  case Split::Fixed:
    return maxBatch * manifest.fixedSplits;
  }
  return 0;
}

int64_t runtime::splitBound(const Manifest &manifest, int64_t batch, int64_t workers) {
  switch (static_cast<Split>(manifest.splitPolicy)) {
  case Split::Balanced:
    return std::min(batch, workers); // Each worker's share cuts at most one sequence; or less.
  case Split::Whole:
    return 0;
  case Split::Fixed:
    return batch;
  }
  return 0;
}

static void requireRange(const Manifest &manifest, const char *what, int64_t value, int64_t limit) {
  if (value < 1 || value > limit)
    throw UserError({fmt::format("plan of {}", manifest.description),
                     fmt::format("{} must be between 1 and {}", what, limit), fmt::format("{}", value), ""});
}

PlanLayout runtime::layoutPlan(const Manifest &manifest, int maxBatch, int workers) {
  requireRange(manifest, "maxBatch", maxBatch, std::numeric_limits<int>::max());
  requireRange(manifest, "workers", workers, maxGridY);
  PlanLayout layout;
  layout.maxItems = itemBound(manifest, maxBatch, workers);
  layout.maxSlots = slotBound(manifest, maxBatch, workers);
  requireRange(manifest, "the number of work items (batch times splits)", layout.maxItems,
               std::numeric_limits<int>::max());
  auto place = [&layout](size_t bytes) {
    size_t offset = layout.bytes;
    layout.bytes += (bytes + alignment - 1) / alignment * alignment;
    return offset;
  };
  size_t rows = size_t(manifest.rowBlocks) * rowsPerCta(manifest) * layout.maxSlots;
  layout.items = place(workItemBytes * layout.maxItems);
  layout.workerBegin = place(sizeof(int32_t) * (size_t(workers) + 1));
  layout.splits = place(splitBytes * size_t(splitBound(manifest, maxBatch, workers)));
  layout.partialLse = place(sizeof(float) * rows);
  layout.partialOut = place(partialBytes * rows * manifest.valueDim);
  return layout;
}
