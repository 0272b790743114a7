//===- Nvrtc.h - CUDA C++ to machine code at run time ------------------------------------------------===//
//
// Opens libnvrtc when it is first needed, so that nothing depends on a CUDA toolkit until a reference kernel
// is wanted, and compiles source text to a cubin. Used by the GPU reference; knows no kernel. Thread-safe.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"

#include <string>

namespace lathe::reference {

/// Path of the library that was opened and its version ("/usr/local/cuda/lib64/libnvrtc.so, 13.0"). Throws
/// DeviceError naming the places that were tried when there is none.
std::string nvrtcName();

/// Compiles CUDA C++ (no headers) for one architecture, "sm_90". `name` stands for the file in messages.
/// Throws DeviceError when NVRTC is missing, CompileError with its log when it rejects the source.
std::string compileCuda(const std::string &source, const std::string &name, const std::string &arch);

/// The cubin of a reference's source for a GPU, compiled once a process for each architecture. `name` stands
/// for the source, also as what is remembered. Throws as compileCuda().
const std::string &referenceCubin(const std::string &source, const std::string &name,
                                  const runtime::DeviceProperties &properties);

} // namespace lathe::reference
