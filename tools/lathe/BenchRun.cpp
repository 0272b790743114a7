//===- BenchRun.cpp - The rows of a benchmark, compiled -------------------------------------------------===//
//
// Everything before the clock runs: lengths, caches, kernels. BenchRow.cpp measures.
//
//===--------------------------------------------------------------------------------------------------===//
#include "BenchRun.h"

#include "lathe/reference/Instance.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

using namespace lathe;
using namespace lathe::tools;

double lathe::tools::floorUs(const MlaWork &work, const Limits &limits) {
  return std::max(work.bytes / limits.readGbps * 1e-3, work.operations / limits.matrixTflops * 1e-6);
}

reference::AttentionShape lathe::tools::benchShape(const GridRow &row) {
  return {.heads = row.shape.heads,
          .queryTokens = row.shape.queryTokens,
          .keyDim = row.shape.keyDim(),
          .valueDim = row.shape.valueDim(),
          .page = row.shape.page,
          .causal = row.shape.causal,
          .scale = row.scale};
}

BenchRun::BenchRun(std::shared_ptr<runtime::Device> device, const BenchOptions &options,
                   const std::vector<PeerLibrary> &peers)
    : device_(std::move(device)), options_(options), peers_(peers) {}

void BenchRun::add(GridRow row, const std::vector<Candidate> &candidates) {
  checkTiming("bench mla", options_.timing, row.layers);
  const reference::AttentionShape shape = benchShape(row);
  std::vector<int> lengths = row.workload.draw();
  RowResult result(std::move(row));
  result.caches =
      planCaches(cacheBytes(shape, lengths), result.row.layers, device_->properties(), options_.fewerLayers);
  result.work = countWork(shape, lengths);
  for (const Candidate &candidate : candidates) {
    result.candidates.emplace_back();
    result.candidates.back().text = candidate.text;
    if (candidate.config)
      result.candidates.back().report.config = *candidate.config;
  }
  results_.push_back(std::move(result));
  candidates_.push_back(candidates);
  lengths_.push_back(std::move(lengths));
}

runtime::JitRequest BenchRun::request(const RowResult &row, const Candidate &candidate) const {
  runtime::JitRequest request;
  request.target = runtime::targetOf(device_->properties());
  request.machine = device_->properties().name;
  request.config = candidate.config;
  request.batchInvariant = options_.batchInvariant;
  request.workload = row.row.workload.json();
  request.batch = row.row.workload.batch();
  request.meanTokens = double(row.work.tokens) / request.batch;
  return request;
}

void BenchRun::compile(const BenchProgress &progress) {
  std::vector<std::pair<size_t, size_t>> jobs; // Row, candidate.
  for (size_t row = 0; row < results_.size(); ++row)
    for (size_t i = 0; i < candidates_[row].size(); ++i)
      jobs.emplace_back(row, i);
  std::mutex mutex; // Of everything that jobs share.
  int done = 0;
  reference::parallelFor(int64_t(jobs.size()), [&](int64_t job) {
    const auto [row, i] = jobs[size_t(job)];
    CandidateResult &candidate = results_[row].candidates[i];
    std::optional<runtime::JitArtifact> artifact;
    std::string fault;
    std::exception_ptr error;
    try {
      artifact =
          jit_.build(dsl::mlaDecode(results_[row].row.shape), request(results_[row], candidates_[row][i]));
    } catch (const std::exception &thrown) { // In a thread of its own, which nothing may leave.
      fault = thrown.what();
      error = std::current_exception();
    }
    std::lock_guard lock(mutex);
    candidate.fault = fault;
    candidate.error = error;
    if (artifact) {
      candidate.report = artifact->report;
      artifacts_.try_emplace(artifact->report.digest, std::move(*artifact));
    }
    ++done;
    progress(done, int(jobs.size()), fmt::format("{} kernels built", artifacts_.size()),
             done == int(jobs.size()));
  });
}

std::shared_ptr<const runtime::Kernel> BenchRun::kernel(const std::string &digest) {
  std::shared_ptr<const runtime::Kernel> &kernel = kernels_[digest];
  if (!kernel) {
    const runtime::JitArtifact &artifact = artifacts_.at(digest);
    kernel = std::make_shared<const runtime::Kernel>(device_, artifact.image(device_->imageKind()),
                                                     artifact.manifest);
  }
  return kernel;
}
