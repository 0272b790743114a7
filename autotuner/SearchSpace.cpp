//===- SearchSpace.cpp - Which configurations there are to choose from --------------------------------===//
//
// Enumerates, checks, counts. The rules themselves belong to the schedule (codegen/Schedule/Config.h); this
// file only keeps the books, so that a user can see why a configuration is missing.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/SearchSpace.h"

#include <fmt/format.h>

#include <algorithm>

namespace lathe::autotuner {

SearchSpace buildSearchSpace(const codegen::AttentionProblem &problem, const codegen::Target &target,
                             bool batchInvariant) {
  SearchSpace space;
  space.fallback = codegen::defaultConfig(problem, target, batchInvariant);
  for (std::string &name : codegen::constraintNames())
    space.rejections.push_back({std::move(name), 0, {}});
  if (batchInvariant)
    space.rejections.push_back({"batch_invariant", 0, {}});
  for (const codegen::Config &config : codegen::enumerateConfigs(problem)) {
    ++space.enumerated;
    codegen::Verdict verdict = check(problem, config, target);
    if (verdict && batchInvariant && !codegen::batchInvariant(config))
      verdict = {false, "batch_invariant",
                 "where a sequence is cut depends on the batch; set split to whole or fixed"};
    if (verdict) {
      space.legal.push_back(config);
      continue;
    }
    auto at = std::find_if(space.rejections.begin(), space.rejections.end(),
                           [&](const Rejections &entry) { return entry.constraint == verdict.constraint; });
    if (at->count++ == 0)
      at->example = fmt::format("{}: {}", config.str(), verdict.reason);
  }
  if (std::find(space.legal.begin(), space.legal.end(), space.fallback) == space.legal.end()) {
    space.legal.push_back(space.fallback);
    ++space.enumerated;
  }
  return space;
}

std::string SearchSpace::explain() const {
  std::string text = fmt::format("{} configurations, {} legal\n", enumerated, legal.size());
  for (const Rejections &entry : rejections)
    if (entry.count > 0)
      text += fmt::format("  {:<16} removed {:>5}   for example {}\n", entry.constraint, entry.count,
                          entry.example);
  return text;
}

void to_json(nlohmann::json &json, const SearchSpace &space) {
  json = {{"enumerated", space.enumerated},
          {"legal", space.legal.size()},
          {"rejections", nlohmann::json::array()}};
  for (const Rejections &entry : space.rejections)
    json["rejections"].push_back(
        {{"constraint", entry.constraint}, {"count", entry.count}, {"example", entry.example}});
}

} // namespace lathe::autotuner
