#include "lathe/runtime/Kernel.h"

#include "lathe/runtime/LoadedKernel.h"
#include "lathe/runtime/ManifestCheck.h"
#include "lathe/runtime/Planner.h"
#include "lathe/runtime/TensorMapCache.h"
#include "lathe/runtime/Tensors.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::runtime;

/// Immutable but for the cache of tensor maps, which guards itself. The module goes before the device.
struct Kernel::Impl {
  std::shared_ptr<Device> device;
  Manifest manifest;
  TensorMapRecipe qRecipe, kvRecipe;
  uint64_t identity = nextIdentity();
  int partTokens = 0;     ///< Of a part under the fixed policy; 0: parts are a number.
  int workers = 1;        ///< Of a plan, where nothing else is said.
  bool dependent = false; ///< attend and combine wait for their predecessor themselves (griddepcontrol).
  std::unique_ptr<Module> module;
  LoadedKernel plan, attend, combine;
  TensorMapCache maps;

  bool splits() const { return static_cast<Split>(manifest.splitPolicy) != Split::Whole; }
  void checkPlan(const Plan &plan, uint64_t planIdentity, int maxBatch, int batch) const;
  void combineParts(int batch, int workers, ArgumentValues &values, Stream stream) const;
};

//===- Loading ---------------------------------------------------------------------------------------===//

static int partTokens(const Manifest &manifest) {
  auto found = manifest.config.find("partTokens");
  return found != manifest.config.end() && found->is_number_integer() ? found->get<int>() : 0;
}

static Carveout combineCarveout(const Manifest &manifest) {
  auto found = manifest.config.find("combineCarveout");
  const bool most = found != manifest.config.end() && found->is_boolean() && found->get<bool>();
  return most ? Carveout::MaxShared : Carveout::Default;
}

Kernel::Kernel(std::shared_ptr<Device> device, std::string_view image, Manifest manifest)
    : impl_(std::make_unique<Impl>()) {
  checkManifest(manifest, device->properties());
  Impl &impl = *impl_;
  impl.qRecipe = recipeOf(manifest, "q");
  impl.kvRecipe = recipeOf(manifest, "kv");
  impl.dependent = dependentLaunch(manifest.config);
  impl.partTokens = partTokens(manifest);
  impl.device = std::move(device);
  impl.module = impl.device->load(image);
  impl.plan = LoadedKernel(*impl.module, manifest.plan, Phase::Plan);
  impl.attend = LoadedKernel(*impl.module, manifest.attend, Phase::Step);
  impl.workers = defaultWorkers(manifest, impl.attend.residentCtas(*impl.device, /*ctasPerSm=*/1));
  impl.manifest = std::move(manifest);
  if (impl.splits())
    impl.combine =
        LoadedKernel(*impl.module, impl.manifest.combine, Phase::Step, combineCarveout(impl.manifest));
}

Kernel::~Kernel() = default;
Kernel::Kernel(Kernel &&) noexcept = default;

const Manifest &Kernel::manifest() const { return impl_->manifest; }
Device &Kernel::device() const { return *impl_->device; }

//===- Planning --------------------------------------------------------------------------------------===//

Plan Kernel::makePlan(int maxBatch, int workers) const {
  if (workers == 0)
    workers = impl_->workers;
  PlanLayout layout = layoutPlan(impl_->manifest, maxBatch, workers);
  Plan plan;
  plan.kernel_ = impl_->identity;
  plan.maxBatch_ = maxBatch;
  plan.workers_ = workers;
  plan.workspace_ = std::make_unique<Plan::Workspace>(impl_->device, Buffer(*impl_->device, layout.bytes));
  DevicePtr base = plan.workspace_->memory.get();
  plan.items_ = base + layout.items;
  plan.workerBegin_ = base + layout.workerBegin;
  plan.splits_ = base + layout.splits;
  if (layout.maxSlots > 0) {
    plan.partialLse_ = base + layout.partialLse;
    plan.partialOut_ = base + layout.partialOut;
  }
  return plan;
}

void Kernel::Impl::checkPlan(const Plan &plan, uint64_t planIdentity, int maxBatch, int batch) const {
  if (planIdentity != identity) [[unlikely]]
    throw UserError({manifest.description, "the plan must come from makePlan of this kernel",
                     planIdentity ? "a plan of another kernel" : "an empty plan", ""});
  if (batch < 0 || batch > maxBatch) [[unlikely]]
    throw UserError({manifest.description, fmt::format("the batch must be from 0 to the plan's {}", maxBatch),
                     fmt::format("{}", batch), "make a plan for a larger batch"});
}

/// What the work list's kernels share.
static void setList(ArgumentValues &values, DevicePtr lengths, int batch, int workers) {
  values.set(Slot::Lengths, lengths);
  values.set(Slot::Batch, uint64_t(batch));
  values.set(Slot::Workers, uint64_t(workers));
}

void Kernel::plan(Plan &plan, DevicePtr lengths, int batch, Stream stream) const {
  impl_->checkPlan(plan, plan.kernel_, plan.maxBatch_, batch);
  if (batch > 0 && (lengths == 0 || lengths % 4 != 0))
    throw UserError({impl_->manifest.description + ", lengths",
                     "the address must be a multiple of 4 bytes, not null", fmt::format("{:#x}", lengths),
                     "pass int32 [batch] in device memory"});
  if (batch > 0) {
    impl_->device->checkStream(stream);
    ArgumentValues values;
    setList(values, lengths, batch, plan.workers_);
    values.set(Slot::MemoryGbs, uint64_t(impl_->device->properties().memoryGBs));
    values.set(Slot::Items, plan.items_);
    values.set(Slot::WorkerBegin, plan.workerBegin_);
    values.set(Slot::Splits, plan.splits_);
    impl_->plan.launch(*impl_->device, {}, values, stream);
  }
  plan.batch_ = batch;
  plan.fresh_ = true;
}

//===- Running ---------------------------------------------------------------------------------------===//

static void setTensors(ArgumentValues &values, const DecodeTensors &t) {
  values.set(Slot::KvBase, t.kv);
  values.set(Slot::KvPageBytes, uint64_t(t.kvStridePage) * 2);
  values.set(Slot::KvRowBytes, uint64_t(t.kvStrideToken) * 2);
  values.set(Slot::BlockTable, t.blockTable);
  values.set(Slot::BlockTableStride, uint64_t(t.blockTableStride));
  values.set(Slot::NumPages, uint64_t(t.numPages));
  values.set(Slot::Scale, t.scale);
  values.set(Slot::Out, t.out);
  values.set(Slot::OutStrideBatch, uint64_t(t.outStrideBatch));
  values.set(Slot::OutStrideQuery, uint64_t(t.outStrideQuery));
  values.set(Slot::OutStrideHead, uint64_t(t.outStrideHead));
  values.set(Slot::Lse, t.lse);
  values.set(Slot::LseStrideBatch, uint64_t(t.lseStrideBatch));
  values.set(Slot::LseStrideHead, uint64_t(t.lseStrideHead));
  values.set(Slot::LseStrideQuery, uint64_t(t.lseStrideQuery));
}

void Kernel::run(const Plan &plan, const DecodeTensors &tensors, Stream stream) const {
  impl_->checkPlan(plan, plan.kernel_, plan.maxBatch_, tensors.batch);
  if (tensors.batch != plan.batch_)
    throw UserError({impl_->manifest.description, "the batch must be the one that was planned",
                     fmt::format("{} where {} was planned", tensors.batch,
                                 plan.batch_ < 0 ? "nothing" : fmt::format("{}", plan.batch_)),
                     "call plan with this step's lengths first"});
  if (tensors.batch == 0)
    return;
  const Manifest &manifest = impl_->manifest;
  DecodeTensors resolved = resolveTensors(manifest, tensors);
  impl_->device->checkStream(stream);

  ArgumentValues values;
  setList(values, resolved.lengths, resolved.batch, plan.workers_);
  values.set(Slot::Items, plan.items_);
  values.set(Slot::WorkerBegin, plan.workerBegin_);
  values.set(Slot::Splits, plan.splits_);
  values.set(Slot::PartialOut, plan.partialOut_);
  values.set(Slot::PartialLse, plan.partialLse_);
  setTensors(values, resolved);
  TensorMap q = impl_->maps.get(*impl_->device, queryMap(manifest, impl_->qRecipe, resolved));
  TensorMap kv = impl_->maps.get(*impl_->device, cacheMap(manifest, impl_->kvRecipe, resolved));
  values.set(Slot::Q, q);
  values.set(Slot::Kv, kv);
  // attend reads the work list before it waits, so the launch before must not be the one that writes it.
  const bool dependent = impl_->dependent && !plan.fresh_;
  impl_->attend.launch(*impl_->device, {manifest.rowBlocks, plan.workers_, dependent}, values, stream);
  plan.fresh_ = false;
  if (impl_->splits())
    impl_->combineParts(resolved.batch, plan.workers_, values, stream);
}

/// Warps that share a row's columns of the combine, as a power of two: more parts, more loads to share; of
/// more columns a warp has more loads of each part under way.
static int combineShift(int64_t parts, int64_t columns) {
  constexpr int64_t usualColumns = 256;
  const int64_t loads = parts * usualColumns / columns;
  return loads <= 4 ? 0 : loads <= 10 ? 1 : loads <= 22 ? 2 : 3;
}

/// From the parts of a sequence when all are of equal length: of a balanced plan at most as many as leave a
/// worker one item, and no more warps than give each multiprocessor a CTA: so it was measured
/// (docs/schedules/paged-attention.md). Where parts depend on a sequence's own length alone, a number that is
/// right for most: it must not depend on the batch, for the order of additions depends on it.
void Kernel::Impl::combineParts(int batch, int workers, ArgumentValues &values, Stream stream) const {
  constexpr int64_t usualParts = 8;
  const bool fixed = static_cast<Split>(manifest.splitPolicy) == Split::Fixed;
  const int64_t parts = !fixed       ? workers / batch
                        : partTokens ? std::min<int64_t>(manifest.fixedSplits, usualParts)
                                     : manifest.fixedSplits;
  const int64_t chunks = (manifest.valueDim + manifest.combineColumns - 1) / manifest.combineColumns;
  const int64_t tasks = splitBound(manifest, batch, workers) * manifest.heads * manifest.queryTokens * chunks;
  const auto blocks = [&](int shift) {
    const int64_t blockTasks = combine.warps() >> shift;
    return (tasks + blockTasks - 1) / blockTasks;
  };
  int shift = combineShift(parts, manifest.combineColumns);
  while (!fixed && shift > 0 && blocks(shift) > device->properties().smCount)
    --shift;
  values.set(Slot::CombineShift, uint64_t(shift));
  combine.launch(*device, {blocks(shift), 1, dependent}, values, stream);
}

//===- Checked mode ----------------------------------------------------------------------------------===//

void Kernel::validate(const Plan &plan, const DecodeTensors &tensors, int maxPagesPerSequence,
                      Stream stream) const {
  const Manifest &manifest = impl_->manifest;
  impl_->checkPlan(plan, plan.kernel_, plan.maxBatch_, tensors.batch);
  if (tensors.batch == 0)
    return;
  DecodeTensors resolved = resolveTensors(manifest, tensors);
  impl_->device->checkStream(stream);
  impl_->device->synchronize(stream);
  checkTable(*impl_->device, manifest, resolved, maxPagesPerSequence);
}
