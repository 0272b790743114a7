//===- SearchSpace.h - Which configurations there are to choose from ----------------------------------===//
//
// All values of all axes, less what the schedule's named constraints reject, with a count and an example for
// each constraint: what `lathe tune --explain` prints. The search never sees a rejected configuration.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/Config.h"

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

struct SearchSpace {
  codegen::Config fallback;           ///< defaultConfig; always one of `legal`.
  std::vector<codegen::Config> legal; ///< In the order of the axes.
  std::vector<Rejections> rejections; ///< One for each constraint, in the order in which they are applied.
  size_t enumerated = 0;              ///< legal.size() plus all counts.

  std::string explain() const;
};

/// `batchInvariant`: only configurations with which a result does not depend on the batch; the others count
/// as rejected by the constraint 'batch_invariant'. Throws UserError when no config serves the problem.
SearchSpace buildSearchSpace(const codegen::AttentionProblem &problem, const codegen::Target &target,
                             bool batchInvariant = false);

void to_json(nlohmann::json &json, const SearchSpace &space);

} // namespace lathe::autotuner
