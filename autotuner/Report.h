//===- Report.h - A tuning result for people ----------------------------------------------------------===//
//
// The text at the end of `lathe tune`: workload, choice and reason, a table of candidates, what failed and
// why. The same facts as JSON are to_json(TuneResult).
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/autotuner/Tune.h"

#include <string>

namespace lathe::autotuner {

/// Several lines, ending in a newline. `rows` limits the table (0: all candidates); `explain` adds what each
/// constraint removed and where the cost model sees the time go.
std::string report(const TuneResult &result, int rows = 10, bool explain = false);

/// The table alone: timed candidates by time, then predicted ones, then failures.
std::string candidateTable(const TuneResult &result, int rows);

} // namespace lathe::autotuner
