// CTAs that wait for each other through global memory: PTX ISA, "Memory Consistency Model". Every way to
// release and to acquire, barriers of the grid, tickets, and what one CTA's TMA writes for another's. All
// CTAs fit an H100 together.
#include "Boxes.h"
#include "Cases.h"
#include "Kernel.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::conformance;

static constexpr size_t threads = 64, ctas = 48;

static Bytes zeros(size_t bytes) { return Bytes(bytes); }

static Case makeGrid(const std::string &name, size_t inputBytes, size_t outputBytes,
                     const std::string &body) {
  static constexpr const char *prologue = R"(  .reg .b32 %cta, %a, %b, %c, %i, %old;
  .reg .b64 %p, %q, %f;
  .reg .pred %first, %e;
  mov.u32 %cta, %ctaid.x;
  setp.eq.u32 %first, %t, 0;
)";
  Case entry = makeCase("grid", name, {.threads = threads}, ctas, 4096, prologue + body);
  entry.outputBytes = outputBytes;
  entry.input = [inputBytes](Random &random) { return randomBytes(random, inputBytes); };
  entry.output = [outputBytes](Random &) { return zeros(outputBytes); };
  return entry;
}

//===- Chains ----------------------------------------------------------------------------------------===//

namespace {
/// How a flag at [%f] is raised by thread 0, and how it is looked at: the value goes to %a.
struct Signal {
  const char *name, *raise, *look;
  const char *seen = ""; ///< Behind the loop.
};
} // namespace

static constexpr Signal signals[] = {
    {"release_acquire", "st.release.gpu.global.u32 [%f], 1;", "ld.acquire.gpu.global.u32 %a, [%f];"},
    {"release_acquire_sys", "st.release.sys.global.u32 [%f], 1;", "ld.acquire.sys.global.u32 %a, [%f];"},
    {"fence_acq_rel", "fence.acq_rel.gpu; st.relaxed.gpu.global.u32 [%f], 1;",
     "ld.relaxed.gpu.global.u32 %a, [%f];", "fence.acq_rel.gpu;"},
    {"fence_sc", "fence.sc.gpu; st.relaxed.gpu.global.u32 [%f], 1;", "ld.relaxed.gpu.global.u32 %a, [%f];",
     "fence.sc.gpu;"},
    {"membar_volatile", "membar.gl; st.volatile.global.u32 [%f], 1;", "ld.volatile.global.u32 %a, [%f];",
     "membar.gl;"},
    {"red_release_u32", "red.release.gpu.global.add.u32 [%f], 1;", "ld.acquire.gpu.global.u32 %a, [%f];"},
    {"red_release_s32", "red.release.gpu.global.add.s32 [%f], 1;", "ld.acquire.gpu.global.s32 %a, [%f];"},
    {"red_relaxed", "fence.acq_rel.gpu; red.relaxed.gpu.global.or.b32 [%f], 1;",
     "ld.acquire.gpu.global.u32 %a, [%f];"},
    {"atom_release", "atom.release.gpu.global.add.u32 %a, [%f], 1;",
     "atom.acquire.gpu.global.or.b32 %a, [%f], 0;"},
    {"atom_acq_rel", "atom.acq_rel.gpu.global.exch.b32 %a, [%f], 1;",
     "atom.acq_rel.gpu.global.cas.b32 %a, [%f], 7, 7;"},
    {"generic", "st.release.gpu.u32 [%f], 1;", "ld.acquire.gpu.u32 %a, [%f];"},
    {"slept", "st.release.gpu.global.u32 [%f], 1;", "nanosleep.u32 40; ld.acquire.gpu.global.u32 %a, [%f];"},
};

/// CTA i waits for CTA i + 1, whose 64 words it takes times three, with its own added.
static constexpr const char *chain = R"(  mad.wide.u32 %p, %g, 4, %in;
  ld.global.u32 %b, [%p];
  mad.wide.u32 %p, %g, 4, %out;
  mad.wide.u32 %f, %cta, 4, %out;
  add.s64 %f, %f, $flags;
  setp.eq.u32 %e, %cta, $last;
  @%e bra write;
  add.s64 %f, %f, 4;
  @!%first bra taken;
wait:
  $look
  setp.eq.u32 %e, %a, 0;
  @%e bra wait;
  $seen
taken:
  bar.sync 0;
  add.s64 %f, %f, -4;
  ld.global.u32 %c, [%p+256];
  mad.lo.u32 %b, %c, 3, %b;
write:
  st.global.u32 [%p], %b;
  bar.sync 0;
  @!%first ret;
  $raise
)";

static constexpr size_t words = threads * ctas;

static void addChain(Cases &cases, const Signal &signal) {
  const std::string body = fill(chain, {{"$flags", std::to_string(words * 4)},
                                        {"$last", std::to_string(ctas - 1)},
                                        {"$look", signal.look},
                                        {"$seen", signal.seen},
                                        {"$raise", signal.raise}});
  Case entry = makeGrid(fmt::format("chain.{}", signal.name), words * 4, (words + ctas) * 4, body);
  entry.expect = [](const Bytes &input, Expected &out) {
    for (size_t i = words; i-- > 0;) {
      const uint32_t before = i + threads < words ? elementAt<uint32_t>(out.bytes, i + threads) : 0;
      setElement(out.bytes, i, before * 3 + elementAt<uint32_t>(input, i));
    }
    for (size_t cta = 0; cta < ctas; ++cta)
      setElement<uint32_t>(out.bytes, words + cta, 1);
  };
  cases.push_back(std::move(entry));
}

//===- All with all ----------------------------------------------------------------------------------===//

/// Five barriers of the grid. In each round every thread adds up what all CTAs' threads of its number wrote.
static void addBarrier(Cases &cases) {
  static constexpr size_t rounds = 5;
  const std::string body = fill(R"(  .reg .b32 %round, %sum, %target;
  .reg .b64 %base;
  mad.wide.u32 %p, %g, 4, %in;
  ld.global.u32 %b, [%p];
  mov.b32 %round, 0;
  mov.b64 %base, %out;
round:
  mad.wide.u32 %p, %g, 4, %base;
  st.global.u32 [%p+64], %b;
  bar.sync 0;
  add.u32 %round, %round, 1;
  @!%first bra joined;
  red.release.gpu.global.add.u32 [%out], 1;
  mul.lo.u32 %target, %round, $ctas;
wait:
  ld.acquire.gpu.global.u32 %a, [%out];
  setp.lt.u32 %e, %a, %target;
  @%e bra wait;
joined:
  bar.sync 0;
  mov.b32 %i, 0;
  mov.b32 %sum, 0;
  mad.wide.u32 %p, %t, 4, %base;
more:
  ld.global.u32 %a, [%p+64];
  mad.lo.u32 %sum, %sum, 5, %a;
  add.s64 %p, %p, 256;
  add.u32 %i, %i, 1;
  setp.lt.u32 %e, %i, $ctas;
  @%e bra more;
  add.u32 %b, %sum, %cta;
  add.s64 %base, %base, $bytes;
  setp.lt.u32 %e, %round, $rounds;
  @%e bra round;
)",
                                {{"$ctas", std::to_string(ctas)},
                                 {"$bytes", std::to_string(words * 4)},
                                 {"$rounds", std::to_string(rounds)}});
  Case entry = makeGrid("barrier", words * 4, 64 + rounds * words * 4, body);
  entry.expect = [](const Bytes &input, Expected &out) {
    std::vector<uint32_t> values(words);
    for (size_t i = 0; i < words; ++i)
      values[i] = elementAt<uint32_t>(input, i);
    for (size_t round = 0; round < rounds; ++round) {
      for (size_t i = 0; i < words; ++i)
        setElement(out.bytes, 16 + round * words + i, values[i]);
      for (size_t t = 0; t < threads; ++t) {
        uint32_t sum = 0;
        for (size_t cta = 0; cta < ctas; ++cta)
          sum = sum * 5 + elementAt<uint32_t>(out.bytes, 16 + round * words + cta * threads + t);
        for (size_t cta = 0; cta < ctas; ++cta)
          values[cta * threads + t] = sum + uint32_t(cta);
      }
    }
    setElement(out.bytes, 0, uint32_t(rounds * ctas));
  };
  cases.push_back(std::move(entry));
}

/// Items by tickets; who takes the last one adds up all of them once they are done.
static void addTickets(Cases &cases) {
  static constexpr size_t items = 150;
  const std::string body = fill(R"(  @!%first ret;
next:
  atom.relaxed.gpu.global.add.u32 %i, [%out], 1;
  setp.ge.u32 %e, %i, $items;
  @%e ret;
  mad.wide.u32 %p, %i, 4, %in;
  ld.global.u32 %a, [%p];
  mad.lo.u32 %a, %a, 7, %i;
  mad.wide.u32 %p, %i, 4, %out;
  st.global.u32 [%p+64], %a;
  atom.acq_rel.gpu.global.add.u32 %b, [%out+4], 1;
  setp.ne.u32 %e, %b, $last;
  @%e bra next;
  mov.b32 %i, 0;
  mov.b32 %c, 0;
  mov.b64 %p, %out;
more:
  ld.global.u32 %a, [%p+64];
  mad.lo.u32 %c, %c, 3, %a;
  add.s64 %p, %p, 4;
  add.u32 %i, %i, 1;
  setp.lt.u32 %e, %i, $items;
  @%e bra more;
  st.global.u32 [%out+8], %c;
)",
                                {{"$items", std::to_string(items)}, {"$last", std::to_string(items - 1)}});
  Case entry = makeGrid("tickets", items * 4, 64 + items * 4, body);
  entry.expect = [](const Bytes &input, Expected &out) {
    uint32_t sum = 0;
    for (size_t i = 0; i < items; ++i) {
      const uint32_t value = elementAt<uint32_t>(input, i) * 7 + uint32_t(i);
      setElement(out.bytes, 16 + i, value);
      sum = sum * 3 + value;
    }
    // All CTAs but the one that ends with the sum draw a ticket that is none.
    setElement(out.bytes, 0, uint32_t(items + ctas - 1));
    setElement(out.bytes, 1, uint32_t(items));
    setElement(out.bytes, 2, sum);
  };
  cases.push_back(std::move(entry));
}

//===- TMA -------------------------------------------------------------------------------------------===//

/// CTA 2i writes 1024 bytes, by ordinary stores or by TMA, that CTA 2i + 1 loads by TMA and copies on.
static void addHandover(Cases &cases, bool byTma) {
  static constexpr size_t bytes = 1024, pairs = ctas / 2;
  std::string text = fmt::format(R"(  .reg .b32 %pair, %bar;
  shr.u32 %pair, %cta, 1;
  and.b32 %a, %cta, 1;
  mad.wide.u32 %q, %pair, {0}, %out;
  mad.wide.u32 %f, %pair, 4, %out;
  add.s64 %f, %f, {1};
  setp.ne.u32 %e, %a, 0;
  @%e bra taker;
  mad.wide.u32 %p, %pair, {0}, %in;
)",
                                 bytes, 2 * pairs * bytes);
  text += copyToShared("%p", 0, bytes, threads, "bring") + "  fence.proxy.async;\n  bar.sync 0;\n";
  text += byTma ? "  @!%first ret;\n  cp.async.bulk.global.shared::cta.bulk_group [%q], [%smem], 1024;\n"
                  "  cp.async.bulk.commit_group;\n  cp.async.bulk.wait_group 0;\n"
                : copyToGlobal("%q", 0, bytes, threads, "give") +
                      "  fence.proxy.async;\n  bar.sync 0;\n  @!%first ret;\n";
  text += fmt::format(R"(  fence.proxy.async;
  st.release.gpu.global.u32 [%f], 1;
  ret;
taker:
  add.s32 %bar, %smem, 2048;
  @!%first bra join;
  mbarrier.init.shared::cta.b64 [%bar], 1;
  fence.mbarrier_init.release.cluster;
  mbarrier.arrive.expect_tx.shared::cta.b64 _, [%bar], 1024;
look:
  ld.acquire.gpu.global.u32 %a, [%f];
  setp.eq.u32 %e, %a, 0;
  @%e bra look;
  fence.proxy.async;
  cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%smem], [%q], 1024, [%bar];
join:
  bar.sync 0;
wait:
  mbarrier.try_wait.parity.shared::cta.b64 %e, [%bar], 0;
  @!%e bra wait;
  add.s64 %q, %q, {};
)",
                      pairs * bytes);
  text += copyToGlobal("%q", 0, bytes, threads, "keep");
  Case entry = makeGrid(byTma ? "handover.tma_to_tma" : "handover.stores_to_tma", pairs * bytes,
                        2 * pairs * bytes + pairs * 4, text);
  entry.expect = [](const Bytes &input, Expected &out) {
    std::copy_n(input.begin(), pairs * bytes, out.bytes.begin());
    std::copy_n(input.begin(), pairs * bytes, out.bytes.begin() + long(pairs * bytes));
    for (size_t pair = 0; pair < pairs; ++pair)
      setElement<uint32_t>(out.bytes, 2 * pairs * bytes / 4 + pair, 1);
  };
  cases.push_back(std::move(entry));
}

void conformance::addGridCases(Cases &cases) {
  for (const Signal &signal : signals)
    addChain(cases, signal);
  addBarrier(cases);
  addTickets(cases);
  addHandover(cases, true);
  addHandover(cases, false);
}
