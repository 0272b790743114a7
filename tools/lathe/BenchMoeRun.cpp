//===- BenchMoeRun.cpp - The rows of a benchmark of MoE layers, compiled and measured -----------------===//
//
// See BenchMoeRun.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "BenchMoeRun.h"

#include "MoeJudge.h"

#include "lathe/autotuner/MoeWorkload.h"
#include "lathe/reference/Instance.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <exception>
#include <mutex>
#include <optional>

using namespace lathe;
using namespace lathe::tools;

static constexpr int judgedRows = 16;

/// What the tuner would call a case.
static autotuner::MoeWorkload workloadOf(const reference::MoeCase &entry) {
  const bool skewed = entry.options.spread == reference::Spread::Zipf;
  return autotuner::MoeWorkload(entry.rows, skewed ? entry.options.zipf : 0, entry.options.seed);
}

MoeBenchRun::MoeBenchRun(std::shared_ptr<runtime::Device> device, MoeBenchOptions options)
    : device_(std::move(device)), options_(std::move(options)) {
  if (options_.configs.empty())
    options_.configs.emplace_back();
}

//===- Compiling -------------------------------------------------------------------------------------===//

void MoeBenchRun::add(const MoeRow &row) {
  const autotuner::MoeWorkload workload = workloadOf(row.entry);
  MoeRowResult result{row, {}, std::vector<MoeConfigResult>(options_.configs.size())};
  for (size_t i = 0; i < options_.configs.size(); ++i) {
    result.configs[i].asked = options_.configs[i].text.empty() ? "tuned" : options_.configs[i].text;
    Job job{results_.size(), i, describe(row.entry), {}};
    job.request.target = runtime::targetOf(device_->properties());
    job.request.machine = device_->properties().name;
    job.request.workload = workload.json();
    job.request.rows = workload.rows();
    job.request.zipf = workload.zipf();
    try {
      job.request.config = options_.configs[i].config(codegen::analyzeMoe(job.description),
                                                      job.request.target, workload.rows());
      jobs_.push_back(std::move(job));
    } catch (const UserError &error) {
      if (options_.configs.size() == 1)
        throw;
      result.configs[i].fault = error.what();
    }
  }
  results_.push_back(std::move(result));
}

void MoeBenchRun::compile(const BenchProgress &progress) {
  std::mutex mutex; // Of everything that jobs share.
  std::exception_ptr first;
  int done = 0;
  reference::parallelFor(int64_t(jobs_.size()), [&](int64_t index) {
    const Job &job = jobs_[size_t(index)];
    std::optional<runtime::MoeJitArtifact> artifact;
    std::string fault;
    std::exception_ptr error;
    try {
      artifact = jit_.build(job.description, job.request);
    } catch (const std::exception &thrown) { // In a thread of its own, which nothing may leave.
      fault = thrown.what();
      error = std::current_exception();
    }
    std::lock_guard lock(mutex);
    MoeConfigResult &result = results_[job.row].configs[job.config];
    result.fault = fault;
    if (job.request.config)
      result.report.config = *job.request.config;
    if (!first)
      first = error;
    if (artifact) {
      result.report = artifact->report;
      artifacts_.try_emplace(artifact->report.digest, std::move(*artifact));
    }
    ++done;
    progress(done, int(jobs_.size()), fmt::format("{} kernels built", artifacts_.size()),
             done == int(jobs_.size()));
  });
  if (first && options_.configs.size() == 1)
    std::rethrow_exception(first);
}

//===- Measuring -------------------------------------------------------------------------------------===//

/// Empty: a sample of rows is right.
static std::string faultOf(const MoeContender &contender, reference::MoeInstance &instance,
                           double &relativeError) {
  instance.poisonOutputs();
  instance.poisonRouting();
  contender.kernel.run(contender.workspace, tensorsOf(instance), {});
  const reference::RoutingCheck routing = reference::checkRouting(instance, judgedRows);
  if (!routing.passed)
    return "wrong routing: " + routing.message;
  const reference::MoeComparison found = reference::compareWithCpu(instance, judgedRows);
  relativeError = found.relativeError;
  return found.passed ? "" : "wrong: " + found.message;
}

void MoeBenchRun::measureRow(MoeRowResult &result) {
  const reference::MoeCase &entry = result.row.entry;
  const int rows = workloadOf(entry).rows();
  reference::MoeInstance instance(*device_, entry.shape, rows, entry.options);
  result.work = workOf(instance);
  std::vector<MoeContender> contenders;
  std::vector<MoeConfigResult *> right; // Whose contenders these are.
  for (MoeConfigResult &config : result.configs) {
    if (!config.fault.empty())
      continue;
    const runtime::MoeJitArtifact &artifact = artifacts_.at(config.report.digest);
    runtime::MoeKernel kernel(device_, artifact.image(device_->imageKind()), artifact.manifest);
    runtime::MoeWorkspace workspace = kernel.makeWorkspace(rows);
    MoeContender contender{std::move(kernel), std::move(workspace)};
    config.fault = faultOf(contender, instance, config.relativeError);
    if (!config.fault.empty())
      continue;
    contenders.push_back(std::move(contender));
    right.push_back(&config);
  }
  if (contenders.empty())
    return;
  const std::vector<MoeTimes> times = timeMoe(contenders, instance, {options_.timing, result.row.layers});
  for (size_t i = 0; i < times.size(); ++i)
    right[i]->times = times[i];
}

/// "v2-lite/64: 261.20 µs, experts 255.10", the fastest of several.
static std::string noteOf(const MoeRowResult &result) {
  const MoeConfigResult *best = nullptr;
  for (const MoeConfigResult &config : result.configs)
    if (config.fault.empty() && (!best || config.times.whole.medianUs < best->times.whole.medianUs))
      best = &config;
  if (!best)
    return fmt::format("{}: {}", result.row.entry.name, result.configs.front().fault);
  return fmt::format("{}: {:.2f} µs, experts {:.2f}", result.row.entry.name, best->times.whole.medianUs,
                     best->times.experts.medianUs);
}

void MoeBenchRun::measure(const BenchProgress &progress) {
  const int total = int(results_.size());
  for (int done = 0; done < total; ++done) {
    MoeRowResult &row = results_[size_t(done)];
    progress(done, total, row.row.entry.name, false);
    measureRow(row);
    progress(done + 1, total, noteOf(row), true);
  }
}
