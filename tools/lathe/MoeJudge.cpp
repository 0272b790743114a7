//===- MoeJudge.cpp - Running a layer of experts on a case and comparing it ----------------------------===//
//
// Only the wiring between the runtime and the reference; tolerances are the reference's.
//
//===--------------------------------------------------------------------------------------------------===//
#include "MoeJudge.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::tools;

/// Multiply-adds above which the CPU reference takes a sample of the rows.
static constexpr double cpuWork = 2e9;
static constexpr int cpuSample = 32;

int lathe::tools::cpuSampleRows(const reference::MoeCase &entry) {
  return entry.work() > cpuWork ? cpuSample : 0;
}

bool lathe::tools::takesRouting(const reference::MoeCase &entry) { return entry.options.wildIds; }

reference::MoeShape lathe::tools::referenceShape(const dsl::MoeShape &shape) {
  reference::MoeShape result;
  result.hidden = shape.hidden;
  result.inner = shape.intermediate;
  result.localExperts = shape.localExperts;
  result.sharedExperts = shape.shared;
  result.activation = shape.activation == dsl::Activation::SwiGlu ? reference::Activation::SwiGlu
                      : shape.activation == dsl::Activation::Silu ? reference::Activation::Silu
                                                                  : reference::Activation::Gelu;
  result.logits = shape.logits;
  result.gate = shape.router == dsl::Router::Gate;
  result.gateType = shape.gate;
  result.router = {.experts = shape.experts,
                   .topK = shape.topK,
                   .scoring = shape.scoring == dsl::Scoring::Softmax ? reference::Scoring::Softmax
                                                                     : reference::Scoring::Sigmoid,
                   .renormalize = shape.renormalize,
                   .scale = float(shape.scale),
                   .bias = shape.bias,
                   .groups = shape.groups,
                   .topGroups = shape.topGroups,
                   .groupScore = shape.groupScore == dsl::GroupScore::Best ? reference::GroupScore::Best
                                                                           : reference::GroupScore::TwoBest};
  return result;
}

static dsl::Activation activationOf(reference::Activation activation) {
  switch (activation) {
  case reference::Activation::SwiGlu:
    return dsl::Activation::SwiGlu;
  case reference::Activation::Silu:
    return dsl::Activation::Silu;
  case reference::Activation::Gelu:
    return dsl::Activation::Gelu;
  }
  return dsl::Activation::SwiGlu;
}

/// A group of one expert counts by its best, which the language wants to be said.
static dsl::GroupScore groupScoreOf(const reference::MoeRouter &router) {
  return router.groupScore == reference::GroupScore::Best || router.groups == router.experts
             ? dsl::GroupScore::Best
             : dsl::GroupScore::SumOfTwoBest;
}

static dsl::Router routerOf(const reference::MoeCase &entry) {
  if (takesRouting(entry))
    return dsl::Router::Given;
  return entry.shape.gate ? dsl::Router::Gate : dsl::Router::Logits;
}

dsl::Kernel lathe::tools::describe(const reference::MoeCase &entry) {
  const reference::MoeShape &shape = entry.shape;
  const reference::MoeRouter &router = shape.router;
  return dsl::moeFfn({.hidden = shape.hidden,
                      .intermediate = shape.inner,
                      .experts = router.experts,
                      .localExperts = shape.localExperts,
                      .topK = router.topK,
                      .shared = shape.sharedExperts,
                      .activation = activationOf(shape.activation),
                      .router = routerOf(entry),
                      .logits = shape.logits,
                      .gate = shape.gateType,
                      .scoring = router.scoring == reference::Scoring::Softmax ? dsl::Scoring::Softmax
                                                                               : dsl::Scoring::Sigmoid,
                      .bias = router.bias,
                      .groups = router.groups,
                      .topGroups = router.topGroups,
                      .groupScore = groupScoreOf(router),
                      .renormalize = router.renormalize,
                      .scale = router.scale});
}

std::string MoeVerdict::message() const {
  std::string text = routing ? routing->message : "";
  if (!comparison.message.empty())
    text += (text.empty() ? "" : "; ") + comparison.message;
  return text;
}

std::string MoeVerdict::numbers() const {
  std::string text =
      fmt::format("y {:.3f} of 1  error {:.1e}", comparison.worstRatio, comparison.relativeError);
  if (routing && routing->worstLogitRatio > 0)
    text += fmt::format("  logits {:.3f} of 1", routing->worstLogitRatio);
  return text +
         (routing ? fmt::format("  weights {:.3f} of 1", routing->worstWeightRatio) : "  routing given");
}

nlohmann::json lathe::tools::toJson(const MoeVerdict &verdict) {
  nlohmann::json json{{"comparedRows", verdict.comparison.rows},
                      {"worstRatio", verdict.comparison.worstRatio},
                      {"relativeError", verdict.comparison.relativeError},
                      {"message", verdict.message()},
                      {"router", verdict.routing ? "logits" : "given"}};
  if (verdict.routing)
    json["routing"] = {{"passed", verdict.routing->passed},
                       {"rows", verdict.routing->rows},
                       {"otherOrder", verdict.routing->otherOrder},
                       {"worstWeightRatio", verdict.routing->worstWeightRatio},
                       {"worstLogitRatio", verdict.routing->worstLogitRatio}};
  return json;
}

runtime::MoeTensors lathe::tools::tensorsOf(const reference::MoeInstance &instance) {
  const reference::MoeTensors t = instance.tensors();
  return {.rows = t.rows,
          .x = t.x,
          .xStrideRow = t.xStrideRow,
          .logits = t.logits,
          .gate = t.gate,
          .bias = t.bias,
          .ids = t.ids,
          .weights = t.weights,
          .firstExpert = instance.shape().firstExpert,
          .w1 = t.w1,
          .w2 = t.w2,
          .shared1 = t.shared1,
          .shared2 = t.shared2,
          .y = t.y,
          .yStrideRow = t.yStrideRow};
}

/// One layer, synchronous, with poison in what the kernel must write.
static void runOnce(const runtime::MoeKernel &kernel, reference::MoeInstance &instance, bool routes,
                    const runtime::MoeWorkspace &workspace) {
  instance.poisonOutputs();
  if (routes)
    instance.poisonRouting();
  kernel.run(workspace, tensorsOf(instance), {});
  kernel.device().synchronize();
}

MoeVerdict lathe::tools::judge(const runtime::MoeKernel &kernel, const reference::MoeCase &entry,
                               const std::string &with, const MoeJudgeOptions &options) {
  runtime::Device &device = kernel.device();
  reference::MoeInstance instance(device, entry.shape, entry.rows, entry.options);
  const bool routes = kernel.manifest().router != "given";
  const runtime::MoeWorkspace workspace = kernel.makeWorkspace(std::max(1, entry.rows));
  runOnce(kernel, instance, routes, workspace);
  MoeVerdict verdict;
  std::vector<int32_t> ids;
  std::vector<uint16_t> bits;
  if (options.twice) {
    ids = downloadIds(instance);
    bits = downloadOutput(instance);
    runOnce(kernel, instance, routes, workspace);
  }
  if (routes)
    verdict.routing = reference::checkRouting(instance);
  verdict.comparison = with == "cpu" ? reference::compareWithCpu(instance, options.sampleRows)
                                     : reference::compareWithGpu(instance);
  const bool ordered = !kernel.manifest().atomic; // Sums are made in one order.
  if (options.twice && (ids != downloadIds(instance) || (ordered && bits != downloadOutput(instance)))) {
    verdict.comparison.passed = false;
    verdict.comparison.message += verdict.comparison.message.empty() ? "" : "; ";
    verdict.comparison.message += "two runs differ in their bits";
  }
  if (auto *emulator = dynamic_cast<runtime::Emulator *>(&device)) {
    verdict.findings = emulator->takeFindings();
    verdict.launches = emulator->takeLaunches();
  }
  return verdict;
}
