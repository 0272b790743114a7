//===- TuneOnEmulator.cpp - Candidates on the emulator ------------------------------------------------===//
//
// A child finds the kernel in the cache (the parent compiled it), runs the corner lengths and a few of the
// workload's, and answers with what differs or with the first finding. It is a process of its own because it
// may take too long; the emulator itself tells deadlocks.
//
//===--------------------------------------------------------------------------------------------------===//
#include "TuneOnEmulator.h"

#include "Output.h"

#include "lathe/runtime/device/emulator/Emulator.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::tools;

static constexpr int mostSampled = 4, longestSampled = 512;

std::vector<int> lathe::tools::sampleLengths(std::vector<int> lengths) {
  std::sort(lengths.begin(), lengths.end());
  std::vector<int> sample;
  const size_t count = std::min<size_t>(lengths.size(), mostSampled);
  for (size_t i = 0; i < count; ++i)
    sample.push_back(
        std::min(lengths[count == 1 ? 0 : i * (lengths.size() - 1) / (count - 1)], longestSampled));
  return sample;
}

std::string lathe::tools::verifiedText(const std::vector<int> &workloadLengths) {
  const std::vector<int> sample = sampleLengths(workloadLengths);
  return fmt::format("{} corner lengths up to {} tokens, and {} of the workload's (at most {}): {}",
                     cornerLengths().size(),
                     grouped(*std::max_element(cornerLengths().begin(), cornerLengths().end())),
                     sample.size(), longestSampled, fmt::join(sample, ", "));
}

static std::string verify(const runtime::Jit &jit, const CandidateJob &job, const codegen::Config &config,
                          int smCount) {
  const auto emulator = runtime::openEmulator({.throwFindings = false, .smCount = smCount});
  runtime::JitRequest request;
  request.config = config;
  const runtime::Kernel kernel = jit.load(job.description, emulator, request);
  reference::ShapeCase corners{"corners", job.shape, cornerLengths(), {}};
  corners.options.seed = 1;
  if (const Verdict found = judge(kernel, corners, "cpu", {.alone = job.batchInvariant}); !found.right())
    return "corner lengths: " + found.fault();
  reference::ShapeCase workload{"workload", job.shape, sampleLengths(job.lengths), {}};
  workload.options.seed = 2;
  if (const Verdict found = judge(kernel, workload, "cpu"); !found.right())
    return "the workload's lengths: " + found.fault();
  return "";
}

autotuner::SearchCallbacks lathe::tools::emulatorCallbacks(const runtime::Jit &jit, CandidateJob job,
                                                           const codegen::Target &target) {
  const auto shared = std::make_shared<CandidateJob>(std::move(job));
  return isolatedCallbacks<codegen::Config>(
      compileCallback<runtime::JitRequest>(jit, shared->description, target),
      [&jit, shared, smCount = target.smCount](const codegen::Config &config) {
        return verify(jit, *shared, config, smCount);
      },
      {}, shared->timeoutSeconds);
}
