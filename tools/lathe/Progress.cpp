//===- Progress.cpp - How far a long step is -----------------------------------------------------------===//
//
// The estimate is the mean time of the steps so far times those that are left; it is shown once one step is
// done.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Progress.h"

#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <cstdio>

using namespace lathe::tools;

static constexpr int barWidth = 24;

Progress::Progress() : terminal_(::isatty(STDERR_FILENO)), start_(std::chrono::steady_clock::now()) {}

Progress::~Progress() {
  if (open_)
    fmt::print(stderr, "\n");
}

std::string Progress::remaining(int done, int total) const {
  const int timed = done - skipped_;
  if (timed <= 0 || done >= total)
    return "";
  const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  const double left = elapsed / timed * (total - done);
  return left < 90 ? fmt::format("{:.0f} s left", left) : fmt::format("{:.0f} min left", left / 60);
}

void Progress::show(int done, int total, const std::string &note, bool finished) {
  const std::string left = remaining(done, total);
  if (!terminal_) {
    if (finished)
      fmt::print(stderr, "[{}/{}] {}{}{}\n", done, total, note, left.empty() ? "" : ", ", left);
    return;
  }
  const int filled = total ? barWidth * std::min(done, total) / total : barWidth;
  std::string bar(size_t(filled), '#');
  bar.resize(barWidth, '.');
  fmt::print(stderr, "\r\x1b[K[{}] {}/{} {:<12} {}", bar, done, total, left, note.substr(0, 60));
  std::fflush(stderr);
  open_ = true;
}
