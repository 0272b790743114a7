#include "lathe/support/Files.h"
#include "lathe/tests/unit/kernel_cache/CacheFixture.h"

#include <fstream>

using namespace lathe;
using namespace lathe::kernel_cache;
using test::contains;
using test::makeKey;
using test::operator==;
namespace fs = std::filesystem;

class CorruptionTest : public test::CacheTest {
protected:
  /// Publishes an entry, damages its folder, and expects: one warning with `reason`, and a rebuilt entry.
  void expectRebuilt(const std::function<void(const fs::path &)> &damage, const std::string &reason) {
    const Store store(directory());
    const Key key = makeKey(int(random_() % 1000000));
    store.publish(key, randomEntry());
    damage(store.entryPath(key));
    EXPECT_EQ(intactEntries(store), 0);
    const Entry fresh = randomEntry();
    bool built = false;
    test::CapturedLog log;
    EXPECT_TRUE(store.findOrBuild(key, [&] { return fresh; }, &built) == fresh);
    EXPECT_TRUE(built);
    ASSERT_EQ(log.messages().size(), 1u) << reason;
    EXPECT_TRUE(contains(log.messages()[0], reason));
    EXPECT_TRUE(contains(log.messages()[0], store.entryPath(key)));
    EXPECT_TRUE(*store.find(key) == fresh);
    EXPECT_EQ(log.messages().size(), 1u);
    EXPECT_TRUE(leftovers().empty());
    store.clear();
  }

  static int intactEntries(const Store &store) {
    int count = 0;
    for (const EntryInfo &info : store.list())
      count += info.intact;
    return count;
  }
};

static void overwrite(const fs::path &path, const std::string &bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

TEST_F(CorruptionTest, TruncatedFilesAreFound) {
  for (const char *name : {"kernel.cubin", "kernel.ptx", "stats.json", "key.json"})
    expectRebuilt(
        [&](const fs::path &folder) { fs::resize_file(folder / name, fs::file_size(folder / name) - 1); },
        std::string(name) + " has");
  expectRebuilt([](const fs::path &folder) { fs::resize_file(folder / "kernel.cubin", 0); },
                "kernel.cubin has 0 bytes");
  expectRebuilt([](const fs::path &folder) { fs::resize_file(folder / "checksums.json", 20); },
                "checksums.json is not JSON");
}

TEST_F(CorruptionTest, AChangedBitIsFound) {
  for (const char *name : {"kernel.cubin", "kernel.ptx", "stats.json", "key.json"})
    expectRebuilt(
        [&](const fs::path &folder) {
          std::string bytes = readFile(folder / name);
          bytes[random_() % bytes.size()] ^= char(1 << random_() % 8);
          overwrite(folder / name, bytes);
        },
        "the checksum of " + std::string(name) + " is wrong");
}

TEST_F(CorruptionTest, MissingFilesAreFound) {
  for (const char *name : {"kernel.cubin", "kernel.ptx", "stats.json", "key.json", "checksums.json"})
    expectRebuilt([&](const fs::path &folder) { fs::remove(folder / name); },
                  std::string(name) + " is missing");
  expectRebuilt(
      [](const fs::path &folder) {
        fs::remove_all(folder);
        fs::create_directory(folder);
      },
      "checksums.json is missing");
}

TEST_F(CorruptionTest, AFileInPlaceOfTheFolderIsFound) {
  expectRebuilt(
      [](const fs::path &folder) {
        fs::remove_all(folder);
        overwrite(folder, "not a folder");
      },
      "checksums.json is missing");
}

TEST_F(CorruptionTest, IllFormedChecksumsAreFound) {
  for (const char *text : {"[]", "7", "{}", "{\"version\": 99}"})
    expectRebuilt([&](const fs::path &folder) { overwrite(folder / "checksums.json", text); },
                  "another version");
  for (const char *text : {"{\"version\": 1}", "{\"version\": 1, \"files\": [1]}",
                           "{\"version\": 1, \"files\": {\"key.json\": {\"bytes\": -1, \"hash\": \"\"}}}"})
    expectRebuilt([&](const fs::path &folder) { overwrite(folder / "checksums.json", text); },
                  "does not tell about");
}

// A whole entry under the wrong name: every checksum is right, the key is not.
TEST_F(CorruptionTest, AnEntryOfAnotherKeyIsFound) {
  Store store(directory());
  store.publish(makeKey(1), randomEntry());
  const Key key = makeKey(2);
  fs::create_directories(store.entryPath(key).parent_path());
  fs::copy(store.entryPath(makeKey(1)), store.entryPath(key));
  test::CapturedLog log;
  EXPECT_FALSE(store.find(key));
  ASSERT_EQ(log.messages().size(), 1u);
  EXPECT_TRUE(contains(log.messages()[0], "key.json is not the key"));
  EXPECT_FALSE(fs::exists(store.entryPath(key)));
  EXPECT_TRUE(store.find(makeKey(1)));
}

TEST_F(CorruptionTest, FindRemovesWithOneWarning) {
  const Store store(directory());
  store.publish(makeKey(1), randomEntry());
  fs::resize_file(store.entryPath(makeKey(1)) / "kernel.cubin", 100);
  test::CapturedLog log;
  EXPECT_FALSE(store.find(makeKey(1)));
  EXPECT_FALSE(store.find(makeKey(1)));
  EXPECT_EQ(log.messages().size(), 1u);
  EXPECT_TRUE(store.list().empty());
}
