//===- Report.cpp - A tuning result for people --------------------------------------------------------===//
//
// Formatting only. A time that nobody measured is always marked as predicted.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/Report.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace lathe::autotuner {

static int group(const CandidateResult &candidate) {
  if (candidate.status == Status::Measured)
    return 0;
  return candidate.status == Status::Predicted || candidate.status == Status::Verified ? 1 : 2;
}

static std::pair<int, double> order(const CandidateResult &candidate) {
  const int first = group(candidate);
  return {first, first == 0 ? candidate.time.medianUs : candidate.predictedUs};
}

static std::string timeText(const CandidateResult &candidate) {
  if (candidate.status == Status::Measured)
    return fmt::format("{:.1f} [{:.1f}, {:.1f}]", candidate.time.medianUs, candidate.time.lowUs,
                       candidate.time.highUs);
  return candidate.status == Status::Predicted ? "not measured" : name(candidate.status);
}

static std::string mark(const TuneResult &result, const CandidateResult &candidate) {
  return fmt::format("{}{}", candidate.config == result.best ? "*" : " ", candidate.isDefault ? "d" : " ");
}

std::string candidateTable(const TuneResult &result, int rows) {
  std::vector<size_t> indices(result.candidates.size());
  std::iota(indices.begin(), indices.end(), size_t(0));
  std::sort(indices.begin(), indices.end(), [&](size_t a, size_t b) {
    return std::pair(order(result.candidates[a]), a) < std::pair(order(result.candidates[b]), b);
  });
  std::string text = fmt::format("   {:<86} {:>24} {:>13}\n", "configuration (* chosen, d default)",
                                 "us, median [quartiles]", "predicted us");
  int shown = 0;
  for (size_t i : indices) {
    const CandidateResult &candidate = result.candidates[i];
    const bool must = candidate.isDefault || candidate.config == result.best;
    if (rows > 0 && shown >= rows && !must)
      continue;
    ++shown;
    text += fmt::format("{} {:<86} {:>24} {:>13.1f}\n", mark(result, candidate), candidate.config.str(),
                        timeText(candidate), candidate.predictedUs);
  }
  if (const int hidden = int(indices.size()) - shown; hidden > 0)
    text += fmt::format("   … and {} more\n", hidden);
  return text;
}

static std::string failures(const TuneResult &result) {
  std::string text;
  for (const CandidateResult &candidate : result.candidates)
    if (group(candidate) == 2)
      text += fmt::format("  {} {}: {}\n", name(candidate.status), candidate.config.str(), candidate.reason);
  return text.empty() ? text : "failed candidates:\n" + text;
}

static std::string estimateText(const char *title, const Estimate &estimate) {
  return fmt::format(
      "{}: {:.1f} us predicted = {:.1f} fixed + longest of (memory {:.1f}, L2 {:.1f}, busiest worker "
      "{:.1f}) + combine {:.1f}; {} workers, {:.0f}% busy, {} items, {} partial results\n",
      title, estimate.totalUs, estimate.fixedUs, estimate.memoryUs, estimate.l2Us, estimate.longestUs,
      estimate.combineUs, estimate.workers, 100 * estimate.utilisation, estimate.items, estimate.partials);
}

static std::string choice(const TuneResult &result) {
  std::string text = fmt::format("chosen: {}\n        {}\n", result.best.str(), result.choiceReason);
  const char *kind = result.measured   ? "measured"
                     : result.verified ? "predicted and verified, not measured"
                                       : "predicted, not measured";
  if (result.bestUs > 0)
    text += fmt::format("        {:.1f} us ({})", result.bestUs, kind);
  if (result.bestUs > 0 && result.defaultUs > 0)
    text += fmt::format(", default {:.1f} us", result.defaultUs);
  return text + (result.bestUs > 0 ? "\n" : "");
}

std::string report(const TuneResult &result, int rows, bool explain) {
  const LengthStats &lengths = result.drawn;
  std::string text = fmt::format(
      "workload: {}\n          {} tokens in all, mean {:.0f}, median {}, p90 {}, longest {}\n",
      result.request.workload.str(), lengths.total, lengths.mean, lengths.p50, lengths.p90, lengths.most);
  text += fmt::format("machine:  {} ({})\n", keyOf(result.request).device, result.request.machine.source);
  text += fmt::format("search:   {}", result.stopReason);
  text += result.resumed > 0 ? fmt::format(" ({} taken over from an earlier run)\n", result.resumed) : "\n";
  if (explain) {
    text += "space:    " + result.space.explain();
    text += estimateText("chosen", result.bestEstimate) + estimateText("default", result.defaultEstimate);
  }
  text += candidateTable(result, rows) + failures(result) + choice(result);
  if (result.request.database)
    text += fmt::format("stored:   {}\n", result.request.database->path().string());
  return text;
}

} // namespace lathe::autotuner
