#include "lathe/support/Log.h"

#include "lathe/tests/unit/support/Helpers.h"

#include <thread>

using namespace lathe;

TEST(Log, LevelsFilter) {
  test::CapturedLog log(LogLevel::Info);
  logError("error {}", 1);
  logWarn("warn {}", 2);
  logInfo("info {}", 3);
  logDebug("debug {}", 4);
  EXPECT_EQ(log.messages(), (std::vector<std::string>{"error 1", "warn 2", "info 3"}));
}

TEST(Log, WarnOnceWarnsOnce) {
  test::CapturedLog log;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([] { warnOnce("LogTest key", "only {}", "once"); });
  for (std::thread &thread : threads)
    thread.join();
  warnOnce("LogTest other key", "another");
  EXPECT_EQ(log.messages(), (std::vector<std::string>{"only once", "another"}));
}

/// For a fresh process, which has not read the level yet.
[[noreturn]] static void speakAndExit() {
  logWarn("a warning");
  logInfo("some information");
  ::_exit(0);
}

static void expectStderr(const char *level, const ::testing::Matcher<const std::string &> &expected) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe"; // Starts the program anew instead of forking it.
  test::ScopedEnv env("LATHE_LOG", level);
  EXPECT_EXIT(speakAndExit(), ::testing::ExitedWithCode(0), expected);
}

TEST(LogDeathTest, LevelComesFromTheEnvironment) {
  using ::testing::Eq;
  expectStderr(nullptr, Eq("lathe: warning: a warning\n"));
  expectStderr("info", Eq("lathe: warning: a warning\nlathe: info: some information\n"));
  expectStderr("error", Eq(""));
}

TEST(LogDeathTest, AWrongLevelIsReportedOnceAndMeansWarn) {
  expectStderr(
      "loud", ::testing::Eq("lathe: error: environment variable LATHE_LOG: must be one of error, warn, info, "
                            "debug, got 'loud'; correct it or run `unset LATHE_LOG`\n"
                            "lathe: warning: a warning\n"));
}
