// Any text: it is parsed and decoded, or refused with an Error.
#include "lathe/runtime/device/emulator/Emulator.h"
#include "lathe/support/Error.h"

#include <cstddef>
#include <cstdint>

using namespace lathe;

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const auto device = runtime::openEmulator({.hostThreads = 1});
  try {
    device->load({reinterpret_cast<const char *>(data), size});
  } catch (const Error &) {
    return 0; // Refused, and still worth keeping.
  }
  return 0;
}
