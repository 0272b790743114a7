//===- BenchTensorsTest.cpp - Caches of a benchmark, and times -----------------------------------------===//
//
// How many layers and graphs a GPU's memory takes, on the facts of an H100 and of smaller ones; medians.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/tools/lathe/BenchMla.h"

#include "lathe/tests/unit/support/Helpers.h"

using namespace lathe;
using namespace lathe::tools;
using test::contains;
using test::userErrorOf;

static runtime::DeviceProperties gpu(double gigabytes) {
  runtime::DeviceProperties properties;
  properties.memoryBytes = int64_t(gigabytes * 1e9);
  properties.l2Bytes = 50 << 20;
  return properties;
}

static size_t bytesOf(int batch, int tokens) {
  return cacheBytes(reference::AttentionShape(), std::vector<int>(size_t(batch), tokens));
}

TEST(BenchTensors, CountsPages) {
  EXPECT_EQ(pageCount({1, 64, 65, 0}, 64), 4);
  EXPECT_EQ(pageCount({0}, 64), 1);
  EXPECT_EQ(bytesOf(1, 65), 2u * 64 * 576 * 2);
}

TEST(BenchTensors, RotatesOverMoreThanL2) {
  const CachePlan small = planCaches(bytesOf(1, 1024), 16, gpu(80), true);
  EXPECT_EQ(small.layers, 16);
  EXPECT_GE(small.bytes(), size_t(3) * (50 << 20));
  EXPECT_LT(small.bytes() - small.cacheBytes * 16, size_t(3) * (50 << 20)); // One graph less would not do.
  const CachePlan large = planCaches(bytesOf(128, 4096), 16, gpu(80), true);
  EXPECT_EQ(large.layers, 2); // 0.6 GB each: 1.6 GB a graph.
  EXPECT_EQ(large.graphs, 1);
  EXPECT_EQ(planCaches(bytesOf(1, 1), 1, gpu(80), true).graphs, 64); // Not thousands.
}

TEST(BenchTensors, AsManyLayersAsFit) {
  const size_t bytes = bytesOf(256, 4096); // 1.21 GB.
  EXPECT_EQ(planCaches(bytes, 16, gpu(80), false).layers, 16);
  EXPECT_EQ(planCaches(bytes, 16, gpu(80), true).layers, 1);
  const size_t small = bytesOf(16, 4096); // 75 MB.
  const CachePlan plan = planCaches(small, 16, gpu(0.8), true);
  EXPECT_EQ(plan.layers, int(cacheMemory(gpu(0.8)) / small));
  EXPECT_LT(plan.layers, 16);
  EXPECT_EQ(plan.graphs, 1);
  EXPECT_TRUE(contains(userErrorOf([&] { planCaches(bytes, 16, gpu(12), false); }), "19.3 GB of 10.2 GB"));
  EXPECT_TRUE(contains(userErrorOf([&] { planCaches(bytes, 16, gpu(1), true); }), "--batch"));
}

TEST(BenchTensors, FewerGraphsWhereMemoryIsShort) {
  const size_t bytes = 60 << 20;
  const CachePlan plan = planCaches(bytes, 1, gpu(0.15), true);
  EXPECT_EQ(plan.graphs, 2); // Three would be cold for sure, two fit.
  EXPECT_LE(plan.bytes(), cacheMemory(gpu(0.15)));
}

TEST(BenchTiming, Quantiles) {
  std::vector<double> samples;
  for (int i = 100; i >= 0; --i)
    samples.push_back(i);
  const Timing timing = summarize(samples);
  EXPECT_EQ(timing.medianUs, 50);
  EXPECT_EQ(timing.p10Us, 10);
  EXPECT_EQ(timing.p90Us, 90);
  EXPECT_EQ(timing.bestUs, 0);
  EXPECT_EQ(timing.samplesUs, samples); // In the order of the replays.
}

TEST(BenchTiming, RefusesFewReplays) {
  EXPECT_TRUE(contains(userErrorOf([] { checkTiming("bench moe", {.replays = 29}, 1); }), "bench moe"));
  EXPECT_TRUE(contains(userErrorOf([] { checkTiming("bench mla", {.replays = 29}, 1); }), "at least 30"));
  EXPECT_TRUE(contains(userErrorOf([] { checkTiming("bench mla", {}, 257); }), "--layers"));
  checkTiming("bench mla", {}, 256);
}
