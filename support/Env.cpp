#include "lathe/support/Env.h"

#include "lathe/support/Error.h"
#include "lathe/support/Log.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

using namespace lathe;

static std::vector<EnvVariable> makeTable() {
  using enum EnvType;
  return {
      {"LATHE_ASSEMBLER",
       Choice,
       {"nvptxcompiler", "ptxas", "driver"},
       "the first that is there",
       "What turns PTX into machine code: the PTX compiler library, the ptxas program, or the driver at "
       "load."},
      {"LATHE_CACHE_DIR",
       Path,
       {},
       "$XDG_CACHE_HOME/lathe, else ~/.cache/lathe",
       "Folder of compiled kernels; owned by you and writable by nobody else."},
      {"LATHE_DEVICE",
       Choice,
       {"cuda", "emulator"},
       "the GPU, else the emulator",
       "What kernels run on: a GPU through the CUDA driver, or the PTX emulator on the CPU."},
      {"LATHE_DUMP",
       List,
       {"ir", "ptx", "sass"},
       "nothing",
       "Which texts each compilation writes to LATHE_DUMP_DIR."},
      {"LATHE_DUMP_DIR",
       Path,
       {},
       "the temporary folder",
       "Where LATHE_DUMP writes, and the reproducers of failed compilations."},
      {"LATHE_LIBCUDA", Path, {}, "libcuda.so.1 of the system", "Path of the CUDA driver library."},
      {"LATHE_LOG", Choice, {"error", "warn", "info", "debug"}, "warn", "How much is reported on stderr."},
      {"LATHE_NVRTC",
       Path,
       {},
       "libnvrtc.so of the system or of CUDA_HOME",
       "Path of NVRTC, which compiles the reference kernels on the GPU."},
      {"LATHE_STOP_AFTER",
       Choice,
       {"tile", "nvvm", "ptx"},
       "nothing",
       "Stage after which a compilation stops; its text lies in LATHE_DUMP_DIR."},
      {"LATHE_TUNING_DB",
       Path,
       {},
       "$XDG_DATA_HOME/lathe/tuning.json, else ~/.local/share/lathe/tuning.json",
       "Database of tuned configurations that tune writes and the other commands read."},
  };
}

const std::vector<EnvVariable> &lathe::environmentVariables() {
  static const std::vector<EnvVariable> table = makeTable();
  return table;
}

std::string lathe::typeText(const EnvVariable &variable) {
  switch (variable.type) {
  case EnvType::Path:
    return "path";
  case EnvType::Choice:
    return fmt::format("one of {}", fmt::join(variable.choices, "|"));
  case EnvType::List:
    return fmt::format("list of {}", fmt::join(variable.choices, ","));
  }
  return "";
}

std::optional<std::string> lathe::systemEnv(const char *name) {
  const char *value = std::getenv(name);
  if (!value || !*value)
    return std::nullopt;
  return value;
}

static const EnvVariable *findVariable(std::string_view name) {
  const auto &table = environmentVariables();
  auto found = std::find_if(table.begin(), table.end(), [&](const EnvVariable &v) { return v.name == name; });
  return found == table.end() ? nullptr : &*found;
}

/// The row of a name, which must have this type.
static const EnvVariable &rowOf(std::string_view name, std::optional<EnvType> type) {
  const EnvVariable *variable = findVariable(name);
  if (!variable || (type && variable->type != *type))
    throw CompileError({"environment",
                        variable ? "a variable must be read as the table declares it"
                                 : "every variable must be declared in support/Env.cpp",
                        std::string(name), "report this as a bug of Lathe"});
  return *variable;
}

std::optional<std::string> lathe::env(std::string_view name) {
  return systemEnv(rowOf(name, std::nullopt).name.c_str());
}

static bool isChoice(const EnvVariable &variable, const std::string &word) {
  return std::find(variable.choices.begin(), variable.choices.end(), word) != variable.choices.end();
}

[[noreturn]] static void refuse(const EnvVariable &variable, const std::string &value) {
  const std::string rule = variable.type == EnvType::List ? "words must be among {}" : "must be one of {}";
  throw UserError({"environment variable " + variable.name,
                   fmt::format(fmt::runtime(rule), fmt::join(variable.choices, ", ")),
                   fmt::format("'{}'", value), fmt::format("correct it or run `unset {}`", variable.name)});
}

std::optional<std::string> lathe::envChoiceIfSet(std::string_view name) {
  const EnvVariable &variable = rowOf(name, EnvType::Choice);
  std::optional<std::string> value = systemEnv(variable.name.c_str());
  if (value && !isChoice(variable, *value))
    refuse(variable, *value);
  return value;
}

std::string lathe::envChoice(std::string_view name) {
  return envChoiceIfSet(name).value_or(rowOf(name, EnvType::Choice).defaultValue);
}

/// Cuts at commas; spaces around words are dropped, as are empty words.
static std::vector<std::string> splitWords(const std::string &text) {
  std::vector<std::string> words;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const size_t first = text.find_first_not_of(' ', begin);
    if (first < end)
      words.push_back(text.substr(first, text.find_last_not_of(' ', end - 1) + 1 - first));
    begin = end + 1;
  }
  return words;
}

std::vector<std::string> lathe::envList(std::string_view name) {
  const EnvVariable &variable = rowOf(name, EnvType::List);
  std::vector<std::string> result;
  for (const std::string &word : splitWords(systemEnv(variable.name.c_str()).value_or(""))) {
    if (!isChoice(variable, word))
      refuse(variable, word);
    if (std::find(result.begin(), result.end(), word) == result.end())
      result.push_back(word);
  }
  return result;
}

bool lathe::envListHas(std::string_view name, std::string_view word) {
  const std::vector<std::string> words = envList(name);
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::optional<std::filesystem::path> lathe::envPath(std::string_view name) {
  return systemEnv(rowOf(name, EnvType::Path).name.c_str());
}

std::vector<std::string> lathe::unknownEnvironmentVariables() {
  std::vector<std::string> unknown;
  for (char **entry = environ; entry && *entry; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('='));
    if (name.substr(0, 6) == "LATHE_" && !findVariable(name))
      unknown.emplace_back(name);
  }
  return unknown;
}

void lathe::checkEnvironment() {
  for (const EnvVariable &variable : environmentVariables()) {
    if (variable.type == EnvType::Choice)
      envChoiceIfSet(variable.name);
    if (variable.type == EnvType::List)
      envList(variable.name);
  }
  for (const std::string &name : unknownEnvironmentVariables())
    warnOnce("unknown " + name, "environment variable {} is not known; `lathe env` lists those that are",
             name);
}
