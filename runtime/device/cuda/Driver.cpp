#include "lathe/runtime/device/cuda/Driver.h"

#include "lathe/support/Env.h"

#include <fmt/format.h>

#include <dlfcn.h>
#include <optional>

using namespace lathe;
using namespace lathe::runtime;

static constexpr int neededVersion = 12000; // CUDA 12.0: tensor maps, launch attributes.
static constexpr const char *libraryName = "libcuda.so.1";
static constexpr const char *installDriver = "install the NVIDIA driver (525 or newer); in a container start "
                                             "with GPUs visible (--gpus all); LATHE_LIBCUDA may "
                                             "name the library";

namespace {
struct DriverState {
  cuda::Driver table;
  std::optional<Fault> fault;
  std::string reason; ///< The fault in a few words, for skipped tests.
};
using GetProcAddress = CUresult (*)(const char *, void **, int, cuuint64_t, CUdriverProcAddressQueryResult *);
} // namespace

static void setFault(DriverState &state, std::string reason, std::string rule, std::string value,
                     const char *wayOut) {
  state.reason = std::move(reason);
  state.fault = Fault{"CUDA driver", std::move(rule), std::move(value), wayOut};
}

/// Opens the library; null with the fault set when it is not there.
static void *openLibrary(DriverState &state) {
  auto named = envPath("LATHE_LIBCUDA");
  std::string path = named ? named->string() : libraryName;
  if (void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL))
    return library;
  const char *why = dlerror();
  std::string reason = named ? fmt::format("LATHE_LIBCUDA={} cannot be opened", path)
                             : fmt::format("{} was not found", libraryName);
  setFault(state, reason, fmt::format("{} must be installed", libraryName),
           fmt::format("nothing: {} ({})", reason, why ? why : "no reason given"), installDriver);
  return nullptr;
}

/// False where the driver has no such entry point, which then stays null.
template <typename Entry>
static bool resolveEntry(GetProcAddress getProcAddress, const char *symbol, Entry &entry) {
  void *address = nullptr;
  CUdriverProcAddressQueryResult found;
  if (getProcAddress(symbol, &address, neededVersion, CU_GET_PROC_ADDRESS_DEFAULT, &found) != CUDA_SUCCESS)
    return false;
  entry = reinterpret_cast<Entry>(address);
  return address != nullptr;
}

/// Fills the table; returns the first exported name that must be there and is not, or null.
static const char *resolveEntries(GetProcAddress getProcAddress, cuda::Driver &table) {
#define LATHE_DRIVER_RESOLVE(member, function, symbol)                                                       \
  if (!resolveEntry(getProcAddress, symbol, table.member))                                                   \
    return symbol;
  LATHE_DRIVER_ENTRIES(LATHE_DRIVER_RESOLVE)
#undef LATHE_DRIVER_RESOLVE
#define LATHE_DRIVER_RESOLVE(member, function, symbol) resolveEntry(getProcAddress, symbol, table.member);
  LATHE_OPTIONAL_DRIVER_ENTRIES(LATHE_DRIVER_RESOLVE)
#undef LATHE_DRIVER_RESOLVE
  return nullptr;
}

static void initialise(DriverState &state) {
  const cuda::Driver &table = state.table;
  if (CUresult result = table.init(0); result != CUDA_SUCCESS) {
    std::string what = table.describe(result);
    setFault(state, "cuInit failed: " + what, "cuInit must succeed", what,
             "see what nvidia-smi says; in a container start with GPUs visible (--gpus all)");
    return;
  }
  int count = 0;
  if (table.deviceGetCount(&count) != CUDA_SUCCESS || count == 0)
    setFault(state, "no GPU is visible", "there must be a GPU", "none",
             "see what nvidia-smi says and how CUDA_VISIBLE_DEVICES is set");
}

static DriverState openDriver() {
  DriverState state;
  void *library = openLibrary(state);
  if (!library)
    return state;
  auto getProcAddress = reinterpret_cast<GetProcAddress>(dlsym(library, "cuGetProcAddress_v2"));
  const char *lacking = getProcAddress ? resolveEntries(getProcAddress, state.table) : "cuGetProcAddress_v2";
  if (lacking)
    setFault(state, fmt::format("the driver has no {}", lacking),
             "the driver must support CUDA 12.0 or newer", fmt::format("one without {}", lacking),
             "update the NVIDIA driver to 525 or newer");
  else
    initialise(state);
  return state;
}

static const DriverState &driverState() {
  static const DriverState state = openDriver();
  return state;
}

const cuda::Driver &cuda::driver() {
  const DriverState &state = driverState();
  if (state.fault)
    throw DeviceError(*state.fault);
  return state.table;
}

const std::string &cuda::unavailableReason() { return driverState().reason; }

std::string cuda::Driver::describe(CUresult result) const {
  const char *name = nullptr, *text = nullptr;
  if (getErrorName(result, &name) != CUDA_SUCCESS || !name)
    return fmt::format("CUDA error {}", static_cast<int>(result));
  if (getErrorString(result, &text) != CUDA_SUCCESS || !text)
    return name;
  return fmt::format("{} ({})", name, text);
}

static std::string defaultWayOut(CUresult result) {
  switch (result) {
  case CUDA_ERROR_ILLEGAL_ADDRESS:
  case CUDA_ERROR_MISALIGNED_ADDRESS:
  case CUDA_ERROR_ILLEGAL_INSTRUCTION:
  case CUDA_ERROR_LAUNCH_FAILED:
    return "a kernel of this process failed and its context is lost: find it with compute-sanitizer and "
           "restart";
  case CUDA_ERROR_NO_BINARY_FOR_GPU:
    return "the kernel was compiled for another GPU: compile it for this one";
  case CUDA_ERROR_INVALID_IMAGE:
    return "the cache entry is damaged: remove it, and it is compiled again";
  default:
    return "";
  }
}

void cuda::Driver::fail(CUresult result, std::string what, std::string wayOut) const {
  throw DeviceError({std::move(what), "the driver must succeed", describe(result),
                     wayOut.empty() ? defaultWayOut(result) : std::move(wayOut)});
}
