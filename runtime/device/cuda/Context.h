//===- Context.h - The primary context of one GPU ----------------------------------------------------===//
//
// Retains a GPU's primary context and makes it current for the length of a scope, restoring what the caller
// had. Shared by the device and everything made from it, so that a module, a graph or an event may outlive
// the device object. Used by the files of this folder alone.
//
//===----------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/cuda/Driver.h"

#include <memory>

namespace lathe::runtime::cuda {

/// One reference to a primary context; released with the object.
class Context {
public:
  Context(const Driver &driver, int ordinal, CUdevice device)
      : driver(driver), ordinal(ordinal), device(device) {
    driver.check(driver.primaryCtxRetain(&handle, device), "cuDevicePrimaryCtxRetain");
  }
  ~Context() { driver.primaryCtxRelease(device); }
  Context(const Context &) = delete;
  Context &operator=(const Context &) = delete;

  const Driver &driver;
  const int ordinal;
  const CUdevice device;
  CUcontext handle = nullptr;
};

/// Makes a context current on this thread while in scope. Costs one driver call where it already is.
class Current {
public:
  explicit Current(const Context &context) : driver_(context.driver) {
    driver_.check(driver_.ctxGetCurrent(&previous_), "cuCtxGetCurrent");
    changed_ = previous_ != context.handle;
    if (changed_)
      driver_.check(driver_.ctxSetCurrent(context.handle), "cuCtxSetCurrent");
  }
  ~Current() {
    if (changed_)
      driver_.ctxSetCurrent(previous_);
  }
  Current(const Current &) = delete;
  Current &operator=(const Current &) = delete;

private:
  const Driver &driver_;
  CUcontext previous_ = nullptr;
  bool changed_ = false;
};

/// Runs a clean-up with the context current, and never throws: a process that ends has no driver to complain
/// to.
template <typename Release>
void releaseIn(const Context &context, Release release) noexcept {
  try {
    Current current(context);
    release(context.driver);
    // NOLINTNEXTLINE(bugprone-empty-catch): nobody to tell.
  } catch (const Error &) {
  }
}

} // namespace lathe::runtime::cuda
