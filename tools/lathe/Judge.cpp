//===- Judge.cpp - Running a kernel on a case and comparing it -----------------------------------------===//
//
// Only the wiring between the runtime and the reference; tolerances are the reference's.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Judge.h"

#include "lathe/support/Error.h"

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

std::string lathe::tools::chooseReference(const std::string &asked) {
  if (asked == "gpu" && !reference::nvrtcAvailable())
    throw DeviceError({"verify", "the GPU reference needs NVRTC", "not found",
                       "install libnvrtc, set LATHE_NVRTC, or use --reference cpu"});
  if (asked != "auto")
    return asked;
  return reference::nvrtcAvailable() ? "gpu" : "cpu";
}

reference::Comparison lathe::tools::judge(const runtime::Kernel &kernel, const reference::ShapeCase &entry,
                                          const std::string &with, int sampleRows) {
  runtime::Device &device = kernel.device();
  const bool onCpu = with == "cpu";
  reference::AttentionInstance instance(device, entry.shape, entry.lengths, entry.options, onCpu);
  runtime::DecodeTensors tensors = instance.tensors();
  tensors.scale = instance.shape().scale;
  runtime::Plan plan = kernel.makePlan(std::max(1, tensors.batch));
  kernel.plan(plan, tensors.lengths, tensors.batch, {});
  kernel.run(plan, tensors, {});
  device.synchronize();
  return onCpu ? reference::compareWithCpu(instance, sampleRows) : reference::compareWithGpu(instance);
}
