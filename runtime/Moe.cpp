#include "lathe/runtime/Moe.h"

#include "lathe/runtime/LoadedKernel.h"
#include "lathe/runtime/ManifestCheck.h"
#include "lathe/runtime/MoeTensors.h"
#include "lathe/runtime/TensorMapCache.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::runtime;

static constexpr int64_t combineColumns = 256, permuteColumns = 2048, weightRows = 64; // A warp's; of WGMMA.
static constexpr int permuteCtasPerSm = 8; // Of 8 warps: all that a multiprocessor holds.

static int64_t ceilDiv(int64_t value, int64_t by) { return (value + by - 1) / by; }

/// Immutable but for the cache of tensor maps, which guards itself. The module goes before the device.
struct MoeKernel::Impl {
  std::shared_ptr<Device> device;
  MoeManifest manifest;
  uint64_t identity = nextIdentity();
  bool dependent = false; ///< Kernels wait for their predecessor themselves.
  std::unique_ptr<Module> module;
  /// One of the kernels that make products.
  struct Product {
    LoadedKernel kernel;
    int64_t resident = 1;  ///< CTAs, in whole clusters.
    int cluster = 1;       ///< CTAs that take an item.
    int64_t tileItems = 0; ///< At most, of a tile.
  };
  LoadedKernel gate, route, permute, combine;
  std::vector<Product> products; ///< `up` and `down`, or both in one.
  TensorMapCache maps;

  void loadProducts();
  void checkWorkspace(const MoeWorkspace &workspace, uint64_t owner, const MoeTensors &tensors) const;
  void makeLogits(int64_t rows, ArgumentValues &values, Stream stream) const;
  void routeRows(int64_t rows, ArgumentValues &values, Stream stream) const;
  void runExperts(int64_t rows, const MoeBounds &bounds, ArgumentValues &values, Stream stream) const;
};

//===- Loading ---------------------------------------------------------------------------------------===//

MoeKernel::MoeKernel(std::shared_ptr<Device> device, std::string_view image, MoeManifest manifest)
    : impl_(std::make_unique<Impl>()) {
  checkManifest(manifest, device->properties());
  Impl &impl = *impl_;
  impl.dependent = dependentLaunch(manifest.config);
  impl.device = std::move(device);
  impl.manifest = std::move(manifest);
  impl.module = impl.device->load(image);
  if (!impl.manifest.gate.empty())
    impl.gate = LoadedKernel(*impl.module, impl.manifest.gateKernel, Phase::Experts);
  impl.route = LoadedKernel(*impl.module, impl.manifest.route, Phase::Experts);
  if (impl.manifest.permute)
    impl.permute = LoadedKernel(*impl.module, impl.manifest.permuteKernel, Phase::Experts);
  impl.loadProducts();
  impl.combine = LoadedKernel(*impl.module, impl.manifest.combine, Phase::Experts);
}

void MoeKernel::Impl::loadProducts() {
  auto load = [&](const KernelEntry &entry, int64_t tileItems) {
    const LoadedKernel kernel(*module, entry, Phase::Experts);
    const int64_t resident = kernel.residentCtas(*device, manifest.ctasPerSm);
    products.push_back({kernel, resident, entry.cluster, tileItems});
  };
  const int64_t upItems = int64_t(manifest.intermediate) * manifest.halves / weightRows,
                downItems = manifest.hidden / weightRows;
  if (manifest.oneLaunch)
    return load(manifest.expertsKernel, upItems + downItems);
  load(manifest.up, upItems);
  load(manifest.down, downItems);
}

MoeKernel::~MoeKernel() = default;
MoeKernel::MoeKernel(MoeKernel &&) noexcept = default;

const MoeManifest &MoeKernel::manifest() const { return impl_->manifest; }
Device &MoeKernel::device() const { return *impl_->device; }

MoeWorkspace MoeKernel::makeWorkspace(int maxRows) const {
  const MoeLayout layout = layoutWorkspace(impl_->manifest, maxRows);
  Device &device = *impl_->device;
  MoeWorkspace workspace;
  workspace.kernel_ = impl_->identity;
  workspace.maxRows_ = maxRows;
  workspace.memory_ = std::make_unique<MoeWorkspace::Memory>(impl_->device, Buffer(device, layout.bytes));
  // The routing's counters and the sums begin at zero; and a tile's last rows, whose results nobody takes,
  // are read.
  device.fill(workspace.memory_->memory.get(), 0, layout.bytes, {});
  device.synchronize(); // The first step may be on any stream.
  return workspace;
}

//===- Running ---------------------------------------------------------------------------------------===//

void MoeKernel::Impl::checkWorkspace(const MoeWorkspace &workspace, uint64_t owner,
                                     const MoeTensors &t) const {
  if (owner != identity) [[unlikely]]
    throw UserError({manifest.description, "the workspace must come from makeWorkspace of this kernel",
                     owner ? "one of another kernel" : "an empty one", ""});
  if (t.rows < 0 || t.rows > workspace.maxRows()) [[unlikely]]
    throw UserError({manifest.description,
                     fmt::format("rows must be from 0 to the workspace's {}", workspace.maxRows()),
                     fmt::format("{}", t.rows), "make a workspace for more rows"});
}

static void setTensors(ArgumentValues &values, const MoeTensors &t) {
  values.set(Slot::Rows, uint64_t(t.rows));
  values.set(Slot::X, t.x);
  values.set(Slot::XStride, uint64_t(t.xStrideRow));
  values.set(Slot::Gate, t.gate);
  values.set(Slot::Bias, t.bias);
  values.set(Slot::FirstExpert, uint64_t(int64_t(t.firstExpert)));
  values.set(Slot::Y, t.y);
  values.set(Slot::YStride, uint64_t(t.yStrideRow));
}

static void setWorkspace(ArgumentValues &values, const MoeLayout &layout, DevicePtr base,
                         const MoeTensors &t) {
  values.set(Slot::Counts, base + layout.counts);
  values.set(Slot::Offsets, base + layout.offsets);
  values.set(Slot::Slots, base + layout.slots);
  values.set(Slot::Places, base + layout.places);
  values.set(Slot::Tiles, base + layout.tiles);
  values.set(Slot::TileCount, base + layout.tileCount);
  values.set(Slot::Ready, base + layout.ready);
  values.set(Slot::Ids, t.ids ? t.ids : base + layout.ids);
  values.set(Slot::Weights, t.weights ? t.weights : base + layout.weights);
  values.set(Slot::Logits, t.logits ? t.logits : base + layout.logits);
  values.set(Slot::Scratch, base + layout.scratch);
  values.set(Slot::ActivatedBase, base + layout.activated);
  values.set(Slot::ExpertOut, base + layout.expertOut);
  values.set(Slot::Sums, base + layout.sums);
}

void MoeKernel::Impl::makeLogits(int64_t rows, ArgumentValues &values, Stream stream) const {
  const int64_t tiles =
      ceilDiv(rows, manifest.gateRows) * ceilDiv(manifest.routedExperts, manifest.gateExperts);
  gate.launch(*device, {tiles, 1, dependent}, values, stream);
}

/// From rows, logits or given choices to the map. CTAs of route wait for each other, so all are resident.
void MoeKernel::Impl::routeRows(int64_t rows, ArgumentValues &values, Stream stream) const {
  if (!manifest.gate.empty())
    makeLogits(rows, values, stream);
  const int64_t useful = std::min<int64_t>(manifest.routeBlocks, ceilDiv(rows, manifest.routeRows));
  route.launch(*device, {std::min<int64_t>(useful, device->properties().smCount), 1, dependent}, values,
               stream);
}

/// From the map to the output.
void MoeKernel::Impl::runExperts(int64_t rows, const MoeBounds &bounds, ArgumentValues &values,
                                 Stream stream) const {
  if (manifest.permute) {
    const int64_t useful = ceilDiv(rows * ceilDiv(manifest.hidden, permuteColumns), permute.warps());
    permute.launch(
        *device,
        {std::min<int64_t>(useful, int64_t(permuteCtasPerSm) * device->properties().smCount), 1, dependent},
        values, stream);
  }
  // As many CTAs as are resident at once, or as there is work for: a cluster takes an item.
  for (const Product &product : products)
    product.kernel.launch(
        *device,
        {std::min(product.resident, product.cluster * bounds.tiles * product.tileItems), 1, dependent},
        values, stream);
  const int64_t tasks = rows * ceilDiv(manifest.hidden, combineColumns);
  combine.launch(*device, {ceilDiv(tasks, combine.warps()), 1, dependent}, values, stream);
}

void MoeKernel::run(const MoeWorkspace &workspace, const MoeTensors &tensors, Stream stream) const {
  enqueue(workspace, tensors, stream, Part::All);
}

void MoeKernel::runExperts(const MoeWorkspace &workspace, const MoeTensors &tensors, Stream stream) const {
  enqueue(workspace, tensors, stream, Part::Experts);
}

void MoeKernel::route(const MoeWorkspace &workspace, const MoeTensors &tensors, Stream stream) const {
  enqueue(workspace, tensors, stream, Part::Route);
}

void MoeKernel::enqueue(const MoeWorkspace &workspace, const MoeTensors &tensors, Stream stream,
                        Part part) const {
  const Impl &impl = *impl_;
  const MoeManifest &m = impl.manifest;
  impl.checkWorkspace(workspace, workspace.kernel_, tensors);
  if (tensors.rows == 0)
    return;
  const MoeTensors t = resolveTensors(m, tensors);
  impl.device->checkStream(stream);
  const MoeLayout layout = layoutWorkspace(m, workspace.maxRows());
  const MoeBounds bounds = boundsOf(m, t.rows);
  const DevicePtr base = workspace.memory_->memory.get();

  ArgumentValues values;
  setTensors(values, t);
  setWorkspace(values, layout, base, t);
  values.set(Slot::SharedStart, uint64_t(bounds.sharedStart));
  values.set(Slot::W1Base, t.w1);
  values.set(Slot::W2Base, t.w2);
  TensorMapCache &cache = impl_->maps;
  Device &device = *impl.device;
  TensorMap w1 = cache.get(device, firstWeightsMap(m, t.w1, false)),
            w2 = cache.get(device, secondWeightsMap(m, t.w2, false));
  TensorMap activated =
      cache.get(device, activatedMap(m, base + layout.activated, boundsOf(m, workspace.maxRows()).slots));
  TensorMap shared1, shared2, permuted;
  if (m.permute) {
    permuted =
        cache.get(device, permutedMap(m, base + layout.expertOut, boundsOf(m, workspace.maxRows()).slots));
    values.set(Slot::Permuted, permuted);
  }
  values.set(Slot::W1, w1);
  values.set(Slot::W2, w2);
  values.set(Slot::Activated, activated);
  if (m.shared > 0) {
    shared1 = cache.get(device, firstWeightsMap(m, t.shared1, true));
    shared2 = cache.get(device, secondWeightsMap(m, t.shared2, true));
    values.set(Slot::Shared1, shared1);
    values.set(Slot::Shared2, shared2);
  }
  if (part != Part::Experts)
    impl.routeRows(t.rows, values, stream);
  if (part != Part::Route)
    impl.runExperts(t.rows, bounds, values, stream);
}
