//===- Nccl.h - The part of NCCL that is used here ---------------------------------------------------===//
//
// Seven functions of libnccl.so.2, opened at run time, so that the example builds without NCCL's header and
// starts without its library. Declared after nccl.h of NCCL 2.7, the first with ncclSend and ncclRecv; the
// binary interface has been the same since. Called by NcclExchange.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/support/SharedLibrary.h"

#include <string>

namespace lathe::examples {

/// Types of nccl.h: ncclComm_t is a pointer, ncclResult_t and ncclDataType_t are enumerations.
struct Nccl {
  using Communicator = void *;
  using Stream = void *;                ///< cudaStream_t, which is CUstream.
  static constexpr int success = 0;     ///< ncclSuccess.
  static constexpr int byteElement = 0; ///< ncclInt8.

  SharedLibrary shared;
  int (*commInitAll)(Communicator *, int ranks, const int *ordinals) = nullptr;
  int (*commDestroy)(Communicator) = nullptr;
  int (*groupStart)() = nullptr;
  int (*groupEnd)() = nullptr;
  int (*send)(const void *, size_t count, int element, int peer, Communicator, Stream) = nullptr;
  int (*receive)(void *, size_t count, int element, int peer, Communicator, Stream) = nullptr;
  const char *(*getErrorString)(int) = nullptr;

  /// Opens `path`, or looks on the loader's path and in the CUDA toolkit when it is empty; `shared` says
  /// whether it was found.
  static Nccl open(const std::string &path);
  /// Throws DeviceError "what: …" unless `result` is success.
  void check(int result, const char *what) const;
};

} // namespace lathe::examples
