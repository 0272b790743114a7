#include "FakeDevice.h"

#include "lathe/runtime/device/Device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

using namespace lathe;
using namespace lathe::runtime;
using namespace lathe::runtime::test;

// The driver is opened once a process, so each of these needs its own: the threadsafe style re-executes the
// binary.

namespace {
struct CudaDriverTest : ::testing::Test {
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
  /// Prints and leaves the child with status 0 where `passed`.
  [[noreturn]] static void leave(bool passed, const std::string &text) {
    std::fprintf(stderr, "%s\n", text.c_str());
    std::_Exit(passed ? 0 : 1);
  }
  /// The recording library beside this binary; empty where it was not built.
  static std::string fakeLibrary() {
    auto path = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "libfakecuda.so";
    return std::filesystem::exists(path) ? path.string() : "";
  }
};

/// As CudaDriverTest, with a driver of three GPUs: two H100 and one A100.
struct FakeDriverTest : CudaDriverTest {
  void SetUp() override {
    CudaDriverTest::SetUp();
    if (fakeLibrary().empty())
      GTEST_SKIP() << "libfakecuda.so is not beside this test: build all targets";
  }
  static void useFake(const char *mode = "") {
    setenv("LATHE_LIBCUDA", fakeLibrary().c_str(), 1);
    setenv("FAKE_CUDA", mode, 1);
  }
};
} // namespace

TEST_F(CudaDriverTest, MissingLibraryIsTold) {
  auto body = [] {
    setenv("LATHE_LIBCUDA", "/nonexistent/libcuda.so.1", 1);
    std::string message = messageOf<DeviceError>([] { openCudaDevice(0); });
    leave(cudaDeviceCount() == 0, message + "\nreason: " + cudaUnavailableReason());
  };
  EXPECT_EXIT(body(), ::testing::ExitedWithCode(0),
              "CUDA driver: libcuda.so.1 must be installed.*/nonexistent/libcuda.so.1.*install the NVIDIA "
              "driver(.|\n)*reason: LATHE_LIBCUDA=/nonexistent/libcuda.so.1 cannot be opened");
}

TEST_F(CudaDriverTest, LibraryThatIsNoDriverIsTold) {
  auto body = [] {
    setenv("LATHE_LIBCUDA", "libm.so.6", 1);
    leave(true, messageOf<DeviceError>([] { openCudaDevice(0); }));
  };
  EXPECT_EXIT(body(), ::testing::ExitedWithCode(0),
              "CUDA 12.0 or newer, got one without cuGetProcAddress_v2");
}

TEST_F(FakeDriverTest, OldDriverIsTold) {
  auto body = [] {
    useFake("old");
    leave(true, messageOf<DeviceError>([] { openCudaDevice(0); }));
  };
  EXPECT_EXIT(body(), ::testing::ExitedWithCode(0), "one without cuTensorMapEncodeTiled");
}

TEST_F(FakeDriverTest, DriverWithoutGpuIsTold) {
  auto body = [] {
    useFake("none");
    leave(cudaDeviceCount() == 0,
          messageOf<DeviceError>([] { openCudaDevice(0); }) + cudaUnavailableReason());
  };
  EXPECT_EXIT(body(), ::testing::ExitedWithCode(0), "cuInit must succeed, got CUDA_ERROR_NO_DEVICE");
}

TEST_F(FakeDriverTest, PropertiesOrdinalsAndCapability) {
  auto body = [] {
    useFake();
    bool passed = cudaDeviceCount() == 3 && cudaUnavailableReason().empty();
    auto device = openCudaDevice(1);
    const DeviceProperties &p = device->properties();
    passed &= p.name == "Fake H100" && p.smCount == 132 && p.major == 9 && p.minor == 0;
    passed &= p.memoryGBs == 3352; // 2,619 MHz, 5,120 bits.
    passed &= p.uuid == "GPU-01000000-0000-0000-0000-0000000000ff" && p.driverVersion == 13000;
    leave(passed, messageOf<DeviceError>([] { openCudaDevice(3); }) + "\n" +
                      messageOf<DeviceError>([] { openCudaDevice(2); }));
  };
  EXPECT_EXIT(body(), ::testing::ExitedWithCode(0),
              "from 0 to 2, got 3(.|\n)*Fake A100.*compute capability 9.0.*got 8.0");
}

TEST_F(FakeDriverTest, StreamsOfOtherDevicesAreRefusedAndContextsRestored) {
  auto body = [] {
    useFake();
    auto first = openCudaDevice(0), second = openCudaDevice(1);
    Stream stream = second->createStream();
    second->checkStream(stream);
    first->checkStream({});
    leave(true, messageOf<UserError>([&] { first->checkStream(stream); }));
  };
  EXPECT_EXIT(body(), ::testing::ExitedWithCode(0),
              "must belong to GPU 0 .Fake H100..*got a stream of GPU 1");
}

TEST_F(FakeDriverTest, LaunchesCarrySharedMemoryAndDependence) {
  auto body = [] {
    useFake();
    auto device = openCudaDevice(0);
    auto module = device->load(".version 8.7");
    Function function = module->function("attend", 200000);
    LaunchShape shape{4, 33, 1, 384, 200000, true};
    void *arguments[1] = {};
    device->launch(function, shape, arguments, {}); // The fake prints what it is asked.
    shape.dependent = false;
    device->launch(function, shape, arguments, {});
    leave(true, messageOf<DeviceError>([&] { module->function("attend", 300000); }));
  };
  EXPECT_EXIT(
      body(), ::testing::ExitedWithCode(0),
      "max shared 200000(.|\n)*clusters allowed(.|\n)*launch 4x33x1 threads 384 shared 200000 dependent 1"
      "(.|\n)*launch 4x33x1 threads 384 shared 200000 dependent 0(.|\n)*at most 232448 bytes");
}

/// What the driver answers; nothing where it lacks the question or fails.
TEST_F(FakeDriverTest, ClustersThatFitAreAskedOfTheDriver) {
  auto body = [](const char *mode, int64_t ctas, int64_t clusters) {
    useFake(mode);
    auto device = openCudaDevice(0);
    Function function = device->load(".version 8.7")->function("attend", 200000);
    const int64_t alone = device->residentClusters(function, {384, 200000, 1});
    const int64_t together = device->residentClusters(function, {384, 200000, 4});
    leave(alone == ctas && together == clusters, "asked");
  };
  EXPECT_EXIT(
      body("", int64_t(2) * 132, 30), ::testing::ExitedWithCode(0),
      "blocks of 384 threads shared 200000(.|\n)*clusters of 4x1x1 grid 4x1x1 threads 384 shared 200000");
  EXPECT_EXIT(body("no room asked", 0, 0), ::testing::ExitedWithCode(0), "asked");
  EXPECT_EXIT(body("no room told", 0, 0), ::testing::ExitedWithCode(0), "blocks of (.|\n)*clusters of ");
}

TEST_F(FakeDriverTest, LoadErrorsCarryTheLog) {
  auto body = [] {
    useFake();
    auto device = openCudaDevice(0);
    leave(true, messageOf<DeviceError>([&] { device->load(".version 8.7 bad"); }) + "\n" +
                    messageOf<DeviceError>([&] { device->load(".version 8.7 serial"); }) + "\n" +
                    messageOf<DeviceError>([&] {
                      device->load(std::string_view("\x7f"
                                                    "ELF...",
                                                    7));
                    }) +
                    "\n" +
                    messageOf<DeviceError>([&] { device->load(".version 8.7")->function("absent", 0); }));
  };
  EXPECT_EXIT(
      body(), ::testing::ExitedWithCode(0),
      "syntax error at line 1(.|\n)*CUDA_ERROR_INVALID_PTX(.|\n)*C7511(.|\n)*truncated(.|\n)*kernel absent");
}

TEST_F(FakeDriverTest, TensorMapsAreEncodedAsTheKernelsExpect) {
  auto body = [] {
    useFake();
    auto device = openCudaDevice(0);
    TensorMapSpec spec{0x1000, Dtype::BF16, 3, {576, 64, 512}, {1152, 73728}, {64, 32, 1}};
    TensorMap map = device->encode(spec);
    leave(map.bytes[0] == std::byte(0x5a), "encoded");
  };
  EXPECT_EXIT(body(), ::testing::ExitedWithCode(0),
              "tensor map rank 3 extents 576,64,512 strides 1152,73728 box 64,32,1 steps 1,1,1 interleave 0 "
              "swizzle 3 "
              "promotion 2 fill 0");
}

TEST_F(FakeDriverTest, MemoryErrorsNameSizes) {
  auto body = [] {
    useFake();
    auto device = openCudaDevice(0);
    DevicePtr pointer = device->allocate(0);
    device->release(pointer);
    leave(pointer != 0, messageOf<DeviceError>([&] { device->allocate(size_t(1) << 40); }));
  };
  EXPECT_EXIT(body(), ::testing::ExitedWithCode(0),
              "allocating 1099511627776 bytes on GPU 0.*CUDA_ERROR_OUT_OF_MEMORY");
}
