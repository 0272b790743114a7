//===- JitTest.cpp - From a description to a kernel on a device ---------------------------------------===//
//
// Which image a device is given, and the whole facade on the emulator: compile, cache, load, run.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/Jit.h"
#include "lathe/dsl/models/Mla.h"
#include "lathe/runtime/device/emulator/Emulator.h"
#include "lathe/tests/unit/support/Helpers.h"

using namespace lathe;
using namespace lathe::runtime;

TEST(Jit, ImageIsWhatTheDeviceWants) {
  JitArtifact artifact;
  artifact.entry.ptx = "// text";
  artifact.entry.cubin = "machine code";
  EXPECT_EQ(artifact.image(ImageKind::Cubin), "machine code");
  const std::string text("// text\0", 8);
  EXPECT_EQ(artifact.image(ImageKind::Ptx), text) << "PTX ends in a zero byte";
  artifact.entry.cubin.clear();
  EXPECT_EQ(artifact.image(ImageKind::Cubin), text) << "the driver assembles where nothing else did";
}

TEST(Jit, LoadsAndPlansOnTheEmulator) {
  test::TempFolder folder;
  const Jit jit(folder / "cache");
  const auto emulator = openEmulator();
  const dsl::Kernel description = dsl::mlaDecode({.heads = 8});
  JitReport cold, warm;
  jit.load(description, emulator, {}, &cold);
  const Kernel kernel =
      jit.load(description, emulator, {}, &warm); // With the cubin beside it, if there is one.
  EXPECT_TRUE(cold.compiled);
  EXPECT_FALSE(warm.compiled);
  const std::vector<int> lengths{100, 0, 7};
  Buffer tokens(*emulator, lengths.size() * 4);
  emulator->copyToDevice(tokens.get(), lengths.data(), tokens.bytes());
  Plan plan = kernel.makePlan(3);
  kernel.plan(plan, tokens.get(), 3, {});
  const auto launches = emulator->takeLaunches();
  ASSERT_EQ(launches.size(), 1u);
  EXPECT_EQ(launches[0].kernel, "plan");
  EXPECT_TRUE(emulator->takeFindings().empty());
}
