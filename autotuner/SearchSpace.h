//===- SearchSpace.h - Which configurations there are to choose from ----------------------------------===//
//
// All values of all axes, less what the schedule's named constraints reject, with a count and an example for
// each constraint: what `lathe tune --explain` prints. The search never sees a rejected configuration.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/Config.h"
#include "lathe/codegen/Schedule/MoeConfig.h"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace lathe::autotuner {

/// What one constraint removed. A config counts for the first constraint that it breaks.
struct Rejections {
  std::string constraint;
  int count = 0;
  std::string example; ///< Reason of the first config that was rejected.
};

template <class ConfigType>
struct SearchSpaceOf {
  ConfigType fallback;                ///< The default; always one of `legal`.
  std::vector<ConfigType> legal;      ///< In the order of the axes.
  std::vector<Rejections> rejections; ///< One for each constraint, in the order in which they are applied
                                      ///< (mixtures of experts: in which they are met first).
  size_t enumerated = 0;              ///< legal.size() plus all counts.

  std::string explain() const;
};
using SearchSpace = SearchSpaceOf<codegen::Config>;
using MoeSearchSpace = SearchSpaceOf<codegen::MoeConfig>;

/// `batchInvariant`: only configurations with which a result does not depend on the batch; the others count
/// as rejected by the constraint 'batch_invariant'. Throws UserError when no config serves the problem.
SearchSpace buildSearchSpace(const codegen::AttentionProblem &problem, const codegen::Target &target,
                             bool batchInvariant = false);

/// Of mixtures of experts; the default is that for `rows` rows a step. Throws as above.
MoeSearchSpace buildSearchSpace(const codegen::MoeProblem &problem, const codegen::Target &target, int rows);

template <class ConfigType>
void to_json(nlohmann::json &json, const SearchSpaceOf<ConfigType> &space);

} // namespace lathe::autotuner
