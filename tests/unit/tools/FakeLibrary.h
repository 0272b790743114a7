//===- FakeLibrary.h - The fake peer, as a test handles it ---------------------------------------------===//
//
// Opens the whole fake library beside the loader under test, tells it how to behave, and lends it a device to
// copy from and to. Used by the tests of this folder.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"
#include "lathe/tests/unit/tools/fake/FakePeer.h"

#include <dlfcn.h>

#include <string>

namespace lathe::test {

class FakeLibrary {
public:
  FakeLibrary() : handle_(dlopen(path("whole").c_str(), RTLD_NOW)) {
    configure_ = reinterpret_cast<decltype(configure_)>(dlsym(handle_, "fake_peer_configure"));
    living_ = reinterpret_cast<decltype(living_)>(dlsym(handle_, "fake_peer_living"));
  }
  ~FakeLibrary() { dlclose(handle_); }
  FakeLibrary(const FakeLibrary &) = delete;
  FakeLibrary &operator=(const FakeLibrary &) = delete;

  /// "whole", "without_run" or "other_version".
  static std::string path(const std::string &form) {
    return std::string(LATHE_FAKE_PEERS) + "/fake_peer_" + form + ".so";
  }

  void behave(int mode, int lseOrder = LATHE_PEER_LSE_HEADS_FIRST, runtime::Device *device = nullptr) {
    const fake_peer_settings settings{
        .mode = mode, .lse_order = lseOrder, .device = device, .fetch = fetch, .store = store};
    configure_(&settings);
  }
  /// Peers created and not destroyed.
  int living() const { return living_(); }

private:
  static void fetch(void *device, void *to, uint64_t from, size_t bytes) {
    static_cast<runtime::Device *>(device)->copyToHost(to, from, bytes);
  }
  static void store(void *device, uint64_t to, const void *from, size_t bytes) {
    static_cast<runtime::Device *>(device)->copyToDevice(to, from, bytes);
  }

  void *handle_;
  decltype(&fake_peer_configure) configure_ = nullptr;
  decltype(&fake_peer_living) living_ = nullptr;
};

} // namespace lathe::test
