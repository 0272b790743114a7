//===- TuneOnGpu.cpp - Candidates on a real GPU --------------------------------------------------------===//
//
// A child opens the device, finds the kernel in the cache (the parent compiled it), does its one thing and
// answers in JSON. Verification runs a ragged batch of corner lengths and then the workload's own lengths.
//
//===--------------------------------------------------------------------------------------------------===//
#include "TuneOnGpu.h"

#include "BenchTensors.h"

#include "lathe/autotuner/Measure.h"
#include "lathe/support/Error.h"

using namespace lathe;
using namespace lathe::tools;
using autotuner::Measurement;
using nlohmann::json;

static constexpr double probeTimeoutSeconds = 30;
static constexpr int cpuSampleRows = 32; ///< Rows that the CPU reference judges of a large batch.
static constexpr uint64_t poolSeed = 3;

static json factsOf(int ordinal) {
  if (runtime::cudaDeviceCount() == 0)
    return {{"usable", false}, {"reason", runtime::cudaUnavailableReason()}};
  const runtime::DeviceProperties facts = runtime::openCudaDevice(ordinal)->properties();
  return {{"usable", true},
          {"reason", ""},
          {"name", facts.name},
          {"smCount", facts.smCount},
          {"sharedBytesPerCta", facts.sharedBytesPerCta}};
}

GpuFacts lathe::tools::probeGpu(int ordinal) {
  const json answer = autotuner::runIsolated([&] { return factsOf(ordinal); }, probeTimeoutSeconds);
  GpuFacts gpu;
  gpu.usable = answer.at("usable");
  gpu.reason = answer.at("reason");
  if (gpu.usable) {
    gpu.properties.name = answer.at("name");
    gpu.properties.smCount = answer.at("smCount");
    gpu.properties.sharedBytesPerCta = answer.at("sharedBytesPerCta");
  }
  return gpu;
}

static runtime::Kernel loadKernel(const runtime::Jit &jit, const CandidateJob &job,
                                  const codegen::Config &config) {
  runtime::JitRequest request;
  request.config = config;
  return jit.load(job.description, runtime::openCudaDevice(job.device), request);
}

/// Corners first (all rows), then the workload (all rows on the GPU, a sample on the CPU). Empty: correct.
static std::string verify(const runtime::Jit &jit, const CandidateJob &job, const codegen::Config &config) {
  const runtime::Kernel kernel = loadKernel(jit, job, config);
  const std::string with = chooseReference("auto", kernel.device());
  reference::ShapeCase corners{"corners", job.shape, cornerLengths(), {}};
  corners.options.seed = 1;
  if (const Verdict found = judge(kernel, corners, with, {.alone = job.batchInvariant}); !found.right())
    return "corner lengths: " + found.fault();
  reference::ShapeCase workload{"workload", job.shape, job.lengths, {}};
  workload.options.seed = 2;
  if (const Verdict found = judge(kernel, workload, with, {cpuSampleRows, job.batchInvariant});
      !found.right())
    return "the workload's lengths: " + found.fault();
  return "";
}

Measurement lathe::tools::measureLayers(const runtime::Kernel &kernel, const CandidateJob &job) {
  runtime::Device &device = kernel.device();
  const CachePlan caches = planCaches(cacheBytes(job.shape, job.lengths), tableLayers, device.properties(),
                                      /*mayShrink=*/true);
  const RandomPool pool(device, caches.bytes(), poolSeed);
  const BenchTensors tensors(device, job.shape, job.lengths, caches, pool);
  const ScopedStream scoped(device);
  runtime::Plan plan = kernel.makePlan(tensors.batch());
  kernel.plan(plan, tensors.layer(0).lengths, tensors.batch(), scoped.stream);
  const LayerCall run = [&](const runtime::DecodeTensors &layer, runtime::Stream stream) {
    kernel.run(plan, layer, stream);
  };
  run(tensors.layer(0), scoped.stream); // The first layer after a plan is launched otherwise than all others.
  std::vector<Graphs> graphs;
  graphs.push_back(captureLayers(device, scoped.stream, tensors, run));
  const std::vector<Timing> times = timeContenders(device, scoped.stream, graphs, caches.layers, job.timing);
  return autotuner::summarize(times.front().samplesUs);
}

const std::vector<int> &lathe::tools::cornerLengths() {
  static const std::vector<int> lengths{0, 1, 65, 200, 15, 64, 333, 63, 128, 1500};
  return lengths;
}

autotuner::SearchCallbacks lathe::tools::gpuCallbacks(const runtime::Jit &jit, CandidateJob job,
                                                      const codegen::Target &target) {
  const auto shared = std::make_shared<CandidateJob>(std::move(job));
  return isolatedCallbacks<codegen::Config>(
      compileCallback<runtime::JitRequest>(jit, shared->description, target),
      [&jit, shared](const codegen::Config &config) { return verify(jit, *shared, config); },
      [&jit, shared](const codegen::Config &config) {
        return measureLayers(loadKernel(jit, *shared, config), *shared);
      },
      shared->timeoutSeconds);
}
