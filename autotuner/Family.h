//===- Family.h - What the tuner must know of a family of kernels -------------------------------------===//
//
// Attention and mixtures of experts are tuned by the same search and kept in the same database: templates
// over one of these structs, which names the family's types and says what they mean to the tuner. Called by
// TuningDb, tune() and nobody else; who tunes or looks up uses the aliases in their headers.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/Config.h"
#include "lathe/codegen/Schedule/MoeConfig.h"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace lathe::autotuner {

struct Machine;
class Workload;
struct LengthStats;
struct Estimate;
class MoeWorkload;
struct MoeLoad;
struct MoeLoadStats;
struct MoeEstimate;
template <class ConfigType>
struct SearchSpaceOf;
template <class Family>
struct TuneRequestOf;

/// Paged attention. MoeFamily has the same members.
struct AttentionFamily {
  static constexpr const char *kind = "attention"; ///< Of its records.
  static constexpr const char *drawnName = "lengths";
  using Problem = codegen::AttentionProblem;
  using Config = codegen::Config;
  using Workload = autotuner::Workload;
  using Sample = std::vector<int>; ///< A step drawn from the workload: KV lengths.
  using Stats = LengthStats;       ///< What is told of it.
  using Estimate = autotuner::Estimate;

  /// Where a workload lies among others. A range is a box between two points.
  struct Point {
    int batch = 0;         ///< Sequences a step; 0: not known.
    double meanTokens = 0; ///< Of a sequence.
  };

  // The database: problems of equal times, points in order, both as JSON. Reading throws UserError.
  static bool sameProblem(const Problem &a, const Problem &b); ///< Names do not count.
  static nlohmann::json problemJson(const Problem &problem);
  static Problem readProblem(const nlohmann::json &json);
  static nlohmann::json pointJson(const Point &point);
  static Point readPoint(const nlohmann::json &json);
  static bool known(const Point &point);
  static bool notAbove(const Point &a, const Point &b); ///< In any coordinate.
  /// No coordinate of `high` is more than `factor` times that of `low`.
  static bool narrow(const Point &low, const Point &high, double factor);
  static double octaves(const Point &a, const Point &b); ///< Distance.
  static std::string text(const Point &point);           ///< "batch 64, mean 4096 tokens".

  // The tuner.
  static Sample draw(const Problem &problem, const Workload &workload);
  static Stats stats(const Sample &sample);
  static Point point(const Workload &workload, const Sample &sample);
  static SearchSpaceOf<Config> space(const TuneRequestOf<AttentionFamily> &request);
  static Estimate predict(const TuneRequestOf<AttentionFamily> &request, const Config &config,
                          const Sample &sample);
  /// The search tries the best of each group, since the model may be wrong about a whole axis.
  static std::vector<std::string> groups(const Config &config);
};

/// Mixtures of experts.
struct MoeFamily {
  static constexpr const char *kind = "moe";
  static constexpr const char *drawnName = "load";
  using Problem = codegen::MoeProblem;
  using Config = codegen::MoeConfig;
  using Workload = MoeWorkload;
  using Sample = MoeLoad;
  using Stats = MoeLoadStats;
  using Estimate = MoeEstimate;

  struct Point {
    int rows = 0;    ///< Of a step; 0: not known.
    double zipf = 0; ///< Exponent of the routing's skew; 0: uniform. There are no ranges between skews.
  };

  static bool sameProblem(const Problem &a, const Problem &b); ///< Name and scale do not count.
  static nlohmann::json problemJson(const Problem &problem);
  static Problem readProblem(const nlohmann::json &json);
  static nlohmann::json pointJson(const Point &point);
  static Point readPoint(const nlohmann::json &json);
  static bool known(const Point &point);
  static bool notAbove(const Point &a, const Point &b);
  static bool narrow(const Point &low, const Point &high, double factor);
  static double octaves(const Point &a, const Point &b);
  static std::string text(const Point &point); ///< "64 rows, uniform routing".

  static Sample draw(const Problem &problem, const Workload &workload);
  static Stats stats(const Sample &sample);
  static Point point(const Workload &workload, const Sample &sample);
  static SearchSpaceOf<Config> space(const TuneRequestOf<MoeFamily> &request);
  static Estimate predict(const TuneRequestOf<MoeFamily> &request, const Config &config,
                          const Sample &sample);
  /// Each value of each axis but tokenTile: the model knows padding best, and that axis has the most values.
  static std::vector<std::string> groups(const Config &config);
};

} // namespace lathe::autotuner
