//===- BenchMoe.cpp - Timing a mixture-of-experts layer as a model runs it -----------------------------===//
//
// Layer 0 has the tensors of a random problem, which judges it; the others have weights of their own out of
// one pool of random numbers, so that no layer finds its weights in a cache, and the same rows and routing.
//
//===--------------------------------------------------------------------------------------------------===//
#include "BenchMoe.h"

#include "BenchTensors.h"
#include "MoeJudge.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

using namespace lathe;
using namespace lathe::tools;
using runtime::MoeTensors;

static constexpr int judgedRows = 16;
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

static MoeWork workOf(const reference::MoeInstance &instance) {
  const reference::MoeShape &shape = instance.shape();
  const std::set<int32_t> busy(instance.ids().begin(), instance.ids().end());
  const double rows = instance.rows(), choices = rows * (shape.router.topK + shape.sharedExperts);
  MoeWork work;
  work.busyExperts = double(busy.size()) + shape.sharedExperts;
  work.bytes = work.busyExperts * shape.expertWork() * 2 + rows * shape.hidden * 2 * 2;
  work.operations = 2 * choices * shape.expertWork();
  return work;
}

namespace {
/// Tensors of all layers: those of the instance, and weights out of the pool.
class MoeLayers {
public:
  MoeLayers(runtime::Device &device, const reference::MoeInstance &instance, int wanted, uint64_t seed)
      : first_(tensorsOf(instance)), shape_(instance.shape()), held_(instance.tensors().shared1 != 0) {
    const double each = shape_.weightBytes(), memory = double(device.properties().memoryBytes) * memoryShare;
    count_ = std::clamp(int(memory / each), 1, wanted);
    if (count_ > 1)
      pool_.emplace(device, size_t(each) * size_t(count_ - 1), seed);
  }

  int count() const { return count_; }
  MoeTensors layer(int number) const {
    MoeTensors tensors = first_;
    if (number == 0)
      return tensors;
    runtime::DevicePtr at = pool_->address() + size_t(shape_.weightBytes()) * size_t(number - 1);
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
    return tensors;
  }

private:
  MoeTensors first_;
  reference::MoeShape shape_;
  bool held_; ///< There are shared experts.
  int count_ = 1;
  std::optional<RandomPool> pool_;
};
} // namespace

/// Empty: a sample of rows is right.
static std::string faultOf(const runtime::MoeKernel &kernel, const runtime::MoeWorkspace &workspace,
                           reference::MoeInstance &instance, double &relativeError) {
  instance.poisonOutputs();
  instance.poisonRouting();
  kernel.run(workspace, tensorsOf(instance), {});
  const reference::RoutingCheck routing = reference::checkRouting(instance, judgedRows);
  if (!routing.passed)
    return "wrong routing: " + routing.message;
  const reference::MoeComparison found = reference::compareWithCpu(instance, judgedRows);
  relativeError = found.relativeError;
  return found.passed ? "" : "wrong: " + found.message;
}

MoeRowResult lathe::tools::measureMoe(const runtime::Jit &jit, std::shared_ptr<runtime::Device> device,
                                      const MoeRow &row, const MoeBenchOptions &options) {
  MoeRowResult result;
  result.row = row;
  const int rows = row.entry.rows;
  reference::MoeInstance instance(*device, row.entry.shape, rows, row.entry.options);
  result.work = workOf(instance);
  const dsl::Kernel description = describe(row.entry);
  const codegen::Target target = runtime::targetOf(device->properties());
  runtime::MoeJitRequest request;
  request.rows = rows;
  request.config = options.config.config(codegen::analyzeMoe(description), target, rows);
  runtime::MoeJitReport report;
  const runtime::MoeKernel kernel = jit.load(description, device, request, &report);
  result.config = report.config;
  result.digest = report.digest;
  const runtime::MoeWorkspace workspace = kernel.makeWorkspace(rows);
  result.fault = faultOf(kernel, workspace, instance, result.relativeError);
  if (!result.fault.empty())
    return result;

  const MoeLayers layers(*device, instance, row.layers, row.entry.options.seed);
  result.layers = layers.count();
  ScopedStream scoped(*device);
  const auto graphOf = [&](auto call) {
    Graphs graphs;
    graphs.push_back(capture(*device, scoped.stream, [&] {
      for (int layer = 0; layer < layers.count(); ++layer)
        call(layers.layer(layer));
    }));
    return graphs;
  };
  kernel.run(workspace, layers.layer(0), scoped.stream); // The map that the experts alone go by.
  std::vector<Graphs> contenders;
  contenders.push_back(graphOf([&](const MoeTensors &t) { kernel.run(workspace, t, scoped.stream); }));
  contenders.push_back(graphOf([&](const MoeTensors &t) { kernel.runExperts(workspace, t, scoped.stream); }));
  std::vector<Timing> timings =
      timeInTurns(*device, scoped.stream, contenders, layers.count(), options.timing);
  result.whole = std::move(timings[0]);
  result.experts = std::move(timings[1]);
  const MoeTensors tensors = layers.layer(0);
  result.hostUs = timeHost(*device, scoped.stream, [&] { kernel.run(workspace, tensors, scoped.stream); });
  return result;
}
