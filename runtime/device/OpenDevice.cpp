//===- OpenDevice.cpp - A GPU, else the emulator -----------------------------------------------------===//
//
// The one place that chooses between the backends, so that applications, tools and tests run the same code on
// machines with and without a GPU. LATHE_DEVICE forces the choice.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/Emulator.h"
#include "lathe/support/Env.h"

using namespace lathe;
using namespace lathe::runtime;

DeviceKind runtime::defaultDeviceKind() {
  if (const auto forced = envChoiceIfSet("LATHE_DEVICE"))
    return *forced == "emulator" ? DeviceKind::Emulator : DeviceKind::Cuda;
  return cudaDeviceCount() > 0 ? DeviceKind::Cuda : DeviceKind::Emulator;
}

std::shared_ptr<Device> runtime::openDevice(int ordinal) {
  if (defaultDeviceKind() == DeviceKind::Emulator)
    return openEmulator();
  return openCudaDevice(ordinal);
}
