//===- FakeLibcuda.cpp - A driver library for tests --------------------------------------------------===//
//
// Answers the driver calls that the CUDA backend makes, for three imaginary GPUs, and prints what it is
// asked, so that the backend is exercised where there is no GPU. Refuses calls made without the right
// context. FAKE_CUDA=old drops an entry point, FAKE_CUDA=none has no GPU, "no room asked" and "no room told"
// drop and fail the questions of how much fits. Loaded by CudaDriverTest through LATHE_LIBCUDA.
//
//===----------------------------------------------------------------------------------------------------===//
#include <cuda.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {
struct FakeContext {
  int device;
};
FakeContext contexts[3] = {{0}, {1}, {2}};
thread_local CUcontext current = nullptr;
} // namespace

static CUresult inContext() { return current ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT; }
static bool mode(const char *name) {
  const char *value = std::getenv("FAKE_CUDA");
  return value && std::strcmp(value, name) == 0;
}
template <typename T>
static std::string list(const T *values, int count) {
  std::string text;
  for (int i = 0; i < count; ++i)
    text += (i ? "," : "") + std::to_string(values[i]);
  return text;
}

//===- Errors and devices ----------------------------------------------------------------------------===//

static CUresult init(unsigned) { return mode("none") ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS; }
static CUresult getErrorName(CUresult error, const char **name) {
  *name = error == CUDA_ERROR_NO_DEVICE       ? "CUDA_ERROR_NO_DEVICE"
          : error == CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY"
          : error == CUDA_ERROR_INVALID_PTX   ? "CUDA_ERROR_INVALID_PTX"
                                              : "CUDA_ERROR_OTHER";
  return CUDA_SUCCESS;
}
static CUresult getErrorString(CUresult, const char **text) {
  *text = "words";
  return CUDA_SUCCESS;
}
static CUresult driverGetVersion(int *version) {
  *version = 13000;
  return CUDA_SUCCESS;
}
static CUresult deviceGetCount(int *count) {
  *count = 3;
  return CUDA_SUCCESS;
}
static CUresult deviceGet(CUdevice *device, int ordinal) {
  *device = ordinal;
  return CUDA_SUCCESS;
}
static CUresult deviceGetName(char *name, int bytes, CUdevice device) {
  std::snprintf(name, bytes, device == 2 ? "Fake A100" : "Fake H100");
  return CUDA_SUCCESS;
}
static CUresult deviceGetUuid(CUuuid *uuid, CUdevice device) {
  std::memset(uuid->bytes, 0, sizeof(uuid->bytes));
  uuid->bytes[0] = static_cast<char>(device);
  uuid->bytes[15] = static_cast<char>(0xff);
  return CUDA_SUCCESS;
}
static CUresult deviceGetAttribute(int *value, CUdevice_attribute which, CUdevice device) {
  *value = which == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR            ? (device == 2 ? 8 : 9)
           : which == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT              ? 132
           : which == CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN ? 232448
           : which == CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE                 ? 2619000
           : which == CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH           ? 5120
                                                                            : 0;
  return CUDA_SUCCESS;
}
static CUresult deviceTotalMem(size_t *bytes, CUdevice) {
  *bytes = size_t(80) << 30;
  return CUDA_SUCCESS;
}

//===- Contexts --------------------------------------------------------------------------------------===//

static CUresult primaryCtxRetain(CUcontext *context, CUdevice device) {
  *context = reinterpret_cast<CUcontext>(&contexts[device]);
  return CUDA_SUCCESS;
}
static CUresult primaryCtxRelease(CUdevice) { return CUDA_SUCCESS; }
static CUresult ctxGetCurrent(CUcontext *context) {
  *context = current;
  return CUDA_SUCCESS;
}
static CUresult ctxSetCurrent(CUcontext context) {
  current = context;
  return CUDA_SUCCESS;
}
static CUresult ctxGetDevice(CUdevice *device) {
  *device = current ? reinterpret_cast<FakeContext *>(current)->device : -1;
  return inContext();
}
static CUresult ctxSynchronize() { return inContext(); }

//===- Memory and streams ----------------------------------------------------------------------------===//

static CUresult memAlloc(CUdeviceptr *pointer, size_t bytes) {
  if (bytes == 0)
    return CUDA_ERROR_INVALID_VALUE;
  if (bytes > size_t(80) << 30)
    return CUDA_ERROR_OUT_OF_MEMORY;
  *pointer = reinterpret_cast<CUdeviceptr>(std::malloc(bytes));
  return inContext();
}
static CUresult memFree(CUdeviceptr pointer) {
  std::free(reinterpret_cast<void *>(pointer));
  return inContext();
}
static CUresult memGetInfo(size_t *freeBytes, size_t *totalBytes) {
  *freeBytes = *totalBytes = size_t(80) << 30;
  return inContext();
}
static CUresult memcpyHtoD(CUdeviceptr to, const void *from, size_t bytes) {
  std::memcpy(reinterpret_cast<void *>(to), from, bytes);
  return inContext();
}
static CUresult memcpyDtoH(void *to, CUdeviceptr from, size_t bytes) {
  std::memcpy(to, reinterpret_cast<void *>(from), bytes);
  return inContext();
}
static CUresult memsetD8Async(CUdeviceptr to, unsigned char byte, size_t bytes, CUstream) {
  std::memset(reinterpret_cast<void *>(to), byte, bytes);
  return inContext();
}
static CUresult streamCreate(CUstream *stream, unsigned) {
  *stream = reinterpret_cast<CUstream>(current); // A stream is its context's address.
  return inContext();
}
static CUresult streamDestroy(CUstream) { return inContext(); }
static CUresult streamSynchronize(CUstream) { return inContext(); }
static CUresult streamGetCtx(CUstream stream, CUcontext *context) {
  *context = stream ? reinterpret_cast<CUcontext>(stream) : current;
  return inContext();
}
static CUresult streamBeginCapture(CUstream, CUstreamCaptureMode) { return inContext(); }
static CUresult streamEndCapture(CUstream, CUgraph *graph) {
  *graph = nullptr;
  return inContext();
}
static CUresult graphInstantiate(CUgraphExec *, CUgraph, unsigned long long) { return inContext(); }
static CUresult graphLaunch(CUgraphExec, CUstream) { return inContext(); }
static CUresult graphDestroy(CUgraph) { return inContext(); }
static CUresult graphExecDestroy(CUgraphExec) { return inContext(); }
static CUresult eventCreate(CUevent *, unsigned) { return inContext(); }
static CUresult eventDestroy(CUevent) { return inContext(); }
static CUresult eventRecord(CUevent, CUstream) { return inContext(); }
static CUresult eventSynchronize(CUevent) { return inContext(); }
static CUresult eventElapsedTime(float *milliseconds, CUevent, CUevent) {
  *milliseconds = 1;
  return inContext();
}

//===- Modules and launches --------------------------------------------------------------------------===//

static void writeLog(unsigned count, CUjit_option *options, void **values, CUjit_option which,
                     const char *text) {
  for (unsigned i = 0; i < count; ++i)
    if (options[i] == which)
      std::strcpy(static_cast<char *>(values[i]), text);
}
static CUresult moduleLoadDataEx(CUmodule *module, const void *image, unsigned count, CUjit_option *options,
                                 void **values) {
  const char *text = static_cast<const char *>(image);
  if (std::strstr(text, "bad")) {
    writeLog(count, options, values, CU_JIT_ERROR_LOG_BUFFER, "syntax error at line 1");
    return CUDA_ERROR_INVALID_PTX;
  }
  if (std::strstr(text, "serial"))
    writeLog(count, options, values, CU_JIT_INFO_LOG_BUFFER, "info : (C7511) wgmma serialized");
  *module = reinterpret_cast<CUmodule>(&contexts[0]);
  return inContext();
}
static CUresult moduleUnload(CUmodule) { return inContext(); }
static CUresult moduleGetFunction(CUfunction *function, CUmodule, const char *name) {
  *function = reinterpret_cast<CUfunction>(&contexts[0]);
  return std::strcmp(name, "absent") == 0 ? CUDA_ERROR_NOT_FOUND : inContext();
}
static CUresult funcGetAttribute(int *value, CUfunction_attribute, CUfunction) {
  *value = 168;
  return inContext();
}
static CUresult funcSetAttribute(CUfunction, CUfunction_attribute which, int value) {
  if (which == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
    std::fprintf(stderr, "max shared %d\n", value);
  if (which == CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED && value == 1)
    std::fprintf(stderr, "clusters allowed\n");
  return inContext();
}
static CUresult maxActiveBlocks(int *blocks, CUfunction, int threads, size_t sharedBytes) {
  std::fprintf(stderr, "blocks of %d threads shared %zu\n", threads, sharedBytes);
  *blocks = 2;
  return mode("no room told") ? CUDA_ERROR_INVALID_VALUE : inContext();
}
static CUresult maxActiveClusters(int *clusters, CUfunction, const CUlaunchConfig *c) {
  if (c->numAttrs != 1 || c->attrs[0].id != CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION)
    return CUDA_ERROR_INVALID_VALUE;
  const auto &cluster = c->attrs[0].value.clusterDim;
  std::fprintf(stderr, "clusters of %ux%ux%u grid %ux%ux%u threads %u shared %u\n", cluster.x, cluster.y,
               cluster.z, c->gridDimX, c->gridDimY, c->gridDimZ, c->blockDimX, c->sharedMemBytes);
  *clusters = 30;
  return mode("no room told") ? CUDA_ERROR_INVALID_CLUSTER_SIZE : inContext();
}
static CUresult launchKernelEx(const CUlaunchConfig *c, CUfunction, void **, void **) {
  bool dependent = false;
  for (unsigned i = 0; i < c->numAttrs; ++i)
    dependent |= c->attrs[i].id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION &&
                 c->attrs[i].value.programmaticStreamSerializationAllowed == 1;
  std::fprintf(stderr, "launch %ux%ux%u threads %u shared %u dependent %d\n", c->gridDimX, c->gridDimY,
               c->gridDimZ, c->blockDimX, c->sharedMemBytes, dependent);
  return inContext();
}
static CUresult tensorMapEncodeTiled(CUtensorMap *map, CUtensorMapDataType, cuuint32_t rank, void *,
                                     const cuuint64_t *extents, const cuuint64_t *strides,
                                     const cuuint32_t *box, const cuuint32_t *steps,
                                     CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                     CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill) {
  std::memset(map, 0x5a, sizeof(*map));
  std::fprintf(stderr,
               "tensor map rank %u extents %s strides %s box %s steps %s interleave %d swizzle %d promotion "
               "%d fill %d\n",
               rank, list(extents, rank).c_str(), list(strides, rank - 1).c_str(), list(box, rank).c_str(),
               list(steps, rank).c_str(), interleave, swizzle, promotion, fill);
  return CUDA_SUCCESS;
}

struct Entry {
  const char *name;
  void *function;
};
#define FAKE(symbol, function) {symbol, reinterpret_cast<void *>(&function)}
const Entry entries[] = {FAKE("cuInit", init),
                         FAKE("cuGetErrorName", getErrorName),
                         FAKE("cuGetErrorString", getErrorString),
                         FAKE("cuDriverGetVersion", driverGetVersion),
                         FAKE("cuDeviceGetCount", deviceGetCount),
                         FAKE("cuDeviceGet", deviceGet),
                         FAKE("cuDeviceGetName", deviceGetName),
                         FAKE("cuDeviceGetUuid", deviceGetUuid),
                         FAKE("cuDeviceGetAttribute", deviceGetAttribute),
                         FAKE("cuDeviceTotalMem", deviceTotalMem),
                         FAKE("cuDevicePrimaryCtxRetain", primaryCtxRetain),
                         FAKE("cuDevicePrimaryCtxRelease", primaryCtxRelease),
                         FAKE("cuCtxGetCurrent", ctxGetCurrent),
                         FAKE("cuCtxSetCurrent", ctxSetCurrent),
                         FAKE("cuCtxGetDevice", ctxGetDevice),
                         FAKE("cuCtxSynchronize", ctxSynchronize),
                         FAKE("cuMemAlloc", memAlloc),
                         FAKE("cuMemFree", memFree),
                         FAKE("cuMemGetInfo", memGetInfo),
                         FAKE("cuMemcpyHtoD", memcpyHtoD),
                         FAKE("cuMemcpyDtoH", memcpyDtoH),
                         FAKE("cuMemsetD8Async", memsetD8Async),
                         FAKE("cuStreamCreate", streamCreate),
                         FAKE("cuStreamDestroy", streamDestroy),
                         FAKE("cuStreamSynchronize", streamSynchronize),
                         FAKE("cuStreamGetCtx", streamGetCtx),
                         FAKE("cuStreamBeginCapture", streamBeginCapture),
                         FAKE("cuStreamEndCapture", streamEndCapture),
                         FAKE("cuGraphInstantiateWithFlags", graphInstantiate),
                         FAKE("cuGraphLaunch", graphLaunch),
                         FAKE("cuGraphDestroy", graphDestroy),
                         FAKE("cuGraphExecDestroy", graphExecDestroy),
                         FAKE("cuEventCreate", eventCreate),
                         FAKE("cuEventDestroy", eventDestroy),
                         FAKE("cuEventRecord", eventRecord),
                         FAKE("cuEventSynchronize", eventSynchronize),
                         FAKE("cuEventElapsedTime", eventElapsedTime),
                         FAKE("cuModuleLoadDataEx", moduleLoadDataEx),
                         FAKE("cuModuleUnload", moduleUnload),
                         FAKE("cuModuleGetFunction", moduleGetFunction),
                         FAKE("cuFuncGetAttribute", funcGetAttribute),
                         FAKE("cuFuncSetAttribute", funcSetAttribute),
                         FAKE("cuOccupancyMaxActiveBlocksPerMultiprocessor", maxActiveBlocks),
                         FAKE("cuOccupancyMaxActiveClusters", maxActiveClusters),
                         FAKE("cuLaunchKernelEx", launchKernelEx),
                         FAKE("cuTensorMapEncodeTiled", tensorMapEncodeTiled)};
#undef FAKE

#undef cuGetProcAddress_v2
extern "C"
    __attribute__((visibility("default"))) CUresult cuGetProcAddress_v2(const char *symbol, void **entry,
                                                                        int version, cuuint64_t,
                                                                        CUdriverProcAddressQueryResult *) {
  *entry = nullptr;
  for (const Entry &known : entries)
    if (version >= 12000 && std::strcmp(symbol, known.name) == 0 &&
        !(mode("old") && std::strcmp(symbol, "cuTensorMapEncodeTiled") == 0) &&
        !(mode("no room asked") && std::strstr(symbol, "cuOccupancy")))
      *entry = known.function;
  return *entry ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
