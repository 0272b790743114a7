#include "lathe/support/Files.h"
#include "lathe/tests/unit/kernel_cache/CacheFixture.h"

#include <fcntl.h>

#include <chrono>
#include <fstream>
#include <thread>

using namespace lathe;
using namespace lathe::kernel_cache;
using test::makeKey;
using test::operator==;
namespace fs = std::filesystem;

class ProcessTest : public test::CacheTest {
protected:
  /// Appends one letter, atomically, for each build.
  void countBuild() const {
    const int file = ::open((folder_ / "builds").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    (void)!::write(file, "b", 1);
    ::close(file);
  }
  size_t builds() const { return readFileIfThere(folder_ / "builds").value_or("").size(); }

  /// `processes` children call findOrBuild at the same time; expects that one builds and all get its entry.
  void race(const Key &key, int processes) {
    const Entry entry = randomEntry(100000);
    test::Gate start;
    std::vector<pid_t> children;
    for (int i = 0; i < processes; ++i)
      children.push_back(test::startProcess([&] {
        setLogLevel(LogLevel::Error);
        start.wait();
        const Entry found = Store(directory()).findOrBuild(key, [&] {
          countBuild();
          std::this_thread::sleep_for(std::chrono::milliseconds(100));
          return entry;
        });
        return found == entry ? 0 : 1;
      }));
    start.signal(processes);
    for (pid_t child : children)
      EXPECT_EQ(test::waitForProcess(child), 0);
    EXPECT_EQ(builds(), 1u);
    EXPECT_TRUE(*Store(directory()).find(key) == entry);
    EXPECT_TRUE(leftovers().empty());
    fs::remove(folder_ / "builds");
  }
};

TEST_F(ProcessTest, RacingProcessesBuildOnce) {
  for (int round = 0; round < 5; ++round)
    race(makeKey(round), 4);
}

TEST_F(ProcessTest, RacingProcessesRebuildACorruptEntryOnce) {
  const Store store(directory());
  for (int round = 0; round < 5; ++round) {
    store.publish(makeKey(round), randomEntry());
    fs::resize_file(store.entryPath(makeKey(round)) / "kernel.cubin", 10);
    race(makeKey(round), 4);
  }
}

TEST_F(ProcessTest, RacingThreadsBuildOnce) {
  const Store store(directory());
  const Entry entry = randomEntry();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      const Entry found = store.findOrBuild(makeKey(1), [&] {
        countBuild();
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        return entry;
      });
      EXPECT_TRUE(found == entry);
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(builds(), 1u);
}

TEST_F(ProcessTest, OtherKeysDoNotWait) {
  const Store store(directory());
  test::Gate building, done;
  const pid_t child = test::startProcess([&] {
    Store(directory()).findOrBuild(makeKey(1), [&] {
      building.signal();
      done.wait();
      return Entry{"slow", "", {}};
    });
    return 0;
  });
  building.wait();
  const Entry entry = randomEntry();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(store.findOrBuild(makeKey(2), [&] { return entry; }) == entry);
  EXPECT_FALSE(store.find(makeKey(1))); // find() does not wait for a build.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  EXPECT_EQ(store.prune(0), 1); // Only the finished entry: the lock of the other key is held.
  done.signal();
  EXPECT_EQ(test::waitForProcess(child), 0);
  EXPECT_EQ(store.find(makeKey(1))->ptx, "slow");
}

TEST_F(ProcessTest, AKilledBuilderDoesNotBlock) {
  test::Gate building;
  const pid_t child = test::startProcess([&] {
    Store(directory()).findOrBuild(makeKey(1), [&]() -> Entry {
      building.signal();
      ::pause();
      return {};
    });
    return 0;
  });
  building.wait();
  ::kill(child, SIGKILL);
  EXPECT_EQ(test::waitForProcess(child), -SIGKILL);
  const Entry entry = randomEntry();
  bool built = false;
  EXPECT_TRUE(Store(directory()).findOrBuild(makeKey(1), [&] { return entry; }, &built) == entry);
  EXPECT_TRUE(built);
}

// Killed at random moments of publication: what is there is whole or absent, and prune() removes the rest.
TEST_F(ProcessTest, KilledPublishersLeaveWholeEntriesOrNone) {
  test::CapturedLog log;
  const auto begin = std::chrono::steady_clock::now();
  Store(directory()).publish(makeKey(-1), randomEntry(200000));
  const std::chrono::duration<double> publication = std::chrono::steady_clock::now() - begin;
  for (int round = 0; round < 30; ++round) {
    const Entry entry = randomEntry(200000);
    test::Gate start;
    const pid_t child = test::startProcess([&] {
      Store store(directory());
      start.signal();
      store.publish(makeKey(round), entry);
      return 0;
    });
    start.wait();
    std::this_thread::sleep_for(publication * (double(random_() % 1000) / 600)); // Up to 1.7 times as long.
    ::kill(child, SIGKILL);
    test::waitForProcess(child);
    const std::optional<Entry> found = Store(directory()).find(makeKey(round));
    EXPECT_TRUE(!found || *found == entry);
  }
  EXPECT_TRUE(log.messages().empty()) << log.messages()[0]; // No entry was ever corrupt.
  const size_t left = leftovers().size();
  const Store store(directory());
  const size_t entries = store.list().size();
  std::printf("%zu of 31 published, %zu staged folders left\n", entries, left);
  EXPECT_EQ(size_t(store.prune(365)), left);
  EXPECT_TRUE(leftovers().empty());
  EXPECT_EQ(store.list().size(), entries);
}

// Readers, publishers and a pruner at once: a reader gets a right entry or none, never a warning.
TEST_F(ProcessTest, ReadersNeverSeeHalfAnEntry) {
  const Entry entry = randomEntry(50000);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  std::vector<pid_t> children;
  for (int role = 0; role < 4; ++role)
    children.push_back(test::startProcess([&, role] {
      test::CapturedLog log;
      const Store store(directory());
      while (std::chrono::steady_clock::now() < end) {
        if (role == 0)
          store.clear();
        else if (role == 1)
          store.publish(makeKey(1), entry);
        else if (std::optional<Entry> found = store.find(makeKey(1)); found && !(*found == entry))
          return 1;
      }
      return log.messages().empty() ? 0 : 2;
    }));
  for (pid_t child : children)
    EXPECT_EQ(test::waitForProcess(child), 0);
}
