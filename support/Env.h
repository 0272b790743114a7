//===- Env.h - Every environment variable -------------------------------------------------------------===//
//
// One table of all environment variables that Lathe reads, with type, legal values, default and meaning, so
// that `lathe env` can print it and no switch is hidden. Getters refuse names outside the table and check
// values. No other file of Lathe calls getenv. An empty variable counts as unset.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lathe {

enum class EnvType {
  Path,   ///< A file or a folder; any text.
  Choice, ///< One of `choices`.
  List    ///< Some of `choices`, separated by commas.
};

/// One row of the table.
struct EnvVariable {
  std::string name; ///< "LATHE_LOG".
  EnvType type;
  std::vector<std::string> choices; ///< Legal values; empty for a path.
  std::string defaultValue;         ///< A value of `choices`, or words that say what happens when unset.
  std::string meaning;              ///< One line for people.
};

/// "path", "one of error|warn|info|debug", "list of ir,ptx,sass".
std::string typeText(const EnvVariable &variable);

const std::vector<EnvVariable> &environmentVariables();

/// The raw value, or nothing when unset or empty. Throws CompileError for a name that is not in the table.
std::optional<std::string> env(std::string_view name);

/// Value of a Choice, its default when unset. Throws UserError naming variable, value and legal values.
std::string envChoice(std::string_view name);

/// Value of a Choice, or nothing when unset. Throws UserError naming variable, value and legal values.
std::optional<std::string> envChoiceIfSet(std::string_view name);

/// Words of a List without repetitions, empty when unset. Throws UserError naming variable, word and legal
/// words.
std::vector<std::string> envList(std::string_view name);

/// Is `word` among the words of a List? `envListHas("LATHE_DUMP", "ptx")`.
bool envListHas(std::string_view name, std::string_view word);

/// Value of a Path, or nothing when unset. Neither made absolute nor looked up.
std::optional<std::filesystem::path> envPath(std::string_view name);

/// Checks the value of every variable in the table; for the start of a tool. Throws the first UserError. A
/// variable called LATHE_* outside the table (a misspelling) gets one warning.
void checkEnvironment();

/// Names of LATHE_* variables that are set but not in the table.
std::vector<std::string> unknownEnvironmentVariables();

/// A variable that belongs to the system (HOME, PATH, XDG_CACHE_HOME), or nothing when unset or empty.
std::optional<std::string> systemEnv(const char *name);

} // namespace lathe
