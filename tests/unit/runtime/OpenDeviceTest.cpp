//===- OpenDeviceTest.cpp - A GPU, else the emulator --------------------------------------------------===//
//
// LATHE_DEVICE, a machine without a driver, and the fake driver with its three GPUs. The driver is opened
// once a process, so each of these runs in a child of its own.
//
//===--------------------------------------------------------------------------------------------------===//
#include "FakeDevice.h"

#include "lathe/runtime/device/emulator/Emulator.h"

#include <gtest/gtest.h>

#include <filesystem>

using namespace lathe;
using namespace lathe::runtime;
using namespace lathe::runtime::test;

namespace {
struct OpenDeviceTest : ::testing::Test {
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};
} // namespace

static std::string fakeLibrary() {
  auto path = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "libfakecuda.so";
  return std::filesystem::exists(path) ? path.string() : "";
}

/// Prints what openDevice(ordinal) gives or throws, and leaves with status 0. `device` null: LATHE_DEVICE is
/// unset.
[[noreturn]] static void openAndLeave(const char *device, const std::string &library, int ordinal = 0) {
  device ? setenv("LATHE_DEVICE", device, 1) : unsetenv("LATHE_DEVICE");
  setenv("LATHE_LIBCUDA", library.c_str(), 1);
  setenv("FAKE_CUDA", "", 1);
  try {
    const auto opened = openDevice(ordinal);
    const bool emulated = dynamic_cast<Emulator *>(opened.get());
    const bool wantsPtx = opened->imageKind() == ImageKind::Ptx,
               chosen = defaultDeviceKind() == DeviceKind::Emulator;
    std::fprintf(stderr, "opened %s, %s\n", opened->properties().name.c_str(),
                 emulated != wantsPtx || emulated != chosen ? "which contradicts itself" : "done");
  } catch (const Error &error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
  std::_Exit(0);
}

static constexpr const char *nowhere = "/nonexistent/libcuda.so.1";

TEST_F(OpenDeviceTest, EmulatesWhereThereIsNoGpu) {
  EXPECT_EXIT(openAndLeave(nullptr, nowhere), ::testing::ExitedWithCode(0),
              "opened Lathe PTX emulator, done");
  EXPECT_EXIT(openAndLeave("", nowhere), ::testing::ExitedWithCode(0), "opened Lathe PTX emulator, done");
  EXPECT_EXIT(openAndLeave("emulator", nowhere), ::testing::ExitedWithCode(0),
              "opened Lathe PTX emulator, done");
}

TEST_F(OpenDeviceTest, VariableForcesTheDriver) {
  EXPECT_EXIT(openAndLeave("cuda", nowhere), ::testing::ExitedWithCode(0),
              "CUDA driver: libcuda.so.1 must be installed");
}

TEST_F(OpenDeviceTest, OtherNamesAreRefused) {
  EXPECT_EXIT(openAndLeave("abacus", nowhere), ::testing::ExitedWithCode(0),
              "LATHE_DEVICE: must be one of cuda, emulator, got 'abacus'");
}

TEST_F(OpenDeviceTest, TakesTheGpuWhereThereIsOne) {
  if (fakeLibrary().empty())
    GTEST_SKIP() << "libfakecuda.so is not beside this test: build all targets";
  EXPECT_EXIT(openAndLeave(nullptr, fakeLibrary(), 1), ::testing::ExitedWithCode(0),
              "opened Fake H100, done");
  EXPECT_EXIT(openAndLeave("emulator", fakeLibrary(), 1), ::testing::ExitedWithCode(0),
              "opened Lathe PTX emulator, done");
  // A GPU that cannot be used is told; emulating it silently would look like a slow GPU.
  EXPECT_EXIT(openAndLeave(nullptr, fakeLibrary(), 2), ::testing::ExitedWithCode(0),
              "Fake A100.*compute capability 9.0.*LATHE_DEVICE=emulator");
  EXPECT_EXIT(openAndLeave(nullptr, fakeLibrary(), 3), ::testing::ExitedWithCode(0), "from 0 to 2, got 3");
}
