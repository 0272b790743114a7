//===- TuneMoeCandidates.cpp - Candidates for mixtures of experts -------------------------------------===//
//
// A child opens the device, finds the kernel in the cache (the parent compiled it), does its one thing and
// answers. What is verified has poison in idle experts and behind the rows; what is measured has not, because
// the layers of a graph have weights of their own.
//
//===--------------------------------------------------------------------------------------------------===//
#include "TuneMoeCandidates.h"

#include "BenchMoe.h"
#include "Emulated.h"
#include "Judge.h"
#include "MoeJudge.h"

#include "lathe/autotuner/Measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

using namespace lathe;
using namespace lathe::tools;
using autotuner::Measurement;
using codegen::MoeConfig;

static constexpr double graphBytes = 8e9;
static constexpr int smallHidden = 256, smallInner = 128, smallExperts = 8, smallChoices = 2, smallRows = 24;
static constexpr int smallSms = 4; // Few, so that a CTA has several items and its rings wrap.

static MoeVerification verificationOf(const dsl::MoeShape &layer, const autotuner::MoeWorkload &workload,
                                      const MoeConfig &config) {
  MoeVerification what;
  what.layer = layer;
  what.crowded = {"crowded", referenceShape(layer), config.tokenTile + 1, {}};
  what.crowded.options.seed = 2;
  if (layer.router != dsl::Router::Gate) // Whose choice nobody can make.
    what.crowded.options.spread = reference::Spread::OneTakesAll;
  what.workload = {"workload", referenceShape(layer), workload.rows(), workload.options()};
  what.workload.options.poison = true;
  return what;
}

MoeVerification MoeVerification::whole(const MoeCandidateJob &job, const MoeConfig &config) {
  return verificationOf(job.layer, job.workload, config);
}

MoeVerification MoeVerification::small(const MoeCandidateJob &job, const MoeConfig &config) {
  const autotuner::MoeWorkload &all = job.workload;
  const autotuner::MoeWorkload few(std::min(all.rows(), smallRows), all.zipf(), all.seed());
  dsl::MoeShape layer = job.layer;
  layer.hidden = std::min(layer.hidden, smallHidden);
  layer.intermediate = std::min(layer.intermediate, smallInner);
  layer.shared = std::min(layer.shared, 1);
  layer.topK = std::min(layer.topK, smallChoices);
  if (layer.experts > smallExperts) {
    layer.localExperts = layer.localExperts ? std::min(layer.localExperts, smallExperts / 2) : 0;
    layer.experts = smallExperts;
    layer.groups = layer.topGroups = 1;
    layer.groupScore = dsl::GroupScore::Best;
  }
  return verificationOf(layer, few, config);
}

std::string MoeVerification::text() const {
  const autotuner::MoeWorkload rows(workload.rows, workload.options.zipf, workload.options.seed);
  const bool full = crowded.options.spread == reference::Spread::OneTakesAll;
  return fmt::format("{} experts of {} x {}, top {}: {} rows{}, and {}", layer.experts, layer.hidden,
                     layer.intermediate, layer.topK, crowded.rows,
                     full ? " of which one expert takes all" : "", rows.str());
}

static std::string faultOf(const MoeVerdict &verdict) {
  if (verdict.right())
    return "";
  std::string text = verdict.message();
  if (!verdict.findings.empty())
    text = fmt::format("{}, first: {}{}{}", findingCount(verdict.findings),
                       verdict.findings.findings.front().summary(), text.empty() ? "" : "; ", text);
  return text;
}

/// Empty: right in both cases.
static std::string verify(const runtime::Jit &jit, const MoeVerification &what, const MoeConfig &config,
                          const std::shared_ptr<runtime::Device> &device) {
  runtime::MoeJitRequest request;
  request.config = config;
  const runtime::MoeKernel kernel = jit.load(dsl::moeFfn(what.layer), device, request);
  const std::string with = chooseReference("auto", *device);
  const bool emulated = dynamic_cast<runtime::Emulator *>(device.get());
  for (const reference::MoeCase *entry : {&what.crowded, &what.workload}) {
    const MoeVerdict verdict =
        judge(kernel, *entry, with, {.sampleRows = cpuSampleRows(*entry), .twice = !emulated});
    if (const std::string fault = faultOf(verdict); !fault.empty())
      return fmt::format("{}: {}", entry == &what.crowded ? "a crowded expert" : "the workload", fault);
  }
  return "";
}

/// Layers of a graph: fewer of large ones, whose weights take time to make and fill any cache anyway.
static int graphLayers(const reference::MoeShape &shape) {
  return std::clamp(int(graphBytes / shape.weightBytes()), 2, 8);
}

static Measurement measure(const runtime::Jit &jit, const MoeCandidateJob &job, const MoeConfig &config) {
  const auto device = runtime::openCudaDevice(job.device);
  runtime::MoeJitRequest request;
  request.config = config;
  runtime::MoeKernel kernel = jit.load(dsl::moeFfn(job.layer), device, request);
  const int rows = job.workload.rows();
  const reference::MoeInstance instance(*device, referenceShape(job.layer), rows, job.workload.options());
  const MoeTimingOptions options{job.timing, graphLayers(instance.shape()), /*parts=*/false};
  std::vector<MoeContender> contenders;
  runtime::MoeWorkspace workspace = kernel.makeWorkspace(rows);
  contenders.push_back({std::move(kernel), std::move(workspace)});
  return autotuner::summarize(timeMoe(contenders, instance, options).front().whole.samplesUs);
}

autotuner::MoeSearchCallbacks lathe::tools::gpuCallbacks(const runtime::Jit &jit, const MoeCandidateJob &job,
                                                         const codegen::Target &target) {
  const auto shared = std::make_shared<MoeCandidateJob>(job);
  return isolatedCallbacks<MoeConfig>(
      compileCallback<runtime::MoeJitRequest>(jit, dsl::moeFfn(shared->layer), target),
      [&jit, shared](const MoeConfig &config) {
        return verify(jit, MoeVerification::whole(*shared, config), config,
                      runtime::openCudaDevice(shared->device));
      },
      [&jit, shared](const MoeConfig &config) { return measure(jit, *shared, config); },
      shared->timeoutSeconds);
}

autotuner::MoeSearchCallbacks lathe::tools::emulatorCallbacks(const runtime::Jit &jit,
                                                              const MoeCandidateJob &job,
                                                              const codegen::Target &target) {
  const auto shared = std::make_shared<MoeCandidateJob>(job);
  return isolatedCallbacks<MoeConfig>(
      compileCallback<runtime::MoeJitRequest>(jit, dsl::moeFfn(shared->layer), target),
      [&jit, shared](const MoeConfig &config) {
        return verify(jit, MoeVerification::small(*shared, config), config,
                      runtime::openEmulator({.throwFindings = false, .smCount = smallSms}));
      },
      {}, shared->timeoutSeconds);
}
