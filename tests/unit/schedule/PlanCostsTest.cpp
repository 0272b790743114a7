//===- PlanCostsTest.cpp - The choice between plans, on the host -------------------------------------===//
//
// The numbers of busy workers that measurements found best, that no other length of a part is better, and
// that whole sequences are dealt where they take no more time.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/PlanCosts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

using namespace lathe::codegen;

namespace {
/// Equal sequences, and the parts of each that come out. `measured`: the best of what early experiments tried
/// on an NVIDIA H100 80GB HBM3.
struct Fact {
  int batch, tokens, parts, measured;
};
} // namespace

static void expectParts(const Config &config, int workers, const std::vector<Fact> &facts) {
  const int64_t unitTokens = int64_t(config.kvTile) * config.consumers;
  for (const Fact &fact : facts) {
    const std::vector<int64_t> units(size_t(fact.batch), (fact.tokens + unitTokens - 1) / unitTokens);
    const int64_t longest = planLongestPart(planCosts(config), units, workers);
    ASSERT_GE(longest, 1) << fact.batch << " × " << fact.tokens;
    EXPECT_EQ((units[0] + longest - 1) / longest, fact.parts)
        << fact.batch << " × " << fact.tokens << ", measured best with " << fact.measured;
  }
}

static const Config exchanged{
    .kvTile = 64, .rowsPerCta = 16, .stages = 2, .consumers = 1, .swapOperands = true};
static const Config turns{.kvTile = 64, .stages = 2, .consumers = 2, .seesaw = true};

TEST(PlanCosts, BusyWorkersAreThoseMeasuredBest) {
  expectParts(exchanged, 132, // 16 heads. The last but two: 64 and 80 parts are half a percent apart.
              {{1, 1024, 16, 16},
               {1, 4096, 64, 64},
               {4, 4096, 22, 22},
               {8, 4096, 11, 11},
               {32, 4096, 4, 4},
               {1, 32768, 64, 64},
               {1, 131072, 64, 80},
               {128, 1024, 1, 1},
               {128, 4096, 1, 1}});
  expectParts(turns, 132, // 64 heads.
              {{1, 4096, 32, 32}, {8, 4096, 16, 16}, {32, 4096, 4, 4}, {128, 1024, 1, 1}, {128, 4096, 1, 1}});
  expectParts(turns, 66, // 128 heads.
              {{1, 4096, 32, 32},
               {4, 4096, 16, 16},
               {8, 4096, 8, 8},
               {16, 4096, 4, 4},
               {32, 4096, 2, 2},
               {1, 131072, 64, 66}});
}

/// Of an H200: parts as short as its compute allows, where the memory gives more.
TEST(PlanCosts, MoreBandwidthMeansMoreParts) {
  EXPECT_EQ(planCosts(exchanged).memoryNs, 25);
  EXPECT_EQ(planCosts(turns).memoryNs, 50);
  EXPECT_EQ(planCosts(exchanged, 4800).memoryNs, 17);
  EXPECT_EQ(planCosts(exchanged, 1).memoryNs, planMostMemoryNs);
  EXPECT_EQ(planCosts(exchanged, 1 << 30).memoryNs, 1);
  auto longest = [](int batch, int units, int memoryGBs) {
    return planLongestPart(planCosts(exchanged, memoryGBs), std::vector<int64_t>(size_t(batch), units), 132);
  };
  EXPECT_EQ(longest(1, 2048, 3352), 32); // 64 parts.
  EXPECT_EQ(longest(1, 2048, 4800), 22); // 94.
  EXPECT_EQ(longest(8, 64, 3352), 6);    // 11 parts each.
  EXPECT_EQ(longest(8, 64, 4800), 5);    // 13.
}

TEST(PlanCosts, ManySequencesAndOneLongOneCutTheLine) {
  std::vector<int64_t> units(132, 64);
  EXPECT_EQ(planLongestPart(planCosts(exchanged), units, 132), 64);
  units.push_back(64); // More sequences than workers.
  EXPECT_EQ(planLongestPart(planCosts(exchanged), units, 132), 0);
  EXPECT_FALSE(planWhole(planCosts(exchanged), units, 132)); // One worker would have twice as much.
  units.assign(100, 60);
  units.push_back(110); // In two parts; the others stay whole.
  EXPECT_EQ(planLongestPart(planCosts(exchanged), units, 132), 60);
  units.assign(100, 10);
  units.push_back(2000); // Alone on the 32 workers that the others leave it.
  EXPECT_EQ(planLongestPart(planCosts(exchanged), units, 132), 0);
}

TEST(PlanCosts, ExtremesCountAsTheLongest) {
  for (const Config &config : {exchanged, turns, Config{.kvTile = 16, .consumers = 1}}) {
    const PlanCosts costs = planCosts(config, 1);
    // What the device adds up in 31 bits.
    const int64_t memory = costs.startNs + int64_t(costs.memoryNs) * planMaxTotal;
    const int64_t worker = costs.itemNs + int64_t(costs.unitNs + costs.lagNs) * planMaxLongest;
    EXPECT_LT(std::max(memory, worker) + costs.itemNs * int64_t(planThreads) + costs.partNs * int64_t(65535),
              int64_t(1) << 31);
    EXPECT_GT(std::min({costs.unitNs, costs.memoryNs, costs.lagNs}), 0);
    EXPECT_EQ(planLongestPart(costs, {}, 132), 0);
    EXPECT_EQ(planLongestPart(costs, {0}, 1), 1);
    EXPECT_GE(planLongestPart(costs, {int64_t(1) << 27}, 132), (int64_t(1) << 27) / 132);
  }
}

/// The formula of PlanCosts.h, at length.
static double timeOf(const PlanCosts &costs, double total, double longest, double items, double parts) {
  const double memory = costs.startNs + costs.memoryNs * total;
  const double worker = costs.itemNs + costs.unitNs * longest;
  return std::max(memory, worker) + costs.lagNs * longest + costs.itemNs * (items - 1) +
         (parts > 1 ? costs.partNs * parts : 0);
}

TEST(PlanCosts, NoOtherPartTakesLessTime) {
  const unsigned seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  int line = 0, rounds = 400;
  for (int round = 0; round < rounds; ++round) {
    const PlanCosts costs = planCosts(round % 2 ? exchanged : turns);
    const int workers = 1 + int(random() % 140);
    std::vector<int64_t> units(1 + random() % unsigned(workers));
    const unsigned bound = 1 + random() % (random() % 3 ? 40 : 600);
    for (int64_t &each : units)
      each = random() % 8 ? random() % bound : random() % 600;
    const int64_t chosen = planLongestPart(costs, units, workers);
    const int64_t longest = *std::max_element(units.begin(), units.end());
    const double total = double(std::accumulate(units.begin(), units.end(), int64_t(0)));
    const int64_t share =
        (int64_t(total) + int64_t(units.size()) * planOverheadUnits + workers - 1) / workers;
    const int64_t lineParts = std::min<int64_t>(workers, (longest + share - 1) / share + 1);
    const double lineTime = timeOf(costs, total, double(share), 2, double(lineParts));
    double least = lineTime + 1; // An equal time goes to one item a worker.
    int64_t best = 0;
    for (int64_t part = std::max<int64_t>(longest, 1); part >= 1; --part) {
      int64_t parts = 0;
      for (int64_t each : units)
        parts += std::max<int64_t>(1, (each + part - 1) / part);
      const int64_t ofLongest = (longest + part - 1) / part;
      const double time = timeOf(costs, total, double(part), 1, double(ofLongest));
      if (parts <= workers && time < least)
        best = part, least = time;
    }
    ASSERT_EQ(chosen, best) << "round " << round;
    line += chosen == 0;
  }
  EXPECT_GT(line, 0);
  EXPECT_LT(line, rounds);
}

TEST(PlanCosts, DealsLongestFirstToTheWorkersAndBack) {
  using Dealt = std::vector<std::vector<int>>;
  EXPECT_EQ(planDeal({1, 5, 3, 9, 3}, 2), (Dealt{{3, 4, 0}, {1, 2}}));
  EXPECT_EQ(planDeal({4, 4, 4, 4, 4, 4, 4}, 3), (Dealt{{0, 5, 6}, {1, 4}, {2, 3}})); // Equal: in their order.
  EXPECT_EQ(planDeal({planMaxLongest, planMaxLongest + 1, 0}, 1), (Dealt{{0, 1, 2}}));
}

TEST(PlanCosts, WholeWhereItTakesNoMoreTimeThanTheLine) {
  const unsigned seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  int wholes = 0, rounds = 400;
  for (int round = 0; round < rounds; ++round) {
    const PlanCosts costs = planCosts(round % 2 ? exchanged : turns);
    const int workers = 1 + int(random() % 140), batch = 1 + int(random() % 1100);
    std::vector<int64_t> units(static_cast<size_t>(batch));
    const unsigned least = random() % 64, spread = 1 + random() % (random() % 2 ? 12 : 60);
    for (int64_t &each : units)
      each = least + random() % spread;
    std::vector<int64_t> sorted = units;
    std::sort(sorted.rbegin(), sorted.rend());
    std::vector<double> sums(static_cast<size_t>(workers)), counts(sums.size());
    for (int rank = 0; rank < batch; ++rank) {
      const int place = rank % (2 * workers); // To the last worker and back.
      const size_t worker = size_t(place < workers ? place : 2 * workers - 1 - place);
      sums[worker] += double(sorted[size_t(rank)]), counts[worker] += 1;
    }
    const double total = double(std::accumulate(units.begin(), units.end(), int64_t(0)));
    double time = 0;
    for (size_t worker = 0; worker < sums.size(); ++worker)
      time = std::max(time, timeOf(costs, total, sums[worker], counts[worker], 1));
    const int64_t share = (int64_t(total) + int64_t(batch) * planOverheadUnits + workers - 1) / workers;
    const int64_t lineParts = std::min<int64_t>(workers, (sorted[0] + share - 1) / share + 1);
    const int lineItems = (batch + workers - 1) / workers + 1;
    const double lineTime = timeOf(costs, total, double(share), double(lineItems), double(lineParts));
    ASSERT_EQ(planWhole(costs, units, workers), batch > workers && batch <= planThreads && time <= lineTime)
        << "round " << round;
    wholes += planWhole(costs, units, workers);
  }
  EXPECT_GT(wholes, 0);
  EXPECT_LT(wholes, rounds);
}

/// 16 heads, 132 workers, 256 sequences of 1,200 tokens in the mean, as services see them.
TEST(PlanCosts, LengthsOfAServiceCutTheLine) {
  std::mt19937 random(1);
  auto lengths = [&](double deviation) {
    std::vector<int64_t> units;
    for (int i = 0; i < 256; ++i) {
      double normal = -6;
      for (int k = 0; k < 12; ++k)
        normal += double(random()) / 4294967296.0;
      units.push_back(int64_t(1200 * std::exp(deviation * normal - deviation * deviation / 2)) / 64 + 1);
    }
    return units;
  };
  EXPECT_FALSE(planWhole(planCosts(exchanged), lengths(1), 132)); // The longest alone takes 275 µs, all 128.
  EXPECT_TRUE(planWhole(planCosts(exchanged), lengths(0.25), 132)); // 130 against 133 µs.
}

TEST(PlanCosts, SharesDifferByAUnit) {
  for (int64_t total : {0, 1, 5, 131, 132, 133, 2020, 100000}) {
    const PlanShares shares(total, 132);
    EXPECT_EQ(shares.begin(0), 0);
    EXPECT_EQ(shares.begin(132), total);
    for (int64_t worker = 0; worker < 132; ++worker) {
      const int64_t share = shares.begin(worker + 1) - shares.begin(worker);
      EXPECT_TRUE(share == total / 132 || share == total / 132 + 1);
      for (int64_t cost = shares.begin(worker); cost < shares.begin(worker + 1); ++cost)
        ASSERT_EQ(shares.workerAt(cost), worker);
    }
  }
}
