#include "lathe/support/Files.h"
#include "lathe/tests/unit/kernel_cache/CacheFixture.h"

#include <chrono>
#include <cmath>

using namespace lathe;
using namespace lathe::kernel_cache;
using test::makeKey;
namespace fs = std::filesystem;
using std::chrono::hours;

class PruneTest : public test::CacheTest {
protected:
  static void setAge(const fs::path &path, hours age) {
    fs::last_write_time(path, fs::file_time_type::clock::now() - age);
  }
};

TEST_F(PruneTest, RemovesWhatWasNotUsed) {
  const Store store(directory());
  for (int i = 0; i < 4; ++i) {
    store.publish(makeKey(i), randomEntry());
    setAge(store.entryPath(makeKey(i)), hours(24 * i + 1));
  }
  EXPECT_EQ(store.prune(2), 2);
  EXPECT_TRUE(store.find(makeKey(0)));
  EXPECT_TRUE(store.find(makeKey(1)));
  EXPECT_FALSE(store.find(makeKey(2)));
  EXPECT_FALSE(store.find(makeKey(3)));
  EXPECT_EQ(test::namesIn(directory() / "locks").size(), 2u);
  EXPECT_EQ(store.prune(0), 2);
  EXPECT_TRUE(store.list().empty());
}

TEST_F(PruneTest, FindingIsUsing) {
  const Store store(directory());
  for (int i = 0; i < 2; ++i) {
    store.publish(makeKey(i), randomEntry());
    setAge(store.entryPath(makeKey(i)), hours(1000));
  }
  ASSERT_TRUE(store.find(makeKey(0)));
  EXPECT_EQ(store.prune(1), 1);
  EXPECT_TRUE(store.find(makeKey(0)));
}

TEST_F(PruneTest, RemovesLeftoversOfTheDeadNotOfTheLiving) {
  const Store store(directory());
  store.publish(makeKey(1), randomEntry());
  const fs::path dead = directory() / "tmp" / (makeKey(2).digest() + "-123-0123456789abcdef");
  const fs::path alive = directory() / "tmp" / (makeKey(3).digest() + "-124-0123456789abcdef");
  fs::create_directory(dead);
  writeNewFile(dead / "kernel.ptx", "half");
  fs::create_directory(alive);
  std::optional<FileLock> lock = FileLock::tryLock(directory() / "locks" / makeKey(3).digest());
  EXPECT_EQ(store.prune(30), 1);
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_TRUE(fs::exists(alive));
  lock.reset();
  EXPECT_EQ(store.prune(30), 1);
  EXPECT_FALSE(fs::exists(alive));
  EXPECT_TRUE(store.find(makeKey(1)));
}

TEST_F(PruneTest, ClearRemovesEverythingOfTheStoreAndNothingElse) {
  const Store store(directory());
  for (int i = 0; i < 3; ++i)
    store.publish(makeKey(i), randomEntry());
  writeNewFile(directory() / "tuning.json", "{}");
  EXPECT_EQ(store.clear(), 3);
  EXPECT_TRUE(store.list().empty());
  EXPECT_TRUE(test::namesIn(directory() / "locks").empty());
  EXPECT_EQ(readFile(directory() / "tuning.json"), "{}");
  EXPECT_EQ(store.clear(), 0);
}

TEST_F(PruneTest, AnEmptyStoreHasNothingToRemove) {
  const Store store(directory());
  EXPECT_EQ(store.prune(0), 0);
  EXPECT_EQ(store.clear(), 0);
  EXPECT_TRUE(store.list().empty());
}

TEST_F(PruneTest, AgesMustMakeSense) {
  const Store store(directory());
  store.publish(makeKey(1), randomEntry());
  EXPECT_TRUE(test::contains(test::userErrorOf([&] { store.prune(-1); }), "zero or more days"));
  EXPECT_TRUE(test::contains(test::userErrorOf([&] { store.prune(std::nan("")); }), "zero or more days"));
  EXPECT_EQ(store.prune(1e300), 0);
}

TEST_F(PruneTest, ListTellsWhatIsThere) {
  const Store store(directory());
  const Entry entry = randomEntry();
  store.publish(makeKey(1), entry);
  store.publish(makeKey(2), randomEntry());
  fs::resize_file(store.entryPath(makeKey(2)) / "kernel.ptx", 3);
  setAge(store.entryPath(makeKey(1)), hours(48));
  for (const EntryInfo &info : store.list()) {
    const bool first = info.digest == makeKey(1).digest();
    EXPECT_EQ(info.intact, first);
    if (!first)
      continue;
    EXPECT_EQ(info.key, makeKey(1).fields());
    EXPECT_GT(info.bytes, entry.ptx.size() + entry.cubin.size());
    const auto age = fs::file_time_type::clock::now() - info.lastUsed;
    EXPECT_GE(age, hours(47));
    EXPECT_LE(age, hours(49));
  }
  EXPECT_EQ(store.list().size(), 2u);
  EXPECT_TRUE(fs::exists(store.entryPath(makeKey(2)))); // Listing changes nothing.
}
