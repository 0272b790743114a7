// CTAs of one grid that wait for each other through global memory: they come to an end in whatever order and
// on however many host threads they run, and where they never can, that is found at once and said.
#include "Snippet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <chrono>

using namespace lathe;
using namespace lathe::emulatedtest;
using runtime::EmulatorOptions;
using runtime::emulator::FindingKind;
using testing::HasSubstr;

static const EmulatorOptions devices[] = {
    {.hostThreads = 1}, {.hostThreads = 3}, {.hostThreads = 1, .seed = 7}};

/// Thread 0 waits until the word at %d0 + `offset` is at least `value`.
static std::string waitFor(const char *label, const std::string &value, int offset = 0,
                           const char *load = "ld.acquire.gpu") {
  return fmt::format(
      "{0}: @!%first bra {0}_end;\n{3}.global.u32 %r15, [%d0+{2}];\nsetp.lt.u32 %p3, %r15, {1};\n"
      "@%p3 bra {0};\n{0}_end: bar.sync 0;\n",
      label, value, offset, load);
}

/// Word %cta + 1 is the CTA's flag.
static constexpr const char *ownFlag = "mul.wide.u32 %d0, %cta, 4;\nadd.s64 %d0, %d0, %in;\n";

//===- Progress --------------------------------------------------------------------------------------===//

/// Each waits for the one behind it: the first to begin is the last to end.
TEST(Grid, EachWaitsForTheNext) {
  for (const char *load : {"ld.acquire.gpu", "ld.relaxed.gpu", "ld.volatile", "ld.acquire.sys"})
    for (const EmulatorOptions &device : devices) {
      const unsigned ctas = 100;
      const std::string body = std::string(ownFlag) + "setp.eq.u32 %p0, %cta, 99;\n@%p0 bra last;\n" +
                               waitFor("wait", "1", 8, load) +
                               "last: add.u32 %r0, %r15, 5;\n@%first st.release.gpu.global.u32 [%d0+4], 1;\n";
      const SnippetResult result =
          run({.text = "mov.b32 %r15, 0;\n" + body, .threads = 64, .ctas = ctas, .device = device});
      expectClean(result);
      for (unsigned i = 1; i <= ctas; ++i)
        EXPECT_EQ(result.words[i], 1u) << i;
    }
}

/// A barrier of the whole grid, several times; every CTA reads what all others wrote before it.
TEST(Grid, BarriersOfTheGrid) {
  const std::string body = R"(mov.b32 %r0, 0; mov.b32 %r9, 0;
mov.b64 %d3, %in; add.s64 %d4, %in, 1024;
round: add.u32 %r0, %r0, 1;
mad.wide.u32 %d1, %cta, 4, %d3;
@%first st.global.u32 [%d1+1024], %r0;
bar.sync 0;
@!%first bra joined;
fence.acq_rel.gpu;
red.release.gpu.global.add.u32 [%in], 1;
mul.lo.u32 %r1, %r0, 40;
wait: ld.acquire.gpu.global.u32 %r2, [%in];
setp.lt.u32 %p0, %r2, %r1;
@%p0 bra wait;
joined: bar.sync 0;
mov.b32 %r3, 0;
sum: mad.wide.u32 %d2, %r3, 4, %d3;
ld.global.u32 %r4, [%d2+1024];
setp.lt.u32 %p1, %r4, %r0; @%p1 trap;
add.u32 %r3, %r3, 1; setp.lt.u32 %p1, %r3, 40; @%p1 bra sum;
mov.b64 %d5, %d3; mov.b64 %d3, %d4; mov.b64 %d4, %d5; // Others may still read this round's.
setp.lt.u32 %p1, %r0, 5; @%p1 bra round;
)";
  for (const EmulatorOptions &device : devices) {
    const SnippetResult result = run({.text = body, .threads = 64, .ctas = 40, .device = device});
    expectClean(result);
    EXPECT_EQ(result.words[0], 200u);
  }
}

/// A value goes to and fro between two CTAs.
TEST(Grid, PingPong) {
  const std::string body = R"(xor.b32 %r1, %cta, 1; mov.b32 %r0, %cta;
round: mov.b32 %r5, 0;
wait: add.u32 %r5, %r5, 1;
ld.acquire.gpu.global.u32 %r2, [%in];
setp.ne.u32 %p0, %r2, %r0; @%p0 bra wait;
add.u32 %r3, %r0, 1;
st.release.gpu.global.u32 [%in], %r3;
add.u32 %r0, %r0, 2; setp.lt.u32 %p0, %r0, 600; @%p0 bra round;
)";
  for (const EmulatorOptions &device : devices) {
    const SnippetResult result = run({.text = body, .threads = 1, .ctas = 2, .device = device});
    expectClean(result);
    EXPECT_EQ(result.words[0], 600u);
  }
}

/// Lanes and CTAs that take a lock in turns: those that spin let the holder go on, in their own warp too.
TEST(Grid, LocksAreGivenBack) {
  const std::string body = R"(
again: atom.acquire.gpu.global.cas.b32 %r0, [%in], 0, 1;
setp.ne.u32 %p0, %r0, 0; @%p0 bra again;
ld.relaxed.gpu.global.u32 %r1, [%in+4]; add.u32 %r1, %r1, 1; st.relaxed.gpu.global.u32 [%in+4], %r1;
atom.release.gpu.global.exch.b32 %r2, [%in], 0;
)";
  for (const EmulatorOptions &device : devices) {
    const SnippetResult result = run({.text = body, .threads = 64, .ctas = 5, .device = device});
    expectClean(result);
    EXPECT_EQ(result.words[1], 320u);
  }
}

/// A group of lanes that waits for another group of its own warp, whose code stands behind.
TEST(Grid, LanesWaitForLanes) {
  const SnippetResult result = run({.text = R"(@%first bra set;
wait: ld.volatile.shared.u32 %r0, [%smem]; setp.ne.u32 %p0, %r0, 77; @%p0 bra wait;
bra end;
set: st.volatile.shared.u32 [%smem], 77;
end: @%first st.global.u32 [%in], 3;
)",
                                    .threads = 32});
  EXPECT_EQ(result.error, "");
  EXPECT_FALSE(result.has(FindingKind::Deadlock) || result.has(FindingKind::Livelock))
      << result.findings.text();
  EXPECT_EQ(result.words[0], 3u);
}

/// Lanes that hold what others of their warp spin for go on, and meet those at the next shuffle.
TEST(Grid, LanesMeetAfterALock) {
  const std::string body = R"(
again: atom.acquire.gpu.global.cas.b32 %r0, [%in], 0, 1;
setp.ne.u32 %p0, %r0, 0; @%p0 bra again;
ld.relaxed.gpu.global.u32 %r1, [%in+4]; add.u32 %r1, %r1, 1; st.relaxed.gpu.global.u32 [%in+4], %r1;
atom.release.gpu.global.exch.b32 %r2, [%in], 0;
shfl.sync.bfly.b32 %r1, %r1, 1, 31, -1;
bar.sync 0;
red.global.add.u32 [%in+8], %r1;
)";
  for (const EmulatorOptions &device : devices) {
    const SnippetResult result = run({.text = body, .threads = 64, .ctas = 2, .device = device});
    expectClean(result);
    EXPECT_EQ(result.words[1], 128u);
    EXPECT_EQ(result.words[2], 128u * 129 / 2);
  }
}

/// Loops that count their tries, or look at the clock, end by themselves.
TEST(Grid, TriesAreCounted) {
  const std::string counted = R"(mov.b32 %r1, 0;
wait: add.u32 %r1, %r1, 1; ld.acquire.gpu.global.u32 %r0, [%in+4];
setp.ge.u32 %p1, %r1, 100000; @%p1 bra end;
nanosleep.u32 100;
setp.eq.u32 %p0, %r0, 0; @%p0 bra wait;
end: @%first red.global.add.u32 [%in], %r1;
)";
  const std::string timed = R"(mov.u64 %d0, %globaltimer; add.u64 %d0, %d0, 2000000; mov.b32 %r1, 100000;
wait: ld.acquire.gpu.global.u32 %r0, [%in+4];
mov.u64 %d1, %globaltimer; setp.gt.u64 %p1, %d1, %d0; @%p1 bra end;
setp.eq.u32 %p0, %r0, 0; @%p0 bra wait;
end: @%first red.global.add.u32 [%in], %r1;
)";
  for (const std::string &body : {counted, timed})
    for (const EmulatorOptions &device : devices) {
      const SnippetResult result = run({.text = body, .threads = 64, .ctas = 6, .device = device});
      expectClean(result);
      EXPECT_EQ(result.words[0], 600000u);
    }
}

/// Who waits, and who only works without being seen, are both served.
TEST(Grid, WorkBesideAWait) {
  const std::string body = std::string("mov.b64 %d0, %in;\nsetp.eq.u32 %p0, %cta, 2;\n@%p0 bra work;\n") +
                           waitFor("wait", "1", 0) + "ret;\n" +
                           R"(work: mov.b32 %r0, 0;
loop: add.u32 %r0, %r0, 1; setp.lt.u32 %p0, %r0, 3000000; @%p0 bra loop;
@%first st.release.gpu.global.u32 [%in], 1;
)";
  for (const EmulatorOptions &device : devices)
    expectClean(run({.text = body, .ctas = 3, .device = device}));
}

//===- No progress -----------------------------------------------------------------------------------===//

TEST(Grid, AFlagThatNobodySets) {
  const auto start = std::chrono::steady_clock::now();
  for (const EmulatorOptions &device : devices) {
    const SnippetResult result =
        run({.text = "add.s64 %d0, %in, 4096;\n" + waitFor("wait", "3") + "@%first st.global.u32 [%in], 1;\n",
             .threads = 128,
             .ctas = 132,
             .words = {1, 2},
             .device = device});
    expectFound(result, FindingKind::Deadlock, "a change of byte 4096 of buffer 1");
    const auto &finding = result.findings.findings.front();
    EXPECT_THAT(finding.text(), HasSubstr("which is 0x0"));
    EXPECT_THAT(finding.text(), HasSubstr("named barrier 0, 96 of 128 threads there"));
    EXPECT_THAT(finding.place.instruction, HasSubstr("ld.acquire.gpu"));
    EXPECT_EQ(result.words[0], 1u);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

/// Everybody waits for the CTA that begins when one of them has ended.
TEST(Grid, MoreCtasThanTheGpuHolds) {
  const std::string body = std::string(ownFlag) +
                           "setp.eq.u32 %p0, %cta, 9;\n@%p0 bra set;\nmov.b64 %d0, %in;\n" +
                           waitFor("wait", "1") + "set: @%first st.release.gpu.global.u32 [%in], 1;\n";
  for (const EmulatorOptions &device : devices) {
    EmulatorOptions small = device;
    small.smCount = 8;
    Snippet snippet{.text = body, .ctas = 10, .sharedBytes = 200000, .device = small};
    expectFound(run(snippet), FindingKind::Deadlock, "2 CTAs have not begun: the GPU holds 8 at a time");
    snippet.device.smCount = 10;
    expectClean(run(snippet));
  }
}

/// What the emulator says to who asks how much fits is what it holds in a run (above).
TEST(Grid, SaysHowManyClustersItHolds) {
  struct {
    unsigned threads, sharedBytes, cluster;
    int64_t fit;
  } cases[] = {{384, 200000, 1, 8}, {384, 110000, 1, 16}, {384, 110000, 4, 4},  {1024, 100, 1, 16},
               {32, 0, 1, 8 * 32},  {384, 200000, 3, 2},  {384, 200000, 16, 1}, {384, 0, 2, 5 * 8 / 2}};
  for (const auto &[threads, sharedBytes, cluster, fit] : cases) {
    SCOPED_TRACE(testing::Message() << threads << " threads, " << sharedBytes << " bytes, " << cluster);
    EXPECT_EQ(
        residentClusters(
            {.threads = threads, .cluster = cluster, .sharedBytes = sharedBytes, .device = {.smCount = 8}}),
        fit);
  }
}

TEST(Grid, TwoThatWaitForEachOther) {
  const std::string body = std::string(ownFlag) + R"(xor.b32 %r0, %cta, 1;
mul.wide.u32 %d1, %r0, 4; add.s64 %d1, %d1, %in;
wait: ld.acquire.gpu.global.u32 %r1, [%d1]; setp.eq.u32 %p0, %r1, 0; @%p0 bra wait;
st.release.gpu.global.u32 [%d0], 1;
)";
  for (const EmulatorOptions &device : devices) {
    const SnippetResult result = run({.text = body, .threads = 1, .ctas = 2, .device = device});
    expectFound(result, FindingKind::Deadlock, "CTA 0 for a change of byte 4 of");
    EXPECT_THAT(result.findings.text(), HasSubstr("CTA 1 for a change of byte 0 of"));
  }
}

/// Spinning by other means: a lock that is never given back, several flags in turns, a barrier that is only
/// tested, sleep between, and a store of the same value again and again.
TEST(Grid, OtherWaysToSpin) {
  const std::string loops[] = {
      "wait: atom.acquire.gpu.global.cas.b32 %r0, [%in], 0, 1; setp.ne.u32 %p0, %r0, 0; @%p0 bra wait;",
      "wait: atom.global.exch.b32 %r0, [%in], 1; setp.ne.u32 %p0, %r0, 0; @%p0 bra wait;",
      "wait: atom.global.add.u32 %r0, [%in], 0; setp.ne.u32 %p0, %r0, 5; @%p0 bra wait;",
      "again: mov.b32 %r1, 0; mov.b32 %r3, 0;\n"
      "more: mul.wide.u32 %d0, %r1, 4; add.s64 %d0, %d0, %in; ld.acquire.gpu.global.u32 %r2, [%d0+64];\n"
      "or.b32 %r3, %r3, %r2; add.u32 %r1, %r1, 1; setp.lt.u32 %p0, %r1, 9; @%p0 bra more;\n"
      "setp.eq.u32 %p0, %r3, 0; @%p0 bra again;",
      "@%first mbarrier.init.shared.b64 [%smem], 2; bar.sync 0;\n"
      "wait: mbarrier.test_wait.parity.shared.b64 %p0, [%smem], 0; @!%p0 bra wait;",
      "wait: ld.volatile.global.u32 %r0, [%in+4]; nanosleep.u32 20; setp.eq.u32 %p0, %r0, 0; @%p0 bra wait;",
      "wait: st.global.u32 [%in+8], 1; ld.relaxed.gpu.global.u32 %r0, [%in+4]; setp.eq.u32 %p0, %r0, 0; @%p0 "
      "bra wait;",
      "wait: ld.volatile.shared.u32 %r0, [%smem+1024]; setp.eq.u32 %p0, %r0, %r0; @%p0 bra wait;",
  };
  const std::string before = "st.volatile.shared.u32 [%smem+1024], 0; st.global.u32 [%in+8], 1;\n";
  for (const std::string &loop : loops) {
    SCOPED_TRACE(loop);
    for (const EmulatorOptions &device : devices)
      expectFound(run({.text = before + loop, .ctas = 3, .words = {1}, .device = device}),
                  FindingKind::Deadlock, "everyone waits");
  }
}
