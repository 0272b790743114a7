#include "FakeDevice.h"

#include "lathe/runtime/Kernel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <thread>

using namespace lathe;
using namespace lathe::runtime;
using namespace lathe::runtime::test;
using ::testing::Test;

namespace {
struct KernelTest : Test {
  std::shared_ptr<FakeDevice> device = std::make_shared<FakeDevice>();
  Manifest manifest = exampleManifest();
  Stream stream{reinterpret_cast<void *>(0x10)};

  Kernel load() {
    device->kernels = {manifest.plan, manifest.attend, manifest.combine};
    return Kernel(device, "image", manifest);
  }
  static DecodeTensors tensors(int batch = 3) {
    DecodeTensors t;
    t.batch = batch;
    t.q = 0x10000;
    t.kv = 0x20000;
    t.numPages = 512;
    t.blockTable = 0x30004;
    t.blockTableStride = 77;
    t.lengths = 0x40004;
    t.out = 0x50010;
    t.lse = 0x60004;
    t.scale = 0.125f;
    return t;
  }
  /// Plans and runs; the launches of it.
  std::vector<Launch> step(const Kernel &kernel, Plan &plan, const DecodeTensors &t) {
    device->launches.clear();
    kernel.plan(plan, t.lengths, t.batch, stream);
    kernel.run(plan, t, stream);
    return device->launches;
  }
};
} // namespace

/// 33 clusters of four have as many SMs as there are; but SMs of different GPCs make no cluster.
TEST_F(KernelTest, WorkersAreClustersThatFitTogether) {
  manifest.rowBlocks = manifest.attend.cluster = 4;
  struct {
    int64_t fit;
    int workers;
  } cases[] = {{30, 30}, {33, 33}, {66, 33}, {1, 1}, {0, 33}};
  for (auto [fit, workers] : cases) {
    SCOPED_TRACE(fit);
    device->clustersThatFit["mla_decode_attend"] = fit;
    device->askedFit.clear();
    const Kernel kernel = load();
    Plan plan = kernel.makePlan(8);
    EXPECT_EQ(plan.workers(), workers);
    EXPECT_EQ(step(kernel, plan, tensors(5)).at(1).shape.gridY, unsigned(workers));
    EXPECT_EQ(kernel.makePlan(8, 33).workers(), 33) << "what is asked for is given";
    ASSERT_EQ(device->askedFit.size(), 1u);
    const std::vector<ClusterShape> &asked = device->askedFit.at("mla_decode_attend");
    ASSERT_EQ(asked.size(), 1u) << "when the kernel is loaded, and never again";
    EXPECT_EQ(asked[0].threads, 384u);
    EXPECT_EQ(asked[0].sharedBytes, 200000u);
    EXPECT_EQ(asked[0].cluster, 4u);
  }
}

TEST_F(KernelTest, LaunchesPlanAttendCombineWithTheirShapes) {
  manifest.heads = 128;
  manifest.queryTokens = 2;
  manifest.rowBlocks = 4;
  Kernel kernel = load();
  Plan plan = kernel.makePlan(8);
  EXPECT_EQ(plan.workers(), 132 / 4);
  auto launches = step(kernel, plan, tensors(5));
  ASSERT_EQ(launches.size(), 3u);

  EXPECT_EQ(launches[0].kernel, "mla_decode_plan");
  EXPECT_EQ(launches[0].shape.gridX, 1u);
  EXPECT_EQ(launches[0].shape.gridY, 1u);
  EXPECT_EQ(launches[0].shape.threads, 128u);

  EXPECT_EQ(launches[1].kernel, "mla_decode_attend");
  EXPECT_EQ(launches[1].shape.gridX, 4u);
  EXPECT_EQ(launches[1].shape.gridY, 33u);
  EXPECT_EQ(launches[1].shape.threads, 384u);
  EXPECT_EQ(launches[1].shape.sharedBytes, 200000u);
  EXPECT_EQ(device->sharedBytes["mla_decode_attend"], 200000);

  EXPECT_EQ(launches[2].kernel, "mla_decode_combine");
  // 33 workers for 5 sequences: 6 parts at most, but enough rows for all multiprocessors: a warp for a half.
  EXPECT_EQ(launches[2].arguments["combine_shift"].integer, 0);
  EXPECT_EQ(launches[2].shape.gridX, 5u * 256 * 2 / 8);
  for (const Launch &launch : launches) {
    EXPECT_EQ(launch.stream.handle, stream.handle);
    EXPECT_FALSE(launch.shape.dependent);
  }
}

TEST_F(KernelTest, CombineAsksForTheCarveoutOfItsConfig) {
  for (const bool most : {false, true}) {
    manifest.config["combineCarveout"] = most;
    load();
    EXPECT_EQ(device->carveouts["mla_decode_combine"], most ? Carveout::MaxShared : Carveout::Default);
    EXPECT_EQ(device->carveouts["mla_decode_attend"], Carveout::Default);
  }
}

TEST_F(KernelTest, CombineGridCoversTheLastPartialCta) {
  manifest.heads = 3;
  Kernel kernel = load();
  Plan plan = kernel.makePlan(8);
  // 9 rows of two halves, 8 warps a CTA: all of them for a task, then one.
  auto launches = step(kernel, plan, tensors(3));
  EXPECT_EQ(launches.at(2).arguments["combine_shift"].integer, 3);
  EXPECT_EQ(launches.at(2).shape.gridX, 18u);
  Plan few = kernel.makePlan(8, 4);
  launches = step(kernel, few, tensors(3));
  EXPECT_EQ(launches.back().arguments["combine_shift"].integer, 0);
  EXPECT_EQ(launches.back().shape.gridX, 3u);
  manifest.combineColumns = 512;
  Kernel wide = load();
  Plan rows = wide.makePlan(8, 4);
  EXPECT_EQ(step(wide, rows, tensors(3)).back().shape.gridX, 2u) << "9 rows, a warp each";
  Plan fewer = kernel.makePlan(8, 2); // Of three sequences two workers split two at most.
  EXPECT_EQ(step(kernel, fewer, tensors(3)).back().shape.gridX, 2u);
}

/// Of a balanced plan no more warps share a row than give a multiprocessor a CTA; of a fixed one the batch
/// does not count.
TEST_F(KernelTest, CombineHasACtaForAMultiprocessor) {
  manifest.heads = 16;
  manifest.queryTokens = manifest.rowBlocks = manifest.attend.cluster = 1;
  const auto combineOf = [&](int batch) {
    Kernel kernel = load();
    Plan plan = kernel.makePlan(64);
    Launch launch = step(kernel, plan, tensors(batch)).back();
    return std::pair(launch.arguments["combine_shift"].integer, int64_t(launch.shape.gridX));
  };
  using Is = std::pair<int64_t, int64_t>;
  EXPECT_EQ(combineOf(4), Is(3, 128)); // 33 parts; 8 warps for each of 128 halves of rows.
  EXPECT_EQ(combineOf(8), Is(2, 128));
  EXPECT_EQ(combineOf(12), Is(1, 96)); // 11 parts would have 4, in 192 CTAs.
  EXPECT_EQ(combineOf(24), Is(0, 96)); // 5 parts would have 2.
  EXPECT_EQ(combineOf(64), Is(0, 256));
  manifest.combineColumns = 512;
  EXPECT_EQ(combineOf(4), Is(2, 32)); // Half the tasks, and half the warps for 33 parts.
  EXPECT_EQ(combineOf(12), Is(1, 48));
  manifest.combineColumns = 256;
  manifest.splitPolicy = 2; // Fixed.
  manifest.fixedSplits = 16;
  EXPECT_EQ(combineOf(4), Is(2, 64));
  EXPECT_EQ(combineOf(64), Is(2, 1024));
  manifest.combineColumns = 512;
  EXPECT_EQ(combineOf(64), Is(1, 256));
}

TEST_F(KernelTest, BindsArgumentsByName) {
  Kernel kernel = load();
  Plan plan = kernel.makePlan(8, 50);
  auto launches = step(kernel, plan, tensors());
  auto &planned = launches.at(0).arguments, &attend = launches.at(1).arguments,
       &combine = launches.at(2).arguments;
  EXPECT_EQ(planned["lengths"].integer, 0x40004);
  EXPECT_EQ(planned["batch"].integer, 3);
  EXPECT_EQ(planned["workers"].integer, 50);
  EXPECT_EQ(planned["memory_gbs"].integer, device->properties().memoryGBs);
  for (const char *name : {"items", "worker_begin"})
    EXPECT_EQ(planned[name].integer, attend[name].integer) << name;
  EXPECT_EQ(planned["splits"].integer, combine["splits"].integer);
  for (const char *name : {"partial_out", "partial_lse", "out", "lse", "out_stride_batch", "lse_stride_head"})
    EXPECT_EQ(attend[name].integer, combine[name].integer) << name;
  EXPECT_EQ(attend["block_table"].integer, 0x30004);
  EXPECT_EQ(attend["block_table_stride"].integer, 77);
  EXPECT_EQ(attend["num_pages"].integer, 512);
  EXPECT_EQ(attend["scale"].real, 0.125f);
  EXPECT_EQ(attend["out"].integer, 0x50010);
  EXPECT_EQ(attend["lse"].integer, 0x60004);
  EXPECT_EQ(combine["batch"].integer, 3);
  EXPECT_EQ(combine["workers"].integer, 50);
}

TEST_F(KernelTest, ReorderedArgumentListsBindTheSameValues) {
  std::mt19937 random(std::random_device{}());
  auto seed = random();
  SCOPED_TRACE(seed);
  random.seed(seed);
  auto reference = [&] {
    Kernel kernel = load();
    Plan plan = kernel.makePlan(8, 50);
    return step(kernel, plan, tensors()).at(1).arguments;
  }();
  std::shuffle(manifest.attend.arguments.begin(), manifest.attend.arguments.end(), random);
  Kernel kernel = load();
  Plan plan = kernel.makePlan(8, 50);
  auto shuffled = step(kernel, plan, tensors()).at(1).arguments;
  ASSERT_EQ(shuffled.size(), reference.size());
  for (const char *name :
       {"block_table", "lengths", "out", "out_stride_batch", "out_stride_head", "lse", "num_pages"})
    EXPECT_EQ(shuffled[name].integer, reference[name].integer) << name;
  EXPECT_EQ(shuffled["q"].map, reference["q"].map);
  EXPECT_EQ(shuffled["kv"].map, reference["kv"].map);
  EXPECT_EQ(shuffled["scale"].real, reference["scale"].real);
}

TEST_F(KernelTest, StridesDefaultToContiguous) {
  manifest.heads = 16;
  manifest.queryTokens = 2;
  Kernel kernel = load();
  Plan plan = kernel.makePlan(8);
  auto attend = step(kernel, plan, tensors()).at(1).arguments;
  EXPECT_EQ(attend["out_stride_head"].integer, 512);
  EXPECT_EQ(attend["out_stride_query"].integer, 16 * 512);
  EXPECT_EQ(attend["out_stride_batch"].integer, 2 * 16 * 512);
  EXPECT_EQ(attend["lse_stride_query"].integer, 1);
  EXPECT_EQ(attend["lse_stride_head"].integer, 2);
  EXPECT_EQ(attend["lse_stride_batch"].integer, 32);

  TensorMapSpec q = attend["q"].map, kv = attend["kv"].map;
  EXPECT_EQ(q.base, 0x10000u);
  EXPECT_EQ(q.rank, 3);
  EXPECT_EQ(q.dtype, Dtype::BF16);
  EXPECT_EQ(q.extent, (std::array<uint64_t, 5>{576, 32, 3}));
  EXPECT_EQ(q.strideBytes, (std::array<uint64_t, 4>{1152, uint64_t(32) * 1152}));
  EXPECT_EQ(q.box, (std::array<uint32_t, 5>{64, 64, 1}));
  EXPECT_EQ(kv.base, 0x20000u);
  EXPECT_EQ(kv.extent, (std::array<uint64_t, 5>{576, 64, 512}));
  EXPECT_EQ(kv.strideBytes, (std::array<uint64_t, 4>{1152, uint64_t(64) * 1152}));
  EXPECT_EQ(kv.box, (std::array<uint32_t, 5>{64, 32, 1}));
}

TEST_F(KernelTest, GivenStridesAreUsedAndInnerOnesCarryOutwards) {
  uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  auto pad = [&] { return int64_t(8 * (random() % 16)); };
  manifest.queryTokens = 2;
  Kernel kernel = load();
  Plan plan = kernel.makePlan(8);
  for (int round = 0; round < 20; ++round) {
    DecodeTensors t = tensors();
    t.qStrideRow = 576 + pad();
    t.kvStrideToken = 576 + pad();
    t.kvStridePage = 64 * t.kvStrideToken + pad();
    t.outStrideHead = 512 + pad();
    t.lseStrideHead = 5;
    auto attend = step(kernel, plan, t).at(1).arguments;
    TensorMapSpec q = attend["q"].map, kv = attend["kv"].map;
    EXPECT_EQ(q.strideBytes[0], uint64_t(2 * t.qStrideRow));
    EXPECT_EQ(q.strideBytes[1], uint64_t(int64_t(2) * 32 * t.qStrideRow));
    EXPECT_EQ(kv.strideBytes[0], uint64_t(2 * t.kvStrideToken));
    EXPECT_EQ(kv.strideBytes[1], uint64_t(2 * t.kvStridePage));
    EXPECT_EQ(attend["out_stride_head"].integer, t.outStrideHead);
    EXPECT_EQ(attend["out_stride_query"].integer, 16 * t.outStrideHead);
    EXPECT_EQ(attend["out_stride_batch"].integer, 32 * t.outStrideHead);
    EXPECT_EQ(attend["lse_stride_batch"].integer, 16 * 5);
  }
}

TEST_F(KernelTest, StridesOfExtentOneAreIgnored) {
  Kernel kernel = load();
  Plan plan = kernel.makePlan(8);
  DecodeTensors t = tensors(1);
  t.qStrideBatch = 1;
  t.outStrideBatch = 3;
  t.outStrideQuery = 1;
  t.lseStrideBatch = -7;
  t.blockTableStride = 0;
  auto attend = step(kernel, plan, t).at(1).arguments;
  EXPECT_EQ(attend["q"].map.strideBytes[1], 16u * 1152);
  EXPECT_EQ(attend["out_stride_batch"].integer, 16 * 512);
  EXPECT_EQ(attend["out_stride_query"].integer, 16 * 512);
}

TEST_F(KernelTest, WholeSequencesNeedNoCombine) {
  manifest.splitPolicy = 1;
  manifest.combine = {};
  Kernel kernel = load();
  Plan plan = kernel.makePlan(8);
  auto launches = step(kernel, plan, tensors());
  ASSERT_EQ(launches.size(), 2u);
  EXPECT_EQ(launches[1].arguments["partial_out"].integer, 0);
  EXPECT_EQ(launches[1].arguments["partial_lse"].integer, 0);
}

TEST_F(KernelTest, DependentLaunchOnlyWhereTheConfigSaysSo) {
  for (const char *when : {"off", "early", "late"}) {
    manifest.config["dependentLaunch"] = when;
    Kernel kernel = load();
    Plan plan = kernel.makePlan(8);
    for (const Launch &launch : step(kernel, plan, tensors()))
      EXPECT_EQ(launch.shape.dependent, when != std::string("off") && launch.kernel == "mla_decode_combine")
          << launch.kernel << ", the first step after a plan, " << when;
    device->launches.clear();
    kernel.run(plan, tensors(), stream);
    ASSERT_EQ(device->launches.size(), 2u);
    for (const Launch &launch : device->launches)
      EXPECT_EQ(launch.shape.dependent, when != std::string("off")) << launch.kernel << " " << when;
  }
}

TEST_F(KernelTest, BatchZeroDoesNothing) {
  Kernel kernel = load();
  Plan plan = kernel.makePlan(8);
  kernel.plan(plan, 0, 0, stream);
  kernel.run(plan, DecodeTensors{}, stream);
  kernel.validate(plan, DecodeTensors{}, 0, stream);
  EXPECT_TRUE(device->launches.empty());
  EXPECT_TRUE(device->encoded.empty());
}

TEST_F(KernelTest, PlanAndRunNeitherAllocateNorSynchronizeAndKeepTensorMaps) {
  Kernel kernel = load();
  Plan plan = kernel.makePlan(8);
  int allocations = device->allocationCount;
  for (int i = 0; i < 10; ++i)
    step(kernel, plan, tensors());
  EXPECT_EQ(device->allocationCount, allocations);
  EXPECT_EQ(device->synchronizations, 0);
  EXPECT_EQ(device->encoded.size(), 2u);
  DecodeTensors moved = tensors();
  moved.kv += 4096;
  EXPECT_EQ(step(kernel, plan, moved).at(1).arguments["kv"].map.base, moved.kv);
  EXPECT_EQ(device->encoded.size(), 3u);
}

TEST_F(KernelTest, ManyThreadsShareOneKernel) {
  Kernel kernel = load();
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread)
    threads.emplace_back([&, thread] {
      Plan plan = [&] {
        static std::mutex mutex; // FakeDevice::allocate is not thread-safe.
        std::lock_guard lock(mutex);
        return kernel.makePlan(64);
      }();
      for (int i = 0; i < 200; ++i) {
        DecodeTensors t = tensors(1 + (i + thread) % 64);
        t.q += 4096 * DevicePtr(i % 50);
        kernel.plan(plan, t.lengths, t.batch, stream);
        kernel.run(plan, t, stream);
      }
      static std::mutex mutex;
      std::lock_guard lock(mutex);
      plan = Plan();
    });
  for (std::thread &thread : threads)
    thread.join();
  ASSERT_EQ(device->launches.size(), 4u * 200 * 3);
  for (Launch &launch : device->launches)
    if (launch.kernel == "mla_decode_attend") {
      EXPECT_EQ(launch.arguments["q"].map.rank, 3);
      EXPECT_EQ(launch.arguments["kv"].map.base, 0x20000u);
    }
}

TEST_F(KernelTest, PlanOutlivesItsKernelAndFreesItsMemory) {
  {
    Plan plan;
    {
      Kernel kernel = load();
      plan = kernel.makePlan(8);
      EXPECT_EQ(device->allocations.size(), 1u);
    }
    EXPECT_GT(plan.workspaceBytes(), 0u);
  }
  EXPECT_TRUE(device->allocations.empty());
}
