// Kernels that once crashed the emulator, kept it busy or took its host's memory, or were made to: each is
// refused, or comes to an end with a finding.
#include "lathe/runtime/device/emulator/Emulator.h"
#include "lathe/support/Error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <sys/resource.h>

using namespace lathe;
using namespace lathe::runtime;
using emulator::FindingKind;
using testing::HasSubstr;

static constexpr uint64_t limit = 20'000;
static constexpr size_t bufferBytes = 16384;

namespace {

/// What a run of a kernel with one buffer as argument gave.
struct Outcome {
  std::string error;
  emulator::FindingList findings;
  bool has(FindingKind kind) const {
    for (const emulator::Finding &finding : findings.findings)
      if (finding.kind == kind)
        return true;
    return false;
  }
};

struct RunOptions {
  unsigned threads = 32, ctas = 1, sharedBytes = 16384;
  TensorMapSpec map = {}; ///< Where it has a rank: the second argument, and the buffer's first bytes.
};

} // namespace

static Outcome run(const std::string &statements, RunOptions options = {},
                   const std::string &directives = "") {
  Outcome result;
  const auto device = openEmulator({.throwFindings = false, .maxInstructions = limit});
  Buffer buffer(*device, bufferBytes);
  const std::vector<uint8_t> bytes(bufferBytes, 1);
  device->copyToDevice(buffer.get(), bytes.data(), bytes.size());
  DevicePtr pointer = buffer.get();
  TensorMap map{};
  if (options.map.rank) {
    options.map.base = pointer + 1024;
    map = device->encode(options.map);
    device->copyToDevice(pointer, &map, sizeof(map));
  }
  void *arguments[] = {&pointer, &map};
  try {
    const auto module = device->load(fmt::format(
        ".version 8.7\n.target sm_90a\n.address_size 64\n.extern .shared .align 1024 .b8 smem[];\n"
        ".visible .entry test(.param .u64 a, .param .align 64 .b8 map[128])\n.reqntid {}\n{}{{\n"
        ".reg .b32 %r<4>; .reg .b64 %d<4>; .reg .pred %p<4>;\n"
        "ld.param.b64 %d0, [a]; mov.b32 %r0, smem; mov.u32 %r1, %tid.x; setp.eq.s32 %p0, %r1, "
        "0;\n{}\nret;\n}}\n",
        options.threads, directives, statements));
    const LaunchShape shape{
        .gridX = options.ctas, .threads = options.threads, .sharedBytes = options.sharedBytes};
    device->launch(module->function("test", int(options.sharedBytes)), shape, arguments, {});
  } catch (const DeviceError &error) {
    result.error = error.what();
  }
  result.findings = device->takeFindings();
  return result;
}

/// Megabytes that the process has had at most.
static long peakMegabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

//===- Runs without an end ---------------------------------------------------------------------------===//

TEST(FuzzRegression, EndlessLoopsEnd) {
  for (const char *loop :
       {"L: bra L;", "L: add.s32 %r0, %r0, 1; @%p0 bra L; bar.sync 0;",
        "L: setp.gt.u32 %p1, %r1, 7; @%p1 bra M; bra L; M: bra L;", "L: bar.sync 0; bra L;"}) {
    const Outcome result = run(loop, {.threads = 128, .ctas = 3});
    EXPECT_EQ(result.error, "") << loop;
    EXPECT_TRUE(result.has(FindingKind::Livelock)) << loop << "\n" << result.findings.text();
  }
}

/// Products and copies count for what they cost.
TEST(FuzzRegression, EndlessWorkEnds) {
  std::string accumulators = "%f0";
  for (int i = 1; i < 128; ++i)
    accumulators += fmt::format(", %f{}", i);
  const Outcome products =
      run(".reg .b32 %f<128>;\nand.b32 %r0, %r0, 0x3ffff; shr.u32 %r0, %r0, 4; cvt.u64.u32 %d1, %r0;\n"
          "or.b64 %d1, %d1, 0x4000004000010000;\nwgmma.fence.sync.aligned;\n"
          "L: wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" +
              accumulators + "}, %d1, %d1, 1, 1, 1, 0, 0;\nbra L;",
          {.threads = 128, .sharedBytes = 49152});
  EXPECT_TRUE(products.has(FindingKind::Livelock)) << products.findings.text();
  const Outcome loads = run(
      "@%p0 mbarrier.init.shared.b64 [%r0], 100;\nfence.mbarrier_init.release.cluster;\nbar.sync 0;\n"
      "L: cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r0+128], [%d0], 16128, [%r0];\n"
      "bra L;",
      {.threads = 128});
  EXPECT_TRUE(loads.has(FindingKind::Livelock)) << loads.findings.text();
  const Outcome stores =
      run("L: cp.async.bulk.global.shared::cta.bulk_group [%d0], [%r0], 16128;\nbra L;", {.threads = 128});
  EXPECT_TRUE(stores.has(FindingKind::Livelock)) << stores.findings.text();
}

//===- Memory ----------------------------------------------------------------------------------------===//

/// Each initialisation had a place in every clock: 4 GB after three thousand rounds.
TEST(FuzzRegression, BarriersCannotBeInitialisedForEver) {
  const Outcome result =
      run("mad.lo.s32 %r0, %r1, 8, %r0;\nL: mbarrier.init.shared.b64 [%r0], 1;\n"
          "mbarrier.arrive.shared.b64 _, [%r0];\nmbarrier.inval.shared.b64 [%r0];\nbra L;");
  EXPECT_THAT(
      result.error,
      HasSubstr("a cluster must have at most 4096 warps, warpgroups and initialisations of mbarriers"));
  EXPECT_LT(peakMegabytes(), 1024);
}

/// Registers that were only declared took 7 MB a warp, and blocks times registers 30 seconds.
TEST(FuzzRegression, DeclaredRegistersCostNothing) {
  const Outcome result =
      run(".reg .b32 %many<261000>;\nmov.b32 %many260999, 1;\nbarrier.cluster.arrive.aligned;\n"
          "barrier.cluster.wait.aligned;",
          {.threads = 512, .ctas = 16}, ".reqnctapercluster 16\n");
  EXPECT_EQ(result.error, "");
  EXPECT_TRUE(result.findings.empty()) << result.findings.text();
  std::string jumps = ".reg .b32 %many<261000>;\n";
  for (int i = 0; i < 1990; ++i)
    jumps +=
        fmt::format("@%p0 bra L{};\nL{}: mov.b32 %many{}, %many{};\n", i * 7919 % 1990, i, i * 131, i * 37);
  run(jumps);
  EXPECT_LT(peakMegabytes(), 1024);
}

/// Blocks that jump to the one before them: values live through all of them.
TEST(FuzzRegression, LongChainsOfJumpsAreAnalysed) {
  static constexpr int blocks = 3900;
  std::string chain = fmt::format(".reg .b32 %many<4000>;\nbra B{};\nB0: bra E;\n", blocks);
  for (int i = 1; i < blocks; ++i)
    chain += fmt::format("B{}: mov.b32 %many{}, %many{}; bra B{};\n", i, i, i + 1, i - 1);
  const Outcome result =
      run(chain + fmt::format("B{}: mov.b32 %many{}, 1; bra B{};\nE:", blocks, blocks, blocks - 1));
  EXPECT_EQ(result.error, "");
  EXPECT_TRUE(result.findings.empty()) << result.findings.text();
}

//===- Tensor maps -----------------------------------------------------------------------------------===//

static TensorMapSpec smallMap() {
  TensorMapSpec spec;
  spec.dtype = Dtype::BF16;
  spec.rank = 5;
  spec.extent = {32, 2, 2, 2, 2};
  spec.strideBytes = {64, 128, 256, 512};
  spec.box = {32, 1, 1, 1, 1};
  spec.swizzleBytes = 64;
  return spec;
}

static std::string loadOf(const char *map) {
  return fmt::format(
      "@!%p0 bra E;\nmbarrier.init.shared.b64 [%r0], 1;\nfence.mbarrier_init.release.cluster;\n"
      "mbarrier.arrive.expect_tx.shared.b64 _, [%r0], 64;\nmov.b32 %r2, 0;\n"
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r0+1024], [{}, "
      "{{%r2, "
      "%r2, %r2, %r2, %r2}}], [%r0];\nL: mbarrier.try_wait.parity.shared.b64 %p1, [%r0], 0;\n@!%p1 bra "
      "L;\nE:",
      map);
}

TEST(FuzzRegression, BoxesMustFitTheMemory) {
  TensorMapSpec spec = smallMap();
  EXPECT_TRUE(run(loadOf("%d0"), {.map = spec}).findings.empty());
  // 2^33 bytes: as a number of 32 bits, none.
  spec.box = {32, 128, 128, 128, 64};
  for (const char *map : {"%d0", "%d1"}) {
    const Outcome result = run("mov.b64 %d1, map; cvta.param.u64 %d1, %d1;\n" + loadOf(map), {.map = spec});
    EXPECT_TRUE(result.has(FindingKind::OutOfBounds)) << result.findings.text();
    EXPECT_THAT(result.findings.text(), HasSubstr("the box has"));
  }
}

/// A kernel that writes on a tensor map makes it no map, whatever it writes.
TEST(FuzzRegression, TensorMapsThatAKernelChangedAreNone) {
  for (size_t at = 8; at < sizeof(TensorMap); at += 4)
    for (const char *value : {"-1", "0", "257", "0x7fffffff"}) {
      const Outcome result = run(fmt::format("@%p0 st.global.b32 [%d0+{}], {};\n", at, value) + loadOf("%d0"),
                                 {.map = smallMap()});
      EXPECT_EQ(result.error, "") << at << " " << value;
    }
}

//===- Lanes that are not there ----------------------------------------------------------------------===//

TEST(FuzzRegression, MatricesOfAWarpThatIsNotWholeAreNotDefined) {
  const std::string used = "movmatrix.sync.aligned.m8n8.trans.b16 %r2, %r1;\n"
                           "setp.eq.s32 %p1, %r2, 7;\n@%p1 bra done;\ndone:";
  EXPECT_TRUE(run(used).findings.empty());
  for (unsigned threads : {1U, 4U, 31U}) {
    const Outcome result = run(used, {.threads = threads});
    EXPECT_TRUE(result.has(FindingKind::UndefinedValue)) << threads << ": " << result.findings.text();
  }
}
