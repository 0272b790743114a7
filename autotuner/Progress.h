//===- Progress.h - Telling how far tuning is ---------------------------------------------------------===//
//
// Turns search events into a progress bar with the time left on a terminal, into one plain line a candidate
// elsewhere, or into nothing. Tuning takes minutes and must never look like a hang. Called by `lathe tune`.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/autotuner/Search.h"

#include <cstdio>
#include <functional>
#include <string>

namespace lathe::autotuner {

enum class ProgressStyle {
  Bar,   ///< One line, redrawn.
  Lines, ///< A line for each finished candidate.
  Quiet
};

/// Quiet with `json`, else Bar where `out` is a terminal, else Lines.
ProgressStyle progressStyle(std::FILE *out, bool json);

/// Use as SearchCallbacks::onEvent: `[&](const SearchEvent &event) { progress.show(event); }`.
class Progress {
public:
  /// `seconds` is the clock (monotonic); empty: the system's. Both are borrowed.
  Progress(std::FILE *out, ProgressStyle style, std::function<double()> seconds = {});

  void show(const SearchEvent &event);

  /// "[#####-----] 12/24  0:31 left  measure kvTile=32 …", `width` columns at most.
  std::string bar(const SearchEvent &event, int width) const;

private:
  void showBar(const SearchEvent &event);
  void showLine(const SearchEvent &event);
  std::string timeLeft(const SearchEvent &event) const;

  std::FILE *out_;
  ProgressStyle style_;
  std::function<double()> seconds_;
  double beginSeconds_ = 0;
  double bestUs_ = 0;
};

/// "3:07", "1:02:09".
std::string clockText(double seconds);

} // namespace lathe::autotuner
