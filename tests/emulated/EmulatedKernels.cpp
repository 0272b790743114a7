#include "EmulatedKernels.h"

#include "lathe/dsl/models/Mla.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>

using namespace lathe;
using namespace lathe::emulatedtest;
using runtime::emulator::FindingKind;

static dsl::Kernel describe(const reference::AttentionShape &shape) {
  // The split between latent and RoPE means nothing to the mathematics; both must be positive.
  const int rope = shape.keyDim > shape.valueDim ? shape.keyDim - shape.valueDim : 8;
  return dsl::mlaDecode({.heads = shape.heads,
                         .latent = shape.keyDim - rope,
                         .rope = rope,
                         .value = shape.valueDim,
                         .page = shape.page,
                         .queryTokens = shape.queryTokens,
                         .causal = shape.causal});
}

codegen::AttentionProblem emulatedtest::problemOf(const reference::AttentionShape &shape) {
  return codegen::analyze(describe(shape));
}

const codegen::Artifact &emulatedtest::compiled(const reference::AttentionShape &shape,
                                                const codegen::Config &config) {
  static std::mutex mutex;
  static std::map<std::string, codegen::Artifact> artifacts;
  const std::string key = fmt::format("{} {} {} {} {} {} {}", shape.heads, shape.queryTokens, shape.keyDim,
                                      shape.valueDim, shape.page, shape.causal, config.str());
  std::lock_guard lock(mutex);
  auto found = artifacts.find(key);
  if (found == artifacts.end())
    found =
        artifacts.emplace(key, codegen::compile(describe(shape), config, {.target = {}, .assemble = false}))
            .first;
  return found->second;
}

bool RunResult::has(FindingKind kind) const {
  return std::any_of(findings.findings.begin(), findings.findings.end(),
                     [kind](const auto &finding) { return finding.kind == kind; });
}

RunResult emulatedtest::run(const std::string &ptx, const Manifest &manifest,
                            const reference::ShapeCase &shape, const RunOptions &options) {
  auto device =
      runtime::openEmulator({.seed = options.seed, .throwFindings = false, .smCount = options.smCount});
  RunResult result;
  try {
    const runtime::Kernel kernel(device, {ptx.c_str(), ptx.size() + 1}, manifest);
    reference::AttentionInstance instance(*device, shape.shape, shape.lengths, shape.options,
                                          /*keepHost=*/true);
    if (options.prepare)
      options.prepare(instance);
    runtime::Plan plan = kernel.makePlan(std::max(1, int(shape.lengths.size())));
    const runtime::DecodeTensors tensors = instance.tensors();
    kernel.plan(plan, tensors.lengths, tensors.batch, {});
    kernel.run(plan, tensors, {});
    result.comparison = reference::compareWithCpu(instance);
  } catch (const Error &error) {
    result.error = error.what();
  }
  result.findings = device->takeFindings();
  result.launches = device->takeLaunches();
  return result;
}
