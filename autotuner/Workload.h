//===- Workload.h - What a kernel is tuned for -------------------------------------------------------===//
//
// A batch size and a distribution of KV lengths: a constant, a normal distribution, a trace file, or a named
// distribution that was fitted to public traces. The best configuration depends on it as much as on the GPU,
// so it is part of a tuning record's key. Called by the tuner, `lathe tune` and `lathe bench`.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/autotuner/TraceFile.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace lathe::autotuner {

/// Every sequence has this many tokens.
struct ConstantLength {
  int tokens = 0; ///< 0 allowed.
};

/// Normal distribution, rounded, at least 1 token.
struct NormalLength {
  double mean = 0;
  double stddev = 0;
};

/// A mixture of log-normal distributions, clamped to [1, maxTokens].
struct LogNormalMixture {
  struct Part {
    double weight; ///< Sums to 1.
    double mu;     ///< Mean of ln(tokens).
    double sigma;  ///< Standard deviation of ln(tokens).
  };
  std::string name;
  std::string credit; ///< Whose data it was fitted to, with licence.
  std::vector<Part> parts;
  int maxTokens = 0;
};

/// What the kernel sees of a batch.
struct LengthStats {
  int batch = 0;
  int64_t total = 0;
  double mean = 0;
  int least = 0, p50 = 0, p90 = 0, most = 0;
};
LengthStats lengthStats(const std::vector<int> &lengths);
void to_json(nlohmann::json &json, const LengthStats &stats);

class Workload {
public:
  using Source = std::variant<ConstantLength, NormalLength, LogNormalMixture, Trace>;

  /// Throws UserError: batch 1 to 65,536; constant length 0 to 16,777,216; mean positive; stddev not
  /// negative.
  explicit Workload(int batch = 1, Source source = ConstantLength{4096}, uint64_t seed = 0);

  /// From what a user types: "4096", "normal(4096,2048)", a name of namedDistributions(), a trace file, or
  /// two histogram files "input.csv,output.csv". Throws UserError that lists these forms.
  static Workload parse(int batch, const std::string &text, uint64_t seed = 0);

  int batch() const { return batch_; }
  uint64_t seed() const { return seed_; }
  const Source &source() const { return source_; }

  /// `batch` KV lengths; the same for the same seed and round, on every machine.
  std::vector<int> draw(uint64_t round = 0) const;

  std::string str() const; ///< "batch 64, normal(4096, 2048)".
  nlohmann::json
  json() const; ///< What identifies it: kind, parameters, batch, seed; a trace by the hash of its bytes.

private:
  int batch_;
  Source source_;
  uint64_t seed_;
};

/// Shipped distributions of KV lengths in a decode step: "chat", "reasoning".
const std::vector<LogNormalMixture> &namedDistributions();

} // namespace lathe::autotuner
