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

/// Enters each of `all` as legal or under the constraint that it breaks, and the default where it is none of
/// them.
template <class ConfigType, class Check>
static void keepBooks(SearchSpaceOf<ConfigType> &space, const std::vector<ConfigType> &all, Check check) {
  space.enumerated = all.size();
  for (const ConfigType &config : all) {
    const codegen::Verdict verdict = check(config);
    if (verdict) {
      space.legal.push_back(config);
      continue;
    }
    auto at = std::find_if(space.rejections.begin(), space.rejections.end(),
                           [&](const Rejections &entry) { return entry.constraint == verdict.constraint; });
    if (at == space.rejections.end())
      at = space.rejections.insert(at, {verdict.constraint, 0, {}});
    if (at->count++ == 0)
      at->example = fmt::format("{}: {}", config.str(), verdict.reason);
  }
  if (std::find(space.legal.begin(), space.legal.end(), space.fallback) == space.legal.end()) {
    space.legal.push_back(space.fallback);
    ++space.enumerated;
  }
}

SearchSpace buildSearchSpace(const codegen::AttentionProblem &problem, const codegen::Target &target,
                             bool batchInvariant) {
  SearchSpace space;
  space.fallback = codegen::defaultConfig(problem, target, batchInvariant);
  for (std::string &name : codegen::constraintNames())
    space.rejections.push_back({std::move(name), 0, {}});
  if (batchInvariant)
    space.rejections.push_back({"batch_invariant", 0, {}});
  keepBooks(space, codegen::enumerateConfigs(problem), [&](const codegen::Config &config) {
    const codegen::Verdict verdict = check(problem, config, target);
    if (verdict && batchInvariant && !codegen::batchInvariant(config))
      return codegen::Verdict{false, "batch_invariant",
                              "where a sequence is cut depends on the batch; set split to whole or fixed"};
    return verdict;
  });
  return space;
}

MoeSearchSpace buildSearchSpace(const codegen::MoeProblem &problem, const codegen::Target &target, int rows) {
  MoeSearchSpace space;
  space.fallback = codegen::defaultMoeConfig(problem, target, rows);
  keepBooks(space, codegen::enumerateMoeConfigs(problem),
            [&](const codegen::MoeConfig &config) { return check(problem, config, target); });
  return space;
}

template <class ConfigType>
std::string SearchSpaceOf<ConfigType>::explain() const {
  std::string text = fmt::format("{} configurations, {} legal\n", enumerated, legal.size());
  for (const Rejections &entry : rejections)
    if (entry.count > 0)
      text += fmt::format("  {:<16} removed {:>5}   for example {}\n", entry.constraint, entry.count,
                          entry.example);
  return text;
}

template <class ConfigType>
void to_json(nlohmann::json &json, const SearchSpaceOf<ConfigType> &space) {
  json = {{"enumerated", space.enumerated},
          {"legal", space.legal.size()},
          {"rejections", nlohmann::json::array()}};
  for (const Rejections &entry : space.rejections)
    json["rejections"].push_back(
        {{"constraint", entry.constraint}, {"count", entry.count}, {"example", entry.example}});
}

template struct SearchSpaceOf<codegen::Config>;
template struct SearchSpaceOf<codegen::MoeConfig>;
template void to_json(nlohmann::json &, const SearchSpace &);
template void to_json(nlohmann::json &, const MoeSearchSpace &);

} // namespace lathe::autotuner
