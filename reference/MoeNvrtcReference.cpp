//===- MoeNvrtcReference.cpp - The expert layer in float64 on the GPU --------------------------------===//
//
// Sorts the pairs of rows and experts on the host, launches the reference kernels over groups of rows that
// fit a bounded scratch buffer and compares a kernel's output with the result. Serves the shapes that would
// take the CPU reference minutes: large tests, and the tuner, which verifies every candidate against one
// cached result.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/reference/MoeCompare.h"
#include "lathe/reference/MoeGpuKernels.h"
#include "lathe/reference/MoeInside.h"
#include "lathe/reference/Nvrtc.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>

using namespace lathe;
using namespace lathe::reference;

/// Bytes of device memory that intermediate results may take; rows are computed in groups that fit.
static constexpr int64_t scratchBudgetBytes = int64_t(3) << 30;

namespace {

/// The pairs of a group of rows, experts behind each other, and who takes which.
struct Pairs {
  std::vector<MoeGpuTile> routedTiles, sharedTiles;
  std::vector<int32_t> rows; ///< Of each pair.
  std::vector<float> weights;
  std::vector<int32_t> rowFirst, rowPairs; ///< Pairs of each row of the group.
};

/// Launches the kernels of one instance and one routing.
class GpuRun {
public:
  GpuRun(const MoeInstance::Impl &impl, MoeInstance::Impl::GpuExpected &expected);
  void compute();

private:
  Pairs pairsOf(int64_t firstRow, int64_t rows) const;
  void multiply(const Pairs &pairs);
  void launchProducts(const std::vector<MoeGpuTile> &tiles, bool shared);
  void sum(const Pairs &pairs, int64_t firstRow, int64_t rows);
  void launch(runtime::Function function, int64_t gridX, int64_t gridY, void *argument);
  template <class Element>
  runtime::Buffer uploaded(const std::vector<Element> &elements) const;

  const MoeInstance::Impl &impl_;
  MoeInstance::Impl::GpuExpected &expected_;
  runtime::Device &device_;
  std::unique_ptr<runtime::Module> module_;
  runtime::Function activate_, project_, sum_;
  MoeGpuProducts products_{};
  int64_t groupRows_ = 1;
  runtime::Buffer activated_, parts_, squares_, out_, allowed_;
};

} // namespace

GpuRun::GpuRun(const MoeInstance::Impl &impl, MoeInstance::Impl::GpuExpected &expected)
    : impl_(impl), expected_(expected), device_(*impl.device) {
  const runtime::DeviceProperties &properties = device_.properties();
  module_ = device_.load(referenceCubin(moeGpuKernelSource, "moe_reference.cu", properties));
  activate_ = module_->function(moeActivateName, 0);
  project_ = module_->function(moeProjectName, 0);
  sum_ = module_->function(moeSumName, 0);

  const MoeShape &shape = impl.shape;
  const int64_t rowPairs = impl.topK() + shape.sharedExperts;
  const int64_t rowBytes = rowPairs * (shape.inner + 2 * shape.hidden) * int64_t(sizeof(double));
  groupRows_ = std::clamp<int64_t>(scratchBudgetBytes / rowBytes, 1, std::max(1, impl.rows()));
  const size_t pairs = size_t(groupRows_ * rowPairs);
  activated_ = {device_, pairs * size_t(shape.inner) * sizeof(double)};
  parts_ = {device_, pairs * size_t(shape.hidden) * sizeof(double)};
  squares_ = {device_, pairs * size_t(shape.hidden) * sizeof(double)};
  out_ = {device_, size_t(groupRows_ * shape.hidden) * sizeof(float)};
  allowed_ = {device_, size_t(groupRows_ * shape.hidden) * sizeof(float)};
}

/// Never empty, so that an empty list has an address too.
template <class Element>
runtime::Buffer GpuRun::uploaded(const std::vector<Element> &elements) const {
  runtime::Buffer buffer(device_, std::max<size_t>(elements.size(), 1) * sizeof(Element));
  if (!elements.empty())
    device_.copyToDevice(buffer.get(), elements.data(), elements.size() * sizeof(Element));
  return buffer;
}

void GpuRun::launch(runtime::Function function, int64_t gridX, int64_t gridY, void *argument) {
  void *arguments[] = {argument};
  device_.launch(function,
                 {.gridX = unsigned(gridX), .gridY = unsigned(gridY), .threads = unsigned(moeGpuThreads)},
                 arguments, {});
}

static void addTiles(std::vector<MoeGpuTile> &tiles, int expert, int64_t first, int64_t pairs) {
  for (int64_t at = 0; at < pairs; at += moeTile)
    tiles.push_back({expert, int32_t(first + at), int32_t(std::min<int64_t>(moeTile, pairs - at))});
}

Pairs GpuRun::pairsOf(int64_t firstRow, int64_t rows) const {
  const MoeShape &shape = impl_.shape;
  const size_t topK = size_t(impl_.topK()), firstChoice = size_t(firstRow) * topK;
  const auto ids = std::span(expected_.ids).subspan(firstChoice, size_t(rows) * topK);
  const SortedMap map = makeSortedMap(ids, shape.local(), 1);
  Pairs pairs;
  std::vector<std::vector<int32_t>> pairsOfRow(static_cast<size_t>(rows));
  auto add = [&](int64_t row, float weight) {
    pairsOfRow[size_t(row)].push_back(int32_t(pairs.rows.size()));
    pairs.rows.push_back(int32_t(firstRow + row));
    pairs.weights.push_back(weight);
  };
  for (int32_t choice : map.slots)
    add(choice / int32_t(topK), expected_.weights[firstChoice + size_t(choice)]);
  for (int expert = 0; expert < shape.localExperts; ++expert)
    addTiles(pairs.routedTiles, expert, map.offsets[size_t(expert)], map.counts[size_t(expert)]);
  for (int expert = 0; expert < shape.sharedExperts; ++expert) {
    addTiles(pairs.sharedTiles, expert, int64_t(pairs.rows.size()), rows);
    for (int64_t row = 0; row < rows; ++row)
      add(row, 1);
  }
  pairs.rowFirst.push_back(0);
  for (const std::vector<int32_t> &own : pairsOfRow) {
    pairs.rowPairs.insert(pairs.rowPairs.end(), own.begin(), own.end());
    pairs.rowFirst.push_back(int32_t(pairs.rowPairs.size()));
  }
  return pairs;
}

void GpuRun::launchProducts(const std::vector<MoeGpuTile> &tiles, bool shared) {
  if (tiles.empty())
    return;
  const MoeShape &shape = impl_.shape;
  const MoeTensors &t = impl_.tensors;
  const int64_t half = int64_t(shape.inner) * shape.hidden;
  products_.w1 = shared ? t.shared1 : t.w1;
  products_.w2 = shared ? t.shared2 : t.w2;
  products_.w1StrideExpert = shared ? half : shape.halves() * half;
  products_.w1StrideHalf = shared ? shape.sharedExperts * half : half;
  products_.w2StrideExpert = shared ? shape.inner : half;
  products_.w2StrideRow = shared ? int64_t(shape.sharedExperts) * shape.inner : shape.inner;
  constexpr int64_t mostTiles = 65535; // Of a grid's second dimension.
  for (int64_t first = 0; first < int64_t(tiles.size()); first += mostTiles) {
    const int64_t count = std::min(mostTiles, int64_t(tiles.size()) - first);
    const std::vector<MoeGpuTile> some(tiles.begin() + first, tiles.begin() + first + count);
    const runtime::Buffer list = uploaded(some);
    products_.tiles = list.get();
    launch(activate_, (shape.inner + moeTile - 1) / moeTile, count, &products_);
    launch(project_, (shape.hidden + moeTile - 1) / moeTile, count, &products_);
    device_.synchronize();
  }
}

void GpuRun::multiply(const Pairs &pairs) {
  const runtime::Buffer rows = uploaded(pairs.rows), weights = uploaded(pairs.weights);
  products_ = {.x = impl_.tensors.x,
               .w1 = 0, // Weights and tiles follow, for routed and for shared experts.
               .w2 = 0,
               .tiles = 0,
               .pairRows = rows.get(),
               .pairWeights = weights.get(),
               .activated = activated_.get(),
               .parts = parts_.get(),
               .squares = squares_.get(),
               .xStrideRow = impl_.tensors.xStrideRow,
               .w1StrideExpert = 0,
               .w1StrideHalf = 0,
               .w2StrideExpert = 0,
               .w2StrideRow = 0,
               .hidden = impl_.shape.hidden,
               .inner = impl_.shape.inner,
               .activation = int32_t(impl_.shape.activation),
               .roundActivated = expected_.roundActivated};
  launchProducts(pairs.routedTiles, false);
  launchProducts(pairs.sharedTiles, true);
}

void GpuRun::sum(const Pairs &pairs, int64_t firstRow, int64_t rows) {
  const runtime::Buffer first = uploaded(pairs.rowFirst), entries = uploaded(pairs.rowPairs);
  MoeGpuSum sum{.rowFirst = first.get(),
                .rowPairs = entries.get(),
                .parts = parts_.get(),
                .squares = squares_.get(),
                .out = out_.get(),
                .allowed = allowed_.get(),
                .hidden = impl_.shape.hidden};
  launch(sum_, rows, 1, &sum);
  device_.synchronize();
  const int64_t at = firstRow * impl_.shape.hidden;
  const size_t bytes = size_t(rows * impl_.shape.hidden) * sizeof(float);
  device_.copyToHost(expected_.out.data() + at, out_.get(), bytes);
  device_.copyToHost(expected_.allowed.data() + at, allowed_.get(), bytes);
}

void GpuRun::compute() {
  device_.synchronize(); // The inputs may still be on their way on another stream.
  const size_t elements = size_t(int64_t(impl_.rows()) * impl_.shape.hidden);
  expected_.out.resize(elements);
  expected_.allowed.resize(elements);
  for (int64_t first = 0; first < impl_.rows(); first += groupRows_) {
    const int64_t rows = std::min(groupRows_, impl_.rows() - first);
    const Pairs pairs = pairsOf(first, rows);
    multiply(pairs);
    sum(pairs, first, rows);
  }
}

/// Bits, as a weight may be NaN.
static bool sameBits(const std::vector<float> &a, const std::vector<float> &b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * 4) == 0);
}

MoeComparison lathe::reference::compareWithGpu(MoeInstance &instance, const MoeReferenceOptions &options) {
  MoeInstance::Impl &impl = instance.impl();
  MoeProduced produced = downloadMoe(impl);
  if (!produced.outFault.empty())
    return {.message = produced.outFault};
  const auto &known = impl.gpuExpected;
  if (!known || known->ids != produced.ids || !sameBits(known->weights, produced.weights) ||
      known->roundActivated != options.roundActivated) {
    auto expected = std::make_unique<MoeInstance::Impl::GpuExpected>();
    expected->ids = std::move(produced.ids);
    expected->weights = std::move(produced.weights);
    expected->roundActivated = options.roundActivated;
    if (impl.rows() > 0)
      GpuRun(impl, *expected).compute();
    impl.gpuExpected = std::move(expected);
  }
  std::vector<int64_t> rows(size_t(impl.rows()));
  std::iota(rows.begin(), rows.end(), int64_t(0));
  return compareRows(
      {impl.shape.hidden, rows, produced.out, impl.gpuExpected->out, impl.gpuExpected->allowed});
}
