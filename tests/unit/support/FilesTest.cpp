#include "lathe/support/Files.h"

#include "lathe/tests/unit/support/Helpers.h"

#include <sys/stat.h>

using namespace lathe;
using test::contains;
using test::TempFolder;
using test::userErrorOf;
namespace fs = std::filesystem;

static const DirectoryRole role = {"test folder", "choose another"};

TEST(Files, RoundTripsBytes) {
  TempFolder folder;
  std::mt19937_64 random(test::freshSeed());
  for (size_t count : {0, 1, 4095, 4096, 4097, 1000000}) {
    const std::string bytes = test::randomBytes(random, count);
    writeFileAtomically(folder / "file", bytes);
    EXPECT_EQ(readFile(folder / "file"), bytes);
    EXPECT_EQ(test::namesIn(folder.path()), std::vector<std::string>{"file"});
  }
}

TEST(Files, ReadsFilesWithoutASize) { EXPECT_FALSE(readFile("/proc/self/status").empty()); }

TEST(Files, MissingFilesAreNamed) {
  TempFolder folder;
  const std::string path = folder / "nothing";
  EXPECT_FALSE(readFileIfThere(path));
  const std::string message = userErrorOf([&] { readFile(path); });
  EXPECT_TRUE(contains(message, path));
  EXPECT_TRUE(contains(message, "No such file"));
  EXPECT_TRUE(contains(userErrorOf([&] { readFileIfThere(folder.path()); }), "Is a directory"));
}

TEST(Files, AFailedWriteKeepsTheOldFileAndNothingElse) {
  TempFolder folder;
  writeFileAtomically(folder / "file", "old");
  {
    test::FileSizeLimit limit(1000);
    const std::string message =
        userErrorOf([&] { writeFileAtomically(folder / "file", std::string(5000, 'x')); });
    EXPECT_TRUE(contains(message, "File too large"));
  }
  EXPECT_EQ(readFile(folder / "file"), "old");
  EXPECT_EQ(test::namesIn(folder.path()), std::vector<std::string>{"file"});
}

TEST(Files, WritingToAMissingFolderOrOverAFolderFails) {
  TempFolder folder;
  EXPECT_TRUE(
      contains(userErrorOf([&] { writeFileAtomically(folder / "no" / "file", "x"); }), "No such file"));
  fs::create_directory(folder / "dir");
  userErrorOf([&] { writeFileAtomically(folder / "dir", "x"); });
  EXPECT_EQ(test::namesIn(folder.path()), std::vector<std::string>{"dir"});
}

TEST(Files, ANewFileIsPrivateAndNew) {
  TempFolder folder;
  writeNewFile(folder / "file", "one");
  struct stat status;
  ASSERT_EQ(::stat((folder / "file").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  EXPECT_TRUE(contains(userErrorOf([&] { writeNewFile(folder / "file", "two"); }), "File exists"));
  EXPECT_EQ(readFile(folder / "file"), "one");
}

TEST(Files, PrivateDirectoryIsMadeWithParents) {
  TempFolder folder;
  const fs::path path = folder / "a" / "b";
  makePrivateDirectory(path, role);
  makePrivateDirectory(path, role);
  struct stat status;
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700u);
  EXPECT_TRUE(currentUserOwns(path));
  EXPECT_FALSE(currentUserOwns(folder / "absent"));
}

TEST(Files, PrivateDirectoryRefusesWhatOthersCanWrite) {
  TempFolder folder;
  for (mode_t mode : {0720, 0702, 0777, 01777}) {
    ASSERT_EQ(::chmod(folder.path().c_str(), mode), 0);
    const std::string message = userErrorOf([&] { makePrivateDirectory(folder.path(), role); });
    EXPECT_TRUE(contains(message, "must not be writable by group or others"));
    EXPECT_TRUE(contains(message, "choose another"));
  }
  ASSERT_EQ(::chmod(folder.path().c_str(), 0755), 0);
  makePrivateDirectory(folder.path(), role);
}

TEST(Files, PrivateDirectoryRefusesFilesAndDanglingLinks) {
  TempFolder folder;
  writeNewFile(folder / "file", "");
  EXPECT_TRUE(
      contains(userErrorOf([&] { makePrivateDirectory(folder / "file", role); }), "must be a folder"));
  userErrorOf([&] { makePrivateDirectory(folder / "file" / "below", role); });
  fs::create_symlink(folder / "absent", folder / "link");
  userErrorOf([&] { makePrivateDirectory(folder / "link", role); });
  EXPECT_FALSE(fs::exists(folder / "absent"));
}
