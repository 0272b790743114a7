// Barriers of CTAs and warps, fences, register budgets: PTX ISA, "Parallel Synchronization and Communication
// Instructions". What one part of the threads writes before a barrier, another part reads behind it.
#include "Cases.h"
#include "Kernel.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::conformance;

/// %a: the thread's word of shared memory, %v: its word of the input; `store` writes %v to the output.
static constexpr const char *prologue = R"(  .reg .b32 %a, %b, %v, %w, %n;
  .reg .b64 %p;
  .reg .pred %c, %d;
  mad.lo.s32 %a, %t, 4, %smem;
  mad.wide.u32 %p, %t, 4, %in;
  ld.global.b32 %v, [%p];
  mad.wide.u32 %p, %t, 4, %out;
)";

/// expected(words of the input, thread).
template <class F>
static void add(Cases &cases, const std::string &name, const KernelOptions &options, const std::string &text,
                F expected) {
  const size_t threads = options.threads;
  Case entry = makeCase("barrier", name, options, 1, 8192, prologue + text);
  entry.outputBytes = threads * 4;
  entry.input = [threads](Random &random) { return randomBytes(random, threads * 4); };
  entry.expect = [threads, expected](const Bytes &input, Expected &out) {
    for (size_t t = 0; t < threads; ++t)
      setElement<uint32_t>(out.bytes, t,
                           expected([&](size_t i) { return elementAt<uint32_t>(input, i); }, t));
  };
  cases.push_back(std::move(entry));
}

/// Everyone writes, everyone reads another warp's word.
static void addWhole(Cases &cases) {
  for (const char *barrier : {"bar.sync 0", "barrier.sync 0", "barrier.cta.sync.aligned 3",
                              "bar.cta.sync 15, 256", "barrier.sync.aligned 0, 256", "bar.sync %n"}) {
    const std::string text = fill(R"(  mov.b32 %n, 7;
  st.shared.b32 [%a], %v;
  $barrier;
  xor.b32 %b, %t, 255;
  mad.lo.s32 %b, %b, 4, %smem;
  ld.shared.b32 %v, [%b];
  st.global.b32 [%p], %v;
)",
                                  {{"$barrier", barrier}});
    std::string name = barrier;
    for (char &c : name)
      c = c == ' ' || c == ',' || c == '%' ? '_' : c;
    add(cases, name, {.threads = 256}, text, [](auto word, size_t t) { return word(t ^ 255); });
  }
}

/// Pairs of warps with a barrier of their own, used again and again while the others do the same.
static void addSubsets(Cases &cases) {
  add(cases, "pairs_of_warps", {.threads = 256}, R"(  shr.u32 %n, %warp, 1;
  add.s32 %n, %n, 1;
  mov.b32 %w, 0;
again:
  st.shared.b32 [%a], %v;
  bar.sync %n, 64;
  xor.b32 %b, %t, 32;
  mad.lo.s32 %b, %b, 4, %smem;
  ld.shared.b32 %b, [%b];
  add.s32 %v, %v, %b;
  bar.sync %n, 64;
  add.s32 %w, %w, 1;
  setp.lt.s32 %c, %w, 5;
  @%c bra again;
  st.global.b32 [%p], %v;
)",
      [](auto word, size_t t) { return (word(t) + word(t ^ 32)) * 16; });
}

/// Warps 0 to 2 produce and go on, warp 3 waits for all of them.
static void addArrivals(Cases &cases) {
  for (const char *root : {"bar", "barrier"})
    add(cases, fmt::format("{}.arrive", root), {.threads = 128},
        fill(R"(  setp.eq.s32 %c, %warp, 3;
  @%c bra consumer;
  st.shared.b32 [%a], %v;
  $root.arrive 2, 128;
  st.global.b32 [%p], %t;
  bra end;
consumer:
  $root.sync 2, 128;
  ld.shared.b32 %v, [%a+-128];
  ld.shared.b32 %w, [%a+-384];
  xor.b32 %v, %v, %w;
  st.global.b32 [%p], %v;
end:
)",
             {{"$root", root}}),
        [](auto word, size_t t) { return t < 96 ? uint32_t(t) : word(t - 32) ^ word(t - 96); });
}

/// Who arrives goes on: the second warp waits for what the first one does behind its arrival.
static void addArrivalThatGoesOn(Cases &cases) {
  add(cases, "arrive_goes_on", {.threads = 64}, R"(  setp.eq.s32 %c, %warp, 1;
  @%c bra second;
  st.shared.b32 [%a], %v;
  bar.arrive 2, 64;
  st.shared.b32 [%a+256], %t;
  bar.sync 3, 64;
  st.global.b32 [%p], %v;
  bra end;
second:
  bar.sync 3, 64;
  ld.shared.b32 %w, [%a+128];
  bar.sync 2, 64;
  ld.shared.b32 %v, [%a+-128];
  add.s32 %v, %v, %w;
  st.global.b32 [%p], %v;
end:
)",
      [](auto word, size_t t) { return t < 32 ? word(t) : word(t - 32) + uint32_t(t - 32); });
}

/// A barrier of all threads does not wait for warps that have ended.
static void addAfterExit(Cases &cases) {
  add(cases, "after_exit", {.threads = 128}, R"(  st.global.b32 [%p], %v;
  setp.eq.s32 %c, %warp, 1;
  @%c ret;
  st.shared.b32 [%a], %v;
  bar.sync 0;
  ld.shared.b32 %v, [%smem+256];
  st.global.b32 [%p], %v;
)",
      [](auto word, size_t t) { return t / 32 == 1 ? word(t) : word(64); });
}

/// Lanes of a warp pass words on, between fences of all kinds that change nothing.
static void addWarps(Cases &cases) {
  add(cases, "bar.warp.sync", {.threads = 64}, R"(  st.shared.b32 [%a], %v;
  bar.warp.sync -1;
  xor.b32 %b, %t, 31;
  mad.lo.s32 %b, %b, 4, %smem;
  ld.shared.b32 %v, [%b];
  bar.warp.sync 0xffffffff;
  st.global.b32 [%p], %v;
)",
      [](auto word, size_t t) { return word(t ^ 31); });
  add(cases, "bar.warp.sync.part", {.threads = 32}, R"(  setp.lt.u32 %c, %lane, 8;
  @!%c bra end;
  st.shared.b32 [%a], %v;
  bar.warp.sync 0xff;
  xor.b32 %b, %t, 7;
  mad.lo.s32 %b, %b, 4, %smem;
  ld.shared.b32 %v, [%b];
end:
  st.global.b32 [%p], %v;
)",
      [](auto word, size_t t) { return t < 8 ? word(t ^ 7) : word(t); });
  add(cases, "fences", {.threads = 64}, R"(  st.shared.b32 [%a], %v;
  membar.cta;
  membar.gl;
  membar.sys;
  fence.acq_rel.cta;
  fence.acq_rel.cluster;
  fence.sc.gpu;
  fence.proxy.async;
  fence.proxy.async.shared::cta;
  fence.proxy.async.global;
  fence.mbarrier_init.release.cluster;
  griddepcontrol.wait;
  griddepcontrol.launch_dependents;
  nanosleep.u32 20;
  bar.sync 0;
  xor.b32 %b, %t, 63;
  mad.lo.s32 %b, %b, 4, %smem;
  ld.shared.b32 %v, [%b];
  st.global.b32 [%p], %v;
)",
      [](auto word, size_t t) { return word(t ^ 63); });
}

/// One warpgroup gives registers back, two take them: they must wait for the first.
static void addRegisterBudgets(Cases &cases) {
  add(cases, "setmaxnreg", {.threads = 384, .directives = ".minnctapersm 1\n"}, R"(  st.shared.b32 [%a], %v;
  bar.sync 0;
  shr.u32 %n, %warp, 2;
  setp.eq.s32 %c, %n, 0;
  @%c bra producer;
  setmaxnreg.inc.sync.aligned.u32 240;
  ld.shared.b32 %w, [%a+-512];
  add.s32 %v, %v, %w;
  st.global.b32 [%p], %v;
  bra end;
producer:
  setmaxnreg.dec.sync.aligned.u32 24;
  st.global.b32 [%p], %v;
end:
)",
      [](auto word, size_t t) { return t < 128 ? word(t) : word(t) + word(t - 128); });
}

void conformance::addBarrierCases(Cases &cases) {
  addWhole(cases);
  addSubsets(cases);
  addArrivals(cases);
  addArrivalThatGoesOn(cases);
  addAfterExit(cases);
  addWarps(cases);
  addRegisterBudgets(cases);
}
