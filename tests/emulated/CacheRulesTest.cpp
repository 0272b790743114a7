// Policies, prefetches and discarded lines; tensor maps of a table; and instructions of whole warps that
// routers use: what can be wrong with each.
#include "Snippet.h"

#include "lathe/support/Dtype.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::emulatedtest;
using runtime::emulator::FindingKind;

//===- Policies and lines ----------------------------------------------------------------------------===//

TEST(CacheRules, PoliciesAreMade) {
  const char *uses[] = {
      "ld.global.L2::cache_hint.u32 %r0, [%in], %d0;",
      "st.global.L2::cache_hint.v4.b32 [%in], {%t, %t, %t, %t}, %d0;",
      "red.global.add.L2::cache_hint.u32 [%in], 1, %d0;",
      "atom.global.add.L2::cache_hint.u32 %r0, [%in], 1, %d0;",
      "cp.async.cg.shared.global.L2::cache_hint [%smem], [%in], 16, %d0; cp.async.wait_all;",
      "cp.async.bulk.prefetch.L2.global.L2::cache_hint [%in], 64, %d0;"};
  for (const std::string use : uses) {
    SCOPED_TRACE(use);
    auto with = [&](const std::string &policy) { return run({.text = policy + "\n@%first " + use}); };
    expectClean(with("createpolicy.fractional.L2::evict_last.b64 %d0, 1.0;"));
    expectClean(with("mov.b64 %d0, 0x12F0000000000000;"));
    expectFound(with("mov.b64 %d0, 0;"), FindingKind::IllegalInstruction, "0x0 is no cache policy");
    expectFound(with("cvt.u64.u32 %d0, %smem;"), FindingKind::IllegalInstruction, "is no cache policy");
    EXPECT_TRUE(with("").has(FindingKind::UndefinedValue));
  }
  for (const char *fraction : {"0.0", "1.5", "0fBF800000"})
    expectFound(run({.text = fmt::format("createpolicy.fractional.L2::evict_first.b64 %d0, {};", fraction)}),
                FindingKind::IllegalInstruction, "it must be above 0 and at most 1");
}

TEST(CacheRules, BulkPrefetchesStayInside) {
  auto prefetch = [](const std::string &operands) {
    return run({.text = "@%first cp.async.bulk.prefetch.L2.global " + operands + ";"});
  };
  expectClean(prefetch("[%in], 65536"));
  expectClean(prefetch("[%in+65520], 16"));
  expectClean(prefetch("[%in+65536], 0"));
  expectFound(prefetch("[%in+16], 65536"), FindingKind::OutOfBounds, "a prefetch of 65536 bytes");
  expectFound(prefetch("[%in+65536], 16"), FindingKind::OutOfBounds, "a prefetch of 16 bytes");
  expectFound(prefetch("[%in+-16], 32"), FindingKind::OutOfBounds, "a prefetch of 32 bytes");
  expectFound(prefetch("[%in+8], 32"), FindingKind::Misaligned, "both must be multiples of 16");
  expectFound(prefetch("[%in], 24"), FindingKind::Misaligned, "a bulk prefetch of 24 bytes");
  EXPECT_TRUE(prefetch("[%d3], 16").has(FindingKind::UndefinedValue));
  EXPECT_TRUE(run({.text = "prefetch.global.L2 [%d3];"}).has(FindingKind::UndefinedValue));
  expectClean(run({.text = "prefetch.global.L2 [%in+1048576];"}));
}

TEST(CacheRules, DiscardedLinesHoldNothing) {
  expectClean(run({.text = "@%first discard.global.L2 [%in+128], 128; ld.global.u32 %r0, [%in];"}));
  expectFound(run({.text = "@%first discard.global.L2 [%in+128], 128; ld.global.u32 %r0, [%in+252];"}),
              FindingKind::UnwrittenRead, "nothing wrote");
  expectFound(run({.text = "@%first discard.global.L2 [%in+64], 128;"}), FindingKind::Misaligned, "128");
  expectFound(run({.text = "@%first applypriority.global.L2::evict_normal [%in+65536], 128;"}),
              FindingKind::OutOfBounds, "no buffer holds");
}

//===- Tables of tensor maps -------------------------------------------------------------------------===//

/// Loads a box through the map in the buffer's last 128 bytes, or `off` bytes from there.
static SnippetResult loadByTable(int off) {
  Snippet snippet;
  snippet.text = fmt::format(R"(@!%first bra J;
mbarrier.init.shared.b64 [%smem], 1; fence.mbarrier_init.release.cluster;
mbarrier.arrive.expect_tx.shared.b64 _, [%smem], 64;
add.s64 %d0, %in, {}; mov.b32 %r0, 0;
cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%smem+1024], [%d0, {{%r0, %r0}}], [%smem];
J: bar.sync 0;
W: mbarrier.try_wait.parity.shared.b64 %p0, [%smem], 0; @!%p0 bra W;
)",
                             65536 - 128 + off);
  snippet.map.dtype = Dtype::F32;
  snippet.map.rank = 2;
  snippet.map.extent = {8, 8};
  snippet.map.strideBytes = {32};
  snippet.map.box = {8, 2};
  snippet.map.swizzleBytes = 0;
  snippet.mapInBuffer = true;
  return run(snippet);
}

TEST(CacheRules, MapsOfATable) {
  expectClean(loadByTable(0));
  for (int off : {-128, -64, 64, 128, 4096})
    EXPECT_TRUE(loadByTable(off).has(FindingKind::TensorMap)) << off << "\n"
                                                              << loadByTable(off).findings.text();
}

//===- Whole warps -----------------------------------------------------------------------------------===//

TEST(CacheRules, MembersAreThere) {
  for (const char *text : {"match.any.sync.b32 %r0, %t, -1;", "match.all.sync.b32 %r0|%p1, %t, -1;",
                           "redux.sync.add.u32 %r0, %t, -1;", "vote.sync.ballot.b32 %r0, %first, -1;",
                           "movmatrix.sync.aligned.m8n8.trans.b16 %r0, %t;"}) {
    SCOPED_TRACE(text);
    expectClean(run({.text = text}));
    expectFound(
        run({.text = std::string("setp.lt.u32 %p0, %t, 9; @%p0 bra E;\n") + text + "\nE: bar.warp.sync -1;"}),
        FindingKind::Divergence, "needs lanes 0xffffffff together");
  }
  EXPECT_TRUE(run({.text = "match.any.sync.b32 %r0, %r9, -1; st.global.u32 [%in], %r0;"})
                  .has(FindingKind::UndefinedValue));
}
