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

template <class Family>
static bool sameKernel(const TuningKeyOf<Family> &a, const TuningKeyOf<Family> &b) {
  return a.device == b.device && a.arch == b.arch && a.compiler == b.compiler &&
         a.batchInvariant == b.batchInvariant && Family::sameProblem(a.problem, b.problem);
}

template <class Family>
static bool sameKey(const TuningKeyOf<Family> &a, const TuningKeyOf<Family> &b) {
  return sameKernel(a, b) && a.workload == b.workload;
}

/// Records of before there were several families name none.
static bool ofKind(const nlohmann::json &raw, const char *kind) {
  return !raw.is_object() || raw.value("kind", nlohmann::json(AttentionFamily::kind)) == kind;
}

/// Nothing where it is another family's, or not readable.
template <class Family>
static std::optional<TuningRecordOf<Family>> readRecord(const nlohmann::json &raw,
                                                        const std::filesystem::path &path, size_t index) {
  if (!ofKind(raw, Family::kind))
    return std::nullopt;
  std::string why;
  try {
    return raw.get<TuningRecordOf<Family>>();
  } catch (const Error &error) {
    why = error.what();
  } catch (const nlohmann::json::exception &error) {
    why = error.what();
  }
  warnOnce(fmt::format("{}#{}", path.string(), index), "tuning database {}: record {} is ignored ({})",
           path.string(), index, why);
  return std::nullopt;
}

template <class Family>
std::vector<TuningRecordOf<Family>> TuningDb::records() const {
  std::vector<TuningRecordOf<Family>> records;
  const nlohmann::json file = readRaw(path_);
  for (size_t i = 0; i < file["records"].size(); ++i)
    if (auto record = readRecord<Family>(file["records"][i], path_, i))
      records.push_back(std::move(*record));
  return records;
}

template <class Family>
std::optional<TuningRecordOf<Family>> TuningDb::find(const TuningKeyOf<Family> &key) const {
  for (TuningRecordOf<Family> &record : records<Family>())
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

template <class Family>
void TuningDb::put(const TuningRecordOf<Family> &record) const {
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
    const auto old = readRecord<Family>(file["records"][i], path_, i);
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

/// The nearest corner of a range that covers the query. A record that equals the query is a range by itself.
template <class Family>
static const TuningRecordOf<Family> *nearestInRange(const std::vector<TuningRecordOf<Family>> &records,
                                                    const typename Family::Point &query) {
  const TuningRecordOf<Family> *nearest = nullptr;
  auto offer = [&](const TuningRecordOf<Family> &corner) {
    if (!nearest || Family::octaves(corner, query) < Family::octaves(*nearest, query))
      nearest = &corner;
  };
  for (const TuningRecordOf<Family> &low : records)
    for (const TuningRecordOf<Family> &high : records)
      if (Family::notAbove(low, query) && Family::notAbove(query, high) &&
          Family::narrow(low, high, TuningDb::maxRangeFactor)) {
        offer(low);
        offer(high);
      }
  return nearest;
}

template <class Family>
LookupResultOf<typename Family::Config> TuningDb::lookup(const LookupQueryOf<Family> &query,
                                                         const codegen::Target &target) const {
  using Result = LookupResultOf<typename Family::Config>;
  std::vector<TuningRecordOf<Family>> candidates = records<Family>();
  std::erase_if(candidates, [&](const TuningRecordOf<Family> &record) {
    return !record.best || !sameKernel(record.key, query.key) ||
           !check(query.key.problem, *record.best, target);
  });
  auto answer = [](typename Result::Source source, const TuningRecordOf<Family> &record) {
    return Result{source, record.best, "tuned for " + Family::text(record)};
  };
  for (const TuningRecordOf<Family> &record : candidates)
    if (!query.key.workload.is_null() && record.key.workload == query.key.workload)
      return answer(Result::Source::Exact, record);
  if (candidates.empty())
    return {
        Result::Source::None, {}, fmt::format("nothing was tuned for this kernel on {}", query.key.device)};
  if (Family::known(query))
    if (const TuningRecordOf<Family> *record = nearestInRange<Family>(candidates, query))
      return answer(Result::Source::Range, *record);
  return {Result::Source::None,
          {},
          fmt::format("{} lies outside what was tuned on {}", Family::text(query), query.key.device)};
}

template std::vector<TuningRecord> TuningDb::records() const;
template std::vector<MoeTuningRecord> TuningDb::records() const;
template std::optional<TuningRecord> TuningDb::find(const TuningKey &) const;
template std::optional<MoeTuningRecord> TuningDb::find(const MoeTuningKey &) const;
template void TuningDb::put(const TuningRecord &) const;
template void TuningDb::put(const MoeTuningRecord &) const;
template LookupResult TuningDb::lookup(const LookupQuery &, const codegen::Target &) const;
template MoeLookupResult TuningDb::lookup(const MoeLookupQuery &, const codegen::Target &) const;

} // namespace lathe::autotuner
