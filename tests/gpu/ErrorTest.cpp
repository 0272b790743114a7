// Bad input meets one clear error of the right kind, and the GPU stays usable.
#include "Cases.h"

#include "lathe/support/Error.h"

#include <gtest/gtest.h>

using namespace lathe;
using namespace lathe::gputest;
using reference::AttentionInstance;
using reference::AttentionShape;

static const AttentionShape shape{.heads = 16};

/// The message of the error that `action` must throw.
template <class Expected, class Action>
static std::string messageOf(const Action &action) {
  try {
    action();
  } catch (const Expected &error) {
    return error.what();
  } catch (const std::exception &error) {
    ADD_FAILURE() << "an error of another kind: " << error.what();
    return {};
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

/// After an error the same GPU still computes.
static void expectStillWorks() {
  expectMatchesReference(kernelOf({shape, std::nullopt}), reference::shapeCase("ragged"));
}

TEST(Errors, CheckedModeNamesTheBadTableEntry) {
  const runtime::Kernel &kernel = kernelOf({shape, std::nullopt});
  AttentionInstance instance(*gpu(), shape, {100, 200, 0}, {.seed = 51}, true);
  const runtime::DecodeTensors tensors = instance.tensors();
  const int pages = instance.maxPagesPerSequence();
  runtime::Plan plan = kernel.makePlan(3);
  kernel.plan(plan, tensors.lengths, 3, {});
  EXPECT_NO_THROW(kernel.validate(plan, tensors, pages, {})) << "garbage in unused entries is legal";
  for (int32_t bad : {-1, 0x7fffffff, int32_t(tensors.numPages)}) {
    const uint64_t entry = uint64_t(tensors.blockTableStride) + 2; // Sequence 1, page 2.
    int32_t good = 0;
    gpu()->copyToHost(&good, tensors.blockTable + entry * 4, 4);
    gpu()->copyToDevice(tensors.blockTable + entry * 4, &bad, 4);
    const std::string message = messageOf<UserError>([&] { kernel.validate(plan, tensors, pages, {}); });
    EXPECT_NE(message.find("sequence 1"), std::string::npos) << message;
    EXPECT_NE(message.find("[2]"), std::string::npos) << message;
    EXPECT_NE(message.find(std::to_string(bad)), std::string::npos) << message;
    gpu()->copyToDevice(tensors.blockTable + entry * 4, &good, 4);
  }
  EXPECT_NO_THROW(kernel.validate(plan, tensors, pages, {}));
}

TEST(Errors, StreamOfAnotherGpu) {
  if (runtime::cudaDeviceCount() < 2)
    GTEST_SKIP() << "needs two GPUs, found " << runtime::cudaDeviceCount();
  auto other = runtime::openCudaDevice(1);
  const runtime::Kernel &kernel = kernelOf({shape, std::nullopt});
  AttentionInstance instance(*gpu(), shape, {100}, {.seed = 52}, true);
  runtime::Plan plan = kernel.makePlan(1);
  {
    OwnStream foreign(*other);
    const std::string message =
        messageOf<UserError>([&] { kernel.plan(plan, instance.tensors().lengths, 1, foreign); });
    EXPECT_NE(message.find("stream"), std::string::npos) << message;
    kernel.plan(plan, instance.tensors().lengths, 1, {});
    messageOf<UserError>([&] { kernel.run(plan, instance.tensors(), foreign); });
  }
  expectStillWorks();
}

TEST(Errors, TwoGpusInOneProcess) {
  if (runtime::cudaDeviceCount() < 2)
    GTEST_SKIP() << "needs two GPUs, found " << runtime::cudaDeviceCount();
  auto other = runtime::openCudaDevice(1);
  const codegen::Artifact &artifact = artifactOf({shape, std::nullopt});
  runtime::Kernel kernel(other, imageOf(artifact), artifact.manifest);
  AttentionInstance instance(*other, shape, {300, 0, 64}, {.seed = 53}, true);
  runtime::Plan plan = kernel.makePlan(3);
  kernel.plan(plan, instance.tensors().lengths, 3, {});
  expectStillWorks(); // In between, the first GPU is used.
  kernel.run(plan, instance.tensors(), {});
  const reference::Comparison result = compareWithCpu(instance);
  EXPECT_TRUE(result.passed) << result.message;
}

TEST(Errors, TruncatedCubin) {
  const codegen::Artifact &artifact = artifactOf({shape, std::nullopt});
  if (artifact.cubin.empty())
    GTEST_SKIP() << "no assembler in this process, so there is no cubin to truncate";
  const size_t bytes = artifact.cubin.size();
  for (size_t kept : {size_t(0), size_t(3), size_t(63), size_t(100), bytes / 2, bytes - 64}) {
    SCOPED_TRACE(testing::Message() << kept << " of " << bytes << " bytes");
    // A copy of its own size, so that reading past the end is seen by memory checkers.
    const std::string image = artifact.cubin.substr(0, kept);
    const std::string message =
        messageOf<DeviceError>([&] { runtime::Kernel kernel(gpu(), image, artifact.manifest); });
    EXPECT_FALSE(message.empty());
  }
  expectStillWorks();
}

TEST(Errors, KernelThatTheCubinLacks) {
  const codegen::Artifact &artifact = artifactOf({shape, std::nullopt});
  Manifest manifest = artifact.manifest;
  manifest.attend.name = "no_such_kernel";
  const std::string message =
      messageOf<DeviceError>([&] { runtime::Kernel kernel(gpu(), imageOf(artifact), manifest); });
  EXPECT_NE(message.find("no_such_kernel"), std::string::npos) << message;
}

TEST(Errors, MisusedPlansAndTensors) {
  const runtime::Kernel &kernel = kernelOf({shape, std::nullopt});
  AttentionInstance instance(*gpu(), shape, {100, 64}, {.seed = 54}, true);
  const runtime::DecodeTensors tensors = instance.tensors();
  runtime::Plan plan = kernel.makePlan(2);
  messageOf<UserError>([&] { kernel.run(plan, tensors, {}); }); // Never planned.
  messageOf<UserError>([&] { kernel.plan(plan, tensors.lengths, 3, {}); });
  kernel.plan(plan, tensors.lengths, 2, {});

  runtime::DecodeTensors spoilt = tensors;
  spoilt.batch = 1; // Not what was planned.
  messageOf<UserError>([&] { kernel.run(plan, spoilt, {}); });
  spoilt = tensors;
  spoilt.kvStrideToken = 577; // Not a multiple of 16 bytes.
  messageOf<UserError>([&] { kernel.run(plan, spoilt, {}); });
  spoilt = tensors;
  spoilt.q += 2;
  messageOf<UserError>([&] { kernel.run(plan, spoilt, {}); });
  spoilt = tensors;
  spoilt.scale = 0;
  messageOf<UserError>([&] { kernel.run(plan, spoilt, {}); });
  kernel.run(plan, tensors, {});
  const reference::Comparison result = compareWithCpu(instance);
  EXPECT_TRUE(result.passed) << result.message;
}
