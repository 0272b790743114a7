//===- Nvrtc.cpp - CUDA C++ to machine code at run time ----------------------------------------------===//
//
// Looks for libnvrtc where LATHE_NVRTC says, then on the loader's path, then in the toolkit's folders, and
// binds the eight functions of its stable C interface. The library stays open until the process ends.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/reference/Nvrtc.h"
#include "lathe/reference/AttentionReference.h"

#include "lathe/support/Env.h"
#include "lathe/support/Error.h"
#include "lathe/support/SharedLibrary.h"

#include <fmt/format.h>

#include <map>
#include <mutex>
#include <vector>

using namespace lathe;
using namespace lathe::reference;

namespace {

/// The part of nvrtc.h that is used here; results are nvrtcResult, 0 is success.
struct Nvrtc {
  using Program = void *;
  int (*version)(int *, int *) = nullptr;
  int (*createProgram)(Program *, const char *, const char *, int, const char *const *,
                       const char *const *) = nullptr;
  int (*compileProgram)(Program, int, const char *const *) = nullptr;
  int (*getCubinSize)(Program, size_t *) = nullptr;
  int (*getCubin)(Program, char *) = nullptr;
  int (*getLogSize)(Program, size_t *) = nullptr;
  int (*getLog)(Program, char *) = nullptr;
  int (*destroyProgram)(Program *) = nullptr;
};

/// What opening ended in: a library with its functions, or why there is none.
struct Opened {
  Nvrtc nvrtc;
  SharedLibrary shared;
};

} // namespace

static std::vector<std::string> candidatePaths() {
  if (auto path = envPath("LATHE_NVRTC"))
    return {path->string()};
  return cudaLibraryPaths({"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"});
}

static Opened openNvrtc() {
  Opened opened;
  Nvrtc &nvrtc = opened.nvrtc;
  opened.shared = SharedLibrary::open(candidatePaths(), [&](SharedLibrary &library) {
    library.find(nvrtc.version, "nvrtcVersion");
    library.find(nvrtc.createProgram, "nvrtcCreateProgram");
    library.find(nvrtc.compileProgram, "nvrtcCompileProgram");
    library.find(nvrtc.getCubinSize, "nvrtcGetCUBINSize");
    library.find(nvrtc.getCubin, "nvrtcGetCUBIN");
    library.find(nvrtc.getLogSize, "nvrtcGetProgramLogSize");
    library.find(nvrtc.getLog, "nvrtcGetProgramLog");
    library.find(nvrtc.destroyProgram, "nvrtcDestroyProgram");
  });
  return opened;
}

static const Opened &nvrtcOnce() {
  static const Opened opened = openNvrtc();
  return opened;
}

static const Nvrtc &nvrtc() {
  const Opened &opened = nvrtcOnce();
  if (!opened.shared)
    throw DeviceError({"gpu reference", "libnvrtc of CUDA 12 or newer must be installed",
                       opened.shared.failure(),
                       "install the CUDA toolkit, or set LATHE_NVRTC to the library"});
  return opened.nvrtc;
}

bool lathe::reference::nvrtcAvailable() { return bool(nvrtcOnce().shared); }

std::string lathe::reference::nvrtcName() {
  int major = 0, minor = 0;
  nvrtc().version(&major, &minor);
  return fmt::format("{}, {}.{}", nvrtcOnce().shared.path(), major, minor);
}

std::string lathe::reference::compileCuda(const std::string &source, const std::string &name,
                                          const std::string &arch) {
  const Nvrtc &library = nvrtc();
  Nvrtc::Program program = nullptr;
  auto check = [&](int result, const char *step) {
    if (result != 0)
      throw CompileError({fmt::format("nvrtc, {} of {}", step, name), "must succeed",
                          fmt::format("nvrtcResult {}", result), ""});
  };
  check(library.createProgram(&program, source.c_str(), name.c_str(), 0, nullptr, nullptr), "creation");
  struct Destroyer {
    const Nvrtc &library;
    Nvrtc::Program &program;
    ~Destroyer() { library.destroyProgram(&program); }
  } destroyer{library, program};

  const std::string archOption = "--gpu-architecture=" + arch;
  const char *options[] = {archOption.c_str(), "--std=c++17"};
  if (library.compileProgram(program, 2, options) != 0) {
    size_t bytes = 0;
    check(library.getLogSize(program, &bytes), "log");
    std::string log(bytes, '\0');
    check(library.getLog(program, log.data()), "log");
    throw CompileError(
        {fmt::format("nvrtc, {} for {}", name, arch), "the source must compile", log.c_str(), ""});
  }
  size_t bytes = 0;
  check(library.getCubinSize(program, &bytes), "cubin");
  std::string cubin(bytes, '\0');
  check(library.getCubin(program, cubin.data()), "cubin");
  return cubin;
}

const std::string &lathe::reference::referenceCubin(const std::string &source, const std::string &name,
                                                    const runtime::DeviceProperties &properties) {
  static std::mutex mutex;
  static std::map<std::pair<std::string, std::string>, std::string> cubins;
  const std::string arch = fmt::format("sm_{}{}", properties.major, properties.minor);
  std::lock_guard lock(mutex); // Held during the compilation: a second caller wants the same cubin.
  std::string &cubin = cubins[{name, arch}];
  if (cubin.empty())
    cubin = compileCuda(source, name, arch);
  return cubin;
}
