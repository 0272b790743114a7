//===- TuneOnGpuTest.cpp - How candidates of attention are measured -----------------------------------===//
//
// On the emulator, whose times mean nothing: that layers run as in a benchmark, over caches of their own, and
// that their lengths are the workload's.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/tools/lathe/TuneOnGpu.h"

#include "lathe/runtime/device/emulator/Emulator.h"
#include "lathe/tests/unit/support/Helpers.h"

using namespace lathe;
using namespace lathe::tools;

TEST(TuneOnGpu, MeasuresLayersOfTheWorkload) {
  const test::TempFolder folder;
  const test::ScopedEnv cache{"LATHE_CACHE_DIR", folder.path().c_str()};
  dsl::MlaShape shape;
  shape.heads = 8;
  const CandidateJob job{.description = dsl::mlaDecode(shape),
                         .shape = {.heads = 8, .scale = 0.07F},
                         .lengths = {70, 1},
                         .timing = {.replays = 2, .warmup = 0}};
  const runtime::Jit jit;
  const auto device = runtime::openEmulator();
  const autotuner::Measurement time = measureLayers(jit.load(job.description, device), job);
  EXPECT_EQ(time.runs, 2);
  EXPECT_GT(time.medianUs, 0);
  EXPECT_LE(time.lowUs, time.medianUs);
}
