//===- ConfigJson.cpp - Configurations as text and JSON ----------------------------------------------===//
//
// What `--config`, cache keys, tuning records and benchmarks hold of a Config. Every field is read with a
// check, so that a typo is an error that lists the fields, never a default.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/Config.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace lathe::codegen {

const char *name(SplitPolicy policy) {
  switch (policy) {
  case SplitPolicy::Balanced:
    return "balanced";
  case SplitPolicy::Whole:
    return "whole";
  case SplitPolicy::Fixed:
    return "fixed";
  }
  return "?";
}

const char *name(DependentLaunch launch) {
  switch (launch) {
  case DependentLaunch::Off:
    return "off";
  case DependentLaunch::Early:
    return "early";
  case DependentLaunch::Late:
    return "late";
  }
  return "?";
}

std::string Config::str() const {
  return fmt::format(
      "kvTile={} rowsPerCta={} stages={} consumers={} cluster={} split={} fixedSplits={} partTokens={} "
      "swapOperands={} seesaw={} prefetch={} cacheAhead={} evictFirst={} combineCarveout={} "
      "dependentLaunch={}",
      kvTile, rowsPerCta, stages, consumers, cluster, name(split), fixedSplits, partTokens, swapOperands,
      seesaw, prefetch, cacheAhead, evictFirst, combineCarveout, name(dependentLaunch));
}

void to_json(nlohmann::json &json, const Config &config) {
  json = {{"kvTile", config.kvTile},
          {"rowsPerCta", config.rowsPerCta},
          {"stages", config.stages},
          {"consumers", config.consumers},
          {"cluster", config.cluster},
          {"split", name(config.split)},
          {"fixedSplits", config.fixedSplits},
          {"partTokens", config.partTokens},
          {"swapOperands", config.swapOperands},
          {"seesaw", config.seesaw},
          {"prefetch", config.prefetch},
          {"cacheAhead", config.cacheAhead},
          {"evictFirst", config.evictFirst},
          {"combineCarveout", config.combineCarveout},
          {"dependentLaunch", name(config.dependentLaunch)}};
}

static UserError configError(std::string rule, std::string value) {
  return UserError(
      Fault{"schedule config", std::move(rule), std::move(value),
            "fields are kvTile, rowsPerCta, stages, consumers, cluster, split, fixedSplits, partTokens, "
            "swapOperands, seesaw, prefetch, cacheAhead, evictFirst, combineCarveout, dependentLaunch"});
}

static int readInt(const std::string &name, const nlohmann::json &value) {
  if (!value.is_number_integer())
    throw configError(fmt::format("field '{}' must be an integer", name), value.dump());
  int64_t wide = value.is_number_unsigned() && value.get<uint64_t>() > INT32_MAX ? int64_t(INT32_MAX) + 1
                                                                                 : value.get<int64_t>();
  if (wide < INT32_MIN || wide > INT32_MAX)
    throw configError(fmt::format("field '{}' must fit 32 bits", name), value.dump());
  return int(wide);
}

static SplitPolicy readSplit(const nlohmann::json &value) {
  if (value.is_string())
    for (SplitPolicy policy : {SplitPolicy::Balanced, SplitPolicy::Whole, SplitPolicy::Fixed})
      if (value.get<std::string>() == name(policy))
        return policy;
  throw configError("field 'split' must be \"balanced\", \"whole\" or \"fixed\"", value.dump());
}

static DependentLaunch readLaunch(const nlohmann::json &value) {
  if (value.is_string())
    for (DependentLaunch launch : {DependentLaunch::Off, DependentLaunch::Early, DependentLaunch::Late})
      if (value.get<std::string>() == name(launch))
        return launch;
  throw configError("field 'dependentLaunch' must be \"off\", \"early\" or \"late\"", value.dump());
}

static bool readBool(const std::string &name, const nlohmann::json &value) {
  if (!value.is_boolean())
    throw configError(fmt::format("field '{}' must be true or false", name), value.dump());
  return value.get<bool>();
}

void from_json(const nlohmann::json &json, Config &config) {
  if (!json.is_object())
    throw configError("a config must be a JSON object", json.dump());
  Config read;
  const std::array<std::pair<const char *, int Config::*>, 7> fields{{{"kvTile", &Config::kvTile},
                                                                      {"rowsPerCta", &Config::rowsPerCta},
                                                                      {"stages", &Config::stages},
                                                                      {"consumers", &Config::consumers},
                                                                      {"cluster", &Config::cluster},
                                                                      {"fixedSplits", &Config::fixedSplits},
                                                                      {"partTokens", &Config::partTokens}}};
  const std::array<std::pair<const char *, bool Config::*>, 6> flags{
      {{"swapOperands", &Config::swapOperands},
       {"seesaw", &Config::seesaw},
       {"prefetch", &Config::prefetch},
       {"cacheAhead", &Config::cacheAhead},
       {"evictFirst", &Config::evictFirst},
       {"combineCarveout", &Config::combineCarveout}}};
  for (const auto &[name, value] : json.items()) {
    if (name == "split") {
      read.split = readSplit(value);
      continue;
    }
    if (name == "dependentLaunch") {
      read.dependentLaunch = readLaunch(value);
      continue;
    }
    auto named = [&](const auto &entry) { return name == entry.first; };
    if (auto flag = std::find_if(flags.begin(), flags.end(), named); flag != flags.end()) {
      read.*(flag->second) = readBool(name, value);
      continue;
    }
    auto field = std::find_if(fields.begin(), fields.end(), named);
    if (field == fields.end())
      throw configError("unknown field", name);
    read.*(field->second) = readInt(name, value);
  }
  config = read;
}

} // namespace lathe::codegen
