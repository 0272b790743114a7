//===- Driver.h - The CUDA driver, opened at run time ------------------------------------------------===//
//
// A table of the driver entry points that Lathe uses, resolved once through cuGetProcAddress from
// libcuda.so.1 (or the library that LATHE_LIBCUDA names). libcuda is never linked, so every binary starts on
// a machine without a GPU. Used by the files of this folder alone.
//
//===----------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/support/Error.h"

#include <cuda.h>

#include <string>

namespace lathe::runtime::cuda {

/// member, function (for its type), exported name. Resolved at the ABI of CUDA 12.0, whatever header compiles
/// this.
#define LATHE_DRIVER_ENTRIES(X)                                                                              \
  X(init, cuInit, "cuInit")                                                                                  \
  X(getErrorName, cuGetErrorName, "cuGetErrorName")                                                          \
  X(getErrorString, cuGetErrorString, "cuGetErrorString")                                                    \
  X(driverGetVersion, cuDriverGetVersion, "cuDriverGetVersion")                                              \
  X(deviceGetCount, cuDeviceGetCount, "cuDeviceGetCount")                                                    \
  X(deviceGet, cuDeviceGet, "cuDeviceGet")                                                                   \
  X(deviceGetName, cuDeviceGetName, "cuDeviceGetName")                                                       \
  X(deviceGetUuid, cuDeviceGetUuid, "cuDeviceGetUuid")                                                       \
  X(deviceGetAttribute, cuDeviceGetAttribute, "cuDeviceGetAttribute")                                        \
  X(deviceTotalMem, cuDeviceTotalMem, "cuDeviceTotalMem")                                                    \
  X(primaryCtxRetain, cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain")                                  \
  X(primaryCtxRelease, cuDevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease")                               \
  X(ctxGetCurrent, cuCtxGetCurrent, "cuCtxGetCurrent")                                                       \
  X(ctxSetCurrent, cuCtxSetCurrent, "cuCtxSetCurrent")                                                       \
  X(ctxGetDevice, cuCtxGetDevice, "cuCtxGetDevice")                                                          \
  X(ctxSynchronize, cuCtxSynchronize, "cuCtxSynchronize")                                                    \
  X(memAlloc, cuMemAlloc, "cuMemAlloc")                                                                      \
  X(memFree, cuMemFree, "cuMemFree")                                                                         \
  X(memGetInfo, cuMemGetInfo, "cuMemGetInfo")                                                                \
  X(memcpyHtoD, cuMemcpyHtoD, "cuMemcpyHtoD")                                                                \
  X(memcpyDtoH, cuMemcpyDtoH, "cuMemcpyDtoH")                                                                \
  X(memsetD8Async, cuMemsetD8Async, "cuMemsetD8Async")                                                       \
  X(streamCreate, cuStreamCreate, "cuStreamCreate")                                                          \
  X(streamDestroy, cuStreamDestroy, "cuStreamDestroy")                                                       \
  X(streamSynchronize, cuStreamSynchronize, "cuStreamSynchronize")                                           \
  X(streamGetCtx, cuStreamGetCtx, "cuStreamGetCtx")                                                          \
  X(streamBeginCapture, cuStreamBeginCapture, "cuStreamBeginCapture")                                        \
  X(streamEndCapture, cuStreamEndCapture, "cuStreamEndCapture")                                              \
  X(graphInstantiate, cuGraphInstantiateWithFlags, "cuGraphInstantiateWithFlags")                            \
  X(graphLaunch, cuGraphLaunch, "cuGraphLaunch")                                                             \
  X(graphDestroy, cuGraphDestroy, "cuGraphDestroy")                                                          \
  X(graphExecDestroy, cuGraphExecDestroy, "cuGraphExecDestroy")                                              \
  X(eventCreate, cuEventCreate, "cuEventCreate")                                                             \
  X(eventDestroy, cuEventDestroy, "cuEventDestroy")                                                          \
  X(eventRecord, cuEventRecord, "cuEventRecord")                                                             \
  X(eventSynchronize, cuEventSynchronize, "cuEventSynchronize")                                              \
  X(eventElapsedTime, cuEventElapsedTime, "cuEventElapsedTime")                                              \
  X(moduleLoadDataEx, cuModuleLoadDataEx, "cuModuleLoadDataEx")                                              \
  X(moduleUnload, cuModuleUnload, "cuModuleUnload")                                                          \
  X(moduleGetFunction, cuModuleGetFunction, "cuModuleGetFunction")                                           \
  X(funcGetAttribute, cuFuncGetAttribute, "cuFuncGetAttribute")                                              \
  X(funcSetAttribute, cuFuncSetAttribute, "cuFuncSetAttribute")                                              \
  X(launchKernelEx, cuLaunchKernelEx, "cuLaunchKernelEx")                                                    \
  X(tensorMapEncodeTiled, cuTensorMapEncodeTiled, "cuTensorMapEncodeTiled")

/// As LATHE_DRIVER_ENTRIES, for entries that stay null where the driver lacks them: who calls one asks first.
#define LATHE_OPTIONAL_DRIVER_ENTRIES(X)                                                                     \
  X(maxActiveBlocks, cuOccupancyMaxActiveBlocksPerMultiprocessor,                                            \
    "cuOccupancyMaxActiveBlocksPerMultiprocessor")                                                           \
  X(maxActiveClusters, cuOccupancyMaxActiveClusters, "cuOccupancyMaxActiveClusters")

/// The table. Immutable after driver() returned it; the library stays open until the process ends.
struct Driver {
// NOLINTNEXTLINE(bugprone-macro-parentheses): a declared name takes none.
#define LATHE_DRIVER_MEMBER(member, function, symbol) decltype(&::function) member = nullptr;
  LATHE_DRIVER_ENTRIES(LATHE_DRIVER_MEMBER)
  LATHE_OPTIONAL_DRIVER_ENTRIES(LATHE_DRIVER_MEMBER)
#undef LATHE_DRIVER_MEMBER

  /// Throws DeviceError "what: CUDA_ERROR_…, description" unless `result` is success.
  void check(CUresult result, const char *what) const {
    if (result != CUDA_SUCCESS) [[unlikely]]
      fail(result, what);
  }
  [[noreturn]] void fail(CUresult result, std::string what, std::string wayOut = "") const;
  /// "CUDA_ERROR_OUT_OF_MEMORY (out of memory)".
  std::string describe(CUresult result) const;
};

/// The driver of this process, opened and initialised on first use. Throws DeviceError with the way out when
/// it is missing, too old (CUDA 12.0 is needed), or finds no device. Thread-safe.
const Driver &driver();

/// What driver() would throw, in a few words: "libcuda.so.1 was not found"; empty where it returns.
const std::string &unavailableReason();

} // namespace lathe::runtime::cuda
