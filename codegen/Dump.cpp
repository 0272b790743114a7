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

void dump(const std::string &name, const std::string &suffix, const std::function<std::string()> &text) {
  std::string family = suffix.ends_with("mlir") ? "ir" : suffix;
  if (!envListHas("LATHE_DUMP", family))
    return;
  std::filesystem::create_directories(directory());
  writeFileAtomically(directory() / (name + "." + suffix), text());
}

std::string writeReproducer(const std::string &name, const std::string &suffix, const std::string &text) {
  try {
    std::filesystem::path path = directory() / ("lathe-" + name + "-" + uniqueName() + "." + suffix);
    std::filesystem::create_directories(directory());
    writeFileAtomically(path, text);
    return path.string();
  } catch (const std::exception &error) {
    return std::string("not written (") + error.what() + ")";
  }
}

} // namespace lathe::codegen
