#include "lathe/support/Files.h"
#include "lathe/tests/unit/kernel_cache/CacheFixture.h"

#include <sys/stat.h>

using namespace lathe;
using namespace lathe::kernel_cache;
using test::contains;
using test::makeKey;
using test::ScopedEnv;
using test::userErrorOf;
namespace fs = std::filesystem;

static constexpr uid_t nobody = 65534;

class LocationTest : public test::CacheTest {
protected:
  /// A folder that belongs to somebody else: ours given away when we may do that, else one of the system.
  fs::path foreignFolder() const {
    if (::geteuid() != 0)
      return "/usr";
    fs::create_directory(folder_ / "foreign");
    EXPECT_EQ(::chown((folder_ / "foreign").c_str(), nobody, nobody), 0);
    return folder_ / "foreign";
  }

  void expectRefused(const fs::path &path, const std::string &reason) const {
    const std::string message = userErrorOf([&] { Store store(path); });
    EXPECT_TRUE(contains(message, reason));
    EXPECT_TRUE(contains(message, "kernel cache"));
    EXPECT_TRUE(contains(message, path));
    EXPECT_TRUE(contains(message, "LATHE_CACHE_DIR"));
  }
};

TEST_F(LocationTest, DefaultFollowsTheEnvironment) {
  ScopedEnv home("HOME", "/home/someone");
  ScopedEnv noXdg("XDG_CACHE_HOME", nullptr);
  ScopedEnv noDir("LATHE_CACHE_DIR", nullptr);
  EXPECT_EQ(Store::defaultDirectory(), "/home/someone/.cache/lathe");
  ScopedEnv relativeXdg("XDG_CACHE_HOME", "relative");
  EXPECT_EQ(Store::defaultDirectory(), "/home/someone/.cache/lathe");
  ScopedEnv xdg("XDG_CACHE_HOME", "/xdg");
  EXPECT_EQ(Store::defaultDirectory(), "/xdg/lathe");
  ScopedEnv dir("LATHE_CACHE_DIR", "/chosen");
  EXPECT_EQ(Store::defaultDirectory(), "/chosen");
}

TEST_F(LocationTest, WithoutHomeThePasswordFileDecides) {
  ScopedEnv home("HOME", nullptr);
  ScopedEnv noXdg("XDG_CACHE_HOME", nullptr);
  ScopedEnv noDir("LATHE_CACHE_DIR", nullptr);
  EXPECT_EQ(Store::defaultDirectory().filename(), "lathe");
  EXPECT_TRUE(Store::defaultDirectory().is_absolute());
}

TEST_F(LocationTest, TheFolderIsMadePrivate) {
  ScopedEnv dir("LATHE_CACHE_DIR", (folder_ / "deep" / "er").c_str());
  const Store store;
  EXPECT_EQ(store.directory(), folder_ / "deep" / "er");
  EXPECT_EQ(fs::status(store.directory()).permissions(), fs::perms::owner_all);
}

TEST_F(LocationTest, TrailingSlashesAndDotsDoNotMatter) {
  EXPECT_EQ(Store(directory() / "").directory(), directory());
  EXPECT_EQ(Store(folder_ / "x" / ".." / "cache").directory(), directory());
}

TEST_F(LocationTest, AForeignOwnerIsRefused) {
  const fs::path foreign = foreignFolder();
  expectRefused(foreign, "must belong to you");
  if (::geteuid() == 0)
    EXPECT_TRUE(fs::is_empty(foreign));
}

TEST_F(LocationTest, WritableByOthersIsRefused) {
  fs::create_directory(directory());
  for (mode_t mode : {0770, 0720, 0707, 0777}) {
    ASSERT_EQ(::chmod(directory().c_str(), mode), 0);
    expectRefused(directory(), "must not be writable by group or others");
  }
  ASSERT_EQ(::chmod(directory().c_str(), 0755), 0);
  Store store(directory());
}

TEST_F(LocationTest, ALinkToAForeignFolderIsRefused) {
  fs::create_symlink(foreignFolder(), folder_ / "link");
  expectRefused(folder_ / "link", "must belong to you");
}

TEST_F(LocationTest, OurLinkToOurFolderIsTaken) {
  Store(directory()).publish(makeKey(1), randomEntry());
  fs::create_symlink(directory(), folder_ / "link");
  EXPECT_TRUE(Store(folder_ / "link").find(makeKey(1)));
}

TEST_F(LocationTest, AForeignLinkIsRefused) {
  if (::geteuid() != 0)
    GTEST_SKIP() << "only root can give a link away";
  Store store(directory());
  fs::create_symlink(directory(), folder_ / "link");
  ASSERT_EQ(::lchown((folder_ / "link").c_str(), nobody, nobody), 0);
  expectRefused(folder_ / "link", "must belong to you");
}

TEST_F(LocationTest, ImpossiblePlacesAreRefused) {
  writeNewFile(folder_ / "file", "");
  expectRefused(folder_ / "file", "must be a folder");
  expectRefused(folder_ / "file" / "below", "must exist or be creatable");
  expectRefused("/proc/lathe-cache", "must exist or be creatable");
}

// In another process, which gives root's rights away: root writes everywhere.
TEST_F(LocationTest, AReadOnlyCacheServesAndSaysWhatToDo) {
  const Key stored = makeKey(1), absent = makeKey(2);
  Store(directory()).publish(stored, randomEntry());
  std::vector<fs::path> paths = {directory()};
  for (const auto &item : fs::recursive_directory_iterator(directory()))
    paths.push_back(item.path());
  const bool root = ::geteuid() == 0;
  ::chmod(folder_.path().c_str(), 0711);
  for (const fs::path &path : paths) {
    ::chmod(path.c_str(), fs::is_directory(path) ? 0500 : 0400);
    if (root)
      EXPECT_EQ(::chown(path.c_str(), nobody, nobody), 0);
  }
  const pid_t child = test::startProcess([&] {
    if (root && (::setgid(nobody) != 0 || ::setuid(nobody) != 0))
      return 1;
    const Store store(directory());
    if (!store.find(stored) || store.find(absent) || store.list().size() != 1)
      return 2;
    bool called = false;
    std::string message;
    try {
      store.findOrBuild(absent, [&] {
        called = true;
        return Entry{};
      });
    } catch (const UserError &error) {
      message = error.what();
    }
    if (called || message.find("LATHE_CACHE_DIR") == std::string::npos ||
        message.find("must be writable") == std::string::npos)
      return 3;
    return 0;
  });
  EXPECT_EQ(test::waitForProcess(child), 0);
  for (const fs::path &path : paths)
    if (fs::is_directory(path))
      ::chmod(path.c_str(), 0700);
}
