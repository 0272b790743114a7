//===- Cache.cpp - lathe cache -------------------------------------------------------------------------===//
//
// Lists, prunes and clears the compiled kernels on disk. Entries are folders that a person can read; this
// command saves the reading.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "Options.h"
#include "Output.h"

#include "lathe/kernel_cache/Store.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <chrono>

using namespace lathe;
using namespace lathe::tools;
using kernel_cache::EntryInfo;
using kernel_cache::Store;

namespace {
struct CacheOptions {
  bool json = false;
  double days = 30;
};
} // namespace

static double daysSince(std::filesystem::file_time_type time) {
  return std::chrono::duration<double, std::ratio<86400>>(std::filesystem::file_time_type::clock::now() -
                                                          time)
      .count();
}

/// "mla_decode": the first line of the description, "kernel mla_decode", without its first word.
static std::string descriptionName(const nlohmann::json &key) {
  const std::string text = key.value("description", "?");
  const std::string line = text.substr(0, text.find('\n'));
  const size_t space = line.find(' ');
  return space == std::string::npos ? line : line.substr(space + 1);
}

static std::string configText(const nlohmann::json &key) {
  std::string text;
  if (key.contains("config") && key["config"].is_object())
    for (const auto &[name, value] : key["config"].items())
      text += fmt::format("{}{}={}", text.empty() ? "" : " ", name,
                          value.is_string() ? value.get<std::string>() : value.dump());
  return text;
}

static void list(const CacheOptions &options) {
  const Store store;
  const std::vector<EntryInfo> entries = store.list();
  if (options.json) {
    nlohmann::json rows = nlohmann::json::array();
    for (const EntryInfo &entry : entries)
      rows.push_back({{"digest", entry.digest},
                      {"bytes", entry.bytes},
                      {"intact", entry.intact},
                      {"idleDays", daysSince(entry.lastUsed)},
                      {"key", entry.key}});
    return printJson({{"directory", store.directory().string()}, {"entries", rows}});
  }
  Table table({"digest", "kernel", "configuration", "size", "unused for", "state"});
  for (const EntryInfo &entry : entries)
    table.add({entry.digest, descriptionName(entry.key), configText(entry.key),
               bytesText(double(entry.bytes)), fmt::format("{:.1f} days", daysSince(entry.lastUsed)),
               entry.intact ? "intact" : "corrupt"});
  print(table.str() + fmt::format("{} kernels in {}\n", entries.size(), store.directory().string()));
}

static void printRemoved(const CacheOptions &options, const Store &store, int removed) {
  if (options.json)
    return printJson({{"directory", store.directory().string()}, {"removed", removed}});
  print(fmt::format("removed {} kernels from {}\n", removed, store.directory().string()));
}

static void prune(const CacheOptions &options) {
  if (!(options.days >= 0))
    throw UserError({"cache prune", "--days must not be negative", fmt::to_string(options.days), ""});
  const Store store;
  printRemoved(options, store, store.prune(options.days));
}

static void clear(const CacheOptions &options) {
  const Store store;
  printRemoved(options, store, store.clear());
}

/// Only the path: it must work where the folder is refused.
static void path(const CacheOptions &options) {
  const std::string directory = Store::defaultDirectory().string();
  options.json ? printJson({{"directory", directory}}) : print(directory + "\n");
}

void lathe::tools::addCache(CLI::App &app) {
  auto options = std::make_shared<CacheOptions>();
  CLI::App *command = app.add_subcommand("cache", "Look after the compiled kernels on disk");
  command->require_subcommand(1);
  command->footer("Examples:\n"
                  "  lathe cache list\n"
                  "  lathe cache prune --days 7\n"
                  "  cat $(lathe cache path)/*/*/key.json\n"
                  "  LATHE_CACHE_DIR=/tmp/kernels lathe cache clear");
  struct Entry {
    const char *name, *help, *examples;
    void (*run)(const CacheOptions &);
  };
  for (const Entry &entry :
       {Entry{"list", "List the kernels", "Examples:\n  lathe cache list --json | jq '.entries[].digest'",
              list},
        Entry{"prune", "Remove kernels that were not used for a while",
              "Examples:\n  lathe cache prune --days 7", prune},
        Entry{"clear", "Remove all kernels", "Examples:\n  lathe cache clear", clear},
        Entry{"path", "Print the folder", "Examples:\n  ls $(lathe cache path)", path}}) {
    CLI::App *sub = command->add_subcommand(entry.name, entry.help);
    sub->footer(entry.examples);
    addJsonFlag(*sub, options->json);
    if (entry.run == prune)
      sub->add_option("--days", options->days, "Unused for so many days")->capture_default_str();
    sub->callback([options, run = entry.run] { run(*options); });
  }
}
