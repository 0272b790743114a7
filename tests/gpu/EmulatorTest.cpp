// The same kernels on the same inputs: the GPU and the emulator agree within what the order of additions can
// change.
#include "Cases.h"

#include "lathe/runtime/device/emulator/Emulator.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::gputest;

static void decodeOn(runtime::Device &device, const runtime::Kernel &kernel,
                     reference::AttentionInstance &instance) {
  runtime::Plan plan = kernel.makePlan(std::max(1, int(instance.lengths().size())));
  instance.poisonOutputs();
  const runtime::DecodeTensors tensors = instance.tensors();
  kernel.plan(plan, tensors.lengths, tensors.batch, {});
  kernel.run(plan, tensors, {});
  device.synchronize();
}

static reference::Agreement agreementOn(const KernelRequest &request, const reference::ShapeCase &shape) {
  auto emulator = runtime::openEmulator({.smCount = gpu()->properties().smCount});
  const codegen::Artifact &artifact = artifactOf(request);
  const runtime::Kernel emulated(emulator, {artifact.ptx.c_str(), artifact.ptx.size() + 1},
                                 artifact.manifest);
  reference::AttentionInstance onGpu(*gpu(), shape.shape, shape.lengths, shape.options, true),
      onEmulator(*emulator, shape.shape, shape.lengths, shape.options, true);
  decodeOn(*gpu(), kernelOf(request), onGpu);
  decodeOn(*emulator, emulated, onEmulator);
  return reference::compareRuns(onGpu, onEmulator);
}

TEST(Emulator, AgreesWithTheGpuOnTheSmallShapeTable) {
  double worst = 0;
  int64_t elements = 0, identical = 0;
  for (const reference::ShapeCase &shape : reference::smallShapeTable()) {
    const reference::Agreement found = agreementOn({shape.shape, std::nullopt}, shape);
    EXPECT_TRUE(found.passed) << shape.name << ", seed " << shape.options.seed << ": " << found.message;
    worst = std::max(worst, found.worstRatio);
    elements += found.elements;
    identical += found.identical;
  }
  std::printf("%lld of %lld elements have the same bits, the worst uses %.3f of its bound\n",
              (long long)identical, (long long)elements, worst);
}

TEST(Emulator, AgreesWithTheGpuOnEveryConfiguration) {
  for (const KernelCase &entry : configCases())
    if (entry.shape->small()) {
      const reference::Agreement found = agreementOn(entry.request(), *entry.shape);
      EXPECT_TRUE(found.passed) << entry.name << ", seed " << entry.shape->options.seed << ": "
                                << found.message;
    }
}
