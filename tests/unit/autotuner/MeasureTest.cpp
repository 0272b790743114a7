//===- MeasureTest.cpp - Times, isolation, progress ---------------------------------------------------===//
//
// What times are summarized to, work that crashes or hangs in a process of its own, and the lines that a user
// sees meanwhile.
//
//===--------------------------------------------------------------------------------------------------===//
#include "TestFiles.h"

#include "lathe/autotuner/Isolated.h"
#include "lathe/autotuner/Measure.h"
#include "lathe/autotuner/Progress.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <thread>
#include <unistd.h>

using namespace lathe;
using namespace lathe::autotuner;
using namespace lathe::test;

TEST(Measure, SummaryHasMedianAndQuartiles) {
  const Measurement time = summarize({5, 1, 4, 2, 3});
  EXPECT_DOUBLE_EQ(time.medianUs, 3);
  EXPECT_DOUBLE_EQ(time.lowUs, 2);
  EXPECT_DOUBLE_EQ(time.highUs, 4);
  EXPECT_EQ(time.runs, 5);
  EXPECT_DOUBLE_EQ(summarize({2, 1}).medianUs, 1.5);
  EXPECT_DOUBLE_EQ(summarize({7}).highUs, 7);
  EXPECT_THROW(summarize({}), CompileError);
}

TEST(Isolated, ReturnsResultsAndErrors) {
  EXPECT_EQ(runIsolated([] { return nlohmann::json{{"us", 1.5}}; }, 20)["us"], 1.5);
  const std::string large(1 << 20, 'x');
  EXPECT_EQ(runIsolated([&] { return nlohmann::json(large); }, 20).get<std::string>().size(), large.size());
  try {
    runIsolated([]() -> nlohmann::json { throw CompileError(Fault{"a", "b", "c", "d"}); }, 20);
    FAIL();
  } catch (const CompileError &error) {
    EXPECT_EQ(error.fault().value, "c");
  }
  EXPECT_THROW(runIsolated([]() -> nlohmann::json { throw std::runtime_error("odd"); }, 20), DeviceError);
}

TEST(Isolated, SurvivesACrash) {
  try {
    runIsolated(
        []() -> nlohmann::json {
          raise(SIGKILL), pause();
          return {};
        },
        20);
    FAIL();
  } catch (const DeviceError &error) {
    EXPECT_HAS(error.what(), "signal 9");
  }
  EXPECT_THROW(runIsolated([]() -> nlohmann::json { _exit(5); }, 20), DeviceError);
}

TEST(Isolated, StopsAHang) {
  const auto begin = std::chrono::steady_clock::now();
  try {
    runIsolated(
        []() -> nlohmann::json {
          while (true)
            pause();
        },
        0.2);
    FAIL();
  } catch (const DeviceError &error) {
    EXPECT_HAS(error.what(), "0.2 s");
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(8));
}

static std::string shown(ProgressStyle style, const std::vector<SearchEvent> &events) {
  char *text = nullptr;
  size_t size = 0;
  std::FILE *out = open_memstream(&text, &size);
  double now = 0;
  Progress progress(out, style, [&] { return now; });
  for (const SearchEvent &event : events) {
    progress.show(event);
    now += 10;
  }
  std::fclose(out);
  std::string result(text, size);
  free(text);
  return result;
}

TEST(Progress, LinesBarAndQuiet) {
  CandidateResult good, bad;
  good.status = Status::Measured;
  good.time = {123.4, 120, 125, 30};
  bad.status = Status::VerifyFailed;
  bad.reason = "row 3 differs";
  using Kind = SearchEvent::Kind;
  const std::vector<SearchEvent> events{{Kind::Begin, 0, 4, 0, "", nullptr},
                                        {Kind::Step, 0, 4, 0, "compile", &good},
                                        {Kind::Result, 1, 4, 0, "", &good},
                                        {Kind::Result, 2, 4, 0, "", &bad},
                                        {Kind::End, 2, 4, 0, "", nullptr}};
  const std::string lines = shown(ProgressStyle::Lines, events);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 2);
  EXPECT_HAS(lines, "123.4 us");
  EXPECT_HAS(lines, "row 3 differs");
  EXPECT_EQ(lines.find('\r'), std::string::npos);
  EXPECT_HAS(lines, "1:00 left"); // 20 s for one candidate, three to go.
  const std::string bar = shown(ProgressStyle::Bar, events);
  EXPECT_HAS(bar, "[######");
  EXPECT_HAS(bar, "2/4");
  EXPECT_TRUE(shown(ProgressStyle::Quiet, events).empty());
}

TEST(Progress, TakenOverCandidatesDoNotFlatterTheEta) {
  double now = 0;
  Progress progress(stderr, ProgressStyle::Quiet, [&] { return now; });
  progress.show({SearchEvent::Kind::Begin, 10, 20, 10, "", nullptr});
  now = 30;
  EXPECT_HAS(progress.bar({SearchEvent::Kind::Result, 11, 20, 10, "", nullptr}, 200), "4:30 left");
  EXPECT_HAS(progress.bar({SearchEvent::Kind::Begin, 10, 20, 10, "", nullptr}, 200), "-:-- left");
  EXPECT_EQ(progress.bar({SearchEvent::Kind::Result, 11, 20, 10, "", nullptr}, 20).size(), 20u);
}

TEST(Progress, StyleAndClock) {
  EXPECT_EQ(progressStyle(stderr, true), ProgressStyle::Quiet);
  EXPECT_EQ(clockText(3729), "1:02:09");
  EXPECT_EQ(clockText(187), "3:07");
}
