#include "lathe/support/Files.h"

#include "lathe/tests/unit/support/Helpers.h"

#include <chrono>
#include <thread>

using namespace lathe;
using test::TempFolder;

TEST(FileLock, ExcludesThreadsAndReleases) {
  TempFolder folder;
  std::optional<FileLock> first = FileLock::tryLock(folder / "lock");
  ASSERT_TRUE(first);
  EXPECT_FALSE(FileLock::tryLock(folder / "lock"));
  EXPECT_TRUE(FileLock::tryLock(folder / "other"));
  first.reset();
  EXPECT_TRUE(FileLock::tryLock(folder / "lock"));
}

TEST(FileLock, CountsExactlyUnderContention) {
  TempFolder folder;
  int counter = 0; // Plain: only the lock protects it.
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int round = 0; round < 25; ++round) {
        std::optional<FileLock> lock = FileLock::lockFor(folder / "lock", 60);
        const int seen = counter;
        std::this_thread::yield();
        counter = seen + 1;
        if (round % 5 == 0)
          lock->removeFile();
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(counter, 100);
}

TEST(FileLock, WaitsNoLongerThanAskedAndTellsWhoHoldsIt) {
  TempFolder folder;
  test::CapturedLog log;
  std::optional<FileLock> held = FileLock::tryLock(folder / "lock");
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(FileLock::lockFor(folder / "lock", /*waitSeconds=*/0.3, /*reportAfterSeconds=*/0.1));
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(300));
  ASSERT_EQ(log.messages().size(), 1u);
  EXPECT_TRUE(test::contains(log.messages()[0], "held by pid " + std::to_string(::getpid())));
}

TEST(FileLock, AKilledHolderDoesNotBlock) {
  TempFolder folder;
  test::Gate locked;
  const pid_t child = test::startProcess([&] {
    std::optional<FileLock> lock = FileLock::tryLock(folder / "lock");
    locked.signal();
    ::pause();
    return 0;
  });
  locked.wait();
  EXPECT_FALSE(FileLock::tryLock(folder / "lock"));
  ::kill(child, SIGKILL);
  EXPECT_EQ(test::waitForProcess(child), -SIGKILL);
  EXPECT_TRUE(FileLock::tryLock(folder / "lock"));
}

TEST(FileLock, AForkedChildDoesNotKeepTheLock) {
  TempFolder folder;
  test::Gate done;
  std::optional<FileLock> lock = FileLock::tryLock(folder / "lock");
  const pid_t child = test::startProcess([&] {
    done.wait();
    return 0;
  });
  lock.reset();
  EXPECT_TRUE(FileLock::tryLock(folder / "lock"));
  done.signal();
  EXPECT_EQ(test::waitForProcess(child), 0);
}

TEST(FileLock, ImpossiblePlacesAreUserErrors) {
  TempFolder folder;
  EXPECT_TRUE(
      test::contains(test::userErrorOf([&] { FileLock::tryLock(folder / "no" / "lock"); }), "No such file"));
}
