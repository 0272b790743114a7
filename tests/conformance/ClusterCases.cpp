// Clusters of two and four CTAs: PTX ISA, "Cluster of Cooperative Thread Arrays", mapa, shared::cluster,
// barrier.cluster, remote mbarriers, multicast. Two clusters run, which must not know of each other.
#include "Boxes.h"
#include "Cases.h"
#include "Kernel.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::conformance;

static constexpr size_t threads = 64, clusters = 2;

/// %rank, %next (rank of the next CTA), %v: the thread's word of the input, %p: its place in the output, %a:
/// its word of shared memory.
static constexpr const char *prologue = R"(  .reg .b32 %rank, %next, %v, %w, %a, %r, %bar, %n;
  .reg .b64 %p, %q, %s;
  .reg .b16 %mask;
  .reg .pred %c, %first;
  mov.u32 %rank, %cluster_ctarank;
  add.s32 %next, %rank, 1;
  rem.u32 %next, %next, $size;
  mad.wide.u32 %p, %g, 4, %in;
  ld.global.b32 %v, [%p];
  mad.wide.u32 %p, %g, 4, %out;
  mad.lo.s32 %a, %t, 4, %smem;
  setp.eq.s32 %first, %t, 0;
)";

static constexpr const char *meet = R"(  barrier.cluster.arrive.release.aligned;
  barrier.cluster.wait.acquire.aligned;
)";

/// expected(word of a thread of the own cluster by rank and thread, rank, thread): the thread's word of the
/// output.
template <class F>
static void add(Cases &cases, const std::string &name, unsigned size, const std::string &text, F expected) {
  Case entry = makeCase("cluster", fmt::format("{}.of_{}", name, size), {.threads = threads, .cluster = size},
                        clusters * size, 4096,
                        fill(prologue + text, {{"$size", std::to_string(size)}, {"$meet", meet}}));
  const size_t total = size_t(clusters) * size * threads;
  entry.outputBytes = total * 4;
  entry.input = [total](Random &random) { return randomBytes(random, total * 4); };
  entry.expect = [=](const Bytes &input, Expected &out) {
    for (size_t i = 0; i < total; ++i) {
      const size_t cluster = i / threads / size, rank = i / threads % size;
      auto word = [&](size_t other, size_t t) {
        return elementAt<uint32_t>(input, (cluster * size + other % size) * threads + t);
      };
      setElement<uint32_t>(out.bytes, i, expected(word, rank, i % threads));
    }
  };
  cases.push_back(std::move(entry));
}

static void addRegisters(Cases &cases, unsigned size) {
  const std::pair<const char *, uint32_t (*)(size_t cta, size_t size)> registers[] = {
      {"cluster_ctarank", [](size_t cta, size_t n) { return uint32_t(cta % n); }},
      {"cluster_ctaid.x", [](size_t cta, size_t n) { return uint32_t(cta % n); }},
      {"cluster_nctarank", [](size_t, size_t n) { return uint32_t(n); }},
      {"cluster_nctaid.x", [](size_t, size_t n) { return uint32_t(n); }},
      {"clusterid.x", [](size_t cta, size_t n) { return uint32_t(cta / n); }}};
  for (const auto &[name, value] : registers) {
    Case entry = makeCase(
        "cluster", fmt::format("{}.of_{}", name, size), {.threads = threads, .cluster = size},
        clusters * size, 0,
        fmt::format("  .reg .b32 %v;\n  .reg .b64 %p;\n  mov.u32 %v, %{};\n  mad.wide.u32 %p, %g, 4, %out;\n"
                    "  st.global.b32 [%p], %v;\n",
                    name));
    entry.outputBytes = size_t(clusters) * size * threads * 4;
    entry.expect = [value = value, size](const Bytes &, Expected &out) {
      for (size_t i = 0; i < out.bytes.size() / 4; ++i)
        setElement(out.bytes, i, value(i / threads, size));
    };
    cases.push_back(std::move(entry));
  }
}

//===- Each other's shared memory --------------------------------------------------------------------===//

static void addAccesses(Cases &cases, unsigned size) {
  add(cases, "store", size, R"(  mapa.shared::cluster.u32 %r, %a, %next;
$meet  st.shared::cluster.b32 [%r], %v;
$meet  ld.shared.b32 %v, [%a];
  st.global.b32 [%p], %v;
)",
      [size](auto word, size_t rank, size_t t) { return word(rank + size - 1, t); });
  add(cases, "load", size, R"(  st.shared.b32 [%a], %v;
$meet  mapa.shared::cluster.u32 %r, %a, %next;
  ld.shared::cluster.b32 %w, [%r];
  sub.s32 %v, %v, %w;
  st.global.b32 [%p], %v;
$meet)",
      [](auto word, size_t rank, size_t t) { return word(rank, t) - word(rank + 1, t); });
  // By generic addresses; the own CTA's as well.
  add(cases, "generic", size, R"(  cvt.u64.u32 %q, %a;
  cvta.shared.u64 %q, %q;
$meet  mapa.u64 %s, %q, %next;
  st.b32 [%s], %v;
$meet  mapa.u64 %s, %q, %rank;
  ld.b32 %v, [%s];
  st.global.b32 [%p], %v;
$meet)",
      [size](auto word, size_t rank, size_t t) { return word(rank + size - 1, t); });
  // The first CTA sums what all send; sums do not depend on the order.
  add(cases, "red", size, R"(  st.shared.b32 [%a], 0;
$meet  mov.b32 %n, 0;
  mapa.shared::cluster.u32 %r, %a, %n;
  red.release.cluster.shared::cluster.add.u32 [%r], %v;
$meet  ld.shared.b32 %v, [%a];
  st.global.b32 [%p], %v;
)",
      [size](auto word, size_t rank, size_t t) {
        uint32_t sum = 0;
        for (size_t i = 0; i < size && rank == 0; ++i)
          sum += word(i, t);
        return sum;
      });
  add(cases, "atom", size, R"(  st.shared.b32 [%a], %v;
$meet  mapa.shared::cluster.u32 %r, %a, %next;
  atom.relaxed.cluster.shared::cluster.max.s32 %w, [%r], 1000;
$meet  ld.shared.b32 %v, [%a];
  add.s32 %v, %v, %w;
  st.global.b32 [%p], %v;
)",
      [](auto word, size_t rank, size_t t) {
        return uint32_t(std::max(int32_t(word(rank, t)), 1000)) + word(rank + 1, t);
      });
}

/// A relaxed barrier orders nothing; between the arrival at the second one and the wait there is work.
static void addBarriers(Cases &cases, unsigned size) {
  add(cases, "barrier.split", size, R"(  barrier.cluster.arrive.relaxed.aligned;
  barrier.cluster.wait.aligned;
  st.shared.b32 [%a], %v;
  barrier.cluster.arrive.release.aligned;
  mul.lo.s32 %n, %v, 3;
  barrier.cluster.wait.acquire.aligned;
  mapa.shared::cluster.u32 %r, %a, %next;
  ld.shared::cluster.b32 %w, [%r];
  barrier.cluster.arrive.aligned;
  xor.b32 %w, %w, %n;
  st.global.b32 [%p], %w;
  barrier.cluster.wait.aligned;
)",
      [](auto word, size_t rank, size_t t) { return word(rank + 1, t) ^ (word(rank, t) * 3); });
}

/// All threads of all CTAs arrive at the first one's mbarrier after they have written to its memory.
static void addRemoteArrivals(Cases &cases, unsigned size) {
  add(cases, "mbarrier", size, R"(  add.s32 %bar, %smem, 2048;
  mul.lo.s32 %n, $size, 64;
  @%first mbarrier.init.shared::cta.b64 [%bar], %n;
  @%first fence.mbarrier_init.release.cluster;
$meet  mov.b32 %n, 0;
  mad.lo.s32 %w, %rank, 256, %a;
  mapa.shared::cluster.u32 %r, %w, %n;
  st.shared::cluster.b32 [%r], %v;
  mapa.shared::cluster.u32 %r, %bar, %n;
  mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r];
  st.global.b32 [%p], %t;
  setp.ne.s32 %c, %rank, 0;
  @%c bra end;
wait:
  mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %c, [%bar], 0;
  @!%c bra wait;
  mov.b32 %v, 0;
  mov.b32 %n, 0;
sum:
  mad.lo.s32 %w, %n, 256, %a;
  ld.shared.b32 %w, [%w];
  mad.lo.s32 %v, %v, 31, %w;
  add.s32 %n, %n, 1;
  setp.lt.u32 %c, %n, $size;
  @%c bra sum;
  st.global.b32 [%p], %v;
end:
$meet)",
      [size](auto word, size_t rank, size_t t) {
        uint32_t sum = 0;
        for (size_t i = 0; i < size; ++i)
          sum = sum * 31 + word(i, t);
        return rank == 0 ? sum : uint32_t(t);
      });
}

//===- Multicast -------------------------------------------------------------------------------------===//

/// Every CTA brings a slice to all CTAs of `mask` ($own: the own one only where it has an odd rank …); each
/// waits for the slices that it gets. By a tensor map of rows of 64 words, or plain.
static void addMulticast(Cases &cases, unsigned size, bool tensor, uint16_t mask) {
  static constexpr size_t rowBytes = 256, rows = 8, sliceBytes = rowBytes * rows;
  const size_t total = sliceBytes * size;
  std::string text = fmt::format(R"(  .reg .b32 %y, %dst, %bit;
  add.s32 %bar, %smem, {0};
  mov.b32 %bit, 1;
  shl.b32 %bit, %bit, %rank;
  and.b32 %bit, %bit, {1};
  setp.ne.s32 %c, %bit, 0;
  @%first mbarrier.init.shared::cta.b64 [%bar], 1;
  @%first fence.mbarrier_init.release.cluster;
  @%first mbarrier.arrive.expect_tx.shared::cta.b64 _, [%bar], {2};
$meet  mov.b16 %mask, {1};
  mad.lo.s32 %dst, %rank, {3}, %smem;
  mov.u32 %n, %clusterid.x;
  mad.lo.s32 %y, %n, $size, %rank;
  mad.wide.u32 %q, %y, {3}, %in;
  mul.lo.s32 %y, %y, 8;
  mov.b32 %n, 0;
)",
                                 total, mask, total, sliceBytes);
  text += tensor ? "  @%first "
                   "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes."
                   "multicast::cluster "
                   "[%dst], [%map0, {%n, %y}], [%bar], %mask;\n"
                 : fmt::format(
                       "  @%first "
                       "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
                       "[%dst], [%q], {}, [%bar], %mask;\n",
                       sliceBytes);
  text +=
      "  @!%c bra end;\nwait:\n  mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %c, [%bar], 0;\n"
      "  @!%c bra wait;\n  mov.u32 %n, %ctaid.x;\n";
  text += fmt::format("  mad.wide.u32 %q, %n, {}, %out;\n", total);
  text += copyToGlobal("%q", 0, total, threads, "copy") + "end:\n$meet";
  Case entry = makeCase(
      "cluster", fmt::format("multicast.{}.to_{:x}.of_{}", tensor ? "tensor" : "plain", mask, size),
      {.threads = threads, .cluster = size, .maps = tensor ? 1u : 0u}, clusters * size, unsigned(total + 64),
      fill(prologue + text, {{"$size", std::to_string(size)}, {"$meet", meet}}));
  entry.element = Element::Bits8;
  entry.outputBytes = total * size * clusters;
  if (tensor) {
    runtime::TensorMapSpec spec;
    spec.dtype = Dtype::I32;
    spec.rank = 2;
    spec.extent = {rowBytes / 4, rows * size * clusters};
    spec.strideBytes = {rowBytes};
    spec.box = {rowBytes / 4, rows};
    spec.swizzleBytes = 0;
    entry.maps = {{false, spec}};
  }
  entry.input = [total](Random &random) { return randomBytes(random, total * clusters); };
  entry.expect = [=](const Bytes &input, Expected &out) {
    for (size_t cta = 0; cta < size_t(clusters) * size; ++cta)
      if (mask >> (cta % size) & 1)
        std::copy_n(input.begin() + long(cta / size * total), total, out.bytes.begin() + long(cta * total));
  };
  cases.push_back(std::move(entry));
}

void conformance::addClusterCases(Cases &cases) {
  for (unsigned size : {2u, 4u}) {
    addRegisters(cases, size);
    addAccesses(cases, size);
    addBarriers(cases, size);
    addRemoteArrivals(cases, size);
    for (bool tensor : {false, true}) {
      addMulticast(cases, size, tensor, uint16_t((1 << size) - 1));
      addMulticast(cases, size, tensor, size == 2 ? 0x2 : 0xa);
    }
  }
}
