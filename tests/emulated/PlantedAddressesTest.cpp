// Planted bugs of space and value: descriptors, tensor maps, addresses, registers, sizes, clusters.
#include "Planted.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::emulatedtest;

//===- Descriptors, tensor maps, addresses -----------------------------------------------------------===//

static void changeDescriptor(PtxEditor &e, int n, const std::function<uint64_t(uint64_t)> &change) {
  changeDescriptorAt(e, e.find(descriptorFields, n), change);
}
static uint64_t exchangeOffsets(uint64_t bits) {
  const uint64_t leading = bits >> 16 & 0x3fff, stride = bits >> 32 & 0x3fff;
  return (bits & ~(0x3fffull << 16 | 0x3fffull << 32)) | stride << 16 | leading << 32;
}

static std::vector<Planted> addresses() {
  return {
      {"swizzle_of_the_keys_changed", FindingKind::Descriptor, "kv stage", "tile.mma_nt",
       [](PtxEditor &e) {
         changeDescriptor(e, 1, [](uint64_t bits) { return (bits & ~(3ull << 62)) | 2ull << 62; });
       }},
      {"swizzle_of_the_values_dropped", FindingKind::Descriptor, "", "tile.mma_nn",
       [](PtxEditor &e) { changeDescriptor(e, 2, [](uint64_t bits) { return bits & ~(3ull << 62); }); }},
      {"offsets_of_the_keys_exchanged", FindingKind::Descriptor, "", "tile.mma_nt",
       [](PtxEditor &e) { changeDescriptor(e, 1, exchangeOffsets); }},
      {"offsets_of_the_values_exchanged", FindingKind::Descriptor, "kv stage", "tile.mma_nn",
       [](PtxEditor &e) { changeDescriptor(e, 2, exchangeOffsets); }},
      {"descriptor_past_shared_memory", FindingKind::OutOfBounds, "", "tile.mma_nn",
       [](PtxEditor &e) { changeDescriptor(e, 2, [](uint64_t bits) { return bits | 0x3000ull << 16; }); }},
      {"load_through_a_pointer_that_is_no_map", FindingKind::TensorMap, "", "tile.load",
       [](PtxEditor &e) { e.replace(e.find("mov.b64 .*attend_param_1;", 0), "_1;", "_2;"); }},
      {"store_past_the_output", FindingKind::OutOfBounds, "partial_out", "tile.store",
       [](PtxEditor &e) {
         e.replace(e.findOf("st.global.v4.b32", "tile.store .*as f16", 5), R"(\[(%rd\d+)\+?(\d*)\])",
                   "[$1+1000000]");
       }},
      {"store_misaligned", FindingKind::Misaligned, "partial_out", "tile.store",
       [](PtxEditor &e) {
         e.replace(e.findOf("st.global.v4.b32", "tile.store .*as f16", 5), R"(\[(%rd\d+)\+?(\d*)\])",
                   "[$1+40]");
       }},
      {"length_read_past_its_end", FindingKind::OutOfBounds, "lengths", "llvm.load",
       [](PtxEditor &e) { e.replace(e.find("ld.global.b32", 0), R"(\[(%rd\d+)\])", "[$1+20]"); }, Base::Plain,
       "plan"},
      {"page_read_past_the_table", FindingKind::OutOfBounds, "block_table", "llvm.load",
       [](PtxEditor &e) {
         e.replace(e.find(R"(ld.global.b32 .*\[%rd\d+\])", -1), R"(\[(%rd\d+)\])", "[$1+1024]");
       }},
      {"shared_store_past_the_end", FindingKind::OutOfBounds, "", "tile.put_rows",
       [](PtxEditor &e) { e.replaceAll(R"(\+221184\])", "+232000]"); }},
  };
}

//===- Values, registers, sizes ----------------------------------------------------------------------===//

static std::vector<Planted> values() {
  return {
      {"statistics_never_written", FindingKind::UnwrittenRead, "row_statistics", "tile.get_rows",
       [](PtxEditor &e) { e.remove(e.find(R"(st.shared.b32.*\+221184\])", 0)); }},
      {"work_list_never_written", FindingKind::UnwrittenRead, "worker_begin", "llvm.load",
       [](PtxEditor &e) { // Of items that were dealt, and of those in order.
         for (int last : {-2, -1})
           e.remove(e.find("st.global.b32", last));
       },
       Base::Plain, "plan"},
      {"partial_logarithm_never_written", FindingKind::UnwrittenRead, "partial_lse", "ld.global.f32",
       [](PtxEditor &e) { e.remove(e.findOf("st.global.b32", R"(tile.store_rows .* to %arg17 )")); }},
      {"factor_never_computed", FindingKind::UndefinedValue, "", "",
       [](PtxEditor &e) { e.remove(e.find(R"(mul.f32 .*0f3FB8AA3B)", 0)); }},
      {"budget_below_the_accumulators", FindingKind::RegisterBudget, "", "tile.roles",
       [](PtxEditor &e) { e.replace(e.find("setmaxnreg.inc", 0), "inc(.*)232", "dec$01120"); }},
      {"budget_raised_by_a_decrease", FindingKind::RegisterBudget, "", "tile.roles",
       [](PtxEditor &e) { e.replace(e.find("setmaxnreg.inc", 0), "inc", "dec"); }},
      {"registers_never_given_back", FindingKind::Deadlock, "", "tile.roles",
       [](PtxEditor &e) { e.remove(e.find("setmaxnreg.dec", 0)); }},
      {"registers_that_the_cta_never_had", FindingKind::Deadlock, "", "", // Who waits first varies.
       [](PtxEditor &e) { e.replace(e.find("setmaxnreg.dec", 0), "dec(.*)40", "dec$0148"); }},
      {"more_shared_memory_than_there_is", FindingKind::SharedLimit, "", "", [](PtxEditor &) {}, Base::Plain,
       "attend", [](Manifest &m) { m.attend.sharedBytes = 240000; }},
      {"less_shared_memory_than_is_used", FindingKind::OutOfBounds, "", "", [](PtxEditor &) {}, Base::Plain,
       "attend", [](Manifest &m) { m.attend.sharedBytes = 200000; }},
      {"endless_loop", FindingKind::Livelock, "", "",
       [](PtxEditor &e) { e.insertBefore(e.find("ld.param", 0), "FOREVER: bra FOREVER;"); }, Base::Plain,
       "combine"},
      {"lanes_part_before_a_shuffle", FindingKind::Divergence, "", "tile.reduce",
       [](PtxEditor &e) {
         const size_t shuffle = e.find("shfl.sync.bfly", 0);
         e.insertBefore(shuffle,
                        "{ .reg .pred half; .reg .b32 id; mov.u32 id, %laneid; setp.lt.u32 half, id, 16; "
                        "@half bra AROUND;");
         e.insertAfter(shuffle, "AROUND: }");
       }},
  };
}

//===- Clusters --------------------------------------------------------------------------------------===//

static std::vector<Planted> clusters() {
  return {
      {"cluster_ends_without_its_barrier", FindingKind::ExitInFlight, "of CTA", "tile.release",
       [](PtxEditor &e) {
         e.remove(e.find("barrier.cluster.arrive", -1));
         e.remove(e.find("barrier.cluster.wait", -1));
       },
       Base::Cluster},
      {"releases_reach_the_first_cta_only", FindingKind::DataRace, "kv stage", "tile.load",
       [](PtxEditor &e) {
         e.replaceAll(R"(mapa.shared::cluster.u32 remote, (%r\d+), %r\d+)",
                      "mapa.shared::cluster.u32 remote, $1, 0");
       },
       Base::Cluster},
      {"multicast_to_a_cta_that_is_not_there", FindingKind::OutOfBounds, "", "tile.load",
       [](PtxEditor &e) { e.replaceAll(R"(mov.b16 (.*), 3;)", "mov.b16 $1, 7;"); }, Base::Cluster},
      {"multicast_to_one_cta_only", FindingKind::TransactionCount, "kv.full", "tile.wait",
       [](PtxEditor &e) { e.replaceAll(R"(mov.b16 (.*), 3;)", "mov.b16 $1, 1;"); }, Base::Cluster},
      {"descriptor_with_the_rank_in_it", FindingKind::Descriptor, "", "tile.mma_nn",
       [](PtxEditor &e) { e.replaceAll("bfe.u64 (.*), 4, 14;", "bfe.u64 $1, 4, 28;"); }, Base::Cluster},
  };
}

INSTANTIATE_TEST_SUITE_P(Addresses, PlantedBugs, testing::ValuesIn(addresses()), plantedName);
INSTANTIATE_TEST_SUITE_P(Values, PlantedBugs, testing::ValuesIn(values()), plantedName);
INSTANTIATE_TEST_SUITE_P(Clusters, PlantedBugs, testing::ValuesIn(clusters()), plantedName);
