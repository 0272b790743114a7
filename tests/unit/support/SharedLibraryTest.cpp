// Libraries that every system has, that none has, and that lack a function.
#include "Helpers.h"

#include "lathe/support/SharedLibrary.h"

#include <gtest/gtest.h>

using namespace lathe;
using namespace lathe::test;

using Cosine = double(double);

TEST(SharedLibrary, FindsFunctions) {
  Cosine *cosine = nullptr;
  const SharedLibrary library = SharedLibrary::open(
      {"libnowhere.so.7", "libm.so.6"}, [&](SharedLibrary &opened) { opened.find(cosine, "cos"); });
  ASSERT_TRUE(library) << library.failure();
  EXPECT_EQ(library.path(), "libm.so.6");
  EXPECT_EQ(library.failure(), "");
  ASSERT_TRUE(cosine);
  EXPECT_EQ(cosine(0), 1);
}

TEST(SharedLibrary, TellsWhatWasTried) {
  int bound = 0;
  const SharedLibrary library = SharedLibrary::open({"libnowhere.so.7", "/nonexistent/libnowhere.so"},
                                                    [&](SharedLibrary &) { ++bound; });
  EXPECT_FALSE(library);
  EXPECT_EQ(bound, 0);
  EXPECT_EQ(library.failure(), "libnowhere.so.7, /nonexistent/libnowhere.so");
}

TEST(SharedLibrary, TellsTheFunctionThatIsMissing) {
  Cosine *cosine = nullptr, *first = nullptr, *second = nullptr;
  const SharedLibrary library =
      SharedLibrary::open({"libm.so.6", "libnowhere.so.7"}, [&](SharedLibrary &opened) {
        opened.find(cosine, "cos");
        opened.find(first, "lathe_not_there");
        opened.find(second, "lathe_neither");
      });
  EXPECT_FALSE(library);
  EXPECT_EQ(library.failure(), "libm.so.6 without lathe_not_there");
  EXPECT_FALSE(first);
}

TEST(SharedLibrary, LooksInTheToolkitAfterTheLoadersPath) {
  const ScopedEnv home("CUDA_HOME", "/opt/toolkit"), path("CUDA_PATH", nullptr);
  EXPECT_EQ(cudaLibraryPaths({"libnccl.so.2", "libnccl.so"}),
            (std::vector<std::string>{"libnccl.so.2", "libnccl.so", "/opt/toolkit/lib64/libnccl.so.2",
                                      "/opt/toolkit/lib64/libnccl.so", "/usr/local/cuda/lib64/libnccl.so.2",
                                      "/usr/local/cuda/lib64/libnccl.so"}));
}
