//===- MeasureTest.cpp - Timing, isolation, progress --------------------------------------------------===//
//
// Timing against a device that keeps a log instead of a clock, work that crashes or hangs in a process of its
// own, and the lines that a user sees meanwhile.
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

namespace {
/// Time passes only when work is enqueued on it; each call is noted.
class LoggingDevice : public runtime::Device {
public:
  std::vector<std::string> log;
  double nowMs = 0;
  runtime::DeviceProperties facts;
  int liveBuffers = 0, liveStreams = 0;
  size_t filledBytes = 0;

  const runtime::DeviceProperties &properties() const override { return facts; }
  runtime::DevicePtr allocate(size_t) override { return ++liveBuffers, 4096; }
  void release(runtime::DevicePtr) override { --liveBuffers; }
  void copyToDevice(runtime::DevicePtr, const void *, size_t) override {}
  void copyToHost(void *, runtime::DevicePtr, size_t) override {}
  void fill(runtime::DevicePtr, uint8_t, size_t bytes, runtime::Stream) override {
    filledBytes = bytes;
    nowMs += 5;
    log.push_back("fill");
  }
  runtime::Stream createStream() override { return ++liveStreams, runtime::Stream{this}; }
  void destroyStream(runtime::Stream) override { --liveStreams; }
  void synchronize(runtime::Stream) override {}
  void synchronize() override {}
  void checkStream(runtime::Stream) override {}
  void beginCapture(runtime::Stream) override {}
  std::unique_ptr<runtime::Graph> endCapture(runtime::Stream) override { return nullptr; }
  std::unique_ptr<runtime::Module> load(std::string_view) override { return nullptr; }
  runtime::TensorMap encode(const runtime::TensorMapSpec &) override { return {}; }
  void launch(runtime::Function, const runtime::LaunchShape &, void **, runtime::Stream) override {}
  std::unique_ptr<runtime::Event> createEvent() override;
};

class LoggingEvent : public runtime::Event {
public:
  explicit LoggingEvent(LoggingDevice &device) : device_(device) {}
  void record(runtime::Stream) override {
    atMs_ = device_.nowMs;
    device_.log.push_back("record");
  }
  void synchronize() override { device_.log.push_back("synchronize"); }
  float millisecondsSince(const runtime::Event &start) const override {
    return float(atMs_ - static_cast<const LoggingEvent &>(start).atMs_);
  }

private:
  LoggingDevice &device_;
  double atMs_ = 0;
};

std::unique_ptr<runtime::Event> LoggingDevice::createEvent() { return std::make_unique<LoggingEvent>(*this); }
} // namespace

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

TEST(Measure, TimesTheWorkNotTheFlush) {
  LoggingDevice device;
  device.facts.l2Bytes = int64_t(50) << 20;
  {
    Timer timer(device, {.warmups = 2, .runs = 5, .coldL2 = true});
    int calls = 0;
    const Measurement time = timer.time([&](runtime::Stream stream) {
      EXPECT_EQ(stream.handle, &device);
      device.log.push_back("work");
      device.nowMs += ++calls <= 2 ? 100 : 0.25; // Warm-ups are slow and must not count.
    });
    EXPECT_EQ(calls, 7);
    EXPECT_EQ(time.runs, 5);
    EXPECT_NEAR(time.medianUs, 250, 1e-3);
    EXPECT_NEAR(time.highUs, 250, 1e-3);
    EXPECT_EQ(std::vector<std::string>(device.log.begin(), device.log.begin() + 5),
              (std::vector<std::string>{"fill", "record", "work", "record", "synchronize"}));
    EXPECT_GE(device.filledBytes, size_t(100) << 20) << "the flush must be larger than the L2";
  }
  EXPECT_EQ(device.liveBuffers, 0);
  EXPECT_EQ(device.liveStreams, 0);
}

TEST(Measure, WarmOnRequest) {
  LoggingDevice device;
  Timer timer(device, {.warmups = 0, .runs = 1, .coldL2 = false});
  timer.time([](runtime::Stream) {});
  EXPECT_EQ(std::count(device.log.begin(), device.log.end(), "fill"), 0);
  EXPECT_THROW(Timer(device, {.warmups = 0, .runs = 0}), UserError);
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
