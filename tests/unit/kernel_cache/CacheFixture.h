//===- CacheFixture.h - A store in a temporary folder -------------------------------------------------===//
//
// Keys, random entries and a look into the folder of a store, for the tests of this room.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/kernel_cache/Store.h"
#include "lathe/tests/unit/support/Helpers.h"

namespace lathe::test {

inline kernel_cache::Key makeKey(int number) {
  return kernel_cache::Key({{"kernel", "test"}, {"number", number}});
}

inline bool operator==(const kernel_cache::Entry &a, const kernel_cache::Entry &b) {
  return a.ptx == b.ptx && a.cubin == b.cubin && a.stats == b.stats;
}

class CacheTest : public ::testing::Test {
protected:
  kernel_cache::Entry randomEntry(size_t bytes = 5000) {
    return {randomBytes(random_, bytes),
            randomBytes(random_, bytes),
            {{"milliseconds", double(random_() % 1000) / 8}, {"version", 1}}};
  }

  /// What is there beside finished entries: staged or thrown away folders.
  std::vector<std::string> leftovers() const { return namesIn(directory() / "tmp"); }

  std::filesystem::path directory() const { return folder_ / "cache"; }

  TempFolder folder_;
  std::mt19937_64 random_{freshSeed()};
};

} // namespace lathe::test
