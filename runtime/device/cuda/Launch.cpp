#include "lathe/runtime/device/cuda/CudaDevice.h"

#include "lathe/runtime/device/Checks.h"
#include "lathe/runtime/device/Image.h"

#include <fmt/format.h>

#include <cstring>

using namespace lathe;
using namespace lathe::runtime;
using cuda::Context;
using cuda::CudaDevice;
using cuda::Current;
using cuda::Driver;

static constexpr int defaultSharedBytes = 48 * 1024; // What a kernel may use without asking.

//===- Modules ---------------------------------------------------------------------------------------===//

namespace {
class CudaModule final : public Module {
public:
  CudaModule(std::shared_ptr<Context> context, CUmodule module, int sharedLimitBytes)
      : context_(std::move(context)), module_(module), sharedLimitBytes_(sharedLimitBytes) {}
  ~CudaModule() override {
    cuda::releaseIn(*context_, [this](const Driver &driver) { driver.moduleUnload(module_); });
  }
  Function function(const std::string &name, int sharedBytes, Carveout carveout) override;

private:
  std::shared_ptr<Context> context_;
  CUmodule module_;
  int sharedLimitBytes_;
};
} // namespace

Function CudaModule::function(const std::string &name, int sharedBytes, Carveout carveout) {
  Current current(*context_);
  const Driver &driver = context_->driver;
  std::string place = fmt::format("kernel {}", name);
  if (sharedBytes > sharedLimitBytes_)
    throw DeviceError({place,
                       fmt::format("dynamic shared memory must be at most {} bytes a CTA", sharedLimitBytes_),
                       fmt::format("{} bytes", sharedBytes), "compile with smaller tiles or fewer stages"});
  CUfunction function = nullptr;
  if (CUresult result = driver.moduleGetFunction(&function, module_, name.c_str()); result != CUDA_SUCCESS)
    driver.fail(result, place, "the image and its manifest do not belong together: compile again");
  if (sharedBytes > defaultSharedBytes)
    if (CUresult result =
            driver.funcSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, sharedBytes);
        result != CUDA_SUCCESS)
      driver.fail(result, fmt::format("{}, asking for {} bytes of shared memory", place, sharedBytes));
  driver.check(driver.funcSetAttribute(function, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1),
               "allowing large clusters");
  if (carveout == Carveout::MaxShared)
    driver.check(driver.funcSetAttribute(function, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT,
                                         CU_SHAREDMEM_CARVEOUT_MAX_SHARED),
                 "preferring shared memory");
  // Modules load lazily: asking for a property loads the code now, not inside a stream capture.
  int registers = 0;
  driver.check(driver.funcGetAttribute(&registers, CU_FUNC_ATTRIBUTE_NUM_REGS, function), "loading a kernel");
  return {function};
}

static CUmodule loadCubin(const Driver &driver, std::string_view image) {
  CUmodule module = nullptr;
  CUresult result = driver.moduleLoadDataEx(&module, image.data(), 0, nullptr, nullptr);
  if (result != CUDA_SUCCESS)
    driver.fail(result, fmt::format("loading a cubin of {} bytes", image.size()));
  return module;
}

/// The driver's own assembler; its logs become the error text.
static CUmodule loadPtx(const Driver &driver, std::string_view image) {
  std::string text(image); // Ends in a zero byte whether the caller's did or not.
  std::string error(16384, '\0'), info(16384, '\0');
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
                            CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES};
  // NOLINTBEGIN(performance-no-int-to-ptr): the driver takes sizes as pointers.
  void *values[] = {error.data(), reinterpret_cast<void *>(error.size()), info.data(),
                    reinterpret_cast<void *>(info.size())};
  // NOLINTEND(performance-no-int-to-ptr)
  CUmodule module = nullptr;
  CUresult result = driver.moduleLoadDataEx(&module, text.c_str(), 4, options, values);
  error.back() = info.back() = '\0'; // Whatever the driver wrote ends inside the buffers.
  error.resize(std::strlen(error.c_str()));
  info.resize(std::strlen(info.c_str()));
  if (result != CUDA_SUCCESS)
    driver.fail(result, fmt::format("assembling PTX of {} bytes\n{}{}{}", image.size(), error,
                                    error.empty() || info.empty() ? "" : "\n", info));
  if (std::string fault = performanceFault(info + "\n" + error); !fault.empty()) {
    driver.moduleUnload(module);
    throw DeviceError({"assembling PTX with the driver", "WGMMA and register budgets must be kept", fault,
                       "install a newer driver, or compile with ptxas or the PTX compiler library"});
  }
  return module;
}

std::unique_ptr<Module> CudaDevice::load(std::string_view image) {
  ImageKind kind = checkImage(image);
  Current current(*context_);
  CUmodule module = kind == ImageKind::Cubin ? loadCubin(driver_, image) : loadPtx(driver_, image);
  return std::make_unique<CudaModule>(context_, module, properties_.sharedBytesPerCta);
}

//===- Room ------------------------------------------------------------------------------------------===//

/// Clusters cannot cross the borders of GPCs, which differ in their number of SMs: only the driver knows how
/// many fit.
static int64_t residentClustersOf(const Driver &driver, CUfunction function, const ClusterShape &shape) {
  if (!driver.maxActiveClusters)
    return 0;
  CUlaunchAttribute cluster{};
  cluster.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
  cluster.value.clusterDim.x = shape.cluster;
  cluster.value.clusterDim.y = cluster.value.clusterDim.z = 1;
  CUlaunchConfig config{};
  config.gridDimX = shape.cluster;
  config.gridDimY = config.gridDimZ = 1;
  config.blockDimX = shape.threads;
  config.blockDimY = config.blockDimZ = 1;
  config.sharedMemBytes = shape.sharedBytes;
  config.attrs = &cluster;
  config.numAttrs = 1;
  int clusters = 0;
  return driver.maxActiveClusters(&clusters, function, &config) == CUDA_SUCCESS ? clusters : 0;
}

int64_t CudaDevice::residentClusters(Function function, const ClusterShape &shape) {
  Current current(*context_);
  auto *native = static_cast<CUfunction>(function.handle);
  if (shape.cluster > 1)
    return residentClustersOf(driver_, native, shape);
  int ctas = 0;
  if (!driver_.maxActiveBlocks ||
      driver_.maxActiveBlocks(&ctas, native, int(shape.threads), shape.sharedBytes) != CUDA_SUCCESS)
    return 0;
  return int64_t(ctas) * properties_.smCount;
}

//===- Tensor maps -----------------------------------------------------------------------------------===//

static CUtensorMapDataType tensorMapType(Dtype type) {
  switch (type) {
  case Dtype::BF16:
    return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  case Dtype::F16:
    return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  case Dtype::F32:
    return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
  case Dtype::F64:
    return CU_TENSOR_MAP_DATA_TYPE_FLOAT64;
  case Dtype::I32:
    return CU_TENSOR_MAP_DATA_TYPE_INT32;
  case Dtype::I64:
    return CU_TENSOR_MAP_DATA_TYPE_INT64;
  case Dtype::Bool:
    break;
  }
  throw UserError({"tensor map", "the element type must be one that TMA moves", std::string(name(type)), ""});
}

static CUtensorMapSwizzle tensorMapSwizzle(int bytes) {
  switch (bytes) {
  case 0:
    return CU_TENSOR_MAP_SWIZZLE_NONE;
  case 32:
    return CU_TENSOR_MAP_SWIZZLE_32B;
  case 64:
    return CU_TENSOR_MAP_SWIZZLE_64B;
  default:
    return CU_TENSOR_MAP_SWIZZLE_128B;
  }
}

TensorMap CudaDevice::encode(const TensorMapSpec &spec) {
  checkTensorMap(spec);
  Current current(*context_);
  static_assert(sizeof(CUtensorMap) == sizeof(TensorMap));
  static constexpr cuuint32_t elementStrides[5] = {1, 1, 1, 1, 1};
  cuuint64_t extents[5], strides[5] = {};
  cuuint32_t box[5];
  for (int i = 0; i < 5; ++i) {
    extents[i] = spec.extent[i];
    box[i] = spec.box[i];
    if (i < 4)
      strides[i] = spec.strideBytes[i];
  }
  // NOLINTNEXTLINE(performance-no-int-to-ptr): the driver takes the address as a pointer.
  void *base = reinterpret_cast<void *>(spec.base);
  CUtensorMap encoded{};
  // A box's rows have 128 bytes. Twice as many are fetched in vain where the rest has left the L2 when it is
  // asked for (H200: 7 % at 128 × 4096 tokens of 16 heads, 1 to 4 % of few rows' experts).
  CUresult result = driver_.tensorMapEncodeTiled(
      &encoded, tensorMapType(spec.dtype), spec.rank, base, extents, strides, box, elementStrides,
      CU_TENSOR_MAP_INTERLEAVE_NONE, tensorMapSwizzle(spec.swizzleBytes), CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  driver_.check(result, "cuTensorMapEncodeTiled");
  TensorMap map;
  std::memcpy(map.bytes.data(), &encoded, sizeof(encoded));
  return map;
}

//===- Launch ----------------------------------------------------------------------------------------===//

void CudaDevice::launch(Function function, const LaunchShape &shape, void **arguments, Stream stream) {
  Current current(*context_);
  CUlaunchAttribute dependent{};
  dependent.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
  dependent.value.programmaticStreamSerializationAllowed = 1;
  CUlaunchConfig config{};
  config.gridDimX = shape.gridX;
  config.gridDimY = shape.gridY;
  config.gridDimZ = shape.gridZ;
  config.blockDimX = shape.threads;
  config.blockDimY = config.blockDimZ = 1;
  config.sharedMemBytes = shape.sharedBytes;
  config.hStream = native(stream);
  config.attrs = &dependent;
  config.numAttrs = shape.dependent ? 1 : 0;
  CUresult result =
      driver_.launchKernelEx(&config, static_cast<CUfunction>(function.handle), arguments, nullptr);
  if (result != CUDA_SUCCESS)
    driver_.fail(result,
                 fmt::format("launching {} x {} x {} CTAs of {} threads with {} bytes of shared memory",
                             shape.gridX, shape.gridY, shape.gridZ, shape.threads, shape.sharedBytes));
}
