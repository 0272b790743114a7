//===- Measure.cpp - What repeated runs took ----------------------------------------------------------===//
//
// See Measure.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/Measure.h"

#include "lathe/support/Error.h"

#include <algorithm>

namespace lathe::autotuner {

/// Value at `share` (0 to 1) of sorted values, between neighbours by proportion.
static double quantile(const std::vector<double> &sorted, double share) {
  const double at = share * double(sorted.size() - 1);
  const size_t low = size_t(at), high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - double(low)) * (sorted[high] - sorted[low]);
}

Measurement summarize(std::vector<double> timesUs) {
  if (timesUs.empty())
    throw CompileError(Fault{"measurement", "there must be at least one time", "none", {}});
  std::sort(timesUs.begin(), timesUs.end());
  return {quantile(timesUs, 0.5), quantile(timesUs, 0.25), quantile(timesUs, 0.75), int(timesUs.size())};
}

} // namespace lathe::autotuner
