#include "lathe/support/SharedLibrary.h"

#include "lathe/support/Env.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dlfcn.h>

using namespace lathe;

SharedLibrary SharedLibrary::open(const std::vector<std::string> &paths,
                                  const std::function<void(SharedLibrary &)> &bind) {
  SharedLibrary none;
  none.failure_ = fmt::format("{}", fmt::join(paths, ", "));
  for (const std::string &path : paths) {
    SharedLibrary library;
    library.handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library.handle_)
      continue;
    library.path_ = path;
    bind(library);
    if (library.missing_.empty())
      return library;
    none.failure_ = fmt::format("{} without {}", path, library.missing_);
    dlclose(library.handle_);
  }
  return none;
}

void *SharedLibrary::address(const char *name) {
  void *found = dlsym(handle_, name);
  if (!found && missing_.empty())
    missing_ = name;
  return found;
}

std::vector<std::string> lathe::cudaLibraryPaths(const std::vector<std::string> &names) {
  std::vector<std::string> folders = {""};
  for (const char *variable : {"CUDA_HOME", "CUDA_PATH"})
    if (auto home = systemEnv(variable))
      folders.push_back(*home + "/lib64/");
  folders.push_back("/usr/local/cuda/lib64/");
  std::vector<std::string> paths;
  for (const std::string &folder : folders)
    for (const std::string &name : names)
      paths.push_back(folder + name);
  return paths;
}
