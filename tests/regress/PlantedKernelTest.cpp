//===- PlantedKernelTest.cpp - The lathe command with a wrong kernel in its cache ----------------------===//
//
// A kernel without one of its fences is published in the cache under the key of the right one, so that `lathe
// verify`, `lathe tune --verify` and `lathe tune moe --verify` find it there as if the compiler had written
// it. All must refuse it on the emulator, although its results are right.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/dsl/models/Mla.h"
#include "lathe/dsl/models/Moe.h"
#include "lathe/runtime/Jit.h"
#include "lathe/tests/unit/support/Helpers.h"

#include <sys/wait.h>

using namespace lathe;
using nlohmann::json;

namespace {
struct Answer {
  int exitCode = -1;
  std::string text; ///< Of stdout.
  json document() const { return json::parse(text); }
};

/// The command with a cache and a tuning database of its own.
class PlantedKernelTest : public ::testing::Test {
protected:
  void SetUp() override {
    setenv("LATHE_CACHE_DIR", (folder_ / "cache").c_str(), 1);
    setenv("LATHE_TUNING_DB", (folder_ / "tuning.json").c_str(), 1);
    unsetenv("LATHE_DEVICE");
  }
  void TearDown() override {
    unsetenv("LATHE_CACHE_DIR");
    unsetenv("LATHE_TUNING_DB");
  }

  /// Puts the default configuration's kernel into the cache, without the fence behind its first stmatrix.
  void plant(const dsl::MlaShape &shape) const;
  /// The same for 64 rows, without the wait for the products of `up`.
  void plant(const dsl::MoeShape &shape) const;
  Answer lathe(const std::string &arguments) const;

private:
  test::TempFolder folder_;
};
} // namespace

/// Compiles, makes a comment of the first `instruction` behind the text `after`, and publishes.
template <class Config>
static void publishWithout(const dsl::Kernel &description, const Config &config, const char *after,
                           const char *instruction) {
  const codegen::Target target;
  auto artifact = codegen::compile(description, config, {.target = target, .assemble = false});
  const size_t place = artifact.ptx.find(after);
  ASSERT_NE(place, std::string::npos);
  const size_t planted = artifact.ptx.find(instruction, place);
  ASSERT_NE(planted, std::string::npos);
  artifact.ptx.replace(planted, 2, "//");
  const kernel_cache::Store cache;
  cache.publish(runtime::Jit::key(description, config, target),
                {artifact.ptx, "", {{"manifest", artifact.manifest}, {"stagesMs", json::object()}}});
}

void PlantedKernelTest::plant(const dsl::MlaShape &shape) const {
  const dsl::Kernel description = dsl::mlaDecode(shape);
  publishWithout(description, codegen::defaultConfig(codegen::analyze(description), {}), "stmatrix.sync",
                 "fence.proxy.async");
}

void PlantedKernelTest::plant(const dsl::MoeShape &shape) const {
  const dsl::Kernel description = dsl::moeFfn(shape);
  publishWithout(description, codegen::defaultMoeConfig(codegen::analyzeMoe(description), {}, 64),
                 ".entry up(", "wgmma.wait_group.sync.aligned 0");
}

Answer PlantedKernelTest::lathe(const std::string &arguments) const {
  Answer answer;
  const std::string command = std::string("'" LATHE_BINARY "' ") + arguments + " 2>/dev/null";
  FILE *pipe = popen(command.c_str(), "r"); // NOLINT(bugprone-command-processor): as a user does.
  char buffer[4096];
  for (size_t count; (count = fread(buffer, 1, sizeof buffer, pipe)) > 0;)
    answer.text.append(buffer, count);
  const int status = pclose(pipe);
  answer.exitCode = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return answer;
}

static constexpr const char *verify = "verify --heads 16 --batch 2 --tokens 100 --device emulator";
/// As `lathe verify` divides a cache row: its halves do not matter to the kernel.
static constexpr dsl::MlaShape verified{.heads = 16, .latent = 288, .rope = 288, .value = 512};

TEST_F(PlantedKernelTest, VerifyPassesTheCompilersKernel) {
  const Answer answer = lathe(std::string(verify) + " --json");
  EXPECT_EQ(answer.exitCode, 0) << answer.text;
  EXPECT_TRUE(answer.document().at("cases").at(0).at("findings").empty());
}

TEST_F(PlantedKernelTest, VerifyFailsOnAFindingWhereTheResultIsRight) {
  plant(verified);
  const Answer answer = lathe(verify);
  EXPECT_EQ(answer.exitCode, 1);
  for (const char *part : {"FAILED", "given_shape", "proxy_unfenced: ", "at    attend, PTX line ", "stmatrix",
                           "try   ", "0 of 1 cases passed"})
    EXPECT_TRUE(test::contains(answer.text, part)) << answer.text;

  const Answer programs = lathe(std::string(verify) + " --json");
  EXPECT_EQ(programs.exitCode, 1);
  const json entry = programs.document().at("cases").at(0);
  EXPECT_FALSE(entry.at("passed"));
  EXPECT_EQ(entry.at("message"), "") << "the comparison alone would have passed it";
  const json finding = entry.at("findings").at(0);
  EXPECT_EQ(finding.at("kind"), "proxy_unfenced");
  EXPECT_EQ(finding.at("kernel"), "attend");
  EXPECT_GT(finding.at("place").at("line"), 0);
  EXPECT_GT(finding.at("place").at("tileLine"), 0);
  EXPECT_TRUE(test::contains(finding.at("other").at("instruction").get<std::string>(), "stmatrix"));
}

TEST_F(PlantedKernelTest, TuneRefusesAConfigurationWithAFinding) {
  plant({.heads = 16});
  const std::string tune = "tune --heads 16 --batch 8 --tokens 1000 --candidates 3 --target h100-sxm";
  EXPECT_EQ(lathe(tune + " --json").document().at("candidates").at(0).at("status"), "predicted");
  const Answer answer = lathe(tune + " --verify --json");
  EXPECT_EQ(answer.exitCode, 0) << answer.text;
  const json document = answer.document();
  const json fallback = document.at("candidates").at(0);
  EXPECT_TRUE(fallback.at("default"));
  EXPECT_EQ(fallback.at("status"), "verify-failed");
  EXPECT_TRUE(test::contains(fallback.at("reason").get<std::string>(), "proxy_unfenced"));
  EXPECT_NE(document.at("best"), fallback.at("config"));
  EXPECT_TRUE(document.at("verified"));

  const Answer people = lathe(tune + " --verify");
  for (const char *part : {"verified       10 corner lengths", "REFUSED",
                           "verify-failed: corner lengths: ", "proxy_unfenced", "right    kvTile"})
    EXPECT_TRUE(test::contains(people.text, part)) << people.text;
}

TEST_F(PlantedKernelTest, TuneMoeRefusesAConfigurationWithAFinding) {
  plant(dsl::MoeShape{.hidden = 128, .intermediate = 128, .experts = 8, .topK = 2});
  const std::string tune = "tune moe --hidden 128 --intermediate 128 --experts 8 --top-k 2 --candidates 6 "
                           "--target h100-sxm --json";
  EXPECT_EQ(lathe(tune).document().at("results").at(0).at("candidates").at(0).at("status"), "predicted");
  const Answer answer = lathe(tune + " --verify");
  EXPECT_EQ(answer.exitCode, 0) << answer.text;
  const json result = answer.document().at("results").at(0), fallback = result.at("candidates").at(0);
  EXPECT_TRUE(fallback.at("default"));
  EXPECT_EQ(fallback.at("status"), "verify-failed");
  EXPECT_TRUE(test::contains(fallback.at("reason").get<std::string>(), "a crowded expert: ")) << fallback;
  EXPECT_NE(result.at("best"), fallback.at("config"));
  EXPECT_TRUE(result.at("verified"));
}
