// The routing kernel alone: choices against the float64 rules, the map against the only right one, tiles and
// places against their description. Any number of rows and CTAs, and the same bits whatever the order.
#include "RouteCase.h"

#include "lathe/codegen/Schedule/RoutePlan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

using namespace lathe;
using namespace lathe::emulatedtest;
using codegen::DependentLaunch;
using dsl::GroupScore;
using dsl::MoeShape;
using dsl::Scoring;
using testing::HasSubstr;

/// A model's router, with experts small enough to be nothing.
static MoeShape model(const std::string &name, int ep = 1) {
  MoeShape shape = dsl::moeShape(dsl::namedModel(name), 1, ep);
  shape.hidden = 64;
  shape.intermediate = 64;
  return shape;
}

static MoeShape small(int experts, int topK) {
  return {.hidden = 64, .intermediate = 64, .experts = experts, .topK = topK};
}

static RouteResult expectRouted(const RouteCase &route) {
  const RouteRun run = runRoute(route);
  EXPECT_EQ(run.fault, "") << route.str();
  return run.result;
}

static RouteCase rowsOf(const MoeShape &shape, int rows, int blocks = 1) {
  return {.shape = shape, .rows = rows, .blocks = blocks, .seed = uint64_t(rows)};
}

//===- One CTA ---------------------------------------------------------------------------------------===//

TEST(Route, ModelsOfOneCta) {
  for (const char *name : {"deepseek-v2-lite", "deepseek-v2", "deepseek-v3", "kimi-k2"})
    for (int rows : {1, 3, 17, 64})
      expectRouted(rowsOf(model(name), rows));
}

TEST(Route, ManyRowsInOneCta) {
  expectRouted(rowsOf(model("deepseek-v2-lite"), 130));
  expectRouted(rowsOf(model("deepseek-v2-lite"), 1000));
  expectRouted(rowsOf(model("deepseek-v3"), 130));
}

TEST(Route, TiesGoToTheLowestExpert) {
  for (const char *name : {"deepseek-v2-lite", "deepseek-v2", "deepseek-v3"}) {
    RouteCase route = rowsOf(model(name), 20);
    route.inputs = RouteInputs::Ties;
    expectRouted(route);
  }
}

TEST(Route, NanAndInfinity) {
  for (const char *name : {"deepseek-v2-lite", "deepseek-v2", "deepseek-v3"})
    for (Dtype logits : {Dtype::F32, Dtype::BF16, Dtype::F16}) {
      RouteCase route = rowsOf(model(name), 20);
      route.shape.logits = logits;
      route.inputs = RouteInputs::Wild;
      expectRouted(route);
    }
}

TEST(Route, LargestSizes) {
  RouteCase route = rowsOf(small(512, 16), 9);
  route.shape.shared = 2;
  expectRouted(route);
  route.shape.groups = 32;
  route.shape.topGroups = 5;
  route.shape.groupScore = GroupScore::SumOfTwoBest;
  expectRouted(route);
  route.shape = small(1, 1);
  expectRouted(route);
}

TEST(Route, GivenIds) {
  for (int rows : {1, 3, 17, 64, 130, 1000}) {
    RouteCase route = rowsOf(small(64, 6), rows);
    route.shape.router = dsl::Router::Given;
    expectRouted(route);
    route.shape.localExperts = 16;
    route.firstExpert = 16;
    route.shape.shared = 1;
    expectRouted(route);
    route.oneTakesAll = true;
    expectRouted(route);
  }
}

TEST(Route, LocalExpertsOfARouter) {
  for (int first : {0, 64, 192}) {
    RouteCase route = rowsOf(model("deepseek-v3", 4), 33);
    route.firstExpert = first;
    expectRouted(route);
  }
}

TEST(Route, NothingLocal) {
  RouteCase route = rowsOf(model("deepseek-v3", 4), 5);
  route.firstExpert = 256;
  const RouteResult result = expectRouted(route);
  EXPECT_EQ(result.tileCount[0], 0);
}

TEST(Route, PlainScores) {
  for (RouteInputs inputs : {RouteInputs::Normal, RouteInputs::Ties, RouteInputs::Wild}) {
    RouteCase route = rowsOf(small(40, 5), 30);
    route.plain = true;
    route.inputs = inputs;
    expectRouted(route);
  }
}

//===- Several CTAs ----------------------------------------------------------------------------------===//

TEST(RouteGrid, ModelsOfSeveralCtas) {
  for (const char *name : {"deepseek-v2-lite", "deepseek-v2", "deepseek-v3"})
    for (int rows : {64, 130, 256})
      expectRouted(rowsOf(model(name), rows, 0));
}

TEST(RouteGrid, AnyNumberOfCtas) {
  for (int blocks : {2, 3, 17, 18, 64}) {
    RouteCase route = rowsOf(small(64, 6), 70, blocks);
    route.shape.shared = 2;
    expectRouted(route);
    route.shape.router = dsl::Router::Given;
    expectRouted(route);
  }
}

TEST(RouteGrid, ManyRows) {
  RouteCase route = rowsOf(small(64, 6), 5000, 0);
  route.shape.router = dsl::Router::Given;
  route.shape.shared = 1;
  expectRouted(route);
  route.shape.router = dsl::Router::Logits;
  expectRouted(route);
}

TEST(RouteGrid, MoreCtasThanRows) { expectRouted(rowsOf(small(8, 2), 5, 9)); }

TEST(RouteGrid, OneLaunchAfterTheOther) {
  for (int blocks : {1, 5})
    for (int launches : {1, 2, 3, 4}) {
      RouteCase route = rowsOf(small(64, 6), 130, blocks);
      route.launches = launches;
      const int counted = blocks > 1 ? launches : launches / 2; // One CTA alone needs no scratch memory.
      EXPECT_EQ(expectRouted(route).launches, 2 * counted);
    }
}

/// Whatever the number of CTAs, the order of warps and the number of host threads.
TEST(RouteGrid, TheSameBits) {
  for (const char *name : {"deepseek-v2-lite", "deepseek-v3"}) {
    const RouteResult once = expectRouted(rowsOf(model(name), 100));
    for (int blocks : {1, 4, 7})
      for (uint64_t order : {0, 5}) {
        RouteCase route = rowsOf(model(name), 100, blocks);
        route.order = order;
        route.hostThreads = order ? 1 : 2;
        RouteResult again = expectRouted(route);
        again.launches = once.launches;
        EXPECT_TRUE(again == once) << route.str();
      }
  }
}

//===- Planted mistakes ------------------------------------------------------------------------------===//

static std::string faultOf(RouteCase route, const std::string &text, const std::string &other) {
  route.planted = {text, other};
  return runRoute(route).fault;
}

TEST(RoutePlanted, IsFound) {
  RouteCase ties = rowsOf(small(64, 6), 20);
  ties.inputs = RouteInputs::Ties;
  // Adding -0 does not make the zeros equal.
  EXPECT_THAT(faultOf(ties, "0f00000000", "0f80000000"), HasSubstr("was chosen and"));
  const RouteCase several = rowsOf(small(64, 6), 64, 4);
  EXPECT_THAT(faultOf(several, "ld.relaxed.gpu.global.b64", "ld.global.b64"), HasSubstr("data_race"));
  EXPECT_THAT(faultOf(several, "st.relaxed.gpu.global.b64", "st.global.b64"), HasSubstr("data_race"));
}

//===- Random ----------------------------------------------------------------------------------------===//

namespace {
/// Draws descriptions, inputs and launches.
class Dice {
public:
  explicit Dice(uint64_t seed) : random_(seed) {}
  int below(int bound) { return int(random_() % uint64_t(bound)); }

  MoeShape shape() {
    const int groups = 1 << below(4), size = 1 + below(below(4) ? 12 : 40);
    MoeShape shape = small(groups * size, 1);
    shape.groups = groups;
    shape.topGroups = 1 + below(groups);
    shape.topK = 1 + below(std::min(10, size * shape.topGroups));
    shape.groupScore = size < 2 || below(2) ? GroupScore::Best : GroupScore::SumOfTwoBest;
    shape.scoring = below(2) ? Scoring::Softmax : Scoring::Sigmoid;
    shape.bias = below(2) != 0;
    shape.renormalize = below(2) != 0;
    shape.scale = below(2) ? 1 : 2.5;
    shape.shared = below(3);
    shape.logits = std::array{Dtype::F32, Dtype::BF16, Dtype::F16}[size_t(below(3))];
    shape.router = below(4) ? dsl::Router::Logits : dsl::Router::Given;
    shape.localExperts = below(3) ? 0 : 1 + below(shape.experts);
    return shape;
  }

  RouteCase route() {
    static constexpr std::array tokenTiles{8, 16, 24, 32, 64, 256};
    RouteCase route{.shape = shape()};
    route.config.tokenTile = tokenTiles[size_t(below(int(tokenTiles.size())))];
    route.config.dependentLaunch = below(2) ? DependentLaunch::Off : DependentLaunch::Early;
    route.rows = 1 + below(below(3) ? 40 : 300);
    route.blocks = below(2) ? 1 : below(12);
    route.firstExpert = route.shape.localExperts ? below(route.shape.experts) : 0;
    route.inputs = std::array{RouteInputs::Normal, RouteInputs::Ties, RouteInputs::Wild}[size_t(below(3))];
    route.seed = random_();
    route.order = random_();
    return route;
  }

private:
  std::mt19937_64 random_;
};
} // namespace

TEST(RouteRandom, ShapesAndInputs) {
  const uint64_t seed = std::random_device()();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Dice dice(seed);
  for (int round = 0; round < 60 && !testing::Test::HasFailure(); ++round) {
    SCOPED_TRACE(testing::Message() << "seed " << seed << " round " << round);
    expectRouted(dice.route());
  }
}
