#include "lathe/runtime/TensorMapCache.h"

#include "FakeDevice.h"

#include <gmock/gmock.h>

#include <cstring>
#include <random>
#include <set>

using namespace lathe;
using namespace lathe::runtime;

/// `count` specs with bases of their own, 2 MiB apart or more, as an allocator gives them.
static std::vector<TensorMapSpec> specsOf(int count, std::mt19937 &random) {
  std::set<DevicePtr> bases;
  while (int(bases.size()) < count)
    bases.insert(0x7f0000000000 + (uint64_t(random() % 0x8000) << 21));
  std::vector<TensorMapSpec> specs;
  for (DevicePtr base : bases)
    specs.push_back(
        {.base = base, .rank = 2, .extent = {2048, 1408}, .strideBytes = {4096}, .box = {64, 64}});
  return specs;
}

/// The spec that a map of the recording device stands for.
static TensorMapSpec specOf(const test::FakeDevice &device, const TensorMap &map) {
  size_t number = 0;
  std::memcpy(&number, map.bytes.data(), sizeof(number));
  return device.encoded.at(number);
}

TEST(TensorMapCache, KeepsTheMapsOfALargeModel) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  test::FakeDevice device;
  TensorMapCache cache;
  const std::vector<TensorMapSpec> specs = specsOf(60 * 5, random);
  for (int step = 0; step < 8; ++step)
    for (const TensorMapSpec &spec : specs)
      EXPECT_EQ(specOf(device, cache.get(device, spec)), spec);
  // Sets that more than four of 300 specs fall into: 1 of 150 by chance. Each would encode all of its specs
  // again in each step.
  EXPECT_LT(device.encoded.size(), specs.size() + 7 * 100);
  EXPECT_GE(device.encoded.size(), specs.size());
}

TEST(TensorMapCache, ASpecThatDiffersAnywhereIsAnother) {
  test::FakeDevice device;
  TensorMapCache cache;
  const TensorMapSpec spec{
      .base = 1 << 21, .rank = 2, .extent = {2048, 1408}, .strideBytes = {4096}, .box = {64, 64}};
  std::vector<TensorMapSpec> specs(5, spec);
  specs[1].extent[1] = 1409;
  specs[2].strideBytes[0] = 8192;
  specs[3].box[1] = 32; // Not in the hash: the same set.
  specs[4].box[0] = 32, specs[4].swizzleBytes = 64;
  for (const TensorMapSpec &other : specs)
    EXPECT_EQ(specOf(device, cache.get(device, other)), other);
  EXPECT_EQ(device.encoded.size(), specs.size());
}

TEST(TensorMapCache, TheOldestOfASetGivesWay) {
  test::FakeDevice device;
  TensorMapCache cache;
  std::vector<TensorMapSpec> specs; // One set: boxes are not in the hash.
  for (uint32_t rows : {8, 16, 24, 32, 40})
    specs.push_back(
        {.base = 1 << 21, .rank = 2, .extent = {2048, 1408}, .strideBytes = {4096}, .box = {64, rows}});
  for (const TensorMapSpec &spec : specs)
    cache.get(device, spec);
  for (size_t kept : {1, 2, 3, 4})
    cache.get(device, specs[kept]);
  EXPECT_EQ(device.encoded.size(), 5u);
  cache.get(device, specs[0]);
  EXPECT_EQ(device.encoded.size(), 6u);
}
