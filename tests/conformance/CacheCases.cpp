// Cache policies and hints, prefetches and what else only caches are told: PTX ISA, "createpolicy",
// "prefetch", "discard", "applypriority". None of it changes a result.
#include "Boxes.h"
#include "Cases.h"
#include "Kernel.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::conformance;

static constexpr size_t threads = 64, slotBytes = 128;

static constexpr const char *evictFirst = "createpolicy.fractional.L2::evict_first.b64 %policy;";

/// `text` moves 16 bytes from %from to %to; both are the thread's slots of 128. %v: words; %slot: shared.
static void add(Cases &cases, const std::string &name, const std::string &text,
                const std::string &policy = evictFirst, unsigned maps = 0) {
  static constexpr const char *prologue = R"(  .reg .b64 %from, %to, %policy, %p;
  .reg .b32 %v<4>, %slot, %bar, %n;
  .reg .pred %c;
  mad.wide.u32 %from, %t, 128, %in;
  mad.wide.u32 %to, %t, 128, %out;
  mad.lo.u32 %slot, %t, 128, %smem;
  add.s32 %bar, %smem, 8192;
)";
  Case entry = makeCase("cache", name, {.threads = threads, .maps = maps}, 1, threads * slotBytes + 64,
                        fmt::format("{}  {}\n{}", prologue, policy, text));
  entry.element = Element::Bits32;
  entry.outputBytes = threads * slotBytes;
  if (maps) {
    runtime::TensorMapSpec spec;
    spec.dtype = Dtype::I32;
    spec.rank = 2;
    spec.extent = {slotBytes / 4, threads};
    spec.strideBytes = {slotBytes};
    spec.box = {4, 1};
    spec.swizzleBytes = 0;
    entry.maps = {{false, spec}, {true, spec}};
  }
  entry.input = [](Random &random) { return randomBytes(random, threads * slotBytes); };
  entry.expect = [](const Bytes &input, Expected &out) {
    for (size_t t = 0; t < threads; ++t)
      std::copy_n(input.begin() + long(t * slotBytes), 16, out.bytes.begin() + long(t * slotBytes));
  };
  cases.push_back(std::move(entry));
}

static constexpr const char *load = "  ld.global.v4.b32 {%v0, %v1, %v2, %v3}, [%from];\n";
static constexpr const char *store = "  st.global.v4.b32 [%to], {%v0, %v1, %v2, %v3};\n";

//===- Policies --------------------------------------------------------------------------------------===//

static void addPolicies(Cases &cases) {
  const std::string hinted =
      std::string("  ld.global.L2::cache_hint.v4.b32 {%v0, %v1, %v2, %v3}, [%from], %policy;\n") + store;
  for (const char *priority : {"evict_first", "evict_last", "evict_normal", "evict_unchanged"})
    add(cases, fmt::format("createpolicy.fractional.{}", priority), hinted,
        fmt::format("createpolicy.fractional.L2::{}.b64 %policy;", priority));
  for (const char *priority : {"evict_first", "evict_last", "evict_normal"})
    add(cases, fmt::format("createpolicy.fractional.{}.half", priority), hinted,
        fmt::format("createpolicy.fractional.L2::{}.L2::evict_unchanged.b64 %policy, 0.5;", priority));
  add(cases, "createpolicy.fractional.secondary", hinted,
      "createpolicy.fractional.L2::evict_last.L2::evict_first.b64 %policy, 0f3F000000;");
  add(cases, "createpolicy.range", hinted,
      "createpolicy.range.global.L2::evict_last.L2::evict_first.b64 %policy, [%in], 4096, 8192;");
  for (const char *constant : {"0x1000000000000000", "0x12F0000000000000", "0x14F0000000000000"})
    add(cases, fmt::format("policy.{}", constant), hinted, fmt::format("mov.b64 %policy, {};", constant));
}

//===- Hints -----------------------------------------------------------------------------------------===//

static void addAccesses(Cases &cases) {
  for (const char *form : {"ld.global.L2::cache_hint.v4.b32", "ld.global.nc.L2::cache_hint.v4.b32",
                           "ld.global.L1::no_allocate.L2::cache_hint.v4.b32",
                           "ld.global.nc.L1::no_allocate.L2::cache_hint.L2::128B.v4.b32",
                           "ld.global.L1::evict_last.L2::cache_hint.L2::256B.v4.b32",
                           "ld.L2::cache_hint.v4.b32", "ld.relaxed.gpu.global.L2::cache_hint.v4.b32"})
    add(cases, form, fmt::format("  {} {{%v0, %v1, %v2, %v3}}, [%from], %policy;\n{}", form, store));
  for (const char *form :
       {"st.global.L2::cache_hint.v4.b32", "st.global.L1::no_allocate.L2::cache_hint.v4.b32",
        "st.L2::cache_hint.v4.b32", "st.global.L1::evict_first.L2::cache_hint.v4.f32"})
    add(cases, form, fmt::format("{}  {} [%to], {{%v0, %v1, %v2, %v3}}, %policy;\n", load, form));
  const std::string clear = "  mov.b32 %n, 0;\n  st.global.v4.b32 [%to], {%n, %n, %n, %n};\n";
  std::string each;
  for (unsigned k = 0; k < 4; ++k)
    each += fmt::format("  red.global.add.L2::cache_hint.u32 [%to+{}], %v{}, %policy;\n", 4 * k, k);
  add(cases, "red.global.add.L2::cache_hint.u32", load + clear + each);
  each.clear();
  for (unsigned k = 0; k < 4; ++k)
    each += fmt::format("  atom.relaxed.gpu.global.or.L2::cache_hint.b32 %n, [%to+{}], %v{}, %policy;\n",
                        4 * k, k);
  add(cases, "atom.relaxed.gpu.global.or.L2::cache_hint.b32", load + clear + each);
  // What they leave is written over: only that they are taken is seen.
  for (const char *form :
       {"red.global.add.L2::cache_hint.v4.f32", "red.global.add.noftz.L2::cache_hint.v4.bf16x2"})
    add(cases, form,
        load + clear +
            fmt::format("  mov.b32 %n, 0x3f803f80;\n"
                        "  {} [%to], {{%n, %n, %n, %n}}, %policy;\n  membar.gl;\n"
                        "  st.global.v4.b32 [%to], {{%v0, %v1, %v2, %v3}};\n",
                        form));
}

static std::string readBack() {
  return std::string("  ld.shared.v4.b32 {%v0, %v1, %v2, %v3}, [%slot];\n") + store;
}

static void addCopies(Cases &cases) {
  for (const char *form :
       {"cp.async.cg.shared.global.L2::cache_hint [%slot], [%from], 16, %policy;",
        "cp.async.cg.shared.global.L2::cache_hint.L2::128B [%slot], [%from], 16, %policy;",
        "cp.async.cg.shared.global.L2::cache_hint.L2::256B [%slot], [%from], 16, 16, %policy;",
        "cp.async.ca.shared::cta.global.L2::cache_hint.L2::64B [%slot], [%from], 16, %policy;",
        "cp.async.cg.shared.global.L2::64B [%slot], [%from], 16;",
        "cp.async.cg.shared.global.L2::128B [%slot], [%from], 16, 16;",
        "cp.async.ca.shared.global.L2::256B [%slot], [%from], 16;"}) {
    const std::string text = form;
    add(cases, text.substr(0, text.find(' ')) + (text.find("16, 16") != std::string::npos ? ".sized" : ""),
        "  " + text + "\n  cp.async.wait_all;\n" + readBack());
  }
}

static void addBulkLoads(Cases &cases) {
  const std::string begin = R"(  setp.eq.u32 %c, %t, 0;
  @%c mbarrier.init.shared::cta.b64 [%bar], 64;
  @%c fence.mbarrier_init.release.cluster;
  bar.sync 0;
  mbarrier.arrive.expect_tx.shared::cta.b64 _, [%bar], 16;
)";
  const std::string wait =
      "wait:\n  mbarrier.try_wait.parity.shared::cta.b64 %c, [%bar], 0;\n  @!%c bra wait;\n";
  add(cases, "cp.async.bulk.load.hinted",
      begin +
          "  cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%slot], "
          "[%from], "
          "16, [%bar], %policy;\n" +
          wait + readBack());
  add(cases, "cp.async.bulk.tensor.load.hinted",
      begin +
          "  mov.b32 %n, 0;\n  "
          "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
          ".L2::cache_hint [%slot], [%map0, {%n, %t}], [%bar], %policy;\n" +
          wait + readBack(),
      evictFirst, 2);
}

static void addBulkStores(Cases &cases) {
  const std::string put =
      std::string(load) +
      "  st.shared.v4.b32 [%slot], {%v0, %v1, %v2, %v3};\n  fence.proxy.async.shared::cta;\n";
  const std::string end = "  cp.async.bulk.commit_group;\n  cp.async.bulk.wait_group 0;\n";
  add(cases, "cp.async.bulk.store.hinted",
      put + "  cp.async.bulk.global.shared::cta.bulk_group.L2::cache_hint [%to], [%slot], 16, %policy;\n" +
          end);
  add(cases, "cp.async.bulk.tensor.store.hinted",
      put +
          "  mov.b32 %n, 0;\n  cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group.L2::cache_hint "
          "[%map1, {%n, %t}], [%slot], %policy;\n" +
          end,
      evictFirst, 2);
  const std::string clear =
      "  mov.b32 %n, 0;\n  st.global.v4.b32 [%to], {%n, %n, %n, %n};\n  fence.proxy.async;\n";
  add(cases, "cp.reduce.async.bulk.hinted",
      clear + put +
          "  cp.reduce.async.bulk.global.shared::cta.bulk_group.L2::cache_hint.add.u32 [%to], [%slot], 16, "
          "%policy;\n" +
          end);
  add(cases, "cp.reduce.async.bulk.tensor.hinted",
      clear + put +
          "  cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group.L2::cache_hint [%map1, "
          "{%n, "
          "%t}], [%slot], %policy;\n" +
          end,
      evictFirst, 2);
}

//===- Prefetches ------------------------------------------------------------------------------------===//

static void addPrefetches(Cases &cases) {
  for (const char *form :
       {"prefetch.global.L1 [%from];", "prefetch.global.L2 [%from];", "prefetch.L2 [%from];",
        "prefetch.global.L2::evict_last [%from];", "prefetch.global.L2::evict_normal [%from];",
        "prefetchu.L1 [%from];", "cp.async.bulk.prefetch.L2.global [%from], 128;",

        "cp.async.bulk.prefetch.L2.global.L2::cache_hint [%from], 64, %policy;",
        "applypriority.global.L2::evict_normal [%from], 128;"}) {
    const std::string text = form;
    add(cases, text.substr(0, text.find(' ')), "  " + text + "\n" + load + store);
  }
  add(cases, "prefetch.tensormap", std::string("  prefetch.tensormap [%map0];\n") + load + store, evictFirst,
      2);
  for (const char *hint : {"", ".L2::cache_hint"})
    add(cases, fmt::format("cp.async.bulk.prefetch.tensor{}", hint),
        fmt::format(
            "  mov.b32 %n, 4;\n  cp.async.bulk.prefetch.tensor.2d.L2.global.tile{} [%map0, {{%n, %t}}]{};\n",
            hint, *hint ? ", %policy" : "") +
            load + store,
        evictFirst, 2);
}

/// A line that is thrown away holds what is written afterwards.
static void addDiscard(Cases &cases) {
  std::string rest;
  for (unsigned at = 16; at < slotBytes; at += 16)
    rest +=
        fmt::format("  ld.global.v4.b32 {{%v0, %v1, %v2, %v3}}, [%to+{0}];\n  st.shared.v4.b32 [%slot+{0}], "
                    "{{%v0, %v1, %v2, %v3}};\n",
                    at);
  rest += "  discard.global.L2 [%to], 128;\n";
  for (unsigned at = 16; at < slotBytes; at += 16)
    rest +=
        fmt::format("  ld.shared.v4.b32 {{%v0, %v1, %v2, %v3}}, [%slot+{0}];\n  st.global.v4.b32 [%to+{0}], "
                    "{{%v0, %v1, %v2, %v3}};\n",
                    at);
  add(cases, "discard", rest + load + store);
}

void conformance::addCacheCases(Cases &cases) {
  addPolicies(cases);
  addAccesses(cases);
  addCopies(cases);
  addBulkLoads(cases);
  addBulkStores(cases);
  addPrefetches(cases);
  addDiscard(cases);
}
