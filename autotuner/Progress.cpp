//===- Progress.cpp - Telling how far tuning is -------------------------------------------------------===//
//
// The time left is the mean time of the candidates that were tried in this run, times those that remain;
// candidates taken over from an earlier run cost nothing and count for nothing.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/Progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <sys/ioctl.h>
#include <unistd.h>

namespace lathe::autotuner {

static constexpr int barColumns = 24;
static constexpr int fallbackWidth = 80;

ProgressStyle progressStyle(std::FILE *out, bool json) {
  if (json)
    return ProgressStyle::Quiet;
  return isatty(fileno(out)) ? ProgressStyle::Bar : ProgressStyle::Lines;
}

static double systemSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Progress::Progress(std::FILE *out, ProgressStyle style, std::function<double()> seconds)
    : out_(out), style_(style), seconds_(seconds ? std::move(seconds) : systemSeconds) {
  beginSeconds_ = seconds_();
}

std::string clockText(double seconds) {
  const int64_t total = std::max<int64_t>(0, int64_t(seconds + 0.5));
  if (total >= 3600)
    return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
  return fmt::format("{}:{:02}", total / 60, total % 60);
}

std::string Progress::timeLeft(const SearchEvent &event) const {
  const int tried = event.done - event.resumed;
  if (tried < 1)
    return "-:-- left";
  const double perCandidate = (seconds_() - beginSeconds_) / tried;
  return clockText(perCandidate * (event.total - event.done)) + " left";
}

static std::string doing(const SearchEvent &event) {
  switch (event.kind) {
  case SearchEvent::Kind::Begin:
    return event.resumed ? fmt::format("{} taken over from an earlier run", event.resumed) : "";
  case SearchEvent::Kind::Step:
    return fmt::format("{} {}", event.step, event.result ? event.result->config.str() : "");
  case SearchEvent::Kind::Result:
    return event.result ? event.result->config.str() : "";
  case SearchEvent::Kind::Final:
    return "final: the fastest against the default";
  case SearchEvent::Kind::End:
    return "done";
  }
  return {};
}

std::string Progress::bar(const SearchEvent &event, int width) const {
  const int filled = event.total > 0 ? barColumns * event.done / event.total : barColumns;
  std::string text =
      fmt::format("[{}{}] {}/{}  {}", std::string(size_t(filled), '#'),
                  std::string(size_t(barColumns - filled), '-'), event.done, event.total, timeLeft(event));
  if (bestUs_ > 0)
    text += fmt::format("  best {:.1f} us", bestUs_);
  text += "  " + doing(event);
  return text.substr(0, size_t(std::max(width, 1)));
}

static int terminalWidth(std::FILE *out) {
  winsize size{};
  return ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : fallbackWidth;
}

void Progress::showBar(const SearchEvent &event) {
  std::fputs(fmt::format("\r\033[K{}", bar(event, terminalWidth(out_) - 1)).c_str(), out_);
  if (event.kind == SearchEvent::Kind::End)
    std::fputs("\r\033[K", out_);
  std::fflush(out_);
}

void Progress::showLine(const SearchEvent &event) {
  if (event.kind == SearchEvent::Kind::Result && event.result) {
    const CandidateResult &result = *event.result;
    const std::string fate = result.status == Status::Measured
                                 ? fmt::format("{:.1f} us", result.time.medianUs)
                                 : fmt::format("{}: {}", name(result.status), result.reason);
    fmt::print(out_, "{}/{}  {}  {}  {}\n", event.done, event.total, timeLeft(event), result.config.str(),
               fate);
  } else if (event.kind == SearchEvent::Kind::Begin || event.kind == SearchEvent::Kind::Final) {
    if (const std::string text = doing(event); !text.empty())
      fmt::print(out_, "{}/{}  {}\n", event.done, event.total, text);
  }
  std::fflush(out_);
}

void Progress::show(const SearchEvent &event) {
  if (event.kind == SearchEvent::Kind::Begin)
    beginSeconds_ = seconds_();
  if (event.kind == SearchEvent::Kind::Result && event.result && event.result->status == Status::Measured)
    bestUs_ = bestUs_ > 0 ? std::min(bestUs_, event.result->time.medianUs) : event.result->time.medianUs;
  if (style_ == ProgressStyle::Bar)
    showBar(event);
  else if (style_ == ProgressStyle::Lines)
    showLine(event);
}

} // namespace lathe::autotuner
