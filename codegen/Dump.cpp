//===- Dump.cpp - Looking into a compilation ---------------------------------------------------------===//
//
// See Dump.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Dump.h"

#include "lathe/support/Env.h"
#include "lathe/support/Error.h"
#include "lathe/support/Files.h"

#include <filesystem>

namespace lathe::codegen {

static std::filesystem::path directory() {
  return envPath("LATHE_DUMP_DIR").value_or(std::filesystem::temp_directory_path());
}

static std::string write(const std::string &file, const std::string &text) {
  std::filesystem::create_directories(directory());
  writeFileAtomically(directory() / file, text);
  return (directory() / file).string();
}

void dump(const std::string &name, const std::string &suffix, const std::function<std::string()> &text) {
  std::string family = suffix.ends_with("mlir") ? "ir" : suffix;
  if (!envListHas("LATHE_DUMP", family))
    return;
  write(name + "." + suffix, text());
}

void stopAfter(const std::string &stage, const std::string &name, const std::string &suffix,
               const std::function<std::string()> &text) {
  if (envChoiceIfSet("LATHE_STOP_AFTER") != stage)
    return;
  throw UserError({"LATHE_STOP_AFTER", "the compilation stops after stage " + stage, "",
                   "its text is in " + write(name + "." + suffix, text()) + "; unset the variable to go on"});
}

std::string writeReproducer(const std::string &name, const std::string &suffix, const std::string &text) {
  try {
    return write("lathe-" + name + "-" + uniqueName() + "." + suffix, text);
  } catch (const std::exception &error) {
    return std::string("not written (") + error.what() + ")";
  }
}

} // namespace lathe::codegen
