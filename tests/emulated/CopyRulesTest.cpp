// cp.async: what it brings is there after a wait and not before, and the async proxy sees it behind a fence
// that follows the wait. Each rule is kept once and broken in every way.
#include "Snippet.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::emulatedtest;
using runtime::EmulatorOptions;
using runtime::emulator::FindingKind;

/// 128 threads copy 16 bytes each, `wait` follows, and each reads what the thread `distance` further copied.
static SnippetResult copyAndRead(const std::string &wait, unsigned distance = 37, uint64_t seed = 0,
                                 const std::string &copy = "cp.async.cg.shared.global [%r0], [%d0], 16;") {
  return run({.text = fmt::format(R"(mad.lo.u32 %r0, %t, 16, %smem;
mad.wide.u32 %d0, %t, 16, %in;
{}
{}
xor.b32 %r1, %t, {};
mad.lo.u32 %r1, %r1, 16, %smem;
ld.shared.v4.u32 {{%r2, %r3, %r4, %r5}}, [%r1];
mad.wide.u32 %d1, %t, 16, %in;
st.global.v4.u32 [%d1+8192], {{%r2, %r3, %r4, %r5}};
)",
                                  copy, wait, distance),
              .threads = 128,
              .words = {1, 2, 3, 4},
              .device = {.seed = seed}});
}

TEST(CopyRules, AWaitAndABarrier) {
  for (uint64_t seed : {0, 5}) {
    for (const char *wait :
         {"cp.async.wait_all; bar.sync 0;", "cp.async.commit_group; cp.async.wait_group 0; bar.sync 0;",
          "cp.async.commit_group; cp.async.commit_group; cp.async.wait_group 1; bar.sync 0;"})
      expectClean(copyAndRead(wait, 37, seed));
    expectClean(copyAndRead("cp.async.wait_all;", 0, seed)); // The own bytes.
    for (const char *wait : {"bar.sync 0;", "cp.async.commit_group; bar.sync 0;",
                             "cp.async.commit_group; cp.async.wait_group 1; bar.sync 0;",
                             "cp.async.wait_group 0; bar.sync 0;", "bar.sync 0; cp.async.wait_all;"}) {
      SCOPED_TRACE(wait);
      const SnippetResult result = copyAndRead(wait, 37, seed);
      EXPECT_TRUE(result.has(FindingKind::DataRace)) << result.findings.text();
      EXPECT_NE(result.findings.text().find("cp.async.wait_group"), std::string::npos);
    }
    expectFound(copyAndRead("", 0, seed), FindingKind::DataRace, "a cp.async may still write");
    // Threads whose bytes do not yet stand there find nothing.
    EXPECT_TRUE(copyAndRead("cp.async.wait_all;", 37, seed).has(FindingKind::DataRace));
  }
}

TEST(CopyRules, AnMbarrier) {
  const std::string init =
      "add.u32 %r7, %smem, 4096; @%first mbarrier.init.shared.b64 [%r7], 128; bar.sync 0;\n";
  const std::string wait = "W: mbarrier.try_wait.parity.shared.b64 %p0, [%r7], 0; @!%p0 bra W;\n";
  const std::string copy = init + "cp.async.ca.shared.global [%r0], [%d0], 16;";
  expectClean(copyAndRead("cp.async.mbarrier.arrive.noinc.shared.b64 [%r7];\n" + wait, 37, 0, copy));
  expectClean(copyAndRead(
      "cp.async.mbarrier.arrive.shared::cta.b64 [%r7]; mbarrier.arrive.shared.b64 _, [%r7];\n" + wait, 37, 0,
      copy));
  // An ordinary arrival says nothing of the copies, and an arrival of the copies nothing to who does not
  // wait.
  expectFound(copyAndRead("mbarrier.arrive.shared.b64 _, [%r7];\n" + wait, 37, 0, copy),
              FindingKind::DataRace, "a cp.async may still write");
  expectFound(copyAndRead("cp.async.mbarrier.arrive.noinc.shared.b64 [%r7]; bar.sync 0;\n", 37, 0, copy),
              FindingKind::DataRace, "a cp.async may still write");
}

/// A buffer that is filled again must have been read, and have arrived.
TEST(CopyRules, BytesThatAreUsedAgain) {
  const std::string again =
      "cp.async.cg.shared.global [%r0], [%d0+4096], 16; cp.async.wait_all; bar.sync 0;\n";
  expectClean(copyAndRead("cp.async.wait_all;\n" + again));
  expectFound(copyAndRead("cp.async.commit_group;\n" + again), FindingKind::DataRace,
              "a cp.async may still write");
  expectFound(copyAndRead("st.shared.u32 [%r0], %t; cp.async.wait_all; bar.sync 0;"), FindingKind::DataRace,
              "it writes bytes that a cp.async may still write");
  const std::string read =
      "cp.async.wait_all; bar.sync 0; xor.b32 %r8, %t, 64; mad.lo.u32 %r8, %r8, 16, %smem; "
      "ld.shared.u32 %r9, [%r8];\n";
  expectClean(copyAndRead(read + "bar.sync 0;\n" + again));
  expectFound(copyAndRead(read + again), FindingKind::DataRace, "may still read");
}

/// One product of operands that cp.async brings; `between`: what stands between copies and product.
static SnippetResult multiply(const std::string &between, const std::string &after = "") {
  return run({.text = R"(mad.lo.u32 %r0, %t, 16, %smem;
mad.wide.u32 %d0, %t, 16, %in;
cp.async.cg.shared.global [%r0], [%d0], 16;
setp.lt.u32 %p0, %t, 16;
@%p0 cp.async.cg.shared.global [%r0+2048], [%d0+2048], 16;
)" + between + R"(
and.b32 %r1, %smem, 0x3ffff; shr.u32 %r1, %r1, 4; cvt.u64.u32 %d1, %r1;
or.b64 %d1, %d1, 0x1000080000; add.s64 %d2, %d1, 128;
mov.f32 %f0, 0f00000000; mov.f32 %f1, %f0; mov.f32 %f2, %f0; mov.f32 %f3, %f0;
wgmma.fence.sync.aligned;
wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0, %f1, %f2, %f3}, %d1, %d2, 1, 1, 1, 0, 0;
wgmma.commit_group.sync.aligned;
)" + after + R"(
wgmma.wait_group.sync.aligned 0;
st.global.v4.f32 [%d0+8192], {%f0, %f1, %f2, %f3};
cp.async.wait_all;
)",
              .threads = 128,
              .words = {0x3f803f80}});
}

TEST(CopyRules, TensorCoresNeedAFence) {
  expectClean(multiply("cp.async.wait_all; fence.proxy.async; bar.sync 0;"));
  expectClean(
      multiply("cp.async.commit_group; cp.async.wait_group 0; fence.proxy.async.shared::cta; bar.sync 0;"));
  expectClean(multiply("cp.async.wait_all; bar.sync 0; fence.proxy.async;"));
  for (const char *between :
       {"cp.async.wait_all; bar.sync 0;", "fence.proxy.async; cp.async.wait_all; bar.sync 0;"})
    expectFound(multiply(between), FindingKind::ProxyUnfenced, "without fence.proxy.async between");
  for (const char *between : {"fence.proxy.async; bar.sync 0;", "cp.async.wait_all; fence.proxy.async;",
                              "cp.async.commit_group; cp.async.wait_group 1; fence.proxy.async; bar.sync 0;"})
    expectFound(multiply(between), FindingKind::DataRace, "what another access may still change");
  const std::string right = "cp.async.wait_all; fence.proxy.async; bar.sync 0;";
  const std::string refill = "cp.async.cg.shared.global [%r0], [%d0+4096], 16;";
  expectClean(multiply(right, "wgmma.wait_group.sync.aligned 0; bar.sync 0;\n" + refill));
  expectFound(multiply(right, refill), FindingKind::DataRace, "may still read");
}

/// What cp.async brought, a bulk copy takes on: through the other proxy too.
TEST(CopyRules, BulkCopiesNeedAFence) {
  auto send = [](const char *between) {
    return run({.text = fmt::format(R"(mad.lo.u32 %r0, %t, 16, %smem; mad.wide.u32 %d0, %t, 16, %in;
cp.async.ca.shared.global [%r0], [%d0], 16; cp.async.wait_all; {} bar.sync 0; @!%first ret;
cp.async.bulk.global.shared::cta.bulk_group [%in], [%smem], 512; cp.async.bulk.commit_group;
cp.async.bulk.wait_group 0;)",
                                    between)});
  };
  expectClean(send("fence.proxy.async;"));
  expectFound(send(""), FindingKind::ProxyUnfenced, "without fence.proxy.async between");
}

TEST(CopyRules, AddressesAndSizes) {
  const char *wait = "cp.async.wait_all; bar.sync 0;";
  auto copy = [&](const std::string &text) { return copyAndRead(wait, 37, 0, text); };
  expectClean(copy("mov.b32 %r6, 5; cp.async.cg.shared.global [%r0], [%d0], 16, %r6;"));
  expectClean(copy("mov.b32 %r6, 0; cp.async.cg.shared.global [%r0], [%d0+3], 16, %r6;"));
  EXPECT_TRUE(copy("cp.async.cg.shared.global [%r0], [%d0+8], 16;").has(FindingKind::Misaligned));
  EXPECT_TRUE(copy("mov.b32 %r6, 4; cp.async.cg.shared.global [%r0], [%d0+4], 16, %r6;")
                  .has(FindingKind::Misaligned));
  expectFound(copy("cp.async.wait_all; mov.b32 %r6, 17; cp.async.cg.shared.global [%r0], [%d0], 16, %r6;"),
              FindingKind::IllegalInstruction, "a copy of 16 bytes is to read 17");
  expectFound(copy("mov.b32 %r6, 0; cp.async.cg.shared.global [%r0], [%d0+1048576], 16;"),
              FindingKind::OutOfBounds, "no buffer holds");
  EXPECT_TRUE(copy("cp.async.cg.shared.global [%r0], [%d5], 16;").has(FindingKind::UndefinedValue));
  EXPECT_TRUE(copy("cp.async.cg.shared.global [%r0], [%d0], 16, %r14;").has(FindingKind::UndefinedValue));
  EXPECT_TRUE(copy("cp.async.cg.shared.global [%r0+8], [%d0], 16;").has(FindingKind::Misaligned));
  EXPECT_NE(copy("cp.async.cg.shared.global [%r0], [%d0], 8;").error, "");
}
