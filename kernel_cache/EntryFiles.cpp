#include "lathe/kernel_cache/EntryFiles.h"

#include "lathe/support/Error.h"
#include "lathe/support/Files.h"
#include "lathe/support/Hash.h"

#include <fmt/format.h>

#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>

using namespace lathe;
using namespace lathe::kernel_cache;
using nlohmann::json;
namespace fs = std::filesystem;

static constexpr int layoutVersion = 1;
static constexpr const char *checksumsName = "checksums.json";
static constexpr std::array<const char *, 4> fileNames = {"key.json", "kernel.ptx", "kernel.cubin",
                                                          "stats.json"};

namespace {
/// The bytes of the files, in the order of fileNames.
using Contents = std::array<std::string, fileNames.size()>;

/// Why a folder is no entry. Stays within this file.
struct Corruption {
  std::string reason;
};
} // namespace

static std::string statsText(const json &stats) {
  try {
    return stats.dump(2) + "\n";
  } catch (const json::exception &error) {
    throw UserError({"cache entry", "its statistics must be text in UTF-8", error.what(), ""});
  }
}

void kernel_cache::writeEntryFiles(const fs::path &folder, const Key &key, const Entry &entry) {
  const Contents contents = {key.text(), entry.ptx, entry.cubin, statsText(entry.stats)};
  if (::mkdir(folder.c_str(), 0700) != 0)
    throw UserError({"folder " + folder.string(), "must be creatable", std::strerror(errno), ""});
  json files = json::object();
  for (size_t i = 0; i < contents.size(); ++i) {
    writeNewFile(folder / fileNames[i], contents[i]);
    files[fileNames[i]] = {{"bytes", contents[i].size()}, {"hash", contentHash(contents[i])}};
  }
  writeNewFile(folder / checksumsName, json{{"version", layoutVersion}, {"files", files}}.dump(2) + "\n");
  syncDirectory(folder);
}

static std::string readOrCorrupt(const fs::path &folder, const char *name) {
  std::optional<std::string> bytes;
  try {
    bytes = readFileIfThere(folder / name);
  } catch (const UserError &error) {
    throw Corruption{error.what()};
  }
  if (!bytes)
    throw Corruption{fmt::format("{} is missing", name)};
  return std::move(*bytes);
}

static json parseOrCorrupt(const std::string &text, const char *name) {
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded())
    throw Corruption{fmt::format("{} is not JSON", name)};
  return value;
}

static void checkFile(const json &files, const char *name, const std::string &bytes) {
  const json expected = files.is_object() ? files.value(name, json()) : json();
  if (!expected.is_object() || !expected.value("bytes", json()).is_number_unsigned() ||
      !expected.value("hash", json()).is_string())
    throw Corruption{fmt::format("{} does not tell about {}", checksumsName, name)};
  if (expected["bytes"].get<uint64_t>() != bytes.size())
    throw Corruption{
        fmt::format("{} has {} bytes instead of {}", name, bytes.size(), expected["bytes"].dump())};
  if (expected["hash"].get<std::string>() != contentHash(bytes))
    throw Corruption{fmt::format("the checksum of {} is wrong", name)};
}

/// All files, checked against checksums.json.
static Contents readChecked(const fs::path &folder) {
  const json checksums = parseOrCorrupt(readOrCorrupt(folder, checksumsName), checksumsName);
  if (!checksums.is_object() || checksums.value("version", json()) != layoutVersion)
    throw Corruption{fmt::format("{} is of another version", checksumsName)};
  const json files = checksums.value("files", json());
  Contents contents;
  for (size_t i = 0; i < contents.size(); ++i) {
    contents[i] = readOrCorrupt(folder, fileNames[i]);
    checkFile(files, fileNames[i], contents[i]);
  }
  return contents;
}

EntryState kernel_cache::readEntryFiles(const fs::path &folder, const Key &key) {
  struct stat status;
  if (::lstat(folder.c_str(), &status) != 0)
    return {};
  try {
    Contents contents = readChecked(folder);
    if (contents[0] != key.text())
      throw Corruption{"key.json is not the key"};
    json stats = parseOrCorrupt(contents[3], fileNames[3]);
    return {EntryState::Intact, {std::move(contents[1]), std::move(contents[2]), std::move(stats)}, ""};
  } catch (const Corruption &corruption) {
    return {EntryState::Corrupt, {}, corruption.reason};
  }
}

EntryInfo kernel_cache::inspectEntryFiles(const fs::path &folder, const std::string &digest) {
  EntryInfo info;
  info.digest = digest;
  std::error_code error;
  for (const fs::directory_entry &file : fs::directory_iterator(folder, error))
    if (file.is_regular_file(error))
      info.bytes += file.file_size(error);
  try {
    Contents contents = readChecked(folder);
    info.key = parseOrCorrupt(contents[0], fileNames[0]);
    parseOrCorrupt(contents[3], fileNames[3]);
    info.intact = contentHash(contents[0]) == digest;
  } catch (const Corruption &) {
    info.intact = false;
  }
  return info;
}
