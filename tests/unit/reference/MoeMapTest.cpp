// The sorted map of rows to experts against an example by hand, and its judge against planted mistakes.
#include "lathe/reference/MoeRouting.h"

#include "lathe/support/Error.h"

#include <gtest/gtest.h>

#include <limits>

using namespace lathe;
using namespace lathe::reference;

using Ints = std::vector<int32_t>;

namespace {

/// Four rows of three choices; experts 2, 3 and 4 are local.
class SortedMapJudge : public testing::Test {
protected:
  const Ints ids = {2, 0, 4,  // Row 0: pairs 0, 1, 2.
                    4, 2, 9,  // Row 1.
                    2, 2, -1, // Row 2: an expert twice, and none.
                    1, 4, std::numeric_limits<int32_t>::max()};
  const LocalExperts local{2, 3};
  SortedMap map = makeSortedMap(ids, local, 4);

  void expectFault(const std::string &fragment, bool anyOrder = false) {
    const std::string fault = checkSortedMap(map, ids, local, anyOrder);
    EXPECT_NE(fault.find(fragment), std::string::npos) << fault;
  }
};

} // namespace

TEST_F(SortedMapJudge, MakesTheMapOfTheExample) {
  EXPECT_EQ(map.counts, (Ints{4, 0, 3}));
  EXPECT_EQ(map.offsets, (Ints{0, 4, 4, 8}));
  EXPECT_EQ(map.slots, (Ints{0, 4, 6, 7, 2, 3, 10, -1}));
  EXPECT_EQ(makeSortedMap(ids, local, 1).slots, (Ints{0, 4, 6, 7, 2, 3, 10}));
  EXPECT_EQ(checkSortedMap(map, ids, local), "");
}

TEST_F(SortedMapJudge, SlotsBehindTheLastOffsetAreNobodys) {
  map.slots.insert(map.slots.end(), {77, -5});
  EXPECT_EQ(checkSortedMap(map, ids, local), "");
  map.slots.resize(7);
  expectFault("7 slots, the last expert ends at 8");
}

TEST_F(SortedMapJudge, OrderIsFreeOnlyWhenToldSo) {
  std::swap(map.slots[1], map.slots[2]);
  expectFault("expert 2, slot 1: got 6, expected 4 (pairs must ascend)");
  EXPECT_EQ(checkSortedMap(map, ids, local, true), "");
}

TEST_F(SortedMapJudge, CatchesMissingDoubleAndForeignPairs) {
  map.slots[1] = 0;
  expectFault("expert 2: 0 stands twice");
  expectFault("expert 2: 0 stands twice", true);
  map.slots[1] = 1; // Of an expert that is not local.
  expectFault("expert 2: 4 is missing");
  map.slots[1] = -1;
  expectFault("expert 2: 4 is missing", true);
  std::swap(map.slots[1], map.slots[4]);
  map.slots[4] = 4;
  expectFault("expert 2: 4 is missing");
}

TEST_F(SortedMapJudge, CatchesWrongPadding) {
  map.slots[7] = 0;
  expectFault("expert 4, slot 7: got 0, expected -1 (padding)");
  map.slots[7] = 12;
  expectFault("expected -1 (padding)", true);
  map = makeSortedMap(ids, local, 4);
  std::swap(map.slots[6], map.slots[7]); // Padding before a pair.
  expectFault("expert 4: 10 is missing", true);
}

TEST_F(SortedMapJudge, CatchesWrongCountsAndOffsets) {
  map.counts[2] = 4;
  expectFault("count of expert 4: got 4, expected 3");
  map.counts = {4, 1, 3};
  expectFault("count of expert 3: got 1, expected 0");
}

TEST_F(SortedMapJudge, CatchesUnpaddedAndOverpaddedExperts) {
  map = makeSortedMap(ids, local, 1);
  map.tile = 4;
  expectFault("offset 3: got 7, expected 8");
  map = makeSortedMap(ids, local, 8);
  map.tile = 4;
  expectFault("offset 1: got 8, expected 4");
  map = makeSortedMap(ids, local, 4);
  map.offsets = {0, 4, 8, 12}; // An idle expert that was given a tile.
  map.slots.insert(map.slots.begin() + 4, 4, -1);
  expectFault("offset 2: got 8, expected 4");
  map.offsets = {4, 8, 8, 12};
  expectFault("offset 0: got 4, expected 0");
}

TEST_F(SortedMapJudge, CatchesListsOfTheWrongLength) {
  map.offsets.pop_back();
  expectFault("3 counts and 3 offsets for 3 experts, which need 3 and 4");
}

TEST(SortedMap, NoRowsNoSlots) {
  SortedMap map = makeSortedMap({}, {0, 2}, 16);
  EXPECT_EQ(map.counts, (Ints{0, 0}));
  EXPECT_EQ(map.offsets, (Ints{0, 0, 0}));
  EXPECT_TRUE(map.slots.empty());
  EXPECT_EQ(checkSortedMap(map, {}, {0, 2}), "");
  EXPECT_THROW(makeSortedMap({}, {0, 2}, 0), UserError);
}
