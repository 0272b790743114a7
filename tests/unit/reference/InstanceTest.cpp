// What a random problem promises: valid tokens finite, everything else poison or garbage, pages used once.
#include "DirectFormula.h"
#include "HostDevice.h"

#include "lathe/reference/ShapeTable.h"

#include <gtest/gtest.h>

#include <set>

using namespace lathe;
using namespace lathe::reference;

/// Which elements of the cache belong to a valid token.
static std::vector<bool> usedElements(const AttentionInstance &instance, size_t elements) {
  const runtime::DecodeTensors t = instance.tensors();
  std::vector<bool> used(elements);
  for (int b = 0; b < t.batch; ++b)
    for (int token = 0; token < instance.lengths()[size_t(b)]; ++token) {
      const int64_t row = tokenElement(t, instance.shape().page, b, token);
      for (int i = 0; i < instance.shape().keyDim; ++i)
        used[size_t(row + i)] = true;
    }
  return used;
}

TEST(RandomInstance, PoisonsExactlyWhatIsUnused) {
  HostDevice device;
  for (const ShapeCase &entry : smallShapeTable()) {
    AttentionInstance instance(device, entry.shape, entry.lengths, entry.options, false);
    const runtime::DecodeTensors t = instance.tensors();
    const size_t elements = size_t(t.numPages * t.kvStridePage);
    ASSERT_EQ(device.blockBytes(t.kv), elements * 2);
    std::vector<bool> used = usedElements(instance, elements);
    for (size_t i = 0; i < elements; ++i)
      ASSERT_EQ(std::isfinite(double(readBf16(t.kv, int64_t(i)))), used[i])
          << entry.name << " seed " << entry.options.seed << " element " << i;
  }
}

TEST(RandomInstance, TableRowsHoldUniquePagesThenGarbage) {
  HostDevice device;
  size_t outside = 0, inside = 0;
  for (const ShapeCase &entry : smallShapeTable()) {
    SCOPED_TRACE(entry.name);
    AttentionInstance instance(device, entry.shape, entry.lengths, entry.options, false);
    const runtime::DecodeTensors t = instance.tensors();
    EXPECT_GE(t.blockTableStride, instance.maxPagesPerSequence());
    std::set<int32_t> pages;
    for (int b = 0; b < t.batch; ++b) {
      const int needed = (entry.lengths[size_t(b)] + entry.shape.page - 1) / entry.shape.page;
      ASSERT_LE(needed, instance.maxPagesPerSequence());
      for (int64_t i = 0; i < t.blockTableStride; ++i) {
        const int32_t page = readInt(t.blockTable, b * t.blockTableStride + i);
        if (i >= needed) {
          ++(page >= 0 && page < t.numPages ? inside : outside);
          continue;
        }
        ASSERT_TRUE(page >= 0 && page < t.numPages) << page;
        ASSERT_TRUE(pages.insert(page).second) << "page " << page << " is used twice";
      }
    }
    EXPECT_LT(int64_t(pages.size()), t.numPages) << "no spare page";
  }
  EXPECT_GT(outside, inside) << "most garbage entries must be out of range";
  EXPECT_GT(inside, 0u) << "some garbage entries must be in range, where reading them gives wrong numbers";
}

TEST(RandomInstance, OptionsChangeTheLayout) {
  HostDevice device;
  const AttentionShape shape{.heads = 3, .queryTokens = 2, .keyDim = 32, .valueDim = 16, .page = 4};
  const std::vector<int> lengths = {9, 0, 30};
  AttentionInstance plain(device, shape, lengths,
                          {.shufflePages = false, .stridedTable = false, .poison = false}, false);
  const runtime::DecodeTensors p = plain.tensors();
  EXPECT_EQ(p.kvStrideToken, 32);
  EXPECT_EQ(p.kvStridePage, 128);
  EXPECT_EQ(p.qStrideRow, 32);
  EXPECT_EQ(p.qStrideBatch, 192);
  EXPECT_EQ(p.blockTableStride, 8);
  EXPECT_EQ(p.outStrideHead, 16);
  EXPECT_EQ(p.outStrideQuery, 48);
  EXPECT_EQ(p.outStrideBatch, 96);
  EXPECT_EQ(p.lseStrideQuery, 1);
  EXPECT_EQ(p.lseStrideHead, 2);
  EXPECT_EQ(p.lseStrideBatch, 6);
  for (int i = 0; i < 8; ++i)
    EXPECT_EQ(readInt(p.blockTable, 16 + i), 3 + i) << "pages in order";
  for (int64_t i = 0; i < p.numPages * p.kvStridePage; ++i)
    ASSERT_TRUE(std::isfinite(double(readBf16(p.kv, i)))) << "no poison was asked for";

  AttentionInstance gaps(device, shape, lengths,
                         {.stridedCache = true, .stridedQuery = true, .stridedOutputs = true}, false);
  const runtime::DecodeTensors g = gaps.tensors();
  EXPECT_GT(g.kvStrideToken, 32);
  EXPECT_GT(g.kvStridePage, 4 * g.kvStrideToken);
  EXPECT_GT(g.qStrideRow, 32);
  EXPECT_GT(g.qStrideBatch, 6 * g.qStrideRow);
  EXPECT_GT(g.outStrideHead, 16);
  EXPECT_GT(g.lseStrideQuery, 1);
  for (int64_t stride : {g.kvStrideToken, g.kvStridePage, g.qStrideRow, g.qStrideBatch})
    EXPECT_EQ(stride % 8, 0) << "TMA needs strides of 16 bytes";
  EXPECT_TRUE(std::isnan(double(readBf16(g.q, 32)))) << "gaps of the query are poison";
}

TEST(RandomInstance, SeedsDecideEverything) {
  HostDevice device;
  auto bytes = [&](uint64_t seed) {
    AttentionInstance instance(device, {.heads = 2, .keyDim = 64, .valueDim = 64}, {100, 70}, {.seed = seed},
                               false);
    const runtime::DecodeTensors t = instance.tensors();
    std::string text;
    for (runtime::DevicePtr pointer : {t.q, t.kv, t.blockTable})
      text.append(reinterpret_cast<const char *>(pointer), device.blockBytes(pointer));
    return text;
  };
  EXPECT_EQ(bytes(11), bytes(11));
  EXPECT_NE(bytes(11), bytes(12));
}

TEST(RandomInstance, CacheIsNormalWithADeviationOfOneTenth) {
  HostDevice device;
  AttentionInstance instance(device, {.heads = 16}, {2000}, {.seed = 21}, false);
  const runtime::DecodeTensors t = instance.tensors();
  double sum = 0, squares = 0, count = 0;
  for (int token = 0; token < 2000; ++token)
    for (int i = 0; i < 576; ++i) {
      const double value = double(readBf16(t.kv, tokenElement(t, 64, 0, token) + i));
      sum += value, squares += value * value, ++count;
    }
  EXPECT_NEAR(sum / count, 0, 5e-4);
  EXPECT_NEAR(squares / count, 0.01, 1e-4);
  EXPECT_NEAR(t.scale, 1 / std::sqrt(192.0), 1e-7);
}

TEST(RandomInstance, LargeCachesRepeatABlockConsistently) {
  HostDevice device; // 9.4 million elements: more than the random block.
  AttentionInstance instance(device, {.heads = 1}, {16384}, {.seed = 22}, true);
  ReferenceRow got = cpuReference(instance, 0, 0, 0);
  DirectRow expected = directRow(instance, 0, 0, 0);
  for (size_t column = 0; column < got.out.size(); ++column)
    ASSERT_NEAR(got.out[column], double(expected.out[column]), 1e-12);
  EXPECT_NEAR(got.lse, double(expected.lse), 1e-10);
}

TEST(RandomInstance, OutputsStartPoisonedAndMemoryIsReturned) {
  HostDevice device;
  {
    AttentionInstance instance(device, {.heads = 2, .keyDim = 64, .valueDim = 64}, {3},
                               {.stridedOutputs = true}, false);
    const runtime::DecodeTensors t = instance.tensors();
    auto *out = reinterpret_cast<unsigned char *>(t.out);
    out[5] = 0;
    instance.poisonOutputs();
    for (size_t i = 0; i < device.blockBytes(t.out); ++i)
      ASSERT_EQ(out[i], 0xff);
    EXPECT_GT(device.liveBlocks(), 0u);
  }
  EXPECT_EQ(device.liveBlocks(), 0u);
}

TEST(RandomInstance, RefusesImpossibleShapes) {
  HostDevice device;
  auto make = [&](AttentionShape shape, std::vector<int> lengths) {
    AttentionInstance(device, shape, lengths, {}, false);
  };
  EXPECT_THROW(make({.heads = 0}, {1}), UserError);
  EXPECT_THROW(make({.queryTokens = 0}, {1}), UserError);
  EXPECT_THROW(make({.keyDim = 100, .valueDim = 64}, {1}), UserError);
  EXPECT_THROW(make({.keyDim = 64, .valueDim = 80}, {1}), UserError);
  EXPECT_THROW(make({.page = 0}, {1}), UserError);
  EXPECT_THROW(make({}, {4, -1}), UserError);
  EXPECT_NO_THROW(make({}, {}));
}
