//===- Judge.cpp - Running a kernel on a case and comparing it -----------------------------------------===//
//
// Only the wiring between the runtime and the reference; tolerances are the reference's.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Judge.h"

#include "Alone.h"
#include "Emulated.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::tools;

reference::AttentionShape lathe::tools::referenceShape(const ShapeOptions &options) {
  const dsl::MlaShape shape = options.shape();
  return {.heads = shape.heads,
          .queryTokens = shape.queryTokens,
          .keyDim = shape.latent + shape.rope,
          .valueDim = shape.value ? shape.value : shape.latent,
          .page = shape.page,
          .causal = shape.causal,
          .scale = options.scale()};
}

dsl::Kernel lathe::tools::describe(const reference::AttentionShape &shape) {
  return dsl::mlaDecode({.heads = shape.heads,
                         .latent = shape.keyDim - shape.keyDim / 2,
                         .rope = shape.keyDim / 2,
                         .value = shape.valueDim,
                         .page = shape.page,
                         .queryTokens = shape.queryTokens,
                         .causal = shape.causal});
}

std::string lathe::tools::chooseReference(const std::string &asked, runtime::Device &device) {
  const bool emulated = dynamic_cast<runtime::Emulator *>(&device);
  if (asked == "gpu" && emulated)
    throw UserError({"verify", "the GPU reference runs on a GPU", "--reference gpu on the emulator",
                     "use --reference cpu, or --device with a GPU's number"});
  if (asked == "gpu" && !reference::nvrtcAvailable())
    throw DeviceError({"verify", "the GPU reference needs NVRTC", "not found",
                       "install libnvrtc, set LATHE_NVRTC, or use --reference cpu"});
  if (asked != "auto")
    return asked;
  return !emulated && reference::nvrtcAvailable() ? "gpu" : "cpu";
}

std::string Verdict::fault() const {
  std::string text;
  if (!findings.empty())
    text = fmt::format("{}, first: {}", findingCount(findings), findings.findings.front().summary());
  if (!comparison.passed)
    text += (text.empty() ? "" : "; ") + comparison.message;
  return text;
}

/// One step, synchronous.
static void runOnce(const runtime::Kernel &kernel, const reference::AttentionInstance &instance) {
  runtime::DecodeTensors tensors = instance.tensors();
  tensors.scale = instance.shape().scale;
  runtime::Plan plan = kernel.makePlan(std::max(1, tensors.batch));
  kernel.plan(plan, tensors.lengths, tensors.batch, {});
  kernel.run(plan, tensors, {});
  kernel.device().synchronize();
}

Verdict lathe::tools::judgeAgainst(const runtime::Kernel &kernel, const runtime::Kernel &emulated,
                                   const reference::ShapeCase &entry) {
  const reference::AttentionInstance mine(kernel.device(), entry.shape, entry.lengths, entry.options, true),
      theirs(emulated.device(), entry.shape, entry.lengths, entry.options, true);
  runOnce(kernel, mine);
  runOnce(emulated, theirs);
  Verdict verdict;
  verdict.agreement = reference::compareRuns(mine, theirs);
  verdict.comparison.passed = verdict.agreement->passed;
  verdict.comparison.message = verdict.agreement->message;
  verdict.findings = dynamic_cast<runtime::Emulator &>(emulated.device()).takeFindings();
  return verdict;
}

Verdict lathe::tools::judge(const runtime::Kernel &kernel, const reference::ShapeCase &entry,
                            const std::string &with, const JudgeOptions &options) {
  runtime::Device &device = kernel.device();
  const bool onCpu = with == "cpu";
  reference::AttentionInstance instance(device, entry.shape, entry.lengths, entry.options, onCpu);
  runOnce(kernel, instance);
  Verdict verdict;
  verdict.comparison =
      onCpu ? reference::compareWithCpu(instance, options.sampleRows) : reference::compareWithGpu(instance);
  if (options.alone && verdict.comparison.passed) {
    verdict.comparison.message = faultOfAlone(kernel, instance);
    verdict.comparison.passed = verdict.comparison.message.empty();
  }
  if (auto *emulator = dynamic_cast<runtime::Emulator *>(&device)) {
    verdict.findings = emulator->takeFindings();
    verdict.launches = emulator->takeLaunches();
  }
  return verdict;
}
