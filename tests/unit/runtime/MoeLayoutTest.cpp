#include "MoeExample.h"

#include "lathe/runtime/MoeTensors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

using namespace lathe;
using namespace lathe::runtime;
using namespace lathe::runtime::test;

static int64_t roundUp(int64_t value, int64_t by) { return (value + by - 1) / by * by; }

/// Slots and tiles of a routing with `counts` choices of each expert, as the routing kernel makes them.
static MoeBounds neededFor(const MoeManifest &m, const std::vector<int64_t> &counts, int rows) {
  MoeBounds needed;
  for (int64_t count : counts) {
    needed.sharedStart += roundUp(count, m.slotTile);
    needed.tiles += (count + m.tokenTile - 1) / m.tokenTile;
  }
  needed.tiles += m.shared * ((rows + m.tokenTile - 1) / m.tokenTile);
  return needed;
}

static void expectEnough(const MoeManifest &m, const std::vector<int64_t> &counts, int rows) {
  const MoeBounds bounds = boundsOf(m, rows), needed = neededFor(m, counts, rows);
  EXPECT_GE(bounds.sharedStart, needed.sharedStart);
  EXPECT_GE(bounds.tiles, needed.tiles);
  EXPECT_EQ(bounds.sharedStart % m.slotTile, 0);
  EXPECT_EQ(bounds.slots, bounds.sharedStart + m.shared * roundUp(rows, m.slotTile));
}

/// The worst routings: all experts with one row beyond a tile, one expert with all, as even as can be.
TEST(MoeLayout, BoundsHoldForAnyRouting) {
  std::mt19937 random(std::random_device{}());
  const auto seed = random();
  SCOPED_TRACE(seed);
  random.seed(seed);
  MoeManifest m = exampleMoe();
  for (int round = 0; round < 3000; ++round) {
    m.experts = 1 + int(random() % 40);
    m.topK = 1 + int(random() % 8);
    m.shared = int(random() % 3);
    m.tokenTile = 8 * (1 + int(random() % 32));
    const int rows = 1 + int(random() % 200);
    int64_t choices = int64_t(rows) * m.topK;
    std::vector<int64_t> counts(m.experts);
    if (random() % 2) // By chance; some choices belong to experts elsewhere.
      for (int64_t i = random() % (choices + 1); i > 0; --i)
        ++counts[random() % counts.size()];
    else // One row into the next tile or unit of slots, as often as choices allow.
      for (int64_t &count : counts) {
        const int64_t unit = random() % 2 ? m.slotTile : m.tokenTile;
        count = std::min<int64_t>(choices, 1 + unit * int64_t(random() % 3));
        choices -= count;
      }
    expectEnough(m, counts, rows);
    if (HasFailure())
      return;
  }
}

/// Sums take the place of results; permuted rows need theirs all the same.
TEST(MoeLayout, AtomicSumsTakeThePlaceOfResults) {
  MoeManifest m = exampleMoe();
  const MoeLayout plain = layoutWorkspace(m, 100);
  m.atomic = true;
  const MoeLayout sums = layoutWorkspace(m, 100);
  EXPECT_EQ(plain.sums, 0u);
  EXPECT_EQ(sums.expertOut, 0u);
  EXPECT_EQ(sums.sums, plain.expertOut);
  EXPECT_EQ(sums.bytes, sums.sums + size_t(100) * m.hidden * sizeof(float));
  m.permute = true;
  const MoeLayout both = layoutWorkspace(m, 100);
  EXPECT_EQ(both.expertOut, plain.expertOut);
  EXPECT_EQ(both.sums, plain.bytes);
}

/// Tiles of an expert are counted in half a word.
TEST(MoeLayout, AnExpertHasNoMoreTilesThanAreCounted) {
  MoeManifest m = exampleMoe();
  m.hidden = m.intermediate = 64;
  const int most = 0x7FFF * m.tokenTile;
  EXPECT_GT(layoutWorkspace(m, most).bytes, 0u);
  EXPECT_THROW(layoutWorkspace(m, most + 1), UserError);
}

TEST(MoeLayout, BoundsGrowWithRows) {
  const MoeManifest m = exampleMoe();
  for (int rows = 2; rows <= 3000; ++rows) {
    const MoeBounds fewer = boundsOf(m, rows - 1), more = boundsOf(m, rows);
    ASSERT_LE(fewer.slots, more.slots) << rows;
    ASSERT_LE(fewer.sharedStart, more.sharedStart) << rows;
    ASSERT_LE(fewer.tiles, more.tiles) << rows << ": a workspace for more rows serves fewer";
  }
}
