#include "lathe/support/Env.h"

#include "lathe/tests/unit/support/Helpers.h"

#include <set>

using namespace lathe;
using test::contains;
using test::ScopedEnv;

TEST(Env, TableIsCompleteAndSorted) {
  std::set<std::string> names;
  std::string previous;
  for (const EnvVariable &variable : environmentVariables()) {
    EXPECT_LT(previous, variable.name);
    EXPECT_EQ(variable.name.substr(0, 6), "LATHE_");
    EXPECT_FALSE(variable.meaning.empty()) << variable.name;
    EXPECT_FALSE(variable.defaultValue.empty()) << variable.name;
    EXPECT_EQ(variable.choices.empty(), variable.type == EnvType::Path) << variable.name;
    names.insert(previous = variable.name);
  }
  for (const char *name :
       {"LATHE_CACHE_DIR", "LATHE_DEVICE", "LATHE_DUMP", "LATHE_DUMP_DIR", "LATHE_STOP_AFTER", "LATHE_LOG",
        "LATHE_ASSEMBLER", "LATHE_TUNING_DB", "LATHE_NVRTC", "LATHE_LIBCUDA"})
    EXPECT_TRUE(names.count(name)) << name;
}

TEST(Env, UnsetAndEmptyAreTheSame) {
  ScopedEnv unset("LATHE_CACHE_DIR", nullptr);
  EXPECT_FALSE(env("LATHE_CACHE_DIR"));
  ScopedEnv empty("LATHE_CACHE_DIR", "");
  EXPECT_FALSE(env("LATHE_CACHE_DIR"));
  EXPECT_FALSE(envPath("LATHE_CACHE_DIR"));
  ScopedEnv set("LATHE_CACHE_DIR", "/some/where");
  EXPECT_EQ(envPath("LATHE_CACHE_DIR"), "/some/where");
}

TEST(Env, NamesOutsideTheTableAreBugs) {
  EXPECT_THROW(env("LATHE_NOT_DECLARED"), CompileError);
  EXPECT_THROW(env("HOME"), CompileError);
  EXPECT_THROW(envChoice("LATHE_DUMP"), CompileError);
  EXPECT_THROW(envList("LATHE_LOG"), CompileError);
}

TEST(Env, ChoicesAreChecked) {
  ScopedEnv unset("LATHE_LOG", nullptr);
  EXPECT_EQ(envChoice("LATHE_LOG"), "warn");
  EXPECT_FALSE(envChoiceIfSet("LATHE_LOG"));
  ScopedEnv good("LATHE_LOG", "debug");
  EXPECT_EQ(envChoice("LATHE_LOG"), "debug");
  ScopedEnv bad("LATHE_LOG", "loud");
  const std::string message = test::userErrorOf([] { envChoice("LATHE_LOG"); });
  for (const char *part : {"LATHE_LOG", "'loud'", "error, warn, info, debug", "unset LATHE_LOG"})
    EXPECT_TRUE(contains(message, part));
}

TEST(Env, ListsAreCheckedWordByWord) {
  ScopedEnv unset("LATHE_DUMP", nullptr);
  EXPECT_TRUE(envList("LATHE_DUMP").empty());
  ScopedEnv good("LATHE_DUMP", " ptx,ir ,,ptx");
  EXPECT_EQ(envList("LATHE_DUMP"), (std::vector<std::string>{"ptx", "ir"}));
  EXPECT_TRUE(envListHas("LATHE_DUMP", "ir"));
  EXPECT_FALSE(envListHas("LATHE_DUMP", "sass"));
  ScopedEnv bad("LATHE_DUMP", "ptx,mlir");
  const std::string message = test::userErrorOf([] { envList("LATHE_DUMP"); });
  for (const char *part : {"LATHE_DUMP", "'mlir'", "ir, ptx, sass"})
    EXPECT_TRUE(contains(message, part));
}

TEST(Env, CheckFindsBadValuesAndMisspellings) {
  ScopedEnv bad("LATHE_STOP_AFTER", "sass");
  EXPECT_TRUE(contains(test::userErrorOf(checkEnvironment), "LATHE_STOP_AFTER"));
  ScopedEnv good("LATHE_STOP_AFTER", "ptx");
  ScopedEnv misspelt("LATHE_CACHEDIR", "/tmp");
  test::CapturedLog log;
  checkEnvironment();
  checkEnvironment();
  int warnings = 0;
  for (const std::string &message : log.messages())
    warnings += message.find("LATHE_CACHEDIR") != std::string::npos;
  EXPECT_EQ(warnings, 1);
}
