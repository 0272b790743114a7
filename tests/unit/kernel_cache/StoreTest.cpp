#include "lathe/support/Files.h"
#include "lathe/tests/unit/kernel_cache/CacheFixture.h"

#include <algorithm>
#include <chrono>

using namespace lathe;
using namespace lathe::kernel_cache;
using test::contains;
using test::makeKey;
using test::operator==;
namespace fs = std::filesystem;

class StoreTest : public test::CacheTest {};

TEST_F(StoreTest, RoundTripsEntries) {
  const Store store(directory());
  for (size_t bytes : {0, 1, 5000, 1000000}) {
    const Key key = makeKey(int(bytes));
    const Entry entry = randomEntry(bytes);
    EXPECT_FALSE(store.find(key));
    store.publish(key, entry);
    const std::optional<Entry> found = Store(directory()).find(key);
    ASSERT_TRUE(found);
    EXPECT_TRUE(*found == entry);
  }
  EXPECT_TRUE(leftovers().empty());
}

TEST_F(StoreTest, EntriesAreFoldersThatAPersonCanRead) {
  const Store store(directory());
  const Key key = makeKey(1);
  const Entry entry = randomEntry();
  store.publish(key, entry);
  const fs::path folder = directory() / key.digest().substr(0, 2) / key.digest();
  EXPECT_EQ(store.entryPath(key), folder);
  std::vector<std::string> names = test::namesIn(folder);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"checksums.json", "kernel.cubin", "kernel.ptx", "key.json",
                                             "stats.json"}));
  EXPECT_EQ(readFile(folder / "key.json"), key.text());
  EXPECT_EQ(readFile(folder / "kernel.ptx"), entry.ptx);
  EXPECT_EQ(readFile(folder / "kernel.cubin"), entry.cubin);
  EXPECT_EQ(nlohmann::json::parse(readFile(folder / "stats.json")), entry.stats);
}

TEST_F(StoreTest, NothingIsReadableByOthers) {
  const Store store(directory());
  store.publish(makeKey(1), randomEntry());
  for (const auto &item : fs::recursive_directory_iterator(directory()))
    EXPECT_EQ(item.status().permissions() & (fs::perms::group_all | fs::perms::others_all), fs::perms::none)
        << item.path();
}

TEST_F(StoreTest, TheFirstPublicationStays) {
  const Store store(directory());
  const Entry first = randomEntry(), second = randomEntry();
  store.publish(makeKey(1), first);
  store.publish(makeKey(1), second);
  EXPECT_TRUE(*store.find(makeKey(1)) == first);
  EXPECT_TRUE(leftovers().empty());
}

TEST_F(StoreTest, PublishingReplacesACorruptEntry) {
  const Store store(directory());
  const Entry first = randomEntry(), second = randomEntry();
  store.publish(makeKey(1), first);
  fs::remove(store.entryPath(makeKey(1)) / "kernel.cubin");
  test::CapturedLog log;
  store.publish(makeKey(1), second);
  EXPECT_TRUE(*store.find(makeKey(1)) == second);
  EXPECT_EQ(log.messages().size(), 1u);
}

TEST_F(StoreTest, FindOrBuildBuildsOnce) {
  const Store store(directory());
  const Entry entry = randomEntry();
  int builds = 0;
  bool built = false;
  auto build = [&] {
    ++builds;
    return entry;
  };
  EXPECT_TRUE(store.findOrBuild(makeKey(1), build, &built) == entry);
  EXPECT_TRUE(built);
  EXPECT_TRUE(store.findOrBuild(makeKey(1), build, &built) == entry);
  EXPECT_FALSE(built);
  EXPECT_TRUE(store.findOrBuild(makeKey(1), build) == entry);
  EXPECT_EQ(builds, 1);
}

TEST_F(StoreTest, ABuildThatThrowsLeavesNothingBehind) {
  const Store store(directory());
  auto fail = []() -> Entry { throw CompileError({"test", "must fail", "", ""}); };
  EXPECT_THROW(store.findOrBuild(makeKey(1), fail), CompileError);
  EXPECT_FALSE(store.find(makeKey(1)));
  EXPECT_TRUE(store.list().empty());
  EXPECT_TRUE(leftovers().empty());
  const Entry entry = randomEntry(); // The lock is free again.
  EXPECT_TRUE(store.findOrBuild(makeKey(1), [&] { return entry; }) == entry);
}

TEST_F(StoreTest, ABuildMayUseTheStoreForOtherKeys) {
  const Store store(directory());
  const Entry inner = randomEntry(), outer = randomEntry();
  store.findOrBuild(makeKey(1), [&] {
    EXPECT_TRUE(store.findOrBuild(makeKey(2), [&] { return inner; }) == inner);
    return outer;
  });
  EXPECT_TRUE(*store.find(makeKey(1)) == outer);
  EXPECT_TRUE(*store.find(makeKey(2)) == inner);
}

TEST_F(StoreTest, AFullDiskCostsAWarningNotTheKernel) {
  const Store store(directory());
  const Entry entry = randomEntry(5000);
  test::CapturedLog log;
  {
    test::FileSizeLimit limit(1000);
    EXPECT_TRUE(store.findOrBuild(makeKey(1), [&] { return entry; }) == entry);
    EXPECT_TRUE(contains(test::userErrorOf([&] { store.publish(makeKey(1), entry); }), "File too large"));
  }
  EXPECT_EQ(log.messages().size(), 1u);
  EXPECT_TRUE(leftovers().empty());
  EXPECT_FALSE(store.find(makeKey(1)));
}

TEST_F(StoreTest, FindTakesLessThanFiveMilliseconds) {
  const Store store(directory());
  store.publish(makeKey(1), randomEntry(500000)); // More than twice a kernel's PTX and cubin.
  double bestMs = 1e9;
  for (int round = 0; round < 20; ++round) {
    const auto start = std::chrono::steady_clock::now();
    ASSERT_TRUE(Store(directory()).find(makeKey(1)));
    bestMs = std::min(
        bestMs, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::printf("find: %.3f ms\n", bestMs);
  EXPECT_LT(bestMs, 5);
}
