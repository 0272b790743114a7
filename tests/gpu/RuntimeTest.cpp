// Graphs, streams, threads and plans that are used again: what serving does with a kernel.
#include "Cases.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <thread>

using namespace lathe;
using namespace lathe::gputest;
using reference::AttentionInstance;
using reference::AttentionShape;

namespace {

/// Tensors at fixed addresses, as a captured graph needs them, into which one problem after another is
/// copied.
class Staging {
public:
  /// Sized for `largest`; every problem copied in must have its batch and strides and no more pages.
  explicit Staging(const AttentionInstance &largest) : tensors(largest.tensors()) {
    q = make(tensors.q, qBytes(tensors));
    kv = make(tensors.kv, kvBytes(tensors));
    table = make(tensors.blockTable, tableBytes(tensors));
    lengths = make(tensors.lengths, size_t(tensors.batch) * 4);
    out = make(tensors.out, outBytes(tensors));
    lse = make(tensors.lse, lseBytes(tensors));
  }

  void copyIn(const AttentionInstance &from) {
    const runtime::DecodeTensors t = from.tensors();
    ASSERT_EQ(t.batch, tensors.batch);
    ASSERT_EQ(t.blockTableStride, tensors.blockTableStride);
    ASSERT_LE(t.numPages, tensors.numPages);
    copy(tensors.q, t.q, qBytes(t));
    copy(tensors.kv, t.kv, kvBytes(t));
    copy(tensors.blockTable, t.blockTable, tableBytes(t));
    copy(tensors.lengths, t.lengths, size_t(t.batch) * 4);
  }
  void copyOut(const AttentionInstance &to) {
    copy(to.tensors().out, tensors.out, outBytes(tensors));
    copy(to.tensors().lse, tensors.lse, lseBytes(tensors));
  }

  runtime::DecodeTensors tensors;

private:
  static size_t qBytes(const runtime::DecodeTensors &t) { return size_t(t.batch * t.qStrideBatch) * 2; }
  static size_t kvBytes(const runtime::DecodeTensors &t) { return size_t(t.numPages * t.kvStridePage) * 2; }
  static size_t tableBytes(const runtime::DecodeTensors &t) {
    return size_t(t.batch * t.blockTableStride) * 4;
  }
  static size_t outBytes(const runtime::DecodeTensors &t) { return size_t(t.batch * t.outStrideBatch) * 2; }
  static size_t lseBytes(const runtime::DecodeTensors &t) { return size_t(t.batch * t.lseStrideBatch) * 4; }

  static runtime::Buffer make(runtime::DevicePtr &pointer, size_t bytes) {
    runtime::Buffer buffer(*gpu(), bytes);
    pointer = buffer.get();
    return buffer;
  }
  static void copy(runtime::DevicePtr to, runtime::DevicePtr from, size_t bytes) {
    std::string host(bytes, '\0');
    gpu()->copyToHost(host.data(), from, bytes);
    gpu()->copyToDevice(to, host.data(), bytes);
  }

  runtime::Buffer q, kv, table, lengths, out, lse;
};

} // namespace

static void expectRightOnCpu(const AttentionInstance &instance) {
  const reference::Comparison result = compareWithCpu(instance);
  ASSERT_TRUE(result.passed) << result.message;
}

TEST(Runtime, GraphFollowsNewLengths) {
  const AttentionShape shape{.heads = 16, .queryTokens = 2};
  AttentionInstance first(*gpu(), shape, {64, 0, 1000, 333}, {.seed = 41}, true);
  AttentionInstance second(*gpu(), shape, {1000, 5, 0, 1}, {.seed = 42}, true);
  const runtime::Kernel &kernel = kernelOf({shape, std::nullopt});
  Staging staging(first);
  runtime::Plan plan = kernel.makePlan(4);
  OwnStream stream(*gpu());
  staging.copyIn(first);
  // Once outside the capture, as serving does to warm up; then plan and run together in a graph.
  kernel.plan(plan, staging.tensors.lengths, 4, stream);
  kernel.run(plan, staging.tensors, stream);
  gpu()->synchronize(stream);
  gpu()->beginCapture(stream);
  kernel.plan(plan, staging.tensors.lengths, 4, stream);
  kernel.run(plan, staging.tensors, stream);
  auto graph = gpu()->endCapture(stream);

  for (AttentionInstance *instance : {&first, &second, &first}) {
    staging.copyIn(*instance);
    instance->poisonOutputs();
    graph->launch(stream);
    graph->launch(stream); // A replay must not depend on what the one before left behind.
    gpu()->synchronize(stream);
    staging.copyOut(*instance);
    expectRightOnCpu(*instance);
  }
}

TEST(Runtime, CapturesTheFirstRun) {
  const AttentionShape shape{.heads = 8};
  AttentionInstance instance(*gpu(), shape, {500, 0, 77}, {.seed = 43}, true);
  const KernelRequest request{shape, std::nullopt};
  runtime::Kernel kernel(gpu(), imageOf(artifactOf(request)),
                         artifactOf(request).manifest); // Never run before.
  runtime::Plan plan = kernel.makePlan(3);
  OwnStream stream(*gpu());
  gpu()->beginCapture(stream);
  kernel.plan(plan, instance.tensors().lengths, 3, stream);
  kernel.run(plan, instance.tensors(), stream);
  auto graph = gpu()->endCapture(stream);
  graph->launch(stream);
  gpu()->synchronize(stream);
  expectRightOnCpu(instance);
}

TEST(Runtime, TwoThreadsOnTwoStreamsShareAKernel) {
  const AttentionShape shape{.heads = 16};
  const runtime::Kernel &kernel = kernelOf({shape, std::nullopt});
  std::vector<AttentionInstance> instances;
  for (uint64_t seed : {44, 45})
    instances.emplace_back(*gpu(), shape, std::vector<int>{3000, 64, int(seed), 1777, 0},
                           reference::AttentionProblemOptions{.seed = seed}, true);
  std::vector<std::string> failures(2);
  auto serve = [&](size_t i) {
    try {
      OwnStream stream(*gpu());
      runtime::Plan plan = kernel.makePlan(5);
      const runtime::DecodeTensors tensors = instances[i].tensors();
      for (int step = 0; step < 50; ++step) {
        kernel.plan(plan, tensors.lengths, tensors.batch, stream);
        kernel.run(plan, tensors, stream);
      }
      gpu()->synchronize(stream);
    } catch (const std::exception &error) {
      failures[i] = error.what();
    }
  };
  std::thread other(serve, 1);
  serve(0);
  other.join();
  EXPECT_EQ(failures[0], "");
  EXPECT_EQ(failures[1], "");
  for (AttentionInstance &instance : instances)
    expectRightOnCpu(instance);
}

TEST(Runtime, OnePlanServesManyBatches) {
  const AttentionShape shape{.heads = 5, .queryTokens = 2};
  const runtime::Kernel &kernel = kernelOf({shape, std::nullopt});
  runtime::Plan plan = kernel.makePlan(40);
  EXPECT_EQ(plan.maxBatch(), 40);
  OwnStream stream(*gpu());
  for (int batch : {40, 3, 1, 17, 40}) {
    SCOPED_TRACE(testing::Message() << "batch " << batch);
    std::vector<int> lengths;
    for (int i = 0; i < batch; ++i)
      lengths.push_back(i * 97 % 700);
    AttentionInstance instance(*gpu(), shape, lengths, {.seed = uint64_t(batch)}, true);
    decode(kernel, plan, instance, stream);
    expectRightOnCpu(instance);
  }
}

TEST(Runtime, AnyNumberOfWorkersGivesTheSameNumbers) {
  const AttentionShape shape{.heads = 16};
  const runtime::Kernel &kernel = kernelOf({shape, std::nullopt});
  AttentionInstance instance(*gpu(), shape, {2500, 0, 64, 1, 999, 65}, {.seed = 46}, true);
  OwnStream stream(*gpu());
  for (int workers : {1, 2, 7, 64, 131}) {
    SCOPED_TRACE(testing::Message() << workers << " workers");
    runtime::Plan plan = kernel.makePlan(6, workers);
    decode(kernel, plan, instance, stream);
    expectRightOnCpu(instance);
  }
}

TEST(Runtime, DefaultStreamAndContiguousStrides) {
  const AttentionShape shape{.heads = 20, .queryTokens = 2};
  const runtime::Kernel &kernel = kernelOf({shape, std::nullopt});
  AttentionInstance instance(*gpu(), shape, {130, 64}, {.seed = 47}, true);
  runtime::DecodeTensors tensors = instance.tensors();
  for (int64_t *stride :
       {&tensors.qStrideBatch, &tensors.qStrideRow, &tensors.kvStridePage, &tensors.kvStrideToken,
        &tensors.outStrideBatch, &tensors.outStrideQuery, &tensors.outStrideHead, &tensors.lseStrideBatch,
        &tensors.lseStrideHead, &tensors.lseStrideQuery})
    *stride = 0; // "Contiguous", which is what the instance is.
  runtime::Plan plan = kernel.makePlan(2);
  kernel.plan(plan, tensors.lengths, 2, {});
  kernel.run(plan, tensors, {});
  expectRightOnCpu(instance);
}

/// Where GPCs differ in their SMs, fewer clusters of four fit than a quarter of the SMs; the driver knows how
/// many.
TEST(Runtime, DefaultWorkersFitTheGpuTogether) {
  const AttentionShape shape{.heads = 128, .queryTokens = 2}; // Four row blocks.
  const codegen::AttentionProblem problem = problemOf(shape);
  const int most = gpu()->properties().smCount / 4;
  for (int cluster : {1, 2, 4}) {
    codegen::Config config = codegen::defaultConfig(problem, target());
    config.cluster = cluster;
    config.prefetch = config.prefetch && cluster == 1;
    ASSERT_TRUE(codegen::check(problem, config, target())) << config.str();
    const int workers = kernelOf({shape, config}).makePlan(8).workers();
    std::printf("clusters of %d: %d workers of %d\n", cluster, workers, most);
    EXPECT_LE(workers, most) << config.str();
    EXPECT_GE(workers, most * 2 / 3) << config.str();
    if (cluster == 1)
      EXPECT_EQ(workers, most) << "a CTA an SM";
  }
}

TEST(Runtime, PtxAssembledByTheDriverMatches) {
  const AttentionShape shape{.heads = 16};
  const codegen::Artifact &artifact = artifactOf({shape, std::nullopt});
  ASSERT_FALSE(artifact.ptx.empty());
  const std::string_view ptx(artifact.ptx.c_str(), artifact.ptx.size() + 1);
  runtime::Kernel kernel(gpu(), ptx, artifact.manifest);
  expectMatchesReference(kernel, reference::shapeCase("ragged"));
}
