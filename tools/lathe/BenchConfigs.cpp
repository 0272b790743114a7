//===- BenchConfigs.cpp - Which configurations a row is measured with ----------------------------------===//
//
// Texts stay texts until the problem is known: fields that are not given take the default's values, which
// depend on it.
//
//===--------------------------------------------------------------------------------------------------===//
#include "BenchConfigs.h"

#include "Options.h"

#include "lathe/support/Error.h"
#include "lathe/support/Files.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::tools;
using nlohmann::json;

bool lathe::tools::fitsKey(const std::string &key, const std::string &name) {
  const size_t star = key.find('*');
  if (star == std::string::npos)
    return key == name;
  if (name.compare(0, star, key, 0, star) != 0)
    return false;
  for (size_t skip = star; skip <= name.size(); ++skip)
    if (fitsKey(key.substr(star + 1), name.substr(skip)))
      return true;
  return false;
}

Candidate lathe::tools::parseCandidate(const std::string &place, const std::string &text,
                                       const codegen::AttentionProblem &problem,
                                       const codegen::Target &target, bool batchInvariant) {
  if (text.empty() || text == "tuned")
    return {"tuned", std::nullopt};
  if (text == "default")
    return {text, codegen::defaultConfig(problem, target, batchInvariant)};
  try {
    return {text, ConfigOption{text, batchInvariant}.config(problem, target)};
  } catch (const UserError &error) {
    Fault fault = error.fault();
    fault.place = place;
    throw UserError(fault);
  }
}

static std::string candidateText(const std::string &place, const json &value) {
  if (value.is_string())
    return value.get<std::string>();
  if (value.is_object())
    return value.dump();
  throw UserError({place, "a configuration is an object, a text, or a list of these", value.dump(),
                   R"(for example {"kvTile": 32}, "kvTile=32,stages=4", "tuned" or "default")"});
}

/// What `lathe bench --grid --json` prints, as an object from names to configurations.
static json configsOfRun(const std::string &place, const json &rows) {
  json configs = json::object();
  for (const json &row : rows) {
    if (!row.is_object() || !row.contains("name") || !row.at("name").is_string())
      throw UserError({place, "a measured row has a name", row.dump().substr(0, 80),
                       "give what lathe bench --grid --json printed"});
    if (row.contains("config")) // Rows that could not be measured have none.
      configs[row.at("name").get<std::string>()] = row.at("config");
  }
  return configs;
}

ConfigMap ConfigMap::parse(const std::string &place, const json &document) {
  if (!document.is_object())
    throw UserError({place, "must be a JSON object from row names to configurations",
                     document.is_discarded() ? "no JSON" : document.type_name(),
                     R"(for example {"16h/128x4096": {"kvTile": 32}})"});
  const bool ofRun = document.contains("rows") && document.at("rows").is_array();
  const json configs = ofRun ? configsOfRun(place, document.at("rows")) : document;
  ConfigMap map;
  map.place_ = place;
  for (const auto &[key, value] : configs.items()) {
    Entry entry{key, {}};
    const std::string where = fmt::format("{}, '{}'", place, key);
    for (const json &one : value.is_array() ? value : json::array({value}))
      entry.texts.push_back(candidateText(where, one));
    if (entry.texts.empty())
      throw UserError({where, "at least one configuration is needed", "[]", "drop the row's key"});
    map.entries_.push_back(std::move(entry));
  }
  return map;
}

ConfigMap ConfigMap::read(const std::filesystem::path &path) {
  return parse(path.filename().string(), json::parse(readFile(path), nullptr, false));
}

const ConfigMap::Entry *ConfigMap::find(const std::string &row) const {
  const Entry *best = nullptr;
  for (const Entry &entry : entries_) {
    if (entry.key == row)
      return &entry;
    if (fitsKey(entry.key, row) && (!best || entry.key.size() > best->key.size()))
      best = &entry;
  }
  return best;
}

std::vector<Candidate> ConfigMap::candidates(const std::string &row, const codegen::AttentionProblem &problem,
                                             const codegen::Target &target, bool batchInvariant) const {
  const Entry *entry = find(row);
  if (!entry)
    return {{"tuned", std::nullopt}};
  std::vector<Candidate> candidates;
  for (const std::string &text : entry->texts)
    candidates.push_back(
        parseCandidate(fmt::format("{}, '{}'", place_, entry->key), text, problem, target, batchInvariant));
  return candidates;
}

std::vector<std::string> ConfigMap::unused(const std::vector<std::string> &rows) const {
  std::vector<std::string> keys;
  for (const Entry &entry : entries_)
    if (std::none_of(rows.begin(), rows.end(), [&](const auto &row) { return fitsKey(entry.key, row); }))
      keys.push_back(entry.key);
  return keys;
}
