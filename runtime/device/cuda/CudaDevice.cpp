#include "lathe/runtime/device/cuda/CudaDevice.h"

#include "lathe/runtime/device/Checks.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::runtime;
using cuda::CudaDevice;
using cuda::Current;
using cuda::Driver;

//===- Opening ---------------------------------------------------------------------------------------===//

static int attribute(const Driver &driver, CUdevice device, CUdevice_attribute which) {
  int value = 0;
  driver.check(driver.deviceGetAttribute(&value, which, device), "cuDeviceGetAttribute");
  return value;
}

/// "GPU-01234567-89ab-cdef-0123-456789abcdef", as nvidia-smi writes it.
static std::string uuidText(const CUuuid &uuid) {
  std::string text = "GPU";
  for (int i = 0; i < 16; ++i) {
    if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10)
      text += '-';
    text += fmt::format("{:02x}", static_cast<unsigned char>(uuid.bytes[i]));
  }
  return text;
}

static DeviceProperties readProperties(const Driver &driver, CUdevice device) {
  DeviceProperties properties;
  char name[256] = {};
  driver.check(driver.deviceGetName(name, sizeof(name), device), "cuDeviceGetName");
  properties.name = name;
  CUuuid uuid{};
  driver.check(driver.deviceGetUuid(&uuid, device), "cuDeviceGetUuid");
  properties.uuid = uuidText(uuid);
  properties.major = attribute(driver, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  properties.minor = attribute(driver, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  properties.smCount = attribute(driver, device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  properties.sharedBytesPerCta =
      attribute(driver, device, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  const int64_t clockKhz = attribute(driver, device, CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE);
  const int64_t busBits = attribute(driver, device, CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH);
  if (clockKhz > 0 && busBits > 0) // Two transfers of the bus's bits a clock.
    properties.memoryGBs = int(clockKhz * busBits / 4 / 1000000);
  properties.l2Bytes = attribute(driver, device, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
  size_t memoryBytes = 0;
  driver.check(driver.deviceTotalMem(&memoryBytes, device), "cuDeviceTotalMem");
  properties.memoryBytes = static_cast<int64_t>(memoryBytes);
  driver.check(driver.driverGetVersion(&properties.driverVersion), "cuDriverGetVersion");
  return properties;
}

int runtime::cudaDeviceCount() {
  int count = 0;
  if (!cuda::unavailableReason().empty() || cuda::driver().deviceGetCount(&count) != CUDA_SUCCESS)
    return 0;
  return count;
}

std::string runtime::cudaUnavailableReason() { return cuda::unavailableReason(); }

std::shared_ptr<Device> runtime::openCudaDevice(int ordinal) {
  const Driver &driver = cuda::driver();
  int count = cudaDeviceCount();
  if (ordinal < 0 || ordinal >= count)
    throw DeviceError({"CUDA device", fmt::format("the ordinal must be from 0 to {}", count - 1),
                       fmt::format("{}", ordinal), "see `nvidia-smi -L` and CUDA_VISIBLE_DEVICES"});
  CUdevice device = 0;
  driver.check(driver.deviceGet(&device, ordinal), "cuDeviceGet");
  DeviceProperties properties = readProperties(driver, device);
  checkCapability(properties, ordinal);
  auto context = std::make_shared<cuda::Context>(driver, ordinal, device);
  return std::make_shared<CudaDevice>(std::move(context), std::move(properties));
}

//===- Memory ----------------------------------------------------------------------------------------===//

DevicePtr CudaDevice::allocate(size_t bytes) {
  Current current(*context_);
  CUdeviceptr pointer = 0;
  CUresult result = driver_.memAlloc(&pointer, bytes ? bytes : 1);
  if (result == CUDA_SUCCESS)
    return pointer;
  size_t freeBytes = 0, totalBytes = 0;
  driver_.memGetInfo(&freeBytes, &totalBytes);
  driver_.fail(result,
               fmt::format("allocating {} bytes on GPU {} ({} of {} bytes free)", bytes, context_->ordinal,
                           freeBytes, totalBytes),
               result == CUDA_ERROR_OUT_OF_MEMORY ? "free memory on the GPU or plan for a smaller batch"
                                                  : "");
}

void CudaDevice::release(DevicePtr pointer) {
  cuda::releaseIn(*context_, [=](const Driver &driver) { driver.memFree(pointer); });
}

void CudaDevice::copyToDevice(DevicePtr to, const void *from, size_t bytes) {
  Current current(*context_);
  driver_.check(driver_.memcpyHtoD(to, from, bytes), "copying to the device");
  // A copy from pageable memory may return when it is staged: other streams must see it in place.
  driver_.check(driver_.streamSynchronize(nullptr), "copying to the device");
}

void CudaDevice::copyToHost(void *to, DevicePtr from, size_t bytes) {
  Current current(*context_);
  driver_.check(driver_.memcpyDtoH(to, from, bytes), "copying to the host");
}

void CudaDevice::fill(DevicePtr to, uint8_t byte, size_t bytes, Stream stream) {
  Current current(*context_);
  driver_.check(driver_.memsetD8Async(to, byte, bytes, native(stream)), "filling device memory");
}

//===- Streams ---------------------------------------------------------------------------------------===//

Stream CudaDevice::createStream() {
  Current current(*context_);
  CUstream stream = nullptr;
  driver_.check(driver_.streamCreate(&stream, CU_STREAM_NON_BLOCKING), "creating a stream");
  return {stream};
}

void CudaDevice::destroyStream(Stream stream) {
  cuda::releaseIn(*context_, [=](const Driver &driver) { driver.streamDestroy(native(stream)); });
}

void CudaDevice::synchronize(Stream stream) {
  Current current(*context_);
  driver_.check(driver_.streamSynchronize(native(stream)), "waiting for a stream");
}

void CudaDevice::synchronize() {
  Current current(*context_);
  driver_.check(driver_.ctxSynchronize(), "waiting for the GPU");
}

/// Which GPU a foreign context belongs to, for the message.
static std::string owner(const Driver &driver, CUcontext handle) {
  CUcontext previous = nullptr;
  CUdevice device = -1;
  driver.ctxGetCurrent(&previous);
  bool known = driver.ctxSetCurrent(handle) == CUDA_SUCCESS && driver.ctxGetDevice(&device) == CUDA_SUCCESS;
  driver.ctxSetCurrent(previous);
  return known ? fmt::format("a stream of GPU {}", static_cast<int>(device))
               : "a stream of an unknown context";
}

void CudaDevice::checkStream(Stream stream) {
  Current current(*context_);
  CUcontext handle = nullptr;
  CUresult result = driver_.streamGetCtx(native(stream), &handle);
  if (result == CUDA_SUCCESS && handle == context_->handle)
    return;
  if (result != CUDA_SUCCESS && result != CUDA_ERROR_INVALID_HANDLE && result != CUDA_ERROR_INVALID_VALUE &&
      result != CUDA_ERROR_CONTEXT_IS_DESTROYED && result != CUDA_ERROR_INVALID_CONTEXT)
    driver_.fail(result, "looking at a stream"); // An earlier asynchronous failure, reported here.
  throw UserError({"stream",
                   fmt::format("it must belong to GPU {} ({}) and its primary context", context_->ordinal,
                               properties_.name),
                   result == CUDA_SUCCESS ? owner(driver_, handle) : driver_.describe(result),
                   "pass a stream of the device that the kernel was loaded on"});
}
