//===- BenchTensorsTest.cpp - Caches of a benchmark, and times -----------------------------------------===//
//
// How many layers and graphs a GPU's memory takes, on the facts of an H100 and of smaller ones; medians.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/tools/lathe/BenchMla.h"

#include "lathe/runtime/device/emulator/Emulator.h"
#include "lathe/tests/unit/support/Helpers.h"

#include <chrono>
#include <cmath>
#include <memory>

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

TEST(BenchTiming, RefusesSecondsOutOfRange) {
  for (double seconds : {-1.0, 61.0, std::nan("")})
    EXPECT_TRUE(contains(userErrorOf([&] { checkTiming("bench moe", {.sustainedSeconds = seconds}, 1); }),
                         "--sustained"))
        << seconds;
  checkTiming("bench moe", {.sustainedSeconds = 60}, 1);
}

namespace {
/// Notes who was replayed.
struct NotingGraph : runtime::Graph {
  NotingGraph(int who, std::vector<int> &log) : who(who), log(log) {}
  void launch(runtime::Stream) override { log.push_back(who); }
  int who;
  std::vector<int> &log;
};

/// Who was replayed how often in a row.
using Runs = std::vector<std::pair<int, int>>;

class BenchContenders : public ::testing::Test {
protected:
  std::vector<Timing> time(const TimingOptions &options, int count = 2) {
    std::vector<Graphs> contenders{size_t(count)};
    for (int who = 0; who < count; ++who)
      contenders[size_t(who)].push_back(std::make_unique<NotingGraph>(who, log_));
    const auto device = runtime::openEmulator();
    ScopedStream scoped(*device);
    return timeContenders(*device, scoped.stream, contenders, 1, options);
  }

  Runs runs() const {
    Runs runs;
    for (int who : log_)
      if (runs.empty() || runs.back().first != who)
        runs.emplace_back(who, 1);
      else
        ++runs.back().second;
    return runs;
  }

private:
  std::vector<int> log_;
};
} // namespace

/// One replay more at the beginning of a turn, which is not timed.
TEST_F(BenchContenders, TakeTurnsOfThreeReplays) {
  for (const Timing &timing : time({.replays = 30, .warmup = 0}))
    EXPECT_EQ(timing.samplesUs.size(), 30u);
  Runs expected{{0, 4}};
  for (int turn = 1; turn < 10; ++turn)
    expected.emplace_back(turn % 2, 8); // Who was second is first in the next turn.
  expected.emplace_back(0, 4);
  EXPECT_EQ(runs(), expected);
}

TEST_F(BenchContenders, RunAloneForAsLongAsAsked) {
  for (const Timing &timing : time({.replays = 31, .warmup = 0, .sustainedSeconds = 0.02}))
    EXPECT_EQ(timing.samplesUs.size(), 31u);
  const Runs found = runs();
  ASSERT_EQ(found.size(), 3u); // The second pass begins with who was last.
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].first, int(i % 2));
    EXPECT_GT(found[i].second, i == 1 ? 31 : 16) << "more than the timed ones";
  }
}

TEST_F(BenchContenders, ASingleOneRunsOnce) {
  const auto begin = std::chrono::steady_clock::now();
  const TimingOptions options{.replays = 31, .warmup = 0, .sustainedSeconds = 0.5};
  EXPECT_EQ(time(options, 1).front().samplesUs.size(), 31u);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(took.count(), 0.5);
  EXPECT_EQ(runs().size(), 1u);
}
