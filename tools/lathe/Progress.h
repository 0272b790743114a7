//===- Progress.h - How far a long step is -------------------------------------------------------------===//
//
// A bar with the time that is left, on stderr, redrawn in place on a terminal and written as one line a step
// elsewhere. Nobody should wonder whether `lathe tune` hangs.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <chrono>
#include <string>

namespace lathe::tools {

class Progress {
public:
  Progress();
  ~Progress(); ///< Ends the line on a terminal.

  /// `done` of `total`; `note` says what is going on. `finished`: a step ended (a log file gets these lines
  /// alone).
  void show(int done, int total, const std::string &note, bool finished);
  /// Steps that took no time (taken over from an earlier run) must not enter the estimate.
  void skipped(int steps) { skipped_ = steps; }

private:
  std::string remaining(int done, int total) const;

  bool terminal_;
  bool open_ = false; ///< The cursor stands on a line that is to be redrawn.
  int skipped_ = 0;
  std::chrono::steady_clock::time_point start_;
};

} // namespace lathe::tools
