//===- BenchMoe.cpp - Timing a mixture-of-experts layer as a model runs it -----------------------------===//
//
// Layer 0 has the tensors of a random problem, which judges it; the others have weights of their own out of
// one pool of random numbers, so that no layer finds its weights in a cache, and the same rows and routing.
//
//===--------------------------------------------------------------------------------------------------===//
#include "BenchMoe.h"

#include "BenchTensors.h"
#include "MoeJudge.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

using namespace lathe;
using namespace lathe::tools;
using runtime::MoeTensors;

static constexpr double coldBytes = 400e6; // Eight times the L2 cache of an H100 or H200.
static constexpr int mostLayers = 8;
static constexpr uint64_t poolSeed = 1;    // Of the weights of all layers but the first.
static constexpr double memoryShare = 0.7; // Of the device's, for weights.

//===- Table -----------------------------------------------------------------------------------------===//

static reference::MoeShape shapeOf(int hidden, int inner, int experts, int topK, int shared) {
  reference::MoeShape shape;
  shape.hidden = hidden;
  shape.inner = inner;
  shape.sharedExperts = shared;
  shape.router.experts = experts;
  shape.router.topK = topK;
  return shape;
}

std::vector<MoeRow> lathe::tools::standardMoeGrid() {
  std::vector<MoeRow> rows;
  auto add = [&](const std::string &name, const reference::MoeShape &shape, std::initializer_list<int> counts,
                 double zipf = 0) {
    for (int count : counts) {
      MoeRow row;
      row.entry.name = fmt::format("{}/{}{}", name, count, zipf > 0 ? "-zipf" : "");
      row.entry.shape = shape;
      row.entry.rows = count;
      row.entry.options = {.seed = 1, .poison = false};
      if (zipf > 0)
        row.entry.options.spread = reference::Spread::Zipf, row.entry.options.zipf = zipf;
      rows.push_back(std::move(row));
    }
  };
  const reference::MoeShape lite = shapeOf(2048, 1408, 64, 6, 0), slice = shapeOf(7168, 2048, 32, 1, 0),
                            wide = shapeOf(7168, 2048, 64, 8, 0);
  add("v2-lite", lite, {1, 4, 16, 64, 128, 256, 512, 1024, 4096, 8192});
  add("v2-lite", lite, {256, 4096}, 1.0);
  add("v2-lite-shared", shapeOf(2048, 1408, 64, 6, 2), {1, 16, 64, 256});
  add("v3-slice", slice, {1, 16, 128, 512, 1024, 4096, 8192});
  add("v3-64", wide, {1, 64, 1024, 4096, 8192});
  return rows;
}

//===- A row -----------------------------------------------------------------------------------------===//

MoeWork lathe::tools::workOf(const reference::MoeInstance &instance) {
  const reference::MoeShape &shape = instance.shape();
  std::set<int32_t> busy;
  double choices = double(instance.rows()) * shape.sharedExperts;
  for (const int32_t id : instance.ids()) // Those that another GPU has are its work.
    if (id >= shape.firstExpert && id < shape.firstExpert + shape.localExperts)
      busy.insert(id), ++choices;
  const double rows = instance.rows();
  MoeWork work;
  work.busyExperts = double(busy.size()) + shape.sharedExperts;
  work.bytes = work.busyExperts * shape.expertWork() * 2 + rows * shape.hidden * 2 * 2;
  work.operations = 2 * choices * shape.expertWork();
  return work;
}

/// As many layers as find nothing of theirs in the L2 cache in the next replay.
static int coldLayers(const MoeWork &work) {
  return int(std::clamp(std::ceil(coldBytes / work.bytes), 1.0, double(mostLayers)));
}

namespace {
/// Tensors of all layers: those of the instance, and weights out of the pool.
class MoeLayers {
public:
  MoeLayers(runtime::Device &device, const reference::MoeInstance &instance, int wanted, uint64_t seed)
      : first_(tensorsOf(instance)), shape_(instance.shape()), held_(instance.tensors().shared1 != 0) {
    const double memory = double(device.properties().memoryBytes) * memoryShare;
    count_ = std::clamp(int(memory / double(layerBytes())), 1, wanted);
    if (count_ > 1)
      pool_.emplace(device, layerBytes() * size_t(count_ - 1), seed);
  }

  int count() const { return count_; }
  MoeTensors layer(int number) const {
    MoeTensors tensors = first_;
    if (number == 0)
      return tensors;
    runtime::DevicePtr at = pool_->address() + layerBytes() * size_t(number - 1);
    auto take = [&](double experts, double columns) {
      const runtime::DevicePtr mine = at;
      at += size_t(experts * columns) * 2;
      return mine;
    };
    const double first = double(shape_.halves()) * shape_.inner * shape_.hidden,
                 second = double(shape_.inner) * shape_.hidden;
    tensors.w1 = take(shape_.localExperts, first);
    tensors.w2 = take(shape_.localExperts, second);
    if (held_) {
      tensors.shared1 = take(shape_.sharedExperts, first);
      tensors.shared2 = take(shape_.sharedExperts, second);
    }
    if (shape_.gate)
      tensors.gate = at;
    return tensors;
  }

private:
  /// Of a layer's weights, its gate behind them.
  size_t layerBytes() const {
    const int gate = shape_.gate ? byteSize(shape_.gateType) : 0;
    return size_t(shape_.weightBytes()) +
           size_t(shape_.router.experts) * size_t(shape_.hidden) * size_t(gate);
  }

  MoeTensors first_;
  reference::MoeShape shape_;
  bool held_; ///< There are shared experts.
  int count_ = 1;
  std::optional<RandomPool> pool_;
};
} // namespace

std::vector<MoeTimes> lathe::tools::timeMoe(const std::vector<MoeContender> &contenders,
                                            const reference::MoeInstance &instance,
                                            const MoeTimingOptions &options) {
  runtime::Device &device = contenders.front().kernel.device();
  const int layers = options.layers > 0 ? options.layers : coldLayers(workOf(instance));
  const MoeLayers all(device, instance, layers, poolSeed);
  ScopedStream scoped(device);
  const auto graphOf = [&](auto call) {
    Graphs graphs;
    graphs.push_back(capture(device, scoped.stream, [&] {
      for (int layer = 0; layer < all.count(); ++layer)
        call(all.layer(layer));
    }));
    return graphs;
  };
  std::vector<Graphs> graphs; // Whole layers of each contender, behind them their experts alone.
  for (const auto &[kernel, workspace] : contenders) {
    kernel.run(workspace, all.layer(0), scoped.stream); // The map that the experts alone go by.
    graphs.push_back(graphOf([&](const MoeTensors &t) { kernel.run(workspace, t, scoped.stream); }));
  }
  for (const auto &[kernel, workspace] : contenders)
    if (options.parts)
      graphs.push_back(graphOf([&](const MoeTensors &t) { kernel.runExperts(workspace, t, scoped.stream); }));
  std::vector<Timing> timings = timeContenders(device, scoped.stream, graphs, all.count(), options.timing);
  std::vector<MoeTimes> times(contenders.size());
  for (size_t i = 0; i < contenders.size(); ++i) {
    const auto &[kernel, workspace] = contenders[i];
    times[i].layers = all.count();
    times[i].whole = std::move(timings[i]);
    if (!options.parts)
      continue;
    times[i].experts = std::move(timings[contenders.size() + i]);
    const MoeTensors tensors = all.layer(0);
    times[i].hostUs = timeHost(device, scoped.stream, [&] { kernel.run(workspace, tensors, scoped.stream); });
  }
  return times;
}
