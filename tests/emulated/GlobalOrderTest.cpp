// What one CTA writes and another reads, or TMA: a release and an acquire between, with fences where proxies
// change. Each handover is right once, and each part of it is left out.
#include "Snippet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::emulatedtest;
using runtime::EmulatorOptions;
using runtime::emulator::FindingKind;
using testing::HasSubstr;

static const EmulatorOptions devices[] = {
    {.hostThreads = 1}, {.hostThreads = 3}, {.hostThreads = 1, .seed = 11}};

namespace {
/// CTA 0 writes and raises the flag at byte 8192, CTA 1 looks at it and reads.
struct Handover {
  std::string write = "st.global.u32 [%d0], %t;";
  std::string joinWriters = "bar.sync 0;";
  std::string raise = "@%first st.release.gpu.global.u32 [%in+8192], 1;";
  std::string look = "ld.acquire.gpu.global.u32 %r0, [%in+8192];";
  std::string seen = "";
  std::string joinReaders = "bar.sync 0;";
  std::string read = "ld.global.u32 %r1, [%d0]; st.global.u32 [%d0+4096], %r1;";
};
} // namespace

static SnippetResult run(const Handover &handover, const EmulatorOptions &device) {
  return run({.text = "mad.wide.u32 %d0, %t, 4, %in; setp.ne.u32 %p0, %cta, 0; @%p0 bra reader;\n" +
                      handover.write + "\n" + handover.joinWriters + "\n" + handover.raise +
                      "\nret;\nreader: @!%first bra seen;\nlook: " + handover.look +
                      "\nsetp.eq.u32 %p0, %r0, 0; @%p0 bra look;\n" + handover.seen +
                      "\nseen: " + handover.joinReaders + "\n" + handover.read,
              .threads = 128,
              .ctas = 2,
              .device = device});
}

static void expectClean(const Handover &handover) {
  for (const EmulatorOptions &device : devices)
    emulatedtest::expectClean(run(handover, device));
}

static void expectFound(const Handover &handover, FindingKind kind, const std::string &text) {
  for (const EmulatorOptions &device : devices)
    emulatedtest::expectFound(run(handover, device), kind, text);
}

static constexpr const char *race = "that CTA 0 wrote in this launch: nothing orders the two";

//===- Flags -----------------------------------------------------------------------------------------===//

TEST(GlobalOrder, WaysToRelease) {
  for (const char *raise : {"@%first st.release.gpu.global.u32 [%in+8192], 1;",
                            "@%first st.release.sys.global.u32 [%in+8192], 1;",
                            "@%first red.release.gpu.global.add.u32 [%in+8192], 1;",
                            "@%first atom.release.gpu.global.add.u32 %r0, [%in+8192], 1;",
                            "@%first atom.acq_rel.gpu.global.exch.b32 %r0, [%in+8192], 1;",
                            "@%first fence.acq_rel.gpu; @%first st.relaxed.gpu.global.u32 [%in+8192], 1;",
                            "@%first membar.gl; @%first st.volatile.global.u32 [%in+8192], 1;",
                            "@%first fence.sc.gpu; @%first red.global.add.u32 [%in+8192], 1;"})
    expectClean({.raise = raise});
  for (const char *raise :
       {"@%first st.relaxed.gpu.global.u32 [%in+8192], 1;", "@%first st.volatile.global.u32 [%in+8192], 1;",
        "@%first red.global.add.u32 [%in+8192], 1;",
        "@%first atom.acquire.gpu.global.exch.b32 %r0, [%in+8192], 1;",
        "@%first st.relaxed.gpu.global.u32 [%in+8192], 1; fence.acq_rel.gpu;",
        "@%first fence.acq_rel.cta; @%first st.relaxed.gpu.global.u32 [%in+8192], 1;",
        "@%first membar.cta; @%first st.volatile.global.u32 [%in+8192], 1;"}) {
    SCOPED_TRACE(raise);
    expectFound({.raise = raise}, FindingKind::DataRace, race);
  }
}

TEST(GlobalOrder, WaysToAcquire) {
  for (auto [look, seen] : {std::pair("ld.acquire.gpu.global.u32 %r0, [%in+8192];", ""),
                            {"ld.relaxed.gpu.global.u32 %r0, [%in+8192];", "fence.acq_rel.gpu;"},
                            {"ld.volatile.global.u32 %r0, [%in+8192];", "membar.gl;"},
                            {"atom.acquire.gpu.global.or.b32 %r0, [%in+8192], 0;", ""},
                            {"atom.global.cas.b32 %r0, [%in+8192], 9, 9;", "fence.sc.gpu;"}})
    expectClean({.look = look, .seen = seen});
  for (auto [look, seen] : {std::pair("ld.relaxed.gpu.global.u32 %r0, [%in+8192];", ""),
                            {"ld.volatile.global.u32 %r0, [%in+8192];", ""},
                            {"atom.global.or.b32 %r0, [%in+8192], 0;", ""},
                            {"ld.relaxed.gpu.global.u32 %r0, [%in+8192];", "fence.acq_rel.cta;"},
                            {"atom.release.gpu.global.cas.b32 %r0, [%in+8192], 9, 9;", ""}}) {
    SCOPED_TRACE(look);
    expectFound({.look = look, .seen = seen}, FindingKind::DataRace, race);
  }
}

/// Flags whose accesses have no order, or only one within the CTA.
TEST(GlobalOrder, FlagsAreStrong) {
  expectFound({.raise = "@%first membar.gl; @%first st.global.u32 [%in+8192], 1;",
               .look = "ld.volatile.global.u32 %r0, [%in+8192];",
               .seen = "membar.gl;"},
              FindingKind::DataRace, race);
  for (const char *look : {"ld.acquire.cta.global.u32 %r0, [%in+8192];", "ld.global.u32 %r0, [%in+8192];"})
    expectFound({.look = look}, FindingKind::DataRace, race);
}

TEST(GlobalOrder, AllThreadsTakePart) {
  expectFound({.joinWriters = ""}, FindingKind::DataRace, race);
  expectFound({.joinReaders = ""}, FindingKind::DataRace, race);
  expectClean({.write = "@%first st.global.u32 [%in], 5;",
               .joinWriters = "",
               .joinReaders = "",
               .read = "@%first ld.global.u32 %r1, [%in];"});
}

/// The way may go through others: CTA 1 passes on what CTA 0 told it.
TEST(GlobalOrder, OthersPassItOn) {
  const std::string body = R"(setp.ne.u32 %p0, %cta, 0; @%p0 bra second;
st.global.u32 [%in], 5; st.release.gpu.global.u32 [%in+256], 1; ret;
second: setp.ne.u32 %p0, %cta, 1; @%p0 bra third;
look1: ld.$order.gpu.global.u32 %r0, [%in+256]; setp.eq.u32 %p0, %r0, 0; @%p0 bra look1;
st.release.gpu.global.u32 [%in+512], 1; ret;
third: ld.acquire.gpu.global.u32 %r0, [%in+512]; setp.eq.u32 %p0, %r0, 0; @%p0 bra third;
ld.global.u32 %r1, [%in]; st.global.u32 [%in+1024], %r1;
)";
  for (const EmulatorOptions &device : devices)
    for (bool right : {true, false}) {
      std::string text = body;
      text.replace(text.find("$order"), 6, right ? "acquire" : "relaxed");
      const SnippetResult result = run({.text = text, .threads = 1, .ctas = 3, .device = device});
      if (right)
        emulatedtest::expectClean(result);
      else
        emulatedtest::expectFound(result, FindingKind::DataRace, race);
    }
}

/// What nobody waits for at all; and the same values again, which do no harm.
TEST(GlobalOrder, TheSameBytes) {
  for (const EmulatorOptions &device : devices) {
    emulatedtest::expectFound(
        run({.text = "st.global.u32 [%in+16], %cta;", .threads = 1, .ctas = 4, .device = device}),
        FindingKind::DataRace, "it writes global memory that CTA");
    emulatedtest::expectClean(
        run({.text = "st.global.u32 [%in+16], 7;", .threads = 1, .ctas = 4, .device = device}));
    emulatedtest::expectClean(
        run({.text = "red.global.add.f32 [%in+16], 1.0;", .ctas = 4, .device = device}));
    // 2 bytes each of one word.
    emulatedtest::expectClean(run({.text = "mad.wide.u32 %d0, %cta, 2, %in; st.global.u16 [%d0], 1; "
                                           ".reg .b16 %h; ld.global.u16 %h, [%d0];",
                                   .threads = 1,
                                   .ctas = 4,
                                   .device = device}));
  }
  expectFound(
      {.write = "red.global.add.f32 [%d0], 1.0;", .raise = "@%first red.global.add.u32 [%in+8192], 1;"},
      FindingKind::DataRace, race);
  // Warps of one CTA.
  emulatedtest::expectFound(run({.text = "st.global.u32 [%in+4], %t;", .threads = 64}), FindingKind::DataRace,
                            "its own CTA or cluster wrote");
}

/// Launches follow each other.
TEST(GlobalOrder, LaunchesAreOrdered) {
  const auto device = runtime::openEmulator();
  runtime::Buffer buffer(*device, 4096);
  device->fill(buffer.get(), 0, 4096, {});
  const auto module = device->load(".version 8.7\n.target sm_90a\n.address_size 64\n"
                                   ".visible .entry test(.param .u64 b)\n{\n.reg .b64 %p; .reg .b32 %r;\n"
                                   "ld.param.b64 %p, [b]; ld.global.u32 %r, [%p]; mov.u32 %r, %ctaid.x;\n"
                                   "mad.wide.u32 %p, %r, 128, %p; st.global.u32 [%p+64], %r; ret;\n}\n");
  runtime::DevicePtr pointer = buffer.get();
  for (int round = 0; round < 3; ++round) {
    void *arguments[] = {&pointer};
    device->launch(module->function("test", 0), {.gridX = 4, .threads = 32}, arguments, {});
    pointer += 64;
  }
}

//===- TMA -------------------------------------------------------------------------------------------===//

/// The reader brings the bytes by TMA, behind `fence`, and uses them.
static std::string load(const std::string &fence,
                        const std::string &use = "ld.shared.u32 %r1, [%smem+1024]; "
                                                 "@%first st.global.u32 [%in+4096], %r1;") {
  return "@!%first bra J; mbarrier.init.shared.b64 [%smem], 1; fence.mbarrier_init.release.cluster;\n"
         "mbarrier.arrive.expect_tx.shared.b64 _, [%smem], 512;\n" +
         fence +
         "\ncp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%smem+1024], [%in], 512, "
         "[%smem];\n"
         "J: bar.sync 0;\nW: mbarrier.try_wait.parity.shared.b64 %p0, [%smem], 0; @!%p0 bra W;\n" +
         use;
}

TEST(GlobalOrder, StoresToTma) {
  expectClean({.read = load("fence.proxy.async;")});
  expectClean({.read = load("fence.proxy.async.global;")});
  expectClean({.joinWriters = "fence.proxy.async; bar.sync 0;", .read = load("")});
  expectFound({.read = load("")}, FindingKind::ProxyUnfenced, "that ordinary instructions of CTA 0 wrote");
  expectFound({.look = "ld.relaxed.gpu.global.u32 %r0, [%in+8192];",
               .seen = "fence.proxy.async;",
               .read = load("fence.acq_rel.gpu;")},
              FindingKind::ProxyUnfenced, "fence.proxy.async");
  expectFound(
      {.raise = "@%first st.relaxed.gpu.global.u32 [%in+8192], 1;", .read = load("fence.proxy.async;")},
      FindingKind::DataRace, race);
}

/// A box may hold bytes of others that are still being written, as long as nobody uses them.
TEST(GlobalOrder, TmaReadsNobodyUses) {
  const std::string early = "@%first st.relaxed.gpu.global.u32 [%in+8192], 1;";
  expectClean({.raise = early, .read = load("fence.proxy.async;", "")});
  expectClean({.read = load("", "ld.shared.u32 %r1, [%smem+1024]; mov.u32 %r2, %r1;")});
  expectFound({.raise = early,
               .read = load("fence.proxy.async;",
                            "ld.shared.u32 %r1, [%smem+1028]; setp.eq.u32 %p0, %r1, 7; @%p0 bra Z; Z: ret;")},
              FindingKind::DataRace, race);
}

TEST(GlobalOrder, TmaToOthers) {
  const std::string put =
      "mad.lo.u32 %r2, %t, 4, %smem; st.shared.u32 [%r2], %t; fence.proxy.async; bar.sync 0;\n"
      "@%first cp.async.bulk.global.shared::cta.bulk_group [%in], [%smem], 512;\n"
      "@%first cp.async.bulk.commit_group;\n";
  for (const std::string &read : {Handover{}.read, load("")}) {
    expectClean({.write = put + "@%first cp.async.bulk.wait_group 0;", .read = read});
    expectFound({.write = put + "@%first cp.async.bulk.wait_group.read 0;", .read = read},
                FindingKind::DataRace, "without .read");
    expectFound({.write = put,
                 .raise = "@%first st.release.gpu.global.u32 [%in+8192], 1; cp.async.bulk.wait_group 0;",
                 .read = read},
                FindingKind::DataRace, race);
    expectFound({.write = put + "@%first cp.async.bulk.commit_group; @%first cp.async.bulk.wait_group 2;",
                 .raise = "@%first st.release.gpu.global.u32 [%in+8192], 1; cp.async.bulk.wait_group 0;",
                 .read = read},
                FindingKind::DataRace, race);
  }
}

/// In one CTA, too.
TEST(GlobalOrder, OwnStoresToTma) {
  auto own = [](const char *between) {
    return run(
        {.text = std::string("mad.wide.u32 %d0, %t, 4, %in; st.global.u32 [%d0], %t;\n") + between + load(""),
         .threads = 128});
  };
  emulatedtest::expectClean(own("fence.proxy.async; bar.sync 0;\n"));
  emulatedtest::expectFound(own("bar.sync 0;\n"), FindingKind::ProxyUnfenced,
                            "of its own CTA or cluster wrote");
}
