//===- MoeWorkload.h - What a mixture of experts is tuned for -----------------------------------------===//
//
// Rows a step and how they spread over the experts: evenly by chance, or by Zipf's law. The best
// configuration depends on both as much as on the GPU, so they are part of a tuning record's key. Called by
// the tuner, `lathe tune moe`, `lathe bench moe` and `lathe compile moe`.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/MoeProblem.h"
#include "lathe/reference/MoeReference.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace lathe::autotuner {

/// The rows of one step.
struct MoeLoad {
  int rows = 0;
  std::vector<int64_t> counts; ///< Rows of each expert whose weights the kernel has, without shared ones.
};

/// What is told of them.
struct MoeLoadStats {
  int rows = 0;
  int64_t choices = 0; ///< Of experts whose weights the kernel has.
  int busyExperts = 0; ///< Of these, experts that any row chose.
  int64_t most = 0;    ///< Rows of the busiest expert.
};
MoeLoadStats loadStats(const MoeLoad &load);
void to_json(nlohmann::json &json, const MoeLoadStats &stats);

class MoeWorkload {
public:
  static constexpr int maxRows = 9'999'999;

  /// `zipf`: the i-th of a random order of experts has the chance 1/i^zipf; 0: all have the same. Throws
  /// UserError: rows 1 to maxRows, zipf 0 to 10.
  explicit MoeWorkload(int rows = 64, double zipf = 0, uint64_t seed = 1);

  /// The exponent that a user typed: "uniform", "zipf" (1), "zipf(1.2)" or "zipf:1.2". Throws UserError that
  /// lists these forms.
  static double parseRouting(const std::string &text);
  static std::string routingText(double zipf); ///< "uniform", "zipf(1.2)".

  int rows() const { return rows_; }
  double zipf() const { return zipf_; }
  uint64_t seed() const { return seed_; }

  /// How many rows each expert has in one step; the same for the same seed, on every machine. Groups and
  /// biases of a router leave these numbers as they are in the mean, and are not drawn. Of more than 8,192
  /// rows so many are drawn and multiplied.
  MoeLoad draw(const codegen::MoeProblem &problem) const;

  /// The random problem of this workload, for verifying and measuring: without poison in idle experts.
  reference::MoeOptions options() const;

  std::string str() const;     ///< "64 rows, uniform routing".
  nlohmann::json json() const; ///< What identifies it.

private:
  int rows_;
  double zipf_;
  uint64_t seed_;
};

/// Numbers of rows that a user typed: "16", "1,16,256" or ranges "1:4096", which are measured at both ends
/// and between them as often as a look-up between two measured numbers needs (TuningDb::maxRangeFactor).
/// Ascending, each once. Throws UserError.
std::vector<int> parseRows(const std::string &text);

} // namespace lathe::autotuner
