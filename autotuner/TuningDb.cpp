//===- TuningDb.cpp - What tuning found, on disk ------------------------------------------------------===//
//
// Reading with repair in mind, writing by replacement, and the look-up. Records are kept as raw JSON until
// they are needed, so that one that this version cannot read neither hides the others nor gets lost.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/TuningDb.h"

#include "lathe/support/Env.h"
#include "lathe/support/Error.h"
#include "lathe/support/Files.h"
#include "lathe/support/Log.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lathe::autotuner {

static constexpr double lockWaitSeconds = 60;

std::filesystem::path TuningDb::defaultPath() {
  if (auto path = envPath("LATHE_TUNING_DB"))
    return *path;
  if (auto data = systemEnv("XDG_DATA_HOME"))
    return std::filesystem::path(*data) / "lathe" / "tuning.json";
  if (auto home = systemEnv("HOME"))
    return std::filesystem::path(*home) / ".local" / "share" / "lathe" / "tuning.json";
  throw UserError(Fault{"tuning database", "there must be a place for it",
                        "neither XDG_DATA_HOME nor HOME is set", "set LATHE_TUNING_DB to a file"});
}

static UserError dbError(const std::filesystem::path &path, std::string rule, std::string value,
                         std::string wayOut) {
  return UserError(Fault{fmt::format("tuning database {}", path.string()), std::move(rule), std::move(value),
                         std::move(wayOut)});
}

static nlohmann::json emptyFile() {
  return {{"format", "lathe-tuning"},
          {"version", TuningDb::currentVersion},
          {"records", nlohmann::json::array()}};
}

/// The whole file, checked down to the list of records.
static nlohmann::json readRaw(const std::filesystem::path &path) {
  const std::optional<std::string> bytes = readFileIfThere(path);
  if (!bytes)
    return emptyFile();
  nlohmann::json file = nlohmann::json::parse(*bytes, nullptr, /*allow_exceptions=*/false);
  const std::string wayOut = fmt::format("move the file away (mv {0} {0}.bad) and tune again", path.string());
  if (file.is_discarded())
    throw dbError(path, "must be JSON", "a damaged file", wayOut);
  if (!file.is_object() || file.value("format", nlohmann::json()) != "lathe-tuning" ||
      !file.value("version", nlohmann::json()).is_number_integer())
    throw dbError(path, "must be a tuning database", "other JSON", wayOut);
  if (int64_t version = file["version"].get<int64_t>(); version != TuningDb::currentVersion)
    throw dbError(
        path, fmt::format("must have version {}", TuningDb::currentVersion), std::to_string(version),
        version > TuningDb::currentVersion ? "it is from a newer Lathe: update, or set LATHE_TUNING_DB to "
                                             "another file"
                                           : wayOut);
  if (!file.value("records", nlohmann::json()).is_array())
    throw dbError(path, "must hold a list of records", "none", wayOut);
  return file;
}

static bool sameProblem(const codegen::AttentionProblem &a, const codegen::AttentionProblem &b) {
  return a.heads == b.heads && a.queryTokens == b.queryTokens && a.keyDim == b.keyDim &&
         a.valueDim == b.valueDim && a.page == b.page;
}

static bool sameKernel(const TuningKey &a, const TuningKey &b) {
  return a.device == b.device && a.arch == b.arch && a.compiler == b.compiler &&
         a.batchInvariant == b.batchInvariant && sameProblem(a.problem, b.problem);
}

static bool sameKey(const TuningKey &a, const TuningKey &b) {
  return sameKernel(a, b) && a.workload == b.workload;
}

static std::optional<TuningRecord> readRecord(const nlohmann::json &raw, const std::filesystem::path &path,
                                              size_t index) {
  std::string why;
  try {
    return raw.get<TuningRecord>();
  } catch (const Error &error) {
    why = error.what();
  } catch (const nlohmann::json::exception &error) {
    why = error.what();
  }
  warnOnce(fmt::format("{}#{}", path.string(), index), "tuning database {}: record {} is ignored ({})",
           path.string(), index, why);
  return std::nullopt;
}

std::vector<TuningRecord> TuningDb::records() const {
  std::vector<TuningRecord> records;
  const nlohmann::json file = readRaw(path_);
  for (size_t i = 0; i < file["records"].size(); ++i)
    if (auto record = readRecord(file["records"][i], path_, i))
      records.push_back(std::move(*record));
  return records;
}

std::optional<TuningRecord> TuningDb::find(const TuningKey &key) const {
  for (TuningRecord &record : records())
    if (sameKey(record.key, key))
      return std::move(record);
  return std::nullopt;
}

static void makeFolder(const std::filesystem::path &path) {
  const std::filesystem::path folder = path.parent_path();
  std::error_code code;
  if (!folder.empty())
    std::filesystem::create_directories(folder, code);
  if (code)
    throw dbError(path, "its folder must be there or be creatable", code.message(),
                  "set LATHE_TUNING_DB to a file that you may write");
}

void TuningDb::put(const TuningRecord &record) const {
  makeFolder(path_);
  std::filesystem::path lockPath = path_;
  lockPath += ".lock";
  const std::optional<FileLock> lock = FileLock::lockFor(lockPath, lockWaitSeconds);
  if (!lock)
    throw dbError(path_, fmt::format("must be free within {} s", lockWaitSeconds), "another process holds it",
                  fmt::format("end the process that {} names", lockPath.string()));
  nlohmann::json file = readRaw(path_);
  const nlohmann::json fresh = record;
  bool replaced = false;
  for (size_t i = 0; i < file["records"].size() && !replaced; ++i) {
    const std::optional<TuningRecord> old = readRecord(file["records"][i], path_, i);
    if ((replaced = old && sameKey(old->key, record.key)))
      file["records"][i] = fresh;
  }
  if (!replaced)
    file["records"].push_back(fresh);
  writeFileAtomically(path_, file.dump(1) + "\n");
}

//===--------------------------------------------------------------------------------------------------===//
// Look-up
//===--------------------------------------------------------------------------------------------------===//

static bool usable(const TuningRecord &record, const LookupQuery &query, const codegen::Target &target) {
  return record.best && sameKernel(record.key, query.key) &&
         check(query.key.problem, *record.best, target).accepted;
}

static bool below(const TuningRecord &corner, const LookupQuery &query) {
  return corner.batch <= query.batch && corner.meanTokens <= query.meanTokens;
}

static bool above(const TuningRecord &corner, const LookupQuery &query) {
  return corner.batch >= query.batch && corner.meanTokens >= query.meanTokens;
}

static bool narrow(const TuningRecord &low, const TuningRecord &high) {
  return high.batch <= low.batch * TuningDb::maxRangeFactor &&
         high.meanTokens <= std::max(low.meanTokens, 1.0) * TuningDb::maxRangeFactor;
}

static double distance(const TuningRecord &corner, const LookupQuery &query) {
  auto octaves = [](double a, double b) { return std::abs(std::log2(std::max(a, 1.0) / std::max(b, 1.0))); };
  return octaves(corner.batch, query.batch) + octaves(corner.meanTokens, query.meanTokens);
}

/// The nearest corner of a range that covers the query. A record that equals the query is a range by itself.
static const TuningRecord *nearestInRange(const std::vector<TuningRecord> &records,
                                          const LookupQuery &query) {
  const TuningRecord *nearest = nullptr;
  auto offer = [&](const TuningRecord &corner) {
    if (!nearest || distance(corner, query) < distance(*nearest, query))
      nearest = &corner;
  };
  for (const TuningRecord &low : records)
    for (const TuningRecord &high : records)
      if (below(low, query) && above(high, query) && narrow(low, high)) {
        offer(low);
        offer(high);
      }
  return nearest;
}

LookupResult TuningDb::lookup(const LookupQuery &query, const codegen::Target &target) const {
  std::vector<TuningRecord> candidates = records();
  std::erase_if(candidates, [&](const TuningRecord &record) { return !usable(record, query, target); });
  auto answer = [](LookupResult::Source source, const TuningRecord &record) {
    return LookupResult{
        source, record.best,
        fmt::format("tuned for batch {}, mean {:.0f} tokens", record.batch, record.meanTokens)};
  };
  for (const TuningRecord &record : candidates)
    if (!query.key.workload.is_null() && record.key.workload == query.key.workload)
      return answer(LookupResult::Source::Exact, record);
  if (candidates.empty())
    return {LookupResult::Source::None,
            {},
            fmt::format("nothing was tuned for this kernel on {}", query.key.device)};
  if (query.batch > 0)
    if (const TuningRecord *record = nearestInRange(candidates, query))
      return answer(LookupResult::Source::Range, *record);
  return {LookupResult::Source::None,
          {},
          fmt::format("batch {}, mean {:.0f} tokens lies outside what was tuned on {}", query.batch,
                      query.meanTokens, query.key.device)};
}

} // namespace lathe::autotuner
